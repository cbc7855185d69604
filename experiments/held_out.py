"""Holds verbs out of a table, families (*stand*, *understand*) together, and scores answers."""

import random
from collections import defaultdict

import numpy as np

import lab5_utils as lab
from experiments.scores import mean
from experiments.words import is_regular

PREFIXES = """a be broad co counter de dis en for fore in inter mis off out over pre re sub trans un
under up with""".split()


def find_root(lemma, lemmas):
    """Returns a lemma without its prefixes, as long as what is left is a lemma itself."""
    for prefix in PREFIXES:
        rest = lemma.removeprefix(prefix)
        if rest != lemma and rest in lemmas:
            return find_root(rest, lemmas)
    return lemma


def split_verbs(verbs, split=0):
    """Returns the verbs to train on, and those of one fold of ten, which is held out.

    A verb and its derivatives (stand, understand) are on the same side, because one would give the
    other away.
    """
    verbs = lab.distinct_verbs(verbs)
    lemmas = {verb[lab.LEMMA] for verb in verbs}
    families = defaultdict(list)
    for verb in verbs:
        families[find_root(verb[lab.LEMMA], lemmas)].append(verb)
    parts = [[] for _ in range(10)]
    for family in random.Random(0).sample(list(families.values()), len(families)):
        min(parts, key=len).extend(family)
    unseen = set(parts[split])
    training = [verb for verb in verbs if verb not in unseen]
    return training, [verb for verb in verbs if verb in unseen]


def exact_match(answers, verbs):
    """Returns the shares, 0..1, of forms that are right, and of irregular verbs' pasts.

    Lemmas don't count, since they were given.
    """
    right = np.array(answers)[:, 1:] == np.array(verbs)[:, 1:]  # (N, F − 1)
    irregular = np.array([not is_regular(verb) for verb in verbs])
    return {"forms": right.mean(), "irregular_pasts": mean(right[irregular, lab.PAST - 1])}
