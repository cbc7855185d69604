"""Training: what it optimizes, what it leaves alone, and what its history holds."""

import numpy as np
import own
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from bonus import gate
from conftest import SMALL, lab, lab5_figures, lab5_train, small, train

ROWS = """walk walks walking walked
bake bakes baking baked
carry carries carrying carried
stop stops stopping stopped
go goes going went
take takes taking took"""
VERBS = [tuple(row.split()) for row in ROWS.splitlines()]
GATED = {
    "encoder": gate.BackwardEncoder,
    "decoder": gate.GatedDecoder,
    "training": own.UnscoredGate,
}
RECIPES = {
    "gated": small(epochs=4, tf_final=0.5, **GATED),
    "direct": small(epochs=2, tf_final=0.5, schedule=lab5_train.constant, kl_weight=1.0),
    "original": lab5_train.Config.original(**SMALL | {"epochs": 3}),
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
    "original": {
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
SCORED = {"training": lab5_train.Training}


def test_bleu4_is_in_every_row_and_conversions_in_the_last():
    history = train(small(epochs=2, **SCORED), VERBS).history
    assert history["bleu4"].notna().all()
    assert history["conversions"].notna().tolist() == [False, True]
    rates = [lab5_train.learning_rate(small(epochs=2), progress) for progress in (0.5, 1)]
    assert history["learning_rate"].tolist() == rates


def test_a_table_of_another_language_is_trained_and_scored_by_its_own_pairs():
    table = [(stem + "ть", stem + "ю", stem + "ет") for stem in ("дела", "чита", "зна", "дума")]
    run = train(small(epochs=2, **SCORED), table)
    assert run.history["bleu4"].iloc[-1] == lab.mean_bleu4(run.model, lab.pairs_of(table))


class Mine(lab5_train.Training):
    """A training with a score of its own, which is NumPy's."""

    def evaluate(self, epoch):
        return {"dropout": np.bool_(self.model.training), "width": np.float32(0.5)}


def test_a_score_of_ones_own_is_a_column_and_taken_without_dropout():
    history = train(small(epochs=2, training=Mine), VERBS).history
    assert history["width"].tolist() == [0.5, 0.5]
    assert not history["dropout"].any()


def test_as_many_curves_are_drawn_as_there_are_histories():
    history = train(small(epochs=2), VERBS).history[["ce", "kl"]]
    figure = lab5_figures.draw_curves({f"run {n}": history for n in range(7)})
    assert [len(ax.lines) for ax in figure.axes] == [7, 7]


# ---- Steps ----
def test_a_step_has_its_rate_and_a_steep_gradient_is_clipped_to_5():
    training = lab5_train.Training(small(optimizer="sgd"), VERBS)
    before = parameters_to_vector(training.model.parameters())
    training.descend(1000 * before.sum(), rate=0.1)
    moved = parameters_to_vector(training.model.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.1 * 5, rel=1e-3)


def test_a_loss_or_a_gradient_that_is_not_finite_stops_the_training(verbs):
    config = small(optimizer="sgd", learning_rate=1e9, schedule=lab5_train.constant)
    with pytest.raises(FloatingPointError, match=r"loss (inf|nan)") as caught:
        train(config, verbs[:10])
    assert caught.value.__notes__ == [f"in epoch 1 of {config}"]
    training = lab5_train.Training(config, verbs[:10])
    total = parameters_to_vector(training.model.parameters()).sum()
    for loss in (total + torch.inf, (0 * total).sqrt()):  # the second has no finite gradient
        with pytest.raises(FloatingPointError):
            training.descend(loss, 0.1)


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
