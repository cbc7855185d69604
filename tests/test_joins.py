"""Joins: what pairs cost, words that choose each other, rows from lists in any order."""

import random
from itertools import product

import numpy as np
import pytest
import torch

from bonus import joins
from conftest import lab


@torch.no_grad()
def test_a_pair_costs_what_both_ways_cost(learned, thirty):
    model = learned.model
    mu, _ = lab.encode_verbs(model, thirty[:4])  # (4, F, Z)
    no_word = torch.zeros(4, dtype=torch.bool)
    presents, *_, pasts = zip(*thirty[:4], strict=True)
    one = lab.as_words(presents, lab.PRESENT, model.vocabulary)
    other = lab.as_words(pasts, lab.PAST, model.vocabulary)
    there = model.decoder.nats(mu[:, lab.PRESENT], other, no_word)
    back = model.decoder.nats(mu[:, lab.PAST], one, no_word)
    costs = joins.costs_between(model, one, other)
    assert costs.diagonal() == pytest.approx((there + back).numpy(), rel=1e-4)


def test_words_are_joined_that_choose_each_other():
    costs = np.random.default_rng(0).random((20, 30))
    costs[:, :10] = costs[:5] = np.inf
    cells = product(range(5, 20), range(10, 30))
    expected = [(i, j) for i, j in cells if costs[i].min() == costs[i, j] == costs[:, j].min()]
    assert list(zip(*joins.mutual(costs), strict=True)) == expected != []


def test_most_rows_come_back_from_lists_in_any_order(learned, thirty):
    rng = random.Random(0)
    lists = [rng.sample(words, len(words)) for words in zip(*thirty, strict=True)]
    rows = joins.rows_of(lists, joins.costs_of(learned.model, lists))
    assert len(set(rows) & set(thirty)) > 0.8 * len(thirty)
