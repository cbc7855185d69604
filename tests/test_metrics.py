"""The metrics, against brute force, closed forms and numbers known beforehand."""

import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import lab
from torch.distributions import Normal, kl_divergence


def brute_bleu(output, reference):
    """BLEU as Papineni et al. define it, by counting, with 0.1 in place of a count of 0 (smoothing method 1)."""
    orders = (1, 2, 3) if len(reference) == 3 else (1, 2, 3, 4)
    weight = 0.33 if len(orders) == 3 else 0.25
    score = 0.0
    for n in orders:
        mine, theirs = (Counter(s[i : i + n] for i in range(len(s) - n + 1)) for s in (output, reference))
        hits = sum(min(count, theirs[gram]) for gram, count in mine.items())
        if n == 1 and hits == 0:
            return 0.0
        score += weight * math.log((hits or 0.1) / max(1, sum(mine.values())))
    return math.exp(score) * min(1.0, math.exp(1 - len(reference) / len(output)))


def test_bleu_against_counting(verbs):
    chance = random.Random(0)
    words = [form for verb in verbs for form in verb]
    pairs = [(chance.choice(words), chance.choice(words)) for _ in range(2000)]
    pairs += [(verb[0], verb[tense]) for verb in verbs[:200] for tense in range(4)] + [("go", "put"), ("x", "abet")]
    for output, reference in pairs:
        assert lab.bleu4(output, reference) == pytest.approx(brute_bleu(output, reference), abs=1e-12)


def test_bleu_known_values(recwarn):
    pairs = lab.load_test_pairs()
    assert np.mean([lab.bleu4(p.source, p.target) for p in pairs]) == pytest.approx(0.607, abs=5e-4)
    assert (9 + lab.bleu4("sents", "sends")) / 10 == pytest.approx(0.92857, abs=5e-6)
    assert lab.bleu4("abandoned", "abandoned") == 1 and lab.bleu4("", "abandoned") == 0
    assert lab.bleu4("walk", "walking") != lab.bleu4("walking", "walk"), "the output comes first"
    assert not recwarn.list
    with pytest.raises(ValueError, match="reference"):
        lab.bleu4("abandon", "")


def test_gaussian_score_against_the_official_loop(verbs):
    table = verbs[:50] + verbs[:5]  # five rows twice
    chance = random.Random(0)
    generated = [chance.choice(table) for _ in range(80)]
    generated += [(*chance.choice(table)[:2], *chance.choice(table)[2:]) for _ in range(40)] + [("x",) * 4] * 10
    official = sum(row == verb for verb in generated for row in table) / len(generated)
    score = lab.gaussian_score(generated, table)
    assert score.official == pytest.approx(official)
    assert score.exact == pytest.approx(np.mean([verb in table for verb in generated]))
    assert score.distinct == len({verb for verb in generated if verb in table})
    assert score.official > score.exact


def test_gaussian_score_of_simple_cases(verbs):
    arrange = ("arrange", "arranges", "arranging", "arranged")
    assert lab.gaussian_score([arrange] * 100, [arrange, arrange]) == (2.0, 1.0, 1, 0.0)
    go_went = (*verbs[0][:2], *verbs[1][2:])
    assert lab.gaussian_score([go_went, ("x", "y", "z", "w")], verbs) == (0, 0, 0, 0.5)
    with pytest.raises(ValueError, match="no generated verbs"):
        lab.gaussian_score([], verbs)


def test_kl_against_torch_and_against_draws():
    torch.manual_seed(0)
    mu, logvar = torch.randn(20, 8), torch.randn(20, 8)
    q, p = Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)
    ours = lab.kl_divergence(mu, logvar)
    assert torch.allclose(ours, kl_divergence(q, p).sum(1), atol=1e-5)
    z = q.sample((100_000,))
    assert torch.allclose(ours, (q.log_prob(z) - p.log_prob(z)).sum(2).mean(0), rtol=0.02)


def test_reparameterized_draws_have_the_right_moments():
    mu, logvar = torch.tensor([[1.0, -2.0]]).repeat(200_000, 1), torch.tensor([[0.0, 1.0]]).repeat(200_000, 1)
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    assert torch.allclose(z.mean(0), mu[0], atol=0.02) and torch.allclose(z.var(0), logvar[0].exp(), rtol=0.02)


def test_information_against_brute_force(learned, verbs):
    table = verbs[::41]
    words, tenses = zip(*((form, tense) for verb in table for tense, form in enumerate(verb)))
    mu, logvar = (x.double() for x in learned.model.encode(words, tenses))
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0)).double()
    log_q = torch.stack([Normal(m, (v / 2).exp()).log_prob(z).sum(1) for m, v in zip(mu, logvar)], 1)
    shared = (log_q.diagonal() - (log_q.logsumexp(1) - math.log(len(words)))).mean().item()
    info = lab.information(learned.model, table)
    assert info.mutual_information == pytest.approx(shared, abs=1e-6)
    assert info.kl_table == pytest.approx(info.mutual_information + info.marginal_kl)
    assert info.mutual_information <= math.log(len(words)) + 1e-9
    assert info.active_units == sum(mu[:, j].var() > 0.01 for j in range(mu.shape[1]))


def test_information_of_codes_that_say_nothing(verbs, monkeypatch):
    model = lab.CVAE(lab.Config(hidden_size=16))
    nothing = lambda words, tense: (torch.zeros(len(words), 32), torch.zeros(len(words), 32))
    monkeypatch.setattr(model, "encode", nothing)
    assert lab.information(model, verbs[:30]) == pytest.approx((0, 0, 0, 0), abs=1e-9)


def test_conversion_accuracy_against_convert(learned, verbs):
    table = verbs[::41] + verbs[1:4]  # three that it has not seen
    right = [
        learned.model.convert([verb[source]], source, target)[0] == verb[target]
        for verb in table
        for source in range(4)
        for target in range(4)
        if source != target
    ]
    assert lab.conversion_accuracy(learned.model, table) == pytest.approx(np.mean(right))


def test_scores_do_not_depend_on_what_was_drawn_before(learned, verbs):
    first = lab.score(learned.model, verbs[::41], draws=200)
    torch.rand(7)
    assert lab.score(learned.model, verbs[::41], draws=200) == first
