"""Config and the schedules, against the course's values written out by hand."""

import dataclasses
import inspect
import math
import re

import pytest
from conftest import lab, small

COURSE = {  # (weight at epoch e of 500, its maximum)
    "monotonic": (lambda e: min(0.02 * e, 1), 1),
    "cyclical-trapezoid": (lambda e: min(0.0025 * (e % 250), 0.5), 0.5),
    "cyclical-sigmoid": (lambda e: 0.5 / (1 + math.exp(-(e % 250 - 125) / 25)) if e % 250 != 249 else 0, 0.5),
}


@pytest.mark.parametrize("name", COURSE)
def test_the_courses_schedules(name):
    weight, maximum = COURSE[name]
    for epoch in range(1, 501):
        assert lab.STRATEGIES[name](epoch / 500) * maximum == pytest.approx(weight(epoch), abs=1e-9)


def test_fu_cycles():
    linear, cosine = lab.STRATEGIES["cyclical-linear"], lab.STRATEGIES["cyclical-cosine"]
    # M = 4 cycles over 400 epochs: 100 each, a ramp over the first 50, full weight over the others
    assert [linear(e / 400) for e in (25, 50, 75, 100, 125, 400)] == pytest.approx([0.5, 1, 1, 1, 0.5, 1])
    eighth = (1 - math.cos(math.pi / 4)) / 2
    assert [cosine(e / 400) for e in (12.5, 25, 100)] == pytest.approx([eighth, 0.5, 1])


def test_target_rate_pushes_in_proportion_to_the_excess():
    config = lab.Config(epochs=100, rate_start=16, rate_end=8, kl_weight=2, refine=0.2)
    for epoch, target in ((10, 12), (20, 8), (80, 8)):
        weights = [lab.kl_weight(config, epoch, target + excess) for excess in (-3, 0, 0.4, 0.8, 100)]
        assert weights == pytest.approx([0, 0, 0.8, 1.6, 2])
    assert lab.kl_weight(config, 81, 1000.0) == 0, "refining the encoder"


def test_free_bits_are_free_and_what_is_above_costs_the_full_weight():
    config = lab.Config(strategy="free-bits", epochs=10, rate_start=6, rate_end=6, kl_weight=0.7, refine=0.0)
    assert [lab.kl_weight(config, 3, kl) for kl in (0, 5.9, 6, 6.1, 50)] == [0, 0, 0, 0.7, 0.7]


REFUSED = "^strategy 'mine', progress {}.*; expected 0..1$"
BAD = {  # shape: the error, which is its own if it raises one
    lambda p: 1.2 * p: (ValueError, REFUSED.format("0.9: found 1.08")),
    lambda p: -p: (ValueError, REFUSED.format("0.1: found -0.1")),
    lambda p: math.nan if p > 0.45 else 0.5: (ValueError, REFUSED.format("0.5: found nan")),
    lambda p: 1 / 0 if p > 0.25 else 0.5: (ZeroDivisionError, "division by zero"),
    lambda p, e: e: (ValueError, REFUSED.format("0.1: found -10.25")),
    lambda p, e, x: 1.0: (TypeError, "missing 1 required positional argument: 'x'"),
}


@pytest.mark.parametrize("shape", BAD, ids=[text for _, text in BAD.values()])
def test_a_shape_that_leaves_0_to_1_or_raises_is_refused_before_any_work(shape, runs_folder, monkeypatch):
    monkeypatch.setitem(lab.STRATEGIES, "mine", shape)
    monkeypatch.setattr(lab, "train_epoch", None)
    good, bad = small(), small(strategy="mine", epochs=10, refine=0.3)
    for call in lab.train, lab.load_or_train, lambda config: lab.sweep([good, config]):
        with pytest.raises(BAD[shape][0], match=BAD[shape][1]):
            call(bad)
    assert not runs_folder.exists()


def test_learning_rate_warms_up_and_decays_jointly_and_again_while_refining():
    config = lab.Config(epochs=8, refine=0.25, learning_rate=0.01)
    for first, last in ((1, 6), (7, 8)):
        steps = [(epoch, step) for epoch in range(first, last + 1) for step in range(1, 51)]
        for n, (epoch, step) in enumerate(steps, 1):
            expected = 0.01 * min(n / 100, 1) * math.cos(math.pi / 2 * n / len(steps)) ** 2
            assert lab.learning_rate(config, epoch, step, 50) == pytest.approx(expected, abs=1e-12)
    for constant in lab.Config.classic(), lab.Config(optimizer="adam-constant"):
        assert lab.learning_rate(constant, 150, 3, 50) == constant.learning_rate


def test_the_classic_recipe_is_the_handouts():
    classic = lab.Config.classic()
    assert (classic.hidden_size, classic.latent_size, classic.condition_size, classic.epochs) == (256, 32, 8, 500)
    assert (classic.training, classic.optimizer, classic.decoding) == ("same-tense", "sgd", "direct")
    assert classic.learning_rate == pytest.approx(0.05 * classic.batch_size)


def test_unknown_names_and_impossible_pairs_are_refused():
    with pytest.raises(TypeError, match="hiden_size"):
        lab.Config(hiden_size=256)
    for name, values in (("lemma-first", dict(training="same-tense")), ("condition_size", dict(condition_size=256))):
        with pytest.raises(ValueError, match=name):
            lab.Config(**values)
    with pytest.raises(dataclasses.FrozenInstanceError):
        lab.Config().seed = 1


def test_every_hyperparameter_is_explained():
    explained = re.findall(r"^    (\w+): .* = .*  # .{10,}$", inspect.getsource(lab.Config), re.M)
    assert explained == [field.name for field in dataclasses.fields(lab.Config)]
