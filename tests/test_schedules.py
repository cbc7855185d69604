"""The schedules and the configurations, against values written out by hand."""

import math

import pytest
from pytest import approx

from conftest import VERBS, lab, lab5_train, small, train


# ---- Shapes of the KL weight ----
def sigmoid_of_the_recipe(epoch):
    position = epoch % 250
    if position == 249:
        return 0
    return 0.5 / (1 + math.exp(-(position - 125) / 25))


RECIPE = {  # its weight by epoch, and its maximum
    lab5_train.short_rise: (lambda epoch: min(0.02 * epoch, 1), 1),
    lab5_train.two_trapezoids: (lambda epoch: min(0.0025 * (epoch % 250), 0.5), 0.5),
    lab5_train.two_sigmoids: (sigmoid_of_the_recipe, 0.5),
}


@pytest.mark.parametrize("schedule", RECIPE)
def test_the_courses_schedules_at_500_epochs(schedule):
    weight, maximum = RECIPE[schedule]
    config = small(schedule=schedule, kl_weight=maximum)
    for epoch in range(1, 501):
        assert lab5_train.kl_weight_at(config, epoch / 500) == approx(weight(epoch), abs=1e-9)


RISES = {  # at 0.05, 0.15, 0.25, 0.5, 0.9 and 1
    lab5_train.constant: [1, 1, 1, 1, 1, 1],
    lab5_train.slow_rise: [1 / 6, 0.5, 5 / 6, 1, 1, 1],
    lab5_train.four_cycles: [0.4, 1, 1, 1, 1, 1],
}


@pytest.mark.parametrize("schedule", RISES)
def test_the_other_schedules_at_six_points(schedule):
    points = (0.05, 0.15, 0.25, 0.5, 0.9, 1)
    assert [schedule(progress) for progress in points] == approx(RISES[schedule])


# ---- Schedules of one's own ----
BAD_SHARES = {  # from progress 0.5 on
    "found 1.2; expected a number 0..1": 1.2,
    "found nan; expected a number 0..1": math.nan,
    "found -0.1; expected a number 0..1": -0.1,
    "found None; expected a number 0..1": None,
}


@pytest.mark.parametrize("message", BAD_SHARES)
def test_a_schedule_stops_its_training_at_the_step_that_is_out_of_range(message):
    def mine(progress):
        return BAD_SHARES[message] if progress >= 0.5 else 0.5

    with pytest.raises(ValueError, match=f"^schedule mine, progress 0.5: {message}"):
        train(small(schedule=mine, epochs=2), VERBS)


# ---- The learning rate ----
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
BAD_VALUES = {
    "condition_size": 65,
    "schedule": "short_rise",
    "encoder": lab.DirectDecoder,
    "decoder": "direct",
    "training": lab.Encoder,
    "optimizer": "Adam",
    "ce_per": "letter",
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused_by_its_name(name):
    with pytest.raises(ValueError, match=f"^{name}: found .*; expected "):
        small(**{name: BAD_VALUES[name]})
    with pytest.raises(TypeError, match="no_such"):
        small(no_such=1)
