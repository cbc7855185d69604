"""English spelling rules: what is called regular where English verbs are scored, and a rival.

No model is told them.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_utils as lab
from lab5_utils import Verb


def regular_rows(lemma: str) -> tuple[Verb, Verb]:
    """Returns the rows that spelling rules give a lemma: plain, and with a doubled letter."""
    lab.check_words([lemma])
    takes_es = re.search("(s|x|z|ch|sh|(^|[^aeiou])o)$", lemma)
    third = lemma + ("es" if takes_es else "s")
    stem = lemma
    past = lemma + "ed"
    if re.search("(^|[^aeiou])y$", lemma):
        third = lemma[:-1] + "ies"
        past = lemma[:-1] + "ied"
    elif lemma.endswith("ie"):
        stem = lemma[:-2] + "y"
        past = lemma + "d"
    elif lemma.endswith("e"):
        stem = lemma if lemma.endswith(("ee", "ye", "oe")) else lemma[:-1]
        past = lemma + "d"
    doubled = lemma + lemma[-1]
    plain = (lemma, third, stem + "ing", past)
    return plain, (lemma, third, doubled + "ing", doubled + "ed")


def is_regular(verb: Verb) -> bool:
    """Tells whether spelling rules give a verb's row."""
    return tuple(verb) in regular_rows(verb[0])


def spelling_rule(lemma: str) -> Verb:
    """Inflects by hand: what has one syllable with one vowel doubles its last letter."""
    plain, doubled = regular_rows(lemma)
    short = re.fullmatch("(qu|[^aeiou])*[aeiou][bdgklmnprtvz]", lemma)  # stop, quiz; not help
    return doubled if short else plain
