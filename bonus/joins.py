"""Which words belong together: what the codes of a trained model know of it.

Lists of words go in, one per tense, in any order, so that nothing says which words are forms of one
verb. A model that has read single words tells what each word costs from the code of each other one,
and two words are joined that choose each other. Read it after `lab5_utils`; shapes and units are
the same. A list has N words, another M, and P is a number of pairs.
"""

import numpy as np
import torch
from torch import Tensor

import lab5_utils as lab
from lab5_utils import CVAE, LEMMA, Verb, Words

NEAREST = 10  # words around a code whose costs are computed; all would take a hundred times as long
Lists = list[list[str]]  # F lists of words, one per tense


# ---- What a word costs from another's code ----
@torch.no_grad()
def nats_of(model: CVAE, codes: Tensor, words: Words) -> Tensor:
    """Returns −log p(word | code, tense) of P words in nats (P,), each from its code (P, Z)."""
    nats = torch.zeros(len(codes))
    by_length = words.lengths.argsort()  # so that a batch has little padding
    for numbers in by_length.split(lab.CHUNK):
        target = lab.select(words, numbers).to(model.device)
        z = codes[numbers].to(model.device)
        free_running = torch.zeros(len(z), dtype=torch.bool, device=model.device)  # no word
        nats[numbers] = model.decoder.nats(z, target, free_running).cpu()
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


def costs_of(model: CVAE, lists: Lists) -> list[np.ndarray]:
    """Returns the costs (N, M) between the first list and each of the others.

    Raises ValueError or TypeError for a bad word, and for more lists than the model has tenses.
    """
    checked = map(lab.check_words, lists)
    one, *others = [lab.as_words(w, tense, model.vocabulary) for tense, w in enumerate(checked)]
    return [costs_between(model, one, other) for other in others]


# ---- Which words belong together ----
def mutual(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows (P,) and columns (P,) that choose each other, unless they cost infinity."""
    rows = np.arange(len(costs))
    columns = costs.argmin(1)  # the cheapest of each row
    chosen = (costs.argmin(0)[columns] == rows) & np.isfinite(costs[rows, columns])
    return rows[chosen], columns[chosen]


def rows_of(lists: Lists, costs: list[np.ndarray]) -> list[Verb]:
    """Returns the complete rows: a lemma, and the word of each other list that is joined to it."""
    joins = np.full((len(lists[LEMMA]), len(lists)), -1)  # the number of a word; −1: none
    joins[:, LEMMA] = np.arange(len(joins))
    for tense, matrix in enumerate(costs, LEMMA + 1):
        rows, columns = mutual(matrix)
        joins[rows, tense] = columns
    whole = joins[(joins >= 0).all(1)]
    return [tuple(words[n] for words, n in zip(lists, row, strict=True)) for row in whole]
