"""Config and the schedules, against the course's values written out by hand."""

import dataclasses
import math

import pytest
from conftest import lab


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


COURSE = {  # (weight at epoch e of 500, its maximum)
    "monotonic": (lambda e: min(0.02 * e, 1), 1),
    "cyclical-trapezoid": (lambda e: min(0.0025 * (e % 250), 0.5), 0.5),
    "cyclical-sigmoid": (lambda e: sigmoid((e % 250 - 125) / 25) / 2 if e % 250 != 249 else 0, 0.5),
}


@pytest.mark.parametrize("name", COURSE)
def test_the_courses_schedules(name):
    weight, maximum = COURSE[name]
    for epoch in range(1, 501):
        assert lab.STRATEGIES[name](epoch / 500) * maximum == pytest.approx(weight(epoch), abs=1e-9)


@pytest.mark.parametrize("name", lab.STRATEGIES)
@pytest.mark.parametrize("epochs", [1, 7, 40, 500])
def test_every_shape_stays_between_0_and_1(name, epochs):
    values = [lab.STRATEGIES[name](epoch / epochs) for epoch in range(1, epochs + 1)]
    assert all(0 <= value <= 1 for value in values)


def test_fu_cycles():
    linear, cosine = lab.STRATEGIES["cyclical-linear"], lab.STRATEGIES["cyclical-cosine"]
    # M = 4 cycles over 400 epochs: 100 each, a ramp over the first 50, full weight over the others
    assert [linear(e / 400) for e in (25, 50, 75, 100, 125, 400)] == pytest.approx([0.5, 1, 1, 1, 0.5, 1])
    assert cosine(25 / 400) == pytest.approx(0.5) and cosine(12.5 / 400) == pytest.approx(
        (1 - math.cos(math.pi / 4)) / 2
    )


def test_target_rate_pushes_in_proportion_to_the_excess():
    shape = lab.STRATEGIES["target-rate"]
    assert shape.needs_kl and not lab.STRATEGIES["monotonic"].needs_kl
    weights = [shape(0.5, excess) for excess in (-3.0, 0.0, 0.4, 0.8, 100.0)]
    assert weights[:2] == [0, 0] and weights[3] == pytest.approx(2 * weights[2]) and weights[4] == 1
    config = lab.Config(rate_start=16, rate_end=8, hold_from=0.5)
    assert [config.target_rate(p) for p in (0.25, 0.5, 1.0)] == [12, 8, 8]


def test_teacher_forcing_is_a_line():
    assert [lab.Config.classic().tf_ratio(e / 500) for e in (1, 250, 500)] == pytest.approx([1 - 0.0018, 0.55, 0.1])


def test_the_classic_recipe_is_the_handouts():
    classic = lab.Config.classic()
    assert (classic.hidden_size, classic.latent_size, classic.condition_size, classic.epochs) == (256, 32, 8, 500)
    assert (classic.training, classic.optimizer, classic.decoding) == ("same-tense", "sgd", "direct")
    assert classic.learning_rate == pytest.approx(0.05 * classic.batch_size)
    assert lab.Config.classic(epochs=3, strategy="cyclical-sigmoid", kl_weight=0.5).epochs == 3


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", -1), ("epochs", 0), ("epochs", 1.5), ("epochs", True), ("epochs", "3"), ("seed", -1),
        ("batch_size", 0), ("hidden_size", 0), ("latent_size", 0), ("learning_rate", -0.1), ("learning_rate", math.nan),
        ("learning_rate", math.inf), ("kl_weight", -1), ("kl_weight", None), ("tf_final", 1.1), ("finish", 1.0),
        ("decoding", "backwards"), ("strategy", "no-such"), ("strategy", None), ("optimizer", ["adam"]), ("training", 3),
        ("condition_size", 256),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        lab.Config(**{name: value})


def test_unknown_names_and_impossible_pairs_are_refused():
    with pytest.raises(TypeError, match="hiden_size"):
        lab.Config(hiden_size=256)
    with pytest.raises(ValueError, match="lemma-first"):
        lab.Config(training="same-tense")
    with pytest.raises(dataclasses.FrozenInstanceError):
        lab.Config().seed = 1


def test_every_hyperparameter_is_explained():
    table = lab.Config.describe()
    assert set(table.index) == {f.name for f in dataclasses.fields(lab.Config)}
    assert (table["why"].str.len() > 10).all() and (table["range"].str.len() > 2).all()
