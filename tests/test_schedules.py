"""The schedules and the configurations, against values written out by hand."""

import math

import numpy as np
import pytest
from conftest import VERBS, lab5_runs, lab5_train, small
from pytest import approx


# ---- Shapes of the KL weight ----
def sigmoid_of_the_recipe(epoch):
    position = epoch % 250
    if position == 249:
        return 0
    return 0.5 / (1 + math.exp(-(position - 125) / 25))


RECIPE = {  # the published one: its weight by epoch, and its maximum
    "monotonic": (lambda epoch: min(0.02 * epoch, 1), 1),
    "cyclical-trapezoid": (lambda epoch: min(0.0025 * (epoch % 250), 0.5), 0.5),
    "cyclical-sigmoid": (sigmoid_of_the_recipe, 0.5),
}


@pytest.mark.parametrize("name", RECIPE)
def test_the_classic_schedules_at_500_epochs(name):
    weight, maximum = RECIPE[name]
    config = small(strategy=name, kl_weight=maximum)
    for epoch in range(1, 501):
        ours = lab5_train.kl_weight(config, epoch / 500, kl=3.0)
        assert ours == approx(weight(epoch), abs=1e-9)


RISES = {  # at 0.05, 0.15, 0.25, 0.5, 0.9 and 1
    "constant": [1, 1, 1, 1, 1, 1],
    "slow-monotonic": [1 / 6, 0.5, 5 / 6, 1, 1, 1],
    "even-rise": [0.05, 0.15, 0.25, 0.5, 0.9, 1],
    "cyclical-linear": [0.4, 1, 1, 1, 1, 1],
    "backwards": [1, 0.8, 0, 0, 0.8, 0],
}


@pytest.mark.parametrize("name", RISES)
def test_the_other_schedules_at_six_points(name):
    points = (0.05, 0.15, 0.25, 0.5, 0.9, 1)
    shares = [lab5_train.STRATEGIES[name](progress, 0.0) for progress in points]
    assert shares == approx(RISES[name])


def test_the_target_rate_follows_the_excess_and_its_headroom_falls_in_a_quarter():
    config = small(target_kl=8, kl_weight=2)
    for progress, target in {0.025: 11.6, 0.125: 10, 0.25: 8, 1: 8}.items():
        rates = [target - 3, target, target + 0.4, target + 0.8, 100]
        weights = [lab5_train.kl_weight(config, progress, kl) for kl in rates]
        assert weights == approx([0, 0, 0.8, 1.6, 2])


# ---- Schedules of one's own ----
BAD_SHARES = {  # from progress 0.5 on
    "found 1.2; expected a number 0..1": 1.2,
    "found nan; expected a number 0..1": math.nan,
    "found -0.1; expected a number 0..1": -0.1,
    "found None; expected a number 0..1": None,
}


@pytest.mark.parametrize("message", BAD_SHARES)
def test_a_schedule_stops_its_training_at_the_step_that_is_out_of_range(message, monkeypatch):
    def mine(progress, excess):
        return BAD_SHARES[message] if progress >= 0.5 else 0.5

    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", mine)
    config = small(strategy="mine", epochs=2, refine=0.0)
    with pytest.raises(ValueError, match=f"^strategy 'mine', progress 0.5: {message}"):
        lab5_runs.train(config, VERBS, pairs=[], progress=False)


# ---- The other schedules ----
def test_epochs_of_refining_are_rounded_down_not_cut():
    epochs = [small(epochs=100, refine=share).kl_epochs for share in (0.29, 0.57, 0.555)]
    assert epochs == [71, 43, 45]


def test_the_learning_rate_warms_up_and_falls():
    adam = small(learning_rate=0.01)
    sgd = small(learning_rate=0.01, optimizer="sgd")
    for n in range(1, 1001):
        warming = min(n / 20, 1)
        falling = math.cos(math.pi / 2 * n / 1000) ** 2
        rate = lab5_train.learning_rate(adam, n / 1000)
        assert rate == approx(0.01 * warming * falling, abs=1e-12)
        assert lab5_train.learning_rate(sgd, n / 1000) == 0.01


# ---- Configurations ----
BAD_VALUES = [
    ("condition_size", [0, 65]),
    ("epochs", [0, 0.5, 2**31, None, True, "1", math.nan]),
    ("seed", [-1, 1j]),
    ("kl_weight", [-1e-9, math.inf, 10**400, np.float32("nan"), "0.5"]),
    ("tf_final", [1.1]),
    ("refine", [0.91]),
    ("strategy", [None, 1, "", "Monotonic"]),
    ("decoding", ["no-such"]),
    ("optimizer", ["Adam"]),
    ("ce_per", ["letter"]),
]


@pytest.mark.parametrize("name, values", BAD_VALUES)
def test_a_bad_value_is_refused_by_its_name(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name}: found .*; expected "):
            small(**{name: value})
    with pytest.raises(TypeError, match="no_such"):
        small(no_such=1)
