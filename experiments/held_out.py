"""Holds verbs out of a table, families together (*stand*, *understand*), and scores answers."""

import random
from collections import defaultdict

import numpy as np

import lab5_utils as lab

LISTED = "a be broad co counter de dis en for fore in inter mis off out over pre re sub trans un"
ENGLISH = f"{LISTED} under up with".split()
SHORTEST_ROOT = 4  # letters, where any prefix counts
LONG = 12  # letters


def find_root(lemma, lemmas, prefixes):
    """Returns what is left of a lemma, a lemma itself, without prefixes.

    None for prefixes: any letters in front of a lemma of SHORTEST_ROOT letters or more.
    """
    for length in range(1, len(lemma)):
        prefix = lemma[:length]
        rest = lemma[length:]
        counts = len(rest) >= SHORTEST_ROOT if prefixes is None else prefix in prefixes
        if counts and rest in lemmas:
            return find_root(rest, lemmas, prefixes)
    return lemma


def split_verbs(verbs, split=0, splits=10, prefixes=ENGLISH):
    """Splits verbs into a training side and part `split`, held out, of `splits` parts.

    A verb and its derivatives (stand, understand) stay on one side. Raises ValueError where a side
    would be empty.
    """
    verbs = lab.distinct_verbs(verbs)
    lemmas = {verb[lab.LEMMA] for verb in verbs}
    families = defaultdict(list)
    for verb in verbs:
        root = find_root(verb[lab.LEMMA], lemmas, prefixes)
        families[root].append(verb)
    if splits < 2 or not 0 <= split < splits <= len(families):
        found = f"part {split} of {splits} of {len(verbs)} verbs in {len(families)} families"
        raise ValueError(f"{found}: expected 2 to {len(families)} parts, counted from 0")
    parts = [[] for _ in range(splits)]
    for family in random.Random(0).sample(list(families.values()), len(families)):
        min(parts, key=len).extend(family)
    held = set(parts[split])
    training = [verb for verb in verbs if verb not in held]
    return training, [verb for verb in verbs if verb in held]


def exact_match(answers, verbs, regular=None):
    """Returns the shares, 0..1, of right forms and of right rows.

    The first form was given, and does not count. If `regular` says of each verb whether it is: also
    the shares of forms of regular verbs, of others, of the others' pasts, and of long forms.
    """
    asked = np.array(verbs)[:, 1:]  # (N, F − 1)
    right = np.array(answers)[:, 1:] == asked  # (N, F − 1)
    shares = {"forms": right.mean(), "rows": right.all(1).mean()}
    if regular is None:
        return shares
    irregular = right[~np.array(regular)]
    return {
        **shares,
        "regular": right[np.array(regular)].mean(),
        "irregular": irregular.mean(),
        "irregular_pasts": irregular[:, lab.PAST - 1].mean(),
        "long": right[np.char.str_len(asked) >= LONG].mean(),
    }
