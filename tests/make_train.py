"""Makes train.txt: the 1,227 most frequent English verbs whose four forms two dictionaries agree on.

    python tests/make_train.py            # writes train.txt beside lab5_utils.py

Forms: lemminflect (MIT; from the NIH SPECIALIST Lexicon), kept where pyinflect (MIT; from AGID) gives the same.
Order of choice: wordfreq (its word list is CC BY-SA 4.0; used for ranking only, none of it is in the file).
"""

import gzip
import re
from pathlib import Path

import pyinflect
from lemminflect import Inflections, getInflection
from wordfreq import word_frequency

ROOT = Path(__file__).resolve().parent.parent
ROWS = 1227
TAGS = ("VB", "VBZ", "VBG", "VBD")  # the Penn Treebank tags of the four tenses, in the order of TENSES
AUXILIARIES = set("be have do can could may might must need ought shall should will would dare".split())
TEST_VERBS = "abandon abet begin expend send split flare function heal".split()


def lemmas():
    """Lists the lemmas that lemminflect's lexicon marks as verbs."""
    with gzip.open(Inflections().infl_lu_fn, "rt", encoding="utf-8") as lines:
        entries = (line.split(",") for line in lines)
        return sorted({word for word, kind, *_ in entries if kind == "verb"})


def row(lemma):
    """Returns the four forms that both dictionaries put first, or None."""
    ours = tuple(next(iter(getInflection(lemma, tag)), "") for tag in TAGS)
    theirs = tuple(next(iter(pyinflect.getInflection(lemma, tag) or ()), "") for tag in TAGS)
    clean = all(re.fullmatch("[a-z]{2,}", form) for form in ours)
    return ours if clean and ours == theirs and ours[0] == lemma else None


def commonness(verb):
    """Ranks a verb by its rarest form, so that a noun ('people') does not pass for a frequent verb."""
    return min(word_frequency(form, "en") for form in verb)


def choose(rows=ROWS):
    """Returns the chosen verbs, sorted: the test verbs first, then by commonness, never an ambiguous form."""
    candidates = [verb for lemma in lemmas() if lemma not in AUXILIARIES and (verb := row(lemma))]
    candidates.sort(key=lambda verb: (verb[0] not in TEST_VERBS, -commonness(verb), verb))
    chosen, taken = [], set()
    for verb in candidates:
        forms = set(enumerate(verb))  # (tense, form)
        if len(chosen) < rows and not forms & taken:  # a (form, tense) that two verbs share has no one answer
            chosen.append(verb)
            taken |= forms
    return sorted(chosen)


if __name__ == "__main__":
    text = "".join(" ".join(verb) + "\n" for verb in choose())
    (ROOT / "train.txt").write_bytes(text.encode())
