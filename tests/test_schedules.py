"""The schedules and the configurations, against values written out by hand."""

import math

import numpy as np
import pytest
from conftest import lab5_runs, lab5_train, small
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
        found = lab5_train.kl_weight(config, epoch / 500, kl=3.0)
        assert found == approx(weight(epoch), abs=1e-9)


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
    found = [lab5_train.STRATEGIES[name](progress, 0.0) for progress in points]
    assert found == approx(RISES[name])


def test_the_target_rate_follows_the_excess_and_its_headroom_falls_in_a_quarter():
    config = small(target_kl=8, kl_weight=2)
    for progress, target in {0.025: 11.6, 0.125: 10, 0.25: 8, 1: 8}.items():
        rates = [target - 3, target, target + 0.4, target + 0.8, 100]
        found = [lab5_train.kl_weight(config, progress, kl) for kl in rates]
        assert found == approx([0, 0, 0.8, 1.6, 2])


# ---- Schedules of one's own ----
REFUSED = {
    "progress 0.85: found 1.02; expected a number 0..1": lambda p, e: 1.2 * p,
    "progress 0.5: found nan; expected a number 0..1": lambda p, e: math.nan if p > 0.45 else 0.5,
    "progress 0.5: found -1.0; expected a number 0..1": lambda p, e: e / 4 if p > 0.45 else 0.5,
    "progress 0.05: found None; expected a number 0..1": lambda p, e: None,
    "progress 0.05: found 3.3.* expected a number 0..1": lambda p, e: max(0, e) / 150,
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_bad_shape_is_refused_before_any_work(message, runs_folder, monkeypatch, verbs):
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", REFUSED[message])
    for call in (lab5_runs.train, lab5_runs.load_or_train):
        with pytest.raises(ValueError, match=f"strategy 'mine'.*{message}"):
            call(small(strategy="mine"), verbs[:5])
    with pytest.raises(ValueError, match=message):
        lab5_runs.sweep([small(), small(strategy="mine")], verbs[:5], jobs=1)
    assert not runs_folder.exists(), "nothing was begun"


# ---- The other schedules ----
def test_epochs_of_refining_are_rounded_down_not_cut():
    found = [small(epochs=100, refine=share).kl_epochs for share in (0.29, 0.57, 0.555)]
    assert found == [71, 43, 45]


def test_the_learning_rate_warms_up_and_falls():
    adam = small(learning_rate=0.01)
    sgd = small(learning_rate=0.01, optimizer="sgd")
    for n in range(1, 1001):
        warming = min(n / 20, 1)
        falling = math.cos(math.pi / 2 * n / 1000) ** 2
        found = lab5_train.learning_rate(adam, n / 1000)
        assert found == approx(0.01 * warming * falling, abs=1e-12)
        assert lab5_train.learning_rate(sgd, n / 1000) == 0.01


# ---- Configurations ----
BAD_VALUES = [
    ("condition_size", [0, 65]),
    ("epochs", [0, 0.5, 2**31, None, "1", math.nan]),
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
