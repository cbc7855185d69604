"""The schedules and the configurations, against values written out by hand."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import get_type_hints

import numpy as np
import pytest
import torch
from conftest import lab, lab5_train, no_epoch, small
from pytest import approx

EXCESSES = (-9.0, 0.0, 0.5, 99.0)  # nats of KL above the target


# ---- Shapes of the KL weight ----
def sigmoid_of_the_course(epoch):
    position = epoch % 250
    if position == 249:
        return 0
    return 0.5 / (1 + math.exp(-(position - 125) / 25))


COURSE = {  # weight by epoch, and its maximum
    "monotonic": (lambda epoch: min(0.02 * epoch, 1), 1),
    "cyclical-trapezoid": (lambda epoch: min(0.0025 * (epoch % 250), 0.5), 0.5),
    "cyclical-sigmoid": (sigmoid_of_the_course, 0.5),
}


@pytest.mark.parametrize("name", COURSE)
def test_the_courses_schedules_at_500_epochs(name):
    weight, maximum = COURSE[name]
    config = small(strategy=name, kl_weight=maximum)
    for epoch in range(1, 501):
        found = lab5_train.kl_weight(config, epoch / 500, kl=3.0)
        assert found == approx(weight(epoch), abs=1e-9)


def test_fus_cycles():
    """Four in 400 epochs: 100 each, a ramp over the first 50, full weight over the others."""
    linear = lab5_train.STRATEGIES["cyclical-linear"]
    found = [linear(epoch / 400, 0.0) for epoch in (25, 50, 75, 100, 125, 400)]
    assert found == approx([0.5, 1, 1, 1, 0.5, 1])
    cosine = lab5_train.STRATEGIES["cyclical-cosine"]
    found = [cosine(epoch / 400, 0.0) for epoch in (12.5, 25, 100)]
    eighth = (1 - math.cos(math.pi / 4)) / 2
    assert found == approx([eighth, 0.5, 1])


def test_target_rate_charges_in_proportion_and_its_headroom_falls_in_a_quarter():
    config = small(target_kl=8, kl_weight=2)
    for progress, target in ((0.025, 11.6), (0.125, 10), (0.25, 8), (1, 8)):
        rates = [target - 3, target, target + 0.4, target + 0.8, 100]
        found = [lab5_train.kl_weight(config, progress, kl) for kl in rates]
        assert found == approx([0, 0, 0.8, 1.6, 2])


@pytest.mark.parametrize("name", lab5_train.STRATEGIES)
def test_every_shape_is_between_0_and_1_and_only_the_target_rate_watches_kl(name):
    for n in range(1, 1001):
        found = {lab5_train.STRATEGIES[name](n / 1000, excess) for excess in EXCESSES}
        assert all(0 <= share <= 1 for share in found)
        assert len(found) == 1 or name == "target-rate"


# ---- Schedules of one's own ----
REFUSED = {  # what is found of a shape
    "progress 0.85: found 1.02;": lambda p, e: 1.2 * p,
    "progress 0.5: found nan;": lambda p, e: math.nan if p > 0.45 else 0.5,
    "progress 0.5: found -1.0;": lambda p, e: e if p > 0.45 else 0.5,
    "progress 0.5: ZeroDivisionError: division": lambda p, e: 1 / 0 if p > 0.45 else 0.5,
    "progress 0.05: TypeError: .* takes 1 positional": lambda p: 1.0,
    "progress 0.05: TypeError: found None; expected a number;": lambda p, e: None,
    "progress 0.05: TypeError: found '0.5';": lambda p, e: "0.5",
    r"progress 0.05: TypeError: found \[0.5\];": lambda p, e: [0.5],
}
TAKEN = [
    lambda p, e: p > 0.5,
    lambda p, e: np.float32(p),
    lambda p, e: np.bool_(True),
    lambda p, e: torch.tensor(p),
    lambda p, e: math.sqrt(e / (1 + e)),  # e is never below minus the target
]


@pytest.mark.parametrize("shape", TAKEN)
def test_a_shape_may_return_any_number(shape, monkeypatch):
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", shape)
    lab5_train.check_schedule(small(strategy="mine", target_kl=0.0))


@pytest.mark.parametrize("message", REFUSED)
def test_a_shape_that_leaves_0_to_1_or_raises_is_refused_first(message, runs_folder, monkeypatch):
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", REFUSED[message])
    verbs = lab.load_verbs()[:5]
    bad = small(strategy="mine")
    is_refused = pytest.raises(ValueError, match=f"strategy 'mine', {message}")
    for train in (lab5_train.train, lab5_train.load_or_train):
        with is_refused:
            train(bad, verbs, progress=False, on_epoch=no_epoch)
    with is_refused:
        lab5_train.sweep([small(epochs=1), bad], verbs, jobs=1)
    assert not runs_folder.exists(), "nothing was begun"


# ---- The other schedules ----
def test_progress_rises_evenly_to_1_in_each_of_the_two_phases(verbs):
    training = lab5_train.new_training(small(epochs=8, refine=0.25), verbs[:5])
    for epochs in (range(1, 7), range(7, 9)):
        total = 50 * len(epochs)
        steps = itertools.product(epochs, range(1, 51))
        found = [training.progress(epoch, step, 50) for epoch, step in steps]
        assert found == approx([n / total for n in range(1, total + 1)])
        assert found[-1] == 1


def test_learning_rate_warms_up_and_falls():
    adam = small(learning_rate=0.01)
    sgd = small(learning_rate=0.01, optimizer="sgd")
    for n in range(1, 1001):
        warming = min(n / 20, 1)
        falling = math.cos(math.pi / 2 * n / 1000) ** 2
        found = lab5_train.learning_rate(adam, n / 1000)
        assert found == approx(0.01 * warming * falling, abs=1e-12)
        assert lab5_train.learning_rate(sgd, n / 1000) == 0.01


def test_teacher_forcing_ratio_falls_linearly_from_1():
    ratios = [lab5_train.teacher_forcing_ratio(small(tf_final=0.4), p) for p in (1e-9, 0.1, 0.5, 1)]
    assert ratios == approx([1, 0.94, 0.7, 0.4])


def test_the_gates_paths_count_alike_at_first_and_letters_behind_it_cost_later(verbs):
    decoder = lab.make_model(small(), lab.vocabulary_of(verbs)).decoder
    found = [decoder.pressure(progress) for progress in (0.15, 0.29, 0.3, 1)]
    inverse_temperatures, prices = zip(*found, strict=True)
    assert inverse_temperatures == approx((0.65, 0.3 + 0.7 * 0.29 / 0.3, 1, 1))
    assert prices == (0, 0, 0.1, 0.1)


# ---- Configurations ----
def test_both_recipes_have_the_sizes_of_the_lab_and_the_original_its_published_values():
    for config in (lab5_train.Config(), lab5_train.Config.classic()):
        assert config.hidden_size in (256, 512)
        assert (config.latent_size, config.condition_size) == (32, 8)
    classic = lab5_train.Config.classic(seed=3)
    assert (classic.seed, classic.epochs, classic.kl_epochs) == (3, 500, 500)
    assert (classic.decoding, classic.ce_per) == ("direct", "character")
    assert (classic.strategy, classic.kl_weight) == ("monotonic", 1)
    assert classic.learning_rate == approx(0.05 * classic.batch_size)
    assert lab5_train.learning_rate(classic, 1.0) == classic.learning_rate
    assert lab5_train.teacher_forcing_ratio(classic, 200 / 500) == approx(1 - 0.0018 * 200)


NUMPYS = [np.int64(1), np.float32(0.5), np.float64(0.5)]
NO_NUMBERS = [None, True, np.True_, "1", [1], np.array([1, 2]), 1j]
OUT_OF_RANGE = [-1, -1e-9, 2**31, 10**400, math.inf, math.nan, np.float32("nan")]
NO_WORDS = [None, 1, "", "no-such", "Gated", ["adam"]]


def test_what_is_no_value_of_a_hyperparameter_is_refused_by_name():
    for name, kind in get_type_hints(lab5_train.Config).items():
        bad = NO_NUMBERS + OUT_OF_RANGE if kind in (int, float) else NO_WORDS
        if kind is int:
            bad = [*bad, 0.5]
        for value in bad:
            with pytest.raises(ValueError, match=f"^{name}: found .*; expected "):
                lab5_train.Config(**{name: value})


@pytest.mark.parametrize("value", [0, 2**31 - 1, 0.0, 0.5, *NUMPYS], ids=repr)
def test_numbers_numpys_too_become_pythons(value):
    name = "seed" if isinstance(value, int | np.integer) else "kl_weight"
    found = getattr(small(**{name: value}), name)
    assert found == value
    assert type(found) is get_type_hints(lab5_train.Config)[name]
    assert repr(small(kl_weight=1)) == repr(small(kl_weight=np.float32(1))), "one run"


def test_a_condition_that_does_not_fit_the_state_is_refused_naming_both():
    with pytest.raises(ValueError, match="condition_size: found 64 beside hidden_size 64"):
        small(condition_size=64)
    assert small(condition_size=63), "alone each has a meaning"


def test_what_is_without_effect_is_taken():
    config = lab5_train.Config(target_kl=6.0)
    assert replace(config, strategy="constant").target_kl == 6.0
    assert small(kl_weight=0, target_kl=5).kl_weight == 0


def test_a_field_of_ones_own_needs_no_range():
    @dataclass(frozen=True)
    class Mine(lab5_train.Config):
        name: str = "x"
        is_odd: bool = True
        layers: int = 2

    assert Mine(layers=3).layers == 3
    with pytest.raises(ValueError, match="epochs: found 0"):
        Mine(epochs=0)
