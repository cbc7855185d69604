"""Baselines that know English spelling, or copy the nearest neighbour's inflection.

No model is given any of this. The spelling rules also say which verbs are regular.
"""

import functools
import re
from collections import Counter, defaultdict
from os.path import commonprefix

import lab5_selftaught as taught
import lab5_utils as lab
from lab5_utils import Verb

cut = functools.cache(taught.cut)  # of a verb once, since each word asks for all
TAGS = ("VB", "VBZ", "VBG", "VBD")  # the Penn Treebank tags, in the order of TENSES


def regular_rows(lemma: str) -> tuple[Verb, Verb]:
    """Returns the two rows that spelling rules allow a lemma: plain, and with a doubled letter."""
    takes_es = re.search("(s|x|z|ch|sh|(^|[^aeiou])o)$", lemma)
    third = lemma + ("es" if takes_es else "s")
    stem = lemma
    past = lemma + ("d" if lemma.endswith("e") else "ed")
    if re.search("(^|[^aeiou])y$", lemma):
        third = lemma[:-1] + "ies"
        past = lemma[:-1] + "ied"
    elif lemma.endswith("ie"):
        stem = lemma[:-2] + "y"
    elif lemma.endswith("e"):
        stem = lemma if lemma.endswith(("ee", "ye", "oe")) else lemma[:-1]
    doubled = lemma + lemma[-1]
    plain = (lemma, third, stem + "ing", past)
    return plain, (lemma, third, doubled + "ing", doubled + "ed")


def is_regular(verb: Verb) -> bool:
    """Tells whether English spelling rules give all forms of a verb."""
    return tuple(verb) in regular_rows(verb[0])


def spelling_rule(lemma: str) -> Verb:
    """Returns a row by rules: a lemma of one syllable with one vowel doubles its last letter."""
    plain, doubled = regular_rows(lemma)
    short = re.fullmatch("(qu|[^aeiou])*[aeiou][bdgklmnprtvz]", lemma)  # stop, quiz; not help
    return doubled if short else plain


def neighbour(word: str, training: list[Verb], tense=lab.LEMMA) -> Verb:
    """Returns a word's forms, inflected like its nearest neighbour among the training verbs.

    That is the verb with the longest common ending in the word's tense; of several, the one nearest
    in length, and then the commonest answer. If no verb will do, all forms are copies of the word.
    """
    answers = defaultdict(Counter)  # by similarity
    for verb in training:
        other = verb[tense]
        ending = commonprefix([word[::-1], other[::-1]])
        row = inflect_like(word, verb, tense) if ending else None
        if row is not None:
            answers[len(ending), -abs(len(other) - len(word))][row] += 1
    if not answers:
        return (word,) * len(training[0])
    ((row, _),) = answers[max(answers)].most_common(1)
    return row


def inflect_like(word: str, verb: Verb, tense: int) -> Verb | None:
    """Returns a word's forms with the endings of a verb, or None if it can't have them."""
    _, endings = cut(verb)
    stem = word[: len(word) - len(endings[tense])]
    row = taught.inflect(stem, endings)
    return row if stem and row[tense] == word else None
