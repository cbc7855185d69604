"""Which words belong together: what the codes of a trained model know of it.

Lists of words go in, one per tense, in any order, so that nothing says which words are forms of one
verb. A model that has read single words tells what each word costs from the code of each other one,
and two words are joined that choose each other. Read it after `lab5_utils`; shapes and units are
the same. P is a number of pairs.
"""

import numpy as np
import torch
from torch import Tensor

import lab5_utils as lab
from lab5_utils import CVAE, LEMMA, Verb, Words

SURE = 3.0  # nats, both ways together; a pair that costs less may be joined
NEAREST = 30  # words around a code whose costs are computed, since all would take hours
Lists = list[list[str]]  # F lists of words, one per tense


def check_lists(lists: Lists, model: CVAE) -> list[Words]:
    """Returns lists of words, one per tense, as tensors.

    Raises a ValueError or a TypeError that names the list and the word.
    """
    vocabulary = model.vocabulary
    if len(lists) != vocabulary.forms:
        raise lab.wrong("lists", len(lists), f"{vocabulary.forms}, one per tense")
    checked = [lab.check_words(words, f"list {n}") for n, words in enumerate(lists, 1)]
    return [lab.as_words(words, tense, vocabulary) for tense, words in enumerate(checked)]


# ---- What a word costs from another's code ----
@torch.no_grad()
def nats_of(model: CVAE, codes: Tensor, words: Words) -> Tensor:
    """Returns −log p(word | code, tense) of P words in nats (P,), each from its code (P, Z)."""
    nats = torch.zeros(len(codes))
    by_length = words.lengths.argsort()  # so that a batch has little padding
    for numbers in by_length.split(lab.CHUNK):
        target = lab.select(words, numbers).to(model.device)
        is_free = torch.zeros(len(numbers), dtype=torch.bool, device=model.device)
        z = codes[numbers].to(model.device)
        nats[numbers] = model.decoder.nats(z, target, is_free).cpu()
    return nats


def are_near(one: Tensor, other: Tensor) -> Tensor:
    """Returns a mask (N, M) of codes (N, Z) and (M, Z), one among the NEAREST of the other."""
    distance = torch.cdist(one, other)  # (N, M)
    near = torch.zeros_like(distance, dtype=torch.bool)
    for dim, size in enumerate(distance.shape):
        nearest = distance.topk(min(NEAREST, size), dim, largest=False).indices
        near.scatter_(dim, nearest, True)
    return near


def costs_between(model: CVAE, one: Words, other: Words) -> np.ndarray:
    """Returns what N words and M others cost from each other's codes, in nats (N, M).

    That is the cost of one given the code of the other, plus the reverse. Pairs whose codes aren't
    near each other cost infinity.
    """
    codes, other_codes = (model.encode_words(words)[0].cpu() for words in (one, other))
    near = are_near(codes, other_codes)
    i, j = near.nonzero(as_tuple=True)  # (P,) each
    costs = torch.full(near.shape, torch.inf)
    there = nats_of(model, codes[i], lab.select(other, j))
    back = nats_of(model, other_codes[j], lab.select(one, i))
    costs[i, j] = there + back
    return costs.numpy()


# ---- Which words belong together ----
def mutual(costs: np.ndarray, limit=SURE) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows (P,) and columns (P,) that choose each other and cost less than a limit."""
    rows = np.arange(len(costs))
    columns = costs.argmin(1)  # the cheapest of each row
    chosen = (costs.argmin(0)[columns] == rows) & (costs[rows, columns] < limit)
    return rows[chosen], columns[chosen]


def sure_joins(model: CVAE, lists: Lists, limit=SURE) -> np.ndarray:
    """Returns joins (N, F): the number of a lemma in its list, and of the words joined with it.

    Where no word is joined with a lemma, that is −1. Raises the errors of `check_lists`.
    """
    lemmas, *others = check_lists(lists, model)
    joins = np.full((len(lists[LEMMA]), len(lists)), -1)
    joins[:, LEMMA] = np.arange(len(joins))
    for tense, words in enumerate(others, LEMMA + 1):
        rows, columns = mutual(costs_between(model, lemmas, words), limit)
        joins[rows, tense] = columns
    return joins


def rows_of(lists: Lists, joins: np.ndarray) -> list[Verb]:
    """Returns the complete rows, in which every form was joined."""
    whole = joins[(joins >= 0).all(1)]
    return [tuple(lists[t][n] for t, n in enumerate(row)) for row in whole]
