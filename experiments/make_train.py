"""Makes train.txt: the 1,227 most frequent English verbs whose forms two dictionaries agree on.

    .venv/bin/python -m experiments.make_train        # writes train.txt beside lab5_utils.py

Forms: lemminflect (MIT; from the NIH SPECIALIST Lexicon), kept where pyinflect (MIT; from AGID)
gives the same. Order of choice: wordfreq (its word list is CC BY-SA 4.0; used for ranking only,
none of it is in the file).
"""

import gzip
import re

import pyinflect
from lemminflect import Inflections, getInflection
from wordfreq import word_frequency

import lab5_utils as lab
from experiments.words import TAGS

ROWS = 1227
AUXILIARIES = {
    *("be", "have", "do", "can", "could", "may", "might", "must"),
    *("need", "ought", "shall", "should", "will", "would", "dare"),
}
TEST_VERBS = {
    *("abandon", "abet", "begin", "expend", "send"),
    *("split", "flare", "function", "heal"),
}


def lemmas():
    """Lists the lemmas that lemminflect's lexicon marks as verbs."""
    with gzip.open(Inflections().infl_lu_fn, "rt", encoding="utf-8") as lines:
        entries = [line.split(",") for line in lines]
    return sorted({word for word, kind, *_ in entries if kind == "verb"})


def agreed_forms(lemma):
    """Returns the four forms that both dictionaries put first, or None."""
    ours = tuple(first(getInflection(lemma, tag)) for tag in TAGS)
    theirs = tuple(first(pyinflect.getInflection(lemma, tag)) for tag in TAGS)
    clean = all(re.fullmatch("[a-z]{2,}", form) for form in ours)
    if not clean or ours != theirs or ours[0] != lemma:
        return None
    return ours


def first(forms):
    """Returns the first of some forms, or nothing if there is none."""
    return forms[0] if forms else ""


def commonness(verb):
    """Ranks a verb by its rarest form, so that a noun (people) is no frequent verb."""
    return min(word_frequency(form, "en") for form in verb)


def rank(verb):
    """Returns what candidates are sorted by: the test verbs first, then the most frequent."""
    return (verb[0] not in TEST_VERBS, -commonness(verb), verb)


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


def choose(rows=ROWS):
    """Returns the chosen verbs, sorted; no form stands in the same tense of two of them."""
    candidates = [agreed_forms(lemma) for lemma in lemmas() if lemma not in AUXILIARIES]
    candidates = [verb for verb in candidates if verb is not None]
    return first_rows(sorted(candidates, key=rank), rows)


if __name__ == "__main__":
    text = "".join(" ".join(verb) + "\n" for verb in choose())
    (lab.HERE / "train.txt").write_bytes(text.encode())
