"""Training: what it optimizes, what it leaves alone, and what its history holds."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL, lab, lab5_runs, lab5_train, own, small, train
from torch.nn.utils import parameters_to_vector

from experiments import variants

ROWS = """walk walks walking walked
bake bakes baking baked
carry carries carrying carried
stop stops stopping stopped
go goes going went
take takes taking took"""
VERBS = [tuple(row.split()) for row in ROWS.splitlines()]
DIRECT = {
    "encoder": lab.Encoder,
    "decoder": lab.DirectDecoder,
    "schedule": lab5_train.constant,
    "kl_weight": 1.0,
}
RECIPES = {
    "gated": small(epochs=4, tf_final=0.5),
    "direct": small(epochs=2, tf_final=0.5, **DIRECT),
    "lab": lab5_train.Config.lab(**SMALL | {"epochs": 3}),
}
GOLDEN = {  # by epoch; the norm of the weights
    "gated": {
        "ce": [18.07743, 12.66354, 12.57617, 12.05612],
        "kl": [0.2286387, 0.6451984, 1.017109, 1.226965],
        "weights": 32.7508,
    },
    "direct": {
        "ce": [17.56362, 13.11011],
        "kl": [0.09098458, 0.01803601],
        "weights": 31.86586,
    },
    "lab": {
        "ce": [17.13646, 7.983541, 7.224958],
        "kl": [0.1396117, 0.01916023, 0.01631231],
        "loss": [2.719586, 1.333292, 1.158297],
        "beta": [1.225327, 1.228062, 1.599389],
        "weights": 31.70057,
    },
}
RENEW = "training computes something else: renew these numbers if that was meant"


@pytest.mark.parametrize("name", RECIPES)
def test_golden_history_and_weights(name):
    """The same on any machine, to four digits, since these are the first steps."""
    run = train(RECIPES[name], VERBS)
    weights = torch.cat([weight.flatten() for weight in run.model.state_dict().values()])
    numbers = run.history.to_dict("list") | {"weights": weights.norm().item()}
    for column, expected in GOLDEN[name].items():
        assert numbers[column] == pytest.approx(expected, rel=1e-4), RENEW


# ---- Schedules and history ----
def test_schedules_are_taken_step_by_step_and_the_history_holds_means(verbs):
    """Of 40 steps, ten an epoch."""
    config = small(epochs=4, schedule=lab5_train.two_trapezoids, kl_weight=0.5)
    history = train(config, verbs[:20]).history
    steps = np.arange(1, 41) / 40
    weights = [0.5 * lab5_train.two_trapezoids(step) for step in steps]
    means = np.reshape(weights, (4, 10)).mean(1)
    assert history["kl_weight"].tolist() == pytest.approx(means)
    assert history["beta"].tolist() == pytest.approx(means)
    ratios = (1 - 0.05 * steps).reshape(4, 10).mean(1)
    assert history["tf_ratio"].tolist() == pytest.approx(ratios)
    rates = [lab5_train.learning_rate(config, epoch / 4) for epoch in range(1, 5)]
    assert history["learning_rate"].tolist() == rates


def test_noise_is_scored_eight_times_and_all_else_in_the_end(verbs, monkeypatch):
    monkeypatch.setattr(lab, "score_noise", lambda model, verbs, draws: {"from_noise": draws})
    config = small(epochs=24)
    training = lab5_train.Training(config, verbs[:3])
    task = lab5_train.check_task(config, verbs[:3])
    scores = {epoch: training.evaluate(epoch, task) for epoch in range(1, 25)}
    assert all("bleu4" in names for names in scores.values())
    noise = [epoch for epoch, names in scores.items() if "from_noise" in names]
    assert noise == [3, 6, 9, 12, 15, 18, 21, 24]
    assert [epoch for epoch in noise if "conversions" in scores[epoch]] == [24]
    assert {scores[epoch]["from_noise"] for epoch in noise} == {1000}, "as many draws each time"


def test_a_table_of_another_language_is_trained_and_scored_by_its_own_pairs():
    table = [(stem + "ть", stem + "ю", stem + "ет") for stem in ("дела", "чита", "зна", "дума")]
    options = {"pairs": [("знаю", "знает", 1, 2)], "progress": False}
    run = lab5_runs.train(small(epochs=2), table, **options)
    (output,) = run.model.convert(["знаю"], 1, 2)
    assert run.history["bleu4"].iloc[-1] == lab.bleu4(output, "знает")


def test_a_model_is_scored_without_dropout(monkeypatch):
    monkeypatch.setattr(lab, "mean_bleu4", lambda model, pairs: float(model.training))
    options = {"pairs": [("walk", "walked", 0, 3)], "progress": False}
    history = lab5_runs.train(small(epochs=2), VERBS, **options).history
    assert history["bleu4"].tolist() == [0, 0]


def test_own_scores_are_taken_after_every_epoch_alike():
    scores = {
        "width": lambda model: torch.tensor(model.train().latent_size),
        "drawn": lambda model: torch.rand(()),
        "still learns": lambda model: model.training or torch.is_grad_enabled(),
        "baseline": lambda model: train(small(epochs=1), VERBS).history["ce"].item(),
    }
    history = train(small(epochs=2), VERBS, scores=scores).history
    assert history["width"].tolist() == [16, 16]
    assert history["drawn"].nunique() == 1, "each time with the same random numbers"
    assert not history["still learns"].any()
    assert history["baseline"].nunique() == 1, "a score may train"


def test_no_score_may_have_the_name_of_a_column():
    history = lab5_runs.train(small(epochs=1), VERBS, progress=False).history
    for column in ("epoch", *history):
        with pytest.raises(ValueError, match=f"scores: found '{column}', a column of the history"):
            lab5_runs.train(small(), VERBS, scores={column: len})


def test_nor_that_of_a_column_of_its_training():
    """Which is known when the training has measured it."""
    options = {"scores": {"gaussian": len}, "make_training": variants.EveryEpoch}
    with pytest.raises(ValueError, match="scores: found 'gaussian', a column of the history"):
        train(small(epochs=1), VERBS, **options)


def test_an_error_in_a_score_names_it_and_the_configuration():
    with pytest.raises(TypeError) as caught:
        train(small(), VERBS, scores={"mine": lambda model: None})
    note = "in the score 'mine', which returns a number"
    assert caught.value.__notes__ == [note, f"in {small()}"]


# ---- Steps ----
def test_a_row_holds_means_over_words():
    """Of a batch of 16 words and one of 8; at a rate of 0 nothing changes."""
    training = lab5_train.Training(small(learning_rate=0, batch_size=16), VERBS)
    posterior = training.model.eval().encode_words(training.words)
    row = training.run_epoch(1)
    assert row["kl"] == pytest.approx(lab.kl_divergence(*posterior).mean().item())
    assert training.model.training, "with dropout"


def test_a_step_has_its_rate_and_a_steep_gradient_is_clipped_to_5():
    training = lab5_train.Training(small(optimizer="sgd"), VERBS)
    before = parameters_to_vector(training.model.parameters())
    training.descend(1000 * before.sum(), rate=0.1, where="")
    moved = parameters_to_vector(training.model.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.1 * 5, rel=1e-3)


class StandingStill(own.Unscored):
    """A training that begins somewhere and stays there."""

    def begin(self):
        self.model.encoder.mu.bias.data.fill_(7.0)

    def rate(self, progress):
        return 0.0


def test_a_training_of_ones_own_may_begin_elsewhere_and_have_another_rate():
    run = train(small(epochs=2), VERBS, make_training=StandingStill)
    assert run.history["learning_rate"].tolist() == [0, 0]
    assert (run.model.encoder.mu.bias == 7).all()


def test_a_loss_or_a_gradient_that_is_not_finite_stops_the_training(verbs):
    config = small(optimizer="sgd", learning_rate=1e9, schedule=lab5_train.constant)
    with pytest.raises(FloatingPointError, match=r"loss (inf|nan).* in epoch 1, step 2"):
        train(config, verbs[:10])
    training = lab5_train.Training(config, verbs[:10])
    total = parameters_to_vector(training.model.parameters()).sum()
    for loss in (total + torch.inf, (0 * total).sqrt()):  # the second has no finite gradient
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


def test_the_examples_of_the_readme_work():
    text = (ROOT / "tests" / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    names = {}
    exec("".join(blocks), names)
    assert names["run"].history["kl_weight"].iloc[0] == 0
    assert names["scored"].history["pasts"].between(0, 1).all()
    assert names["halved"].history["learning_rate"].max() < 0.006
    assert names["deep"].model.convert(["walked"], lab.PAST, lab.THIRD) != []
