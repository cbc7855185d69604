"""Training: what it optimizes, what it leaves alone, and what its history holds."""

import re
from functools import partial
from unittest.mock import Mock, patch

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL, lab, lab5_runs, lab5_train, small, train
from torch.nn.utils import parameters_to_vector

ROWS = """walk walks walking walked
bake bakes baking baked
carry carries carrying carried
stop stops stopping stopped
go goes going went
take takes taking took"""
VERBS = [tuple(row.split()) for row in ROWS.splitlines()]
RECIPES = {
    "gated": small(epochs=4, target_kl=0.1, tf_final=0.5, refine=0.5),
    "direct": small(epochs=4, decoding="direct", strategy="constant", tf_final=0.5, refine=0.5),
    "classic": lab5_train.Config.classic(**SMALL | {"epochs": 3}),
}
GOLDEN = {  # by epoch; the norm of the weights
    "gated": {
        "ce": [17.82682, 11.34428, 13.10963, 13.04876],
        "kl": [0.2485998, 0.2538351, 0.9184419, 3.719753],
        "weights": 32.46611,
    },
    "direct": {
        "ce": [17.56362, 13.11011, 13.50043, 14.02003],
        "kl": [0.09098458, 0.01803601, 0.1543885, 0.7585292],
        "weights": 32.02778,
    },
    "classic": {
        "ce": [17.42021, 8.779279, 8.808173],
        "kl": [0.1608087, 0.06292609, 0.02767149],
        "loss": [2.915158, 1.522137, 1.460719],
        "beta": [6.291667, 6.291667, 6.291667],
        "weights": 31.67137,
    },
}
RENEW = "training computes something else: renew these numbers if that was meant"


@pytest.mark.parametrize("name", RECIPES)
def test_golden_history_and_weights(name):
    """The same on any machine, to four digits, since these are the first steps."""
    run = train(RECIPES[name], VERBS)
    weights = torch.cat([weight.flatten() for weight in run.model.state_dict().values()])
    found = run.history.to_dict("list") | {"weights": weights.norm().item()}
    for column, expected in GOLDEN[name].items():
        assert found[column] == pytest.approx(expected, rel=1e-4), RENEW


# ---- Schedules and history ----
def test_schedules_are_taken_step_by_step_and_the_history_holds_means(verbs):
    """Of 80 steps in the first phase, ten an epoch; each cycle begins near zero."""
    config = small(epochs=10, strategy="cyclical-trapezoid", kl_weight=0.5, refine=0.2)
    history = train(config, verbs[:20]).history
    steps = np.arange(1, 81) / 80
    weights = [0.5 * lab5_train.cyclical_trapezoid(step, 0.0) for step in steps]
    means = [*np.reshape(weights, (8, 10)).mean(1), 0, 0]
    assert history["kl_weight"].tolist() == pytest.approx(means)
    assert history["beta"].tolist() == pytest.approx(means)
    ratios = [*(1 - 0.05 * steps).reshape(8, 10).mean(1), 0.95, 0.95]
    assert history["tf_ratio"].tolist() == pytest.approx(ratios)
    phases = [*np.arange(1, 9) / 8, 0.5, 1]
    rates = [lab5_train.learning_rate(config, share) for share in phases]
    assert history["learning_rate"].tolist() == rates


def test_noise_is_scored_eight_times_and_all_else_where_a_phase_ends(verbs, monkeypatch):
    monkeypatch.setattr(lab, "score_noise", lambda model, verbs, draws: {"gaussian_exact": draws})
    config = small(epochs=24, refine=0.3)
    training = lab5_train.Training(config, verbs[:3])
    task = lab5_train.check_task(config, verbs[:3])
    found = {epoch: training.evaluate(epoch, task) for epoch in range(1, 25)}
    assert all("bleu4" in names for names in found.values())
    noise = [epoch for epoch, names in found.items() if "gaussian_exact" in names]
    assert noise == [3, 6, 9, 12, 15, 17, 18, 21, 24]
    assert [epoch for epoch in noise if "conversions" in found[epoch]] == [17, 24]
    assert len({found[epoch]["gaussian_exact"] for epoch in noise}) == 1, "as many draws each time"


def test_own_scores_and_pairs_of_a_table_of_ones_own_are_taken_after_every_epoch(monkeypatch):
    scored, real = [], lab.mean_bleu4
    monkeypatch.setattr(lab, "mean_bleu4", lambda *a: scored.append(a[0].training) or real(*a))
    scores = {
        "width": lambda model: torch.tensor(model.train().latent_size),
        "drawn": lambda model: torch.rand(()),
        "still learns": lambda model: model.training or torch.is_grad_enabled(),
    }
    options = {"pairs": [("знаю", "знает", 1, 2)], "scores": scores, "progress": False}
    table = [(stem + "ть", stem + "ю", stem + "ет") for stem in ("дела", "чита", "зна", "дума")]
    run = lab5_runs.train(small(epochs=2), table, **options)
    assert run.history["width"].tolist() == [16, 16]
    assert run.history["drawn"].nunique() == 1, "each time with the same random numbers"
    assert not run.history["still learns"].any() and scored == [False, False]
    for column in {"epoch", *run.history} - scores.keys():
        with pytest.raises(ValueError, match=f"scores: found '{column}', a column of the history"):
            lab5_runs.train(small(), VERBS, scores={column: len})
    with pytest.raises(TypeError) as caught:
        lab5_runs.train(small(), VERBS, scores={"mine": lambda model: None}, progress=False)
    assert caught.value.__notes__ == ["in the score 'mine', which returns a number"]
    (output,) = run.model.convert(["знаю"], 1, 2)
    assert run.history["bleu4"].iloc[-1] == lab.bleu4(output, "знает")


BAD_REQUESTS = {
    "config: found {'epochs': 2}; expected a Config": lambda: lab5_runs.train({"epochs": 2}, VERBS),
    "scores: found {'mine': 3}": lambda: lab5_runs.train(small(), VERBS, scores={"mine": 3}),
    "scores: found .* expected functions": lambda: lab5_runs.train(small(), VERBS, scores=[len]),
    "pairs: found {.*}; expected": lambda: lab5_runs.train(small(), VERBS, pairs={(1, 2)}),
    "configs: found Config.* expected a list": lambda: lab5_runs.sweep(small(), VERBS),
}


@pytest.mark.parametrize("message", BAD_REQUESTS)
def test_what_is_of_another_kind_is_refused_by_its_name(message):
    with pytest.raises(TypeError, match=f"^{message}"):
        BAD_REQUESTS[message]()


def test_the_official_score_of_a_history_counts_repeats():
    task = lab5_train.check_task(small(epochs=1, refine=0.0), [VERBS[0], *VERBS])
    training = lab5_train.Training(task.config, task.verbs)
    with patch.object(lab, "sample_prior", lambda *_: VERBS[:1]):
        found = training.evaluate(1, task)
    assert (found["gaussian_official"], found["gaussian_exact"]) == (2, 1)


def test_an_optimizer_may_have_several_groups():
    training = lab5_train.Training(small(), VERBS)
    training.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    rate = training.run_epoch(1)["learning_rate"]
    assert [group["lr"] for group in training.optimizer.param_groups] == 2 * [rate]


# ---- Steps ----
def test_an_epoch_trains_and_its_row_holds_means_over_words():
    """Of a batch of 16 words and one of 8; at a rate of 0 nothing changes."""
    training = lab5_train.Training(small(learning_rate=0, batch_size=16), VERBS)
    posterior = training.model.eval().encode_words(training.words)
    row = training.run_epoch(1)
    assert training.model.training, "with dropout"
    assert row["kl"] == pytest.approx(lab.kl_divergence(*posterior).mean().item())


def test_a_step_has_its_rate_and_a_steep_gradient_is_clipped_to_5():
    training = lab5_train.Training(small(optimizer="sgd"), VERBS)
    before = parameters_to_vector(training.model.parameters())
    training.descend(1000 * before.sum(), rate=0.1, where="")
    moved = parameters_to_vector(training.model.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.1 * 5, rel=1e-3)


def test_the_second_phase_trains_the_encoder_alone(verbs):
    run = train(small(epochs=4, refine=0.5), verbs[:20])
    before = run.before_refining.state_dict()
    for name, weight in run.model.state_dict().items():
        assert torch.equal(before[name], weight) == name.startswith("decoder."), name
    assert train(small(epochs=1, refine=0.0), verbs[:20]).before_refining is None


def test_a_given_model_is_free_again_when_refining_is_stopped(verbs):
    model = lab.make_model(small(), lab.vocabulary_of(verbs))
    options = {
        "scores": {"stop": Mock(side_effect=[0, KeyboardInterrupt])},
        "progress": False,
        "make_training": partial(lab5_train.Training, model=model),
    }
    with pytest.raises(KeyboardInterrupt):
        lab5_runs.train(small(epochs=2, refine=0.5), verbs[:20], **options)
    assert all(weight.requires_grad for weight in model.parameters())


class DecoderLast(lab5_train.Training):
    """A training whose second phase is another."""

    def start_second_phase(self):
        self.model.encoder.requires_grad_(False)
        self.optimizer = self.make_optimizer(self.model.decoder, beta2=0.999)


def test_a_second_phase_of_ones_own_is_started_again_where_a_run_is_resumed():
    config = small(epochs=4, refine=0.5)
    first, resumed = DecoderLast(config, VERBS), DecoderLast(config, VERBS)
    first.history = [{}] * 3
    first.start_second_phase()
    resumed.restore(first.state())
    assert not any(weight.requires_grad for weight in resumed.model.encoder.parameters())


def test_a_loss_or_a_gradient_that_is_not_finite_stops_the_training(verbs):
    config = small(optimizer="sgd", learning_rate=1e9, strategy="constant")
    with pytest.raises(FloatingPointError, match=r"loss (inf|nan).* in epoch 1, step 2"):
        train(config, verbs[:10])
    training = lab5_train.Training(config, verbs[:10])
    total = parameters_to_vector(training.model.parameters()).sum()
    for loss in (total + torch.inf, (0 * total).sqrt()):
        with pytest.raises(FloatingPointError, match="in step 1"):
            training.descend(loss, 0.1, "step 1")


def test_an_epoch_is_every_form_once_to_itself(verbs):
    training = lab5_train.Training(small(batch_size=64), verbs)
    epochs = []
    for epoch in (1, 2):
        seen = []
        for batch in training.make_epoch(epoch):
            assert batch.target is batch.source
            letters, lengths, tense = batch.source
            assert len(letters) <= 64
            assert lengths.sum() > 0.6 * letters.numel(), "of like length"
            words = training.model.vocabulary.to_words(letters)
            seen += zip(words, tense.tolist(), strict=True)
        epochs.append(seen)
    forms = [(form, tense) for verb in verbs for tense, form in enumerate(verb)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(forms)
    assert epochs[0] != epochs[1], "shuffled"


@patch.dict(lab5_train.STRATEGIES)  # what is registered is forgotten in the end
@patch.dict(lab.DECODERS)
def test_the_examples_of_the_readme_work():
    text = (ROOT / "tests" / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    found = {}
    exec("".join(blocks), found)
    assert found["run"].history["kl_weight"].iloc[0] == 0
    assert found["scored"].history["pasts"].between(0, 1).all()
    assert found["deep"].model.convert(["walked"], lab.PAST, lab.THIRD) != []
