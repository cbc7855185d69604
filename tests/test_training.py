"""Training: what it optimizes, what it leaves alone, and that the same seed gives the same run."""

import copy
import random

import numpy as np
import pytest
import torch
from conftest import SMALL, equal, lab, small

GOLDEN = [  # configuration; ce and kl of its two epochs
    (small(epochs=2, rate_start=0.01, rate_end=0.01, refine=0.5), [26.07095, 25.79333], [0.1669864, 0.1669854]),
    (lab.Config.classic(**SMALL | dict(epochs=2)), [20.4233, 12.76138], [0.04460184, 0.008054625]),
    (lab.Config.course(**SMALL | dict(epochs=4, rate_start=0.1, rate_end=0.1)),
     [28.92923, 27.19815, 24.64339, 24.71552], [0.1606152, 0.2992327, 0.3744205, 0.5848881]),
    (lab.Config(**SMALL | dict(epochs=4, synthetic=2), refine=0.5, strategy="constant", tf_final=0.5),
     [26.06943, 25.75786, 28.78182, 22.52826], [0.1618022, 0.1415893, 0.2914457, 1.898775]),
]  # fmt: skip


@pytest.mark.parametrize("config, ce, kl", GOLDEN, ids=["lemma-first", "classic", "course", "synthetic"])
def test_golden_losses(verbs, config, ce, kl):
    history = lab.train(config, verbs[:40], progress=False).history
    found, expected = [history["ce"].tolist(), history["kl"].tolist()], [pytest.approx(x, rel=1e-4) for x in (ce, kl)]
    assert found == expected, "training computes something else: raise VERSION and renew these numbers"


def test_a_run_is_its_configuration(verbs):
    first = lab.train(small(), table := verbs[:40], progress=False)
    torch.rand(3), np.random.rand(3), random.random()
    assert equal(first, lab.train(small(), table + table[:5], progress=False)), "repeated rows count once"
    assert not equal(first, lab.train(small(seed=1), table, progress=False))


def test_history_follows_the_schedules(verbs):
    config = small(epochs=10, strategy="cyclical-trapezoid", kl_weight=0.5, refine=0.2, tf_final=0.4)
    history = lab.train(config, verbs[:20], progress=False).history
    assert list(history.index) == list(range(1, 11)) and config.joint_epochs == 8
    weights = [0.5 * lab.STRATEGIES["cyclical-trapezoid"](e / 10) for e in range(1, 9)] + [0, 0]
    assert list(history["kl_weight"]) == list(history["beta"]) == pytest.approx(weights)
    assert list(history["tf_ratio"]) == pytest.approx([1 - 0.06 * e for e in range(1, 11)])
    assert list(history["learning_rate"]) == [lab.learning_rate(config, e, 3, 3) for e in range(1, 11)]
    scored = history[["bleu4", "gaussian_inconsistent", "mutual_information", "conversion"]].dropna()
    assert list(scored.index) == [8, 10], "where a phase ends"


def test_effective_beta_of_the_classic_recipe(verbs):
    history = lab.train(lab.Config.classic(**SMALL | dict(epochs=10)), verbs[:100], progress=False).history
    characters = np.mean([len(form) + 1 for verb in verbs[:100] for form in verb])
    assert list(history["beta"] / history["kl_weight"]) == pytest.approx([characters] * 10, rel=0.03)


def test_target_rate_holds_the_rate(verbs):
    config = small(epochs=120, rate_start=8.0, rate_end=3.0, refine=0.0)
    assert lab.train(config, verbs[:60], progress=False).history["kl"].iloc[-20:].mean() == pytest.approx(3.0, abs=0.7)


def test_progress_may_be_a_function_of_the_history(verbs):
    seen = []
    run = lab.train(small(), verbs[:20], progress=lambda history: seen.append([row["ce"] for row in history]))
    assert seen == [run.history["ce"].tolist()[:epoch] for epoch in range(1, 7)]


def test_refining_trains_the_encoder_alone(verbs, monkeypatch):
    weights, train_epoch = [], lab.train_epoch

    def record(model, *args):
        weights.append(copy.deepcopy(model.state_dict()))
        return train_epoch(model, *args)

    monkeypatch.setattr(lab, "train_epoch", record)
    refined = lab.train(small(epochs=4, refine=0.5), verbs[:20], progress=False).model.state_dict()
    for name in refined:
        assert torch.equal(weights[2][name], refined[name]) != name.startswith("encoder."), name
        assert not torch.equal(weights[0][name], weights[2][name]), name


def test_gradients_are_clipped_to_a_norm_of_5(verbs, monkeypatch):
    norms, gradients = [], lambda sgd: [p.grad.flatten() for p in sgd.param_groups[0]["params"] if p.grad is not None]
    monkeypatch.setattr(torch.optim.SGD, "step", lambda sgd: norms.append(torch.cat(gradients(sgd)).norm()))
    lab.train(lab.Config.classic(**SMALL | dict(epochs=1, kl_weight=1000.0)), verbs[:20], progress=False)
    assert norms == pytest.approx([5.0] * 10, rel=1e-3)


@pytest.mark.parametrize("config", [small(batch_size=32), lab.Config.classic(batch_size=32)])
def test_an_epoch_is_every_verb_or_every_form_once(verbs, config):
    """Rows: a form of every verb to its lemma and to another form; same-tense: every form to itself."""
    epoch = lambda rng: lab.make_batches(*lab.choose(verbs, config, rng), config.batch_size, rng, "cpu")
    batches, seen = epoch(torch.Generator()), []
    row_of = {(form, t): verb for verb in verbs for t, form in enumerate(verb)}
    for _, (source, *targets) in batches:
        words = [list(zip(lab.tensor_to_words(w.letters), w.tense.tolist())) for w in (source, *targets)]
        assert all(((w.letters != lab.EOS).sum(1) + 1 == w.lengths).all() for w in (source, *targets))
        seen += zip(*words)
    targets = [words for _, (_, *targets) in batches for words in targets]
    assert sum(w.lengths.sum() for w in targets) / sum(w.letters.numel() for w in targets) > 0.85, "of like length"
    if config.training == "same-tense":
        assert sorted(seen) == sorted(zip(row_of, row_of))
    else:
        assert all(row_of[source] == row_of[lemma] == row_of[form] for source, lemma, form in seen)
        assert sorted(lemma for _, lemma, _ in seen) == [(verb[0], 0) for verb in verbs]
        assert {t for (_, t), *_ in seen} == {0, 1, 2, 3} and {t for *_, (_, t) in seen} == {1, 2, 3}
    again = epoch(torch.Generator().manual_seed(1))
    assert any(a.letters.shape != b.letters.shape for (_, (a, *_)), (_, (b, *_)) in zip(batches, again)), "shuffled"
