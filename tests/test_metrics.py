"""The metrics, against counting, closed forms and numbers known beforehand."""

import itertools
import math
import unicodedata
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import lab, lab5_train, small
from generated import cases, short_word, text
from hypothesis import strategies as st
from pytest import approx
from torch.distributions import Normal, kl_divergence

WALK = ("walk", "walks", "walking", "walked")


@pytest.fixture
def model(learned):
    return learned.model


@pytest.fixture
def table(verbs):
    """Returns the verbs that the model has learned."""
    return verbs[7::41]


@pytest.fixture
def mixed(table):
    """Returns a row of two verbs: what is converted to or from its past is wrong."""
    return (*table[0][:3], table[1][3])


# ---- BLEU-4 ----
def ngrams(letters, n):
    return Counter(letters[i : i + n] for i in range(len(letters) - n + 1))


def counted_bleu(output, reference):
    """Returns BLEU as Papineni et al. define it, 0.1 standing for no hit (smoothing method 1)."""
    if not set(output) & set(reference):
        return 0.0
    orders = 3 if len(reference) == 3 else 4
    weight = 0.33 if orders == 3 else 0.25
    logarithm = 0.0
    for n in range(1, orders + 1):
        ours = ngrams(output, n)
        hits = (ours & ngrams(reference, n)).total()
        total = max(1, ours.total())
        logarithm += weight * math.log((hits or 0.1) / total)
    brevity = min(1.0, math.exp(1 - len(reference) / len(output)))
    return math.exp(logarithm) * brevity


any_text = text | st.text("ab", max_size=9)  # the latter share n-grams


@cases(150, output=any_text, reference=any_text.filter(len))
def test_bleu_of_any_two_texts_by_counting(output, reference):
    score = lab.bleu4(output, reference)
    assert score == approx(counted_bleu(output, reference), abs=1e-12)
    assert 0 <= score <= 1


def test_bleu_known_values():
    assert lab.bleu4("abandoned", "abandoned") == 1
    assert lab.bleu4("", "abandoned") == 0
    assert lab.bleu4("walk", "walking") == approx(math.exp(1 - 7 / 4)), "it is too short"
    nine_right = 9 + lab.bleu4("sents", "sends")
    assert nine_right / 10 == approx(0.92857, abs=5e-6)
    short = [lab.bleu4(word, word) for word in ("a", "go", "ran")]
    assert short == approx([0.178, 0.316, 1], abs=5e-4)
    copied = [lab.bleu4(pair.source, pair.target) for pair in lab.load_test_pairs()]
    assert np.mean(copied) == approx(0.607, abs=5e-4)
    with pytest.raises(ValueError, match="reference"):
        lab.bleu4("abandon", "")


def test_mean_bleu_is_that_of_the_converted_words(model, table):
    scores = []
    for source, target, source_tense, target_tense in lab.load_test_pairs():
        (output,) = model.convert([source], source_tense, target_tense)
        scores.append(counted_bleu(output, target))
    mean = np.mean(scores)
    assert lab.mean_bleu4(model) == approx(mean)
    assert lab.mean_bleu4(model, draws=20) != approx(mean)
    pasts = model.convert([verb[0] for verb in table], lab.PRESENT, lab.PAST)
    own = [
        lab.TestPair(verb[0], verb[3], lab.PRESENT, lab.PAST)
        for verb, past in zip(table, pasts, strict=True)
        if past == verb[3]
    ]
    assert len(own) > 25
    assert lab.mean_bleu4(model, own) == 1
    with pytest.raises(ValueError, match="pairs: found none"):
        lab.mean_bleu4(model, [])


# ---- Gaussian score ----
row = st.tuples(short_word, short_word, short_word, short_word)


@cases(150, data=st.data())
def test_gaussian_score_by_counting(data):
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    columns = list(zip(*rows, strict=True))
    mixed = st.tuples(*[st.sampled_from(forms) for forms in columns])
    verb = st.sampled_from(rows) | mixed | row
    generated = data.draw(st.lists(verb, min_size=1, max_size=12))

    new = [verb for verb in generated if verb not in rows]
    inconsistent = 0
    for verb in new:
        inconsistent += all(verb[tense] in columns[tense] for tense in range(4))
    N = len(generated)
    score = lab.gaussian_score(generated, rows)
    assert score.official == approx(sum(rows.count(verb) for verb in generated) / N)
    assert score.exact == approx(1 - len(new) / N)
    assert score.distinct == len(set(generated) - set(new))
    assert score.inconsistent == approx(inconsistent / N)


def test_gaussian_score_of_a_repeated_row_is_above_1():
    score = lab.gaussian_score([WALK] * 100, [WALK, WALK])
    assert score == (2.0, 1.0, 1, 0.0)
    for generated in ([], [WALK, WALK[:3]]):
        with pytest.raises(ValueError, match=r"generated: .*; expected at least one, of 4 words"):
            lab.gaussian_score(generated, [WALK])


# ---- KL and information ----
def test_kl_is_torchs():
    rng = torch.Generator().manual_seed(0)
    mu, logvar = 3 * torch.randn(2, 100, 5, generator=rng, dtype=torch.float64)
    posterior = Normal(mu, (logvar / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(lab.kl_divergence(mu, logvar), expected, rtol=1e-9)
    zero = torch.zeros(3, 5)
    assert lab.kl_divergence(zero, zero).tolist() == [0, 0, 0], "the posterior is the prior"


def test_samples_have_the_posteriors_mean_and_variance_and_pass_gradients():
    rng = torch.Generator().manual_seed(0)
    mu = torch.randn(20, 8, generator=rng, requires_grad=True)
    logvar = torch.randn(20, 8, generator=rng, requires_grad=True)
    z = lab.reparameterize(mu.expand(50_000, 20, 8), logvar, rng)
    mean = z.mean(0)
    assert torch.allclose(mean, mu, atol=0.04)
    assert torch.allclose(z.var(0), logvar.exp(), rtol=0.04)
    mean.sum().backward()
    assert torch.allclose(mu.grad, torch.ones_like(mu))
    assert logvar.grad.all()


def test_information_by_brute_force(model, table):
    words = [form for verb in table for form in verb]
    codes = model.encode(words, [0, 1, 2, 3] * len(table))
    mu, logvar = [code.double() for code in codes]  # (M, Z) each
    rng = torch.Generator().manual_seed(0)
    z = lab.reparameterize(mu, logvar, rng).double()
    posterior = Normal(mu, (logvar / 2).exp())
    log_q = posterior.log_prob(z[:, None]).sum(2)  # (M, M): of each code, by each word
    log_marginal = log_q.logsumexp(1) - math.log(len(z))
    shared = (log_q.diagonal() - log_marginal).mean().item()
    assert 3 < shared <= math.log(len(z)), "it tells the thirty verbs apart"

    kl = lab.kl_divergence(mu, logvar).mean().item()
    expected = {
        "kl_table": kl,
        "mutual_information": shared,
        "marginal_kl": kl - shared,
        "active_units": np.sum(mu.numpy().var(0, ddof=1) > 0.01),
    }
    assert lab.information(model, table) == approx(expected, abs=1e-6)


# ---- All of a table ----
def test_conversions_of_a_table_are_those_of_its_words(model, table, mixed):
    verbs = [mixed, *table[:9]]
    converted = lab.convert_verbs(model, verbs)
    right = []
    for verb, rows in zip(verbs, converted.tolist(), strict=True):
        for source, target in itertools.permutations(range(4), 2):
            (output,) = model.convert([verb[source]], source, target)
            assert rows[source][target] == output
            right.append(output == verb[target])
    assert lab.conversion_accuracy(model, verbs) == approx(np.mean(right))
    assert 0.8 < np.mean(right) < 1


def test_score_is_every_metric_whatever_was_sampled_before(model, table, mixed):
    table = [*table, mixed]
    repeated = [*table, *table[:3], mixed, mixed]
    torch.rand(7)
    pairs = lab.load_test_pairs()
    score = lab.score(model, repeated, pairs, draws=200)
    generated = lab.sample_prior(model, 200)
    gaussian = lab.gaussian_score(generated, repeated)
    hundreds = [set(generated[:100]), set(generated[100:])]
    distinct = [len(hundred & set(table)) for hundred in hundreds]
    assert score == {
        "bleu4": lab.mean_bleu4(model),
        "bleu4_drawn": lab.mean_bleu4(model, draws=20),
        "conversion": lab.conversion_accuracy(model, table),
        "gaussian_official": gaussian.official,
        "gaussian_exact": gaussian.exact,
        "gaussian_inconsistent": gaussian.inconsistent,
        "distinct": np.mean(distinct),
        **lab.information(model, table),
    }


def decompose(words):
    return tuple(unicodedata.normalize("NFD", word) for word in words)


def test_scores_of_decomposed_letters_are_those_of_composed_ones():
    """Verbs and pairs from Python may be written in either of Unicode's ways."""
    table = [("größe", "größer"), ("müde", "müder"), ("öde", "öder")]
    config = small(epochs=60, batch_size=4, target_kl=10.0)
    model = lab5_train.train(config, table, progress=False).model
    pairs = [("größe", "größer", 0, 1), ("müder", "müde", 1, 0)]
    composed = lab.score(model, table, pairs, draws=100)
    assert min(composed["conversion"], composed["bleu4"], composed["gaussian_exact"]) > 0.3
    apart = [(*decompose(pair[:2]), *pair[2:]) for pair in pairs]
    decomposed = [list(decompose(verb)) for verb in table]
    assert lab.score(model, decomposed, apart, draws=100) == composed
    assert lab.conversion_accuracy(model, decomposed) == composed["conversion"]


MEASURES = {
    "information": lab.information,
    "noise": lab.score_noise,
    "conversions": lab.conversion_accuracy,
    "all": lab.score,
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_table_of_other_forms_is_refused_and_lists_are_verbs(model, table, name, monkeypatch):
    with pytest.raises(ValueError, match="verb 1: found 2 forms; expected 4"):
        MEASURES[name](model, [verb[:2] for verb in table])
    monkeypatch.setattr(lab, "sample_prior", lambda model, draws: [table[0]] * draws)
    assert MEASURES[name](model, list(map(list, table))) == MEASURES[name](model, table)


def test_score_without_pairs_has_no_bleu(model, table):
    assert not lab.known_pairs(table)
    names = set(lab.score(model, table, lab.load_test_pairs(), draws=100))
    assert names - set(lab.score(model, table, draws=100)) == {"bleu4", "bleu4_drawn"}
    with pytest.raises(ValueError, match="draws: found 99"):
        lab.score(model, table, draws=99)
