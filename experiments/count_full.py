"""Counts: four lists of words in, verbs out, without a network.

A signature is an ending a tense (Goldsmith 2001, doi 10.1162/089120101750300490). Every word is a
form of one verb: the verbs with the commonest signatures take theirs first, and of the words that
are left those go together that look most alike (Kuhn 1955, doi 10.1002/nav.3800020109).
"""

import random
from collections import Counter, defaultdict
from itertools import product

import numpy as np
from scipy.optimize import linear_sum_assignment

import lab5_utils as lab
from lab5_selftaught import common_prefix

SHORTEST_STEM = 3
LONGEST_ENDING = 6
DRAWS = 10_000


def common_signatures(lists):
    """Returns (count, stem, signature) of verbs whose four forms are in the lists."""
    endings = defaultdict(lambda: [[], [], [], []])  # behind each stem, by tense
    for tense, words in enumerate(lists):
        for word in words:
            for end in range(max(SHORTEST_STEM, len(word) - LONGEST_ENDING), len(word) + 1):
                endings[word[:end]][tense].append(word[end:])
    verbs = []
    for stem, found in endings.items():
        verbs += [(stem, four) for four in product(*found) if not common_prefix(four)]
    count = Counter(signature for _, signature in verbs)
    return [(count[four], stem, four) for stem, four in verbs if count[four] > 1]


def likeness(one, other):
    """Returns the letters that two words share at both ends, less the others of the mean word."""
    begin = len(common_prefix([one, other]))
    end = len(common_prefix([one[begin:][::-1], other[begin:][::-1]]))
    mean = (len(one) + len(other)) / 2
    return 2 * (begin + end) - mean


def likenesses(words, others):
    """Returns how alike N words and M others are, (N, M)."""
    return np.array([[likeness(word, other) for other in others] for word in words])


def most_alike(words, others):
    """Returns a partner for each word, so that all pairs together are most alike."""
    rows, columns = linear_sum_assignment(likenesses(words, others), maximize=True)
    return {words[row]: others[column] for row, column in zip(rows, columns, strict=True)}


def rows_of_endings(lists):
    """Returns the rows that the commonest signatures make of lists of words, no word twice."""
    rows = []
    taken = set()  # (tense, word)
    for _, stem, signature in sorted(common_signatures(lists), reverse=True):
        row = tuple(stem + ending for ending in signature)
        if taken.isdisjoint(enumerate(row)):
            rows.append(row)
            taken |= set(enumerate(row))
    return rows


def rows_by_counting(verbs):
    """Returns rows of four forms, made of the list of words of each tense and of nothing else."""
    lists = [sorted(set(words)) for words in zip(*verbs, strict=True)]
    rows = rows_of_endings(lists)
    taken = {(tense, word) for row in rows for tense, word in enumerate(row)}
    left = []
    for tense, words in enumerate(lists):
        left.append([word for word in words if (tense, word) not in taken])
    partners = [most_alike(left[0], words) for words in left]
    columns = [[partner.get(word, word) for word in left[0]] for partner in partners]
    return rows + list(zip(*columns, strict=True))


def draw(rows, verbs, draws=DRAWS):
    """Draws rows at random; returns the exact Gaussian score and the mean distinct in 100."""
    rng = random.Random(0)
    drawn = [rng.choice(rows) for _ in range(draws)]
    blocks = [drawn[start : start + 100] for start in range(0, draws, 100)]
    distinct = [lab.gaussian_score(block, verbs).distinct for block in blocks]
    return lab.gaussian_score(drawn, verbs).exact, np.mean(distinct)
