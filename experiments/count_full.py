"""The short count, of a table without holes: four lists of words in, verbs out.

    python tests/experiments/count_full.py

A signature is an ending a tense (Goldsmith 2001, doi 10.1162/089120101750300490). Every word is a
form of one verb: the verbs with the commonest signatures take theirs first, and of the words that
are left those go together that look most alike (Kuhn 1955, doi 10.1002/nav.3800020109).
`count_holes.py` is for a table with holes.
"""

import sys
from collections import Counter, defaultdict
from itertools import permutations, product
from pathlib import Path

import numpy as np
from count_holes import likeness
from scipy.optimize import linear_sum_assignment
from words import common_prefix, is_regular

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_utils as lab

SHORTEST_STEM = 3
LONGEST_ENDING = 6


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


def most_alike(words, others):
    """Returns a partner for each word, so that all pairs together are most alike."""
    alike = np.array([[likeness(word, other) for other in others] for word in words])
    rows, columns = linear_sum_assignment(alike, maximize=True)
    return {words[row]: others[column] for row, column in zip(rows, columns, strict=True)}


def group(lists):
    """Returns the verb, four forms, of each tense and word; every word is a form of one verb."""
    verb_of = {}
    for _, stem, signature in sorted(common_signatures(lists), reverse=True):
        verb = tuple(stem + ending for ending in signature)
        if verb_of.keys().isdisjoint(enumerate(verb)):
            verb_of |= dict.fromkeys(enumerate(verb), verb)
    left = []
    for tense, words in enumerate(lists):
        left.append([word for word in words if (tense, word) not in verb_of])
    partners = [most_alike(left[0], words) for words in left]
    for word in left[0]:
        verb = tuple(partner.get(word, word) for partner in partners)
        verb_of |= dict.fromkeys(enumerate(verb), verb)
    return verb_of


def main():
    """Prints exact match over all conversions of the table."""
    verbs = lab.distinct_verbs(None)
    lists = [sorted(set(words)) for words in zip(*verbs, strict=True)]
    verb_of = group(lists)
    right = defaultdict(list)
    for verb in verbs:
        kind = "regular" if is_regular(verb) else "irregular"
        for source, target in permutations(range(4), 2):
            answer = verb_of[source, verb[source]][target]
            right[kind].append(answer == verb[target])
    for kind, answers in right.items():
        print(f"{kind}: {np.mean(answers):.3f} of {len(answers)}")
    print(f"all: {np.mean(right['regular'] + right['irregular']):.3f}")


if __name__ == "__main__":
    main()
