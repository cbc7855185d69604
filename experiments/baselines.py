"""What the models' scores are compared with: the count, spelling rules, the nearest neighbour.

The count is a baseline without a network, which finds rows in lists of words, one per tense. A
signature is an ending for each tense (Goldsmith 2001, doi 10.1162/089120101750300490). Each word is
a form of one verb only. So verbs with the commonest signatures take their words first, and the
words that are left are matched one to one by similar letters (Kuhn 1955, doi
10.1002/nav.3800020109).

No model is given any of this. The spelling rules also say which verbs are regular.
"""

import functools
import math
import re
from collections import Counter, defaultdict
from itertools import product
from os.path import commonprefix

import numpy as np
from scipy.optimize import linear_sum_assignment

import lab5_utils as lab
from lab5_utils import Verb

TAGS = ("VB", "VBZ", "VBG", "VBD")  # the Penn Treebank tags, in the order of TENSES
SHORTEST_STEM = 3
LONGEST_ENDING = 6
MOST = 100_000  # signatures after a stem; what has more, in a table of many forms, is no stem
DOUBLED = "2"  # in an ending: the stem's last letter, once more


# ---- The count ----
def common_signatures(lists):
    """Returns (uses, stem, signature) of verbs whose forms are all in the lists."""
    endings = defaultdict(lambda: [[] for _ in lists])  # after each stem, by tense
    for tense, words in enumerate(lists):
        for word in words:
            for end in range(max(SHORTEST_STEM, len(word) - LONGEST_ENDING), len(word) + 1):
                endings[word[:end]][tense].append(word[end:])
    verbs = []
    for stem, by_tense in endings.items():
        if math.prod(map(len, by_tense)) > MOST:
            continue
        verbs += [(stem, ends) for ends in product(*by_tense) if not commonprefix(ends)]
    uses = Counter(signature for _, signature in verbs)
    return [(uses[ends], stem, ends) for stem, ends in verbs if uses[ends] > 1]


def shared_beginnings(word, words):
    """Returns how many letters a word shares with the beginning of each of N words (N,)."""
    letters = np.array([word, *words], dtype=f"U{len(word)}")  # cut, or filled with zeros
    letters = letters.view(np.uint32).reshape(-1, len(word))  # code points (N + 1, T)
    return np.logical_and.accumulate(letters[1:] == letters[0], axis=1).sum(1)


def likeness(word, words):
    """Returns how like N words are to a word (N,).

    That is how many letters two words share at both ends, minus the rest of the mean word.
    """
    lengths = np.array([len(other) for other in words], dtype=int)
    begin = shared_beginnings(word, words)
    end = shared_beginnings(word[::-1], [other[::-1] for other in words])
    end = np.minimum(end, np.minimum(lengths, len(word)) - begin)  # no letter twice
    return 2 * (begin + end) - (lengths + len(word)) / 2


def rows_by_likeness(lists):
    """Returns rows of lemmas and the words most like them, with each word in one row."""
    lemmas, *others = lists
    columns = [lemmas]
    for words in others:
        alike = np.array([likeness(lemma, words) for lemma in lemmas])
        rows, matches = linear_sum_assignment(alike.reshape(len(lemmas), len(words)), maximize=True)
        partner = {lemmas[row]: words[match] for row, match in zip(rows, matches, strict=True)}
        columns.append([partner.get(lemma, lemma) for lemma in lemmas])
    return list(zip(*columns, strict=True))


def without_repeats(rows):
    """Returns the rows none of whose forms is in the same column of a row before."""
    kept = []
    taken = set()  # (column, form)
    for row in rows:
        if taken.isdisjoint(enumerate(row)):
            kept.append(row)
            taken |= set(enumerate(row))
    return kept


def rows_of_endings(lists):
    """Returns the rows that the commonest signatures find in lists of words, no word twice."""
    commonest_first = sorted(common_signatures(lists), reverse=True)
    return without_repeats(tuple(stem + end for end in ends) for _, stem, ends in commonest_first)


def rows_by_counting(lists):
    """Returns rows of forms, found in the list of words of each tense."""
    lists = [sorted(set(words)) for words in lists]
    rows = rows_of_endings(lists)
    taken = [{row[tense] for row in rows} for tense in range(len(lists))]
    left = [sorted(set(words) - used) for words, used in zip(lists, taken, strict=True)]
    return rows + rows_by_likeness(left)


# ---- Spelling rules, and the nearest neighbour ----
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


@functools.cache  # since each word asks for all verbs
def cut(verb: Verb) -> tuple[str, Verb]:
    """Returns the beginning that a verb's forms share, and their endings: stop, –, s, 2ing, 2ed.

    If forms begin differently (*go*, *went*), the beginning is empty.
    """
    stem = commonprefix(verb)
    endings = []
    for form in verb:
        ending = form[len(stem) :]
        if stem and ending.startswith(stem[-1]):
            ending = DOUBLED + ending[1:]
        endings.append(ending)
    return stem, tuple(endings)


def inflect_like(word: str, verb: Verb, tense: int) -> Verb | None:
    """Returns a word's forms with the endings of a verb, or None if it can't have them."""
    _, endings = cut(verb)
    stem = word[: len(word) - len(endings[tense])]
    row = tuple(stem + ending.replace(DOUBLED, stem[-1:]) for ending in endings)
    return row if stem and row[tense] == word else None
