"""The metrics, against counting, closed forms and numbers known beforehand."""

import copy
import itertools
import math
import random

import numpy as np
import pytest
import torch
from pytest import approx
from torch.distributions import Normal, kl_divergence

from conftest import lab
from experiments.scores import information


@pytest.fixture
def model(learned):
    return learned.model


@pytest.fixture
def table(thirty):
    """Returns verbs that the model has learned, and a row of two: some conversions are wrong."""
    return [(*thirty[0][:3], thirty[1][3]), *thirty]


# ---- BLEU-4 ----
def test_bleu_is_the_courses_by_hand():
    assert lab.bleu4("abandoned", "abandoned") == 1
    assert lab.bleu4("", "abandoned") == 0
    assert lab.bleu4("walk", "walking") == approx(math.exp(1 - 7 / 4)), "it is too short"
    shares = [4 / 5, 2 / 4, 1 / 3, 0.1 / 2]  # of letters, pairs, triples; no quadruple
    assert lab.bleu4("sents", "sends") == approx(math.prod(shares) ** 0.25)


def test_bleu_of_a_short_word_is_the_courses_too():
    short = [lab.bleu4(word, word) for word in ("a", "go", "ran")]
    assert short == approx([0.178, 0.316, 1], abs=5e-4)
    assert lab.bleu4("rans", "ran") == approx(0.25**0.33), "its 1- to 3-grams"


# ---- Gaussian score ----
def test_the_gaussian_score_by_counting():
    rng = random.Random(0)
    rows = [tuple(rng.choices("abc", k=4)) for _ in range(20)]
    columns = list(zip(*rows, strict=True))
    drawn = [tuple(rng.choices("abcd", k=4)) for _ in range(30)]
    generated = [*rows[:5], *rows[:5], *drawn]
    new = [verb for verb in generated if verb not in rows]
    inconsistent = sum(all(verb[t] in columns[t] for t in range(4)) for verb in new)
    assert 0 < inconsistent < len(new)
    score = lab.gaussian_score(generated, rows)
    assert score.official == approx(sum(map(rows.count, generated)) / 40)
    assert score.exact == approx(1 - len(new) / 40)
    assert score.distinct == len(set(generated) - set(new))
    assert score.inconsistent == approx(inconsistent / 40)


def test_lemma_first_keeps_a_draws_lemma_and_converts_it(model):
    spelled = lab.sample_prior(model, 200, seed=1)
    lemma_first = lab.sample_lemma_first(model, 200, seed=1)
    assert [verb[0] for verb in lemma_first] == [verb[0] for verb in spelled]
    assert lemma_first != spelled
    for lemma, *others in lemma_first[:20]:
        if lemma:
            assert others == [model.convert([lemma], 0, tense)[0] for tense in (1, 2, 3)]


# ---- KL and information ----
def test_kl_is_torchs():
    rng = torch.Generator().manual_seed(0)
    mu, logvar = 3 * torch.randn(2, 100, 5, generator=rng, dtype=torch.float64)
    posterior = Normal(mu, (logvar / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(lab.kl_divergence(mu, logvar), expected, rtol=1e-9)


@pytest.mark.parametrize("narrower", [0, 90])
def test_information_by_brute_force(model, table, narrower):
    """Even where posteriors are needles, as they are without KL."""
    model = copy.deepcopy(model)
    model.encoder.logvar.bias.data -= narrower
    mu, logvar = lab.encode_verbs(model, table)  # (N, F, Z)
    mu, logvar = mu.flatten(0, 1).double(), logvar.flatten(0, 1).double()  # (M, Z)
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    posterior = Normal(mu, (logvar / 2).exp())
    log_q = posterior.log_prob(z[:, None]).sum(2)  # (M, M): of each code, by each word
    log_marginal = log_q.logsumexp(1) - math.log(len(z))
    shared = (log_q.diagonal() - log_marginal).mean().item()
    assert 3 < shared <= math.log(len(z)), "it tells the thirty verbs apart"
    kl = lab.kl_divergence(mu, logvar).mean().item()
    expected = {"kl_table": kl, "mutual_information": shared, "marginal_kl": kl - shared}
    assert information(model, table) == approx(expected, abs=1e-6)


# ---- All of a table ----
def test_conversions_of_a_table_are_those_of_its_words(model, table):
    converted = lab.convert_verbs(model, table[:10])
    right = []
    for verb, rows in zip(table, converted.tolist(), strict=False):
        for source, target in itertools.permutations(range(4), 2):
            (output,) = model.convert([verb[source]], source, target)
            assert rows[source][target] == output
            right.append(output == verb[target])
    assert lab.conversion_accuracy(model, table[:10]) == approx(np.mean(right))
    assert 0.8 < np.mean(right) < 1
