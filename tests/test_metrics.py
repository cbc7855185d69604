"""The metrics, against brute force, closed forms and numbers known beforehand."""

import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import lab
from torch.distributions import Normal


def brute_bleu(output, reference):
    """BLEU as Papineni et al. define it, by counting, with 0.1 in place of a count of 0 (smoothing method 1)."""
    orders, weight = ((1, 2, 3), 0.33) if len(reference) == 3 else ((1, 2, 3, 4), 0.25)
    score = 0.0
    for n in orders:
        ours, theirs = (Counter(s[i : i + n] for i in range(len(s) - n + 1)) for s in (output, reference))
        hits = sum(min(count, theirs[gram]) for gram, count in ours.items())
        if n == 1 and hits == 0:
            return 0.0
        score += weight * math.log((hits or 0.1) / max(1, sum(ours.values())))
    return math.exp(score) * min(1.0, math.exp(1 - len(reference) / len(output)))


def test_bleu_against_counting(verbs):
    rng = random.Random(0)
    words = [form for verb in verbs for form in verb]
    pairs = [(rng.choice(words), rng.choice(words)) for _ in range(2000)]
    pairs += [(verb[0], verb[tense]) for verb in verbs[:200] for tense in range(4)] + [("go", "put"), ("x", "abet")]
    for output, reference in pairs:
        assert lab.bleu4(output, reference) == pytest.approx(brute_bleu(output, reference), abs=1e-12)


def test_bleu_known_values(learned, recwarn):
    pairs = lab.load_test_pairs()
    assert np.mean([lab.bleu4(p.source, p.target) for p in pairs]) == pytest.approx(0.607, abs=5e-4)
    assert (9 + lab.bleu4("sents", "sends")) / 10 == pytest.approx(0.92857, abs=5e-6)
    assert lab.bleu4("abandoned", "abandoned") == 1 and lab.bleu4("", "abandoned") == 0
    assert lab.bleu4("walk", "walking") == pytest.approx(math.exp(1 - 7 / 4)), "a short output is penalized"
    outputs = [learned.model.convert([p.source], p.source_tense, p.target_tense)[0] for p in pairs]
    mean = np.mean([brute_bleu(output, p.target) for output, p in zip(outputs, pairs)])
    assert lab.mean_bleu4(learned.model) == pytest.approx(mean) and not recwarn.list
    with pytest.raises(ValueError, match="reference"):
        lab.bleu4("abandon", "")


def test_gaussian_score_by_counting(verbs):
    table, rng = verbs[:50] + verbs[:5], random.Random(0)  # five rows twice
    generated = [rng.choice(table) for _ in range(80)] + [("x",) * 4] * 5 + [table[0][::-1]] * 5
    generated += [(*rng.choice(table)[:2], *rng.choice(table)[2:]) for _ in range(40)]
    known = [all(any(row[t] == verb[t] for row in table) for t in range(4)) for verb in generated]
    expected = ["row" if v in table else "inconsistent" if k else "new" for v, k in zip(generated, known)]
    assert expected.count("new") == 10
    assert lab.gaussian_score(generated, table) == pytest.approx((
        sum(row == verb for verb in generated for row in table) / 130, expected.count("row") / 130,
        len({verb for verb in generated if verb in table}), expected.count("inconsistent") / 130,
    ))  # fmt: skip
    arrange = ("arrange", "arranges", "arranging", "arranged")
    assert lab.gaussian_score([arrange] * 100, [arrange, arrange]) == (2.0, 1.0, 1, 0.0)
    with pytest.raises(ValueError, match=r"generated: found \[\]; expected at least one"):
        lab.gaussian_score([], verbs)


def test_kl_and_reparameterized_samples():
    torch.manual_seed(0)
    mu, logvar = torch.randn(20, 8), torch.randn(20, 8)
    z = lab.reparameterize(mu.expand(100_000, 20, 8), logvar, torch.Generator().manual_seed(0))
    assert torch.allclose(z.mean(0), mu, atol=0.03) and torch.allclose(z.var(0), logvar.exp(), rtol=0.03)
    log_ratio = Normal(mu, (logvar / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    assert torch.allclose(lab.kl_divergence(mu, logvar), log_ratio.sum(2).mean(0), rtol=0.02)


def test_information_against_brute_force(learned, verbs, monkeypatch):
    words, tenses = zip(*((form, tense) for verb in verbs[::41] for tense, form in enumerate(verb)))
    mu, logvar = (x.double() for x in learned.model.encode(words, tenses))
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0)).double()
    log_q = torch.stack([Normal(m, (v / 2).exp()).log_prob(z).sum(1) for m, v in zip(mu, logvar)], 1)
    shared = (log_q.diagonal() - (log_q.logsumexp(1) - math.log(len(words)))).mean().item()
    kl = lab.kl_divergence(mu, logvar).mean().item()
    expected = {"kl_table": kl, "mutual_information": shared, "marginal_kl": kl - shared}
    expected["active_units"] = sum(mu[:, j].var().item() > 0.01 for j in range(mu.shape[1]))
    assert lab.information(learned.model, verbs[::41]) == pytest.approx(expected, abs=1e-6)
    assert 3 < shared <= math.log(len(words)) + 1e-9
    monkeypatch.setattr(learned.model, "encode", lambda words, tense: (torch.zeros(len(words), 16),) * 2)
    assert list(lab.information(learned.model, verbs[:30]).values()) == pytest.approx([0] * 4, abs=1e-9)


def test_conversions_and_codes_of_a_table_are_those_of_its_words(learned, verbs):
    model, table = learned.model, verbs[::41] + verbs[1:4]  # three that it has not seen
    codes, words = lab.encode_verbs(model, table), lab.convert_verbs(model, table)
    for s in range(4):
        for ours, alone in zip(codes, model.encode([verb[s] for verb in table], s)):
            assert torch.allclose(ours[:, s], alone.cpu(), atol=1e-5)
    alone = [[[model.convert([v[s]], s, t)[0] for t in range(4)] for s in range(4)] for v in table]
    assert words.shape == (len(table), 4, 4) and words.tolist() == alone
    right = np.array([[[alone[n][s][t] == v[t] for t in range(4)] for s in range(4)] for n, v in enumerate(table)])
    assert not right.all()
    score = lab.score(model, table, draws=200)
    assert score["conversion"] == pytest.approx(np.mean([right[:, s, t] for s in range(4) for t in range(4) if s != t]))
    torch.rand(7)
    assert lab.score(model, table, draws=200) == score, "it does not depend on what was sampled before"
