"""Training: what it optimizes, what it leaves alone, and what its history holds."""

import re
from unittest.mock import patch

import numpy as np
import own
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
    numbers = run.history.to_dict("list") | {"weights": weights.norm().item()}
    for column, expected in GOLDEN[name].items():
        assert numbers[column] == pytest.approx(expected, rel=1e-4), RENEW


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
    monkeypatch.setattr(lab, "score_noise", lambda model, verbs, draws: {"from_noise": draws})
    config = small(epochs=24, refine=0.3)
    training = lab5_train.Training(config, verbs[:3])
    task = lab5_train.check_task(config, verbs[:3])
    scores = {epoch: training.evaluate(epoch, task) for epoch in range(1, 25)}
    assert all("bleu4" in names for names in scores.values())
    noise = [epoch for epoch, names in scores.items() if "from_noise" in names]
    assert noise == [3, 6, 9, 12, 15, 17, 18, 21, 24]
    assert [epoch for epoch in noise if "conversions" in scores[epoch]] == [17, 24]
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
    }
    options = {"make_training": lab5_train.Training, "pairs": []}
    history = train(small(epochs=2), VERBS, scores=scores, **options).history
    assert history["width"].tolist() == [16, 16]
    assert history["drawn"].nunique() == 1, "each time with the same random numbers"
    assert not history["still learns"].any()


def test_no_score_may_have_the_name_of_a_column():
    history = lab5_runs.train(small(epochs=1), VERBS, progress=False).history
    for column in ("epoch", *history):
        with pytest.raises(ValueError, match=f"scores: found '{column}', a column of the history"):
            lab5_runs.train(small(), VERBS, scores={column: len})


def test_an_error_in_a_score_names_it():
    with pytest.raises(TypeError) as caught:
        lab5_runs.train(small(), VERBS, scores={"mine": lambda model: None}, progress=False)
    assert caught.value.__notes__ == ["in the score 'mine', which returns a number"]


def test_the_official_score_of_a_history_counts_repeats():
    task = lab5_train.check_task(small(epochs=1, refine=0.0), [VERBS[0], *VERBS])
    training = lab5_train.Training(task.config, task.verbs)
    with patch.object(lab, "sample_prior", lambda *_: VERBS[:1]):
        scores = training.evaluate(1, task)
    assert (scores["gaussian_official"], scores["from_noise"]) == (2, 1)


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


def test_the_second_phase_trains_the_encoder_alone(verbs):
    run = train(small(epochs=4, refine=0.5), verbs[:20])
    before = run.before_refining.state_dict()
    for name, weight in run.model.state_dict().items():
        assert torch.equal(before[name], weight) == name.startswith("decoder."), name


def test_without_refining_there_is_no_model_before_it():
    assert train(small(epochs=1, refine=0.0), VERBS).before_refining is None


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


@patch.dict(lab5_train.STRATEGIES)  # what is registered is forgotten in the end
@patch.dict(lab.DECODERS)
def test_the_examples_of_the_readme_work():
    text = (ROOT / "tests" / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    names = {}
    exec("".join(blocks), names)
    assert names["run"].history["kl_weight"].iloc[0] == 0
    assert names["scored"].history["pasts"].between(0, 1).all()
    assert names["halved"].history["learning_rate"].max() < 0.005
    assert names["deep"].model.convert(["walked"], lab.PAST, lab.THIRD) != []
