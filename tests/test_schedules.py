"""The schedules and the configurations, against values written out by hand."""

import dataclasses
import math

import pytest
from conftest import beyond, equal, lab, no_epoch, small, small_beyond
from generated import cases
from hypothesis import strategies as st
from pytest import approx


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
    config = small(epochs=500, strategy=name, kl_weight=maximum, refine=0.0)
    for epoch in range(1, 501):
        found = lab.kl_weight(config, epoch, kl=3.0)
        assert found == approx(weight(epoch), abs=1e-9)


def test_fus_cycles():
    """Four in 400 epochs: 100 each, a ramp over the first 50, full weight over the others."""
    linear = lab.STRATEGIES["cyclical-linear"]
    found = [linear(epoch / 400, 0.0) for epoch in (25, 50, 75, 100, 125, 400)]
    assert found == approx([0.5, 1, 1, 1, 0.5, 1])
    cosine = lab.STRATEGIES["cyclical-cosine"]
    found = [cosine(epoch / 400, 0.0) for epoch in (12.5, 25, 100)]
    eighth = (1 - math.cos(math.pi / 4)) / 2
    assert found == approx([eighth, 0.5, 1])


def weights(config, epoch, rates):
    return [lab.kl_weight(config, epoch, kl) for kl in rates]


def test_target_rate_falls_in_a_fifth_and_charges_in_proportion_to_the_excess():
    config = small(epochs=100, rate_start=16, rate_end=8, kl_weight=2, refine=0.2)
    for epoch, target in ((1, 15.6), (10, 12), (20, 8), (80, 8)):
        rates = [target - 3, target, target + 0.4, target + 0.8, 100]
        found = weights(config, epoch, rates)
        assert found == approx([0, 0, 0.8, 1.6, 2])


def test_free_bits_are_free_and_what_is_above_costs_the_full_weight():
    rates = {"rate_start": 6, "rate_end": 6}
    config = small(strategy="free-bits", kl_weight=0.7, refine=0.0, **rates)
    assert weights(config, 3, [0, 5.9, 6, 6.1, 50]) == [0, 0, 0, 0.7, 0.7]


@pytest.mark.parametrize("name", lab.STRATEGIES)
def test_kl_costs_nothing_in_the_second_phase(name):
    config = small(epochs=100, strategy=name, refine=0.2)
    assert config.first_phase == 80
    assert lab.kl_weight(config, 79, 100.0) > 0
    second = [lab.kl_weight(config, epoch, 100.0) for epoch in range(81, 101)]
    assert set(second) == {0}


@pytest.mark.parametrize("name", lab.IGNORE_KL)
def test_a_schedule_ends_with_the_first_phase(name):
    alone = small(epochs=30, strategy=name, refine=0.0)
    refined = small(epochs=40, strategy=name, refine=0.25)
    for epoch in range(1, 31):
        assert lab.kl_weight(refined, epoch, 9.0) == lab.kl_weight(alone, epoch, 9.0)


name = st.sampled_from([*lab.STRATEGIES])
progress = st.floats(0, 1, exclude_min=True)


@cases(1500, name=name, progress=progress, excess=st.floats(-9, 99))
def test_every_shape_is_between_0_and_1_and_only_two_watch_kl(name, progress, excess):
    shape = lab.STRATEGIES[name]
    share = shape(progress, excess)
    assert 0 <= share <= 1
    if name not in ("target-rate", "free-bits"):
        assert share == shape(progress, 0.0)


# ---- Schedules of one's own ----
REFUSED = {  # shape: the error, which is its own if it raises one
    lambda p, e: 1.2 * p: "progress 0.9: found 1.08; expected 0..1",
    lambda p, e: 0.55 - p: "progress 0.6: found -0.04.*; expected 0..1",
    lambda p, e: math.nan if p > 0.45 else 0.5: "progress 0.5: found nan; expected 0..1",
    lambda p, e: e if p > 0.45 else 0.5: "progress 0.5: found -40.0; expected 0..1",
    lambda p, e: 1 / 0 if p > 0.45 else 0.5: "division by zero",
    lambda p: 1.0: "takes 1 positional argument but 2 were given",
}


@pytest.mark.parametrize("shape", REFUSED, ids=REFUSED.values())
def test_a_shape_that_leaves_0_to_1_or_raises_is_refused_first(shape, runs_folder, monkeypatch):
    monkeypatch.setitem(lab.STRATEGIES, "mine", shape)
    verbs = lab.load_verbs()[:5]
    bad = small(strategy="mine", epochs=10, refine=0.0)
    errors = (ValueError, ZeroDivisionError, TypeError)
    is_refused = pytest.raises(errors, match=REFUSED[shape])
    with is_refused:
        lab.train(bad, verbs, progress=False, on_epoch=no_epoch)
    with is_refused:
        lab.load_or_train(bad, verbs, progress=False, on_epoch=no_epoch)
    with is_refused:
        lab.sweep([small(epochs=1), bad], verbs, jobs=1)
    assert not runs_folder.exists(), "nothing was begun"


def between(low, high):
    """Returns two shapes that differ only where the excess is between two values."""

    def cheap(progress, excess):
        return float(excess >= high)

    def dear(progress, excess):
        return float(excess > low)

    return cheap, dear


WINDOWS = ["0.3 to 90", "0.3 to 0.5", "5 to 5.2", "50 to 60", "-3 to -2.8"]


@pytest.mark.parametrize("window", WINDOWS)
def test_shapes_that_differ_at_some_excess_are_two_runs(window, verbs, monkeypatch):
    low, high = map(float, window.split(" to "))
    digests = set()
    for shape in between(low, high):
        monkeypatch.setitem(lab.STRATEGIES, "mine", shape)
        config = small(strategy="mine")
        digests.add(lab.digest(config, verbs[:1], []))
    assert len(digests) == 2


def test_a_run_of_one_shape_is_not_returned_for_another(verbs, runs_folder, monkeypatch):
    values = {"rate_start": 0.0, "rate_end": 0.0, "learning_rate": 0.05}
    runs = []
    for shape in between(0.3, 99):
        monkeypatch.setitem(lab.STRATEGIES, "mine", shape)
        config = small(strategy="mine", epochs=4, **values)
        run = lab.load_or_train(config, verbs[:20], progress=False)
        runs.append(run)
    cheap, dear = [run.history for run in runs]
    assert cheap["kl"].max() > 0.3, "here the two shapes differ"
    assert cheap["kl_weight"].max() == 0
    assert dear["kl_weight"].max() > 0
    again = lab.load_or_train(config, verbs[:20], progress=False, on_epoch=no_epoch)
    assert equal(again, runs[1]), "each is found again"


# ---- The other schedules ----
@pytest.mark.parametrize("warm_up", [1, 30, 100])
def test_learning_rate_warms_up_and_falls_in_each_of_the_two_phases(warm_up):
    config = small(epochs=8, refine=0.25, learning_rate=0.01, warm_up=warm_up)
    constant = small(epochs=8, refine=0.25, learning_rate=0.01, optimizer="sgd")
    for epochs in (range(1, 7), range(7, 9)):
        total = 50 * len(epochs)
        steps = [(epoch, step) for epoch in epochs for step in range(1, 51)]
        for n, (epoch, step) in enumerate(steps, 1):
            falling = math.cos(math.pi / 2 * n / total) ** 2
            expected = 0.01 * min(n / warm_up, 1) * falling
            rate = lab.learning_rate(config, epoch, step, 50)
            assert rate == approx(expected, abs=1e-12)
            assert lab.learning_rate(constant, epoch, step, 50) == 0.01


def test_teacher_forcing_ratio_falls_linearly_from_1():
    config = small(epochs=10, tf_final=0.4)
    ratios = [lab.teacher_forcing_ratio(config, epoch) for epoch in (1, 5, 10)]
    assert ratios == approx([0.94, 0.7, 0.4])


def test_the_gates_paths_count_alike_at_first_and_letters_behind_it_cost_later():
    config = small(epochs=40, refine=0.5, gate_price=0.2)  # 20 epochs in the first phase
    gates = [lab.gate_schedule(config, epoch) for epoch in (3, 5, 6, 20, 40)]
    taus, prices = zip(*gates, strict=True)
    assert taus == approx((0.65, 0.3 + 3.5 / 6, 1, 1, 1))
    assert prices == (0, 0, 0.2, 0.2, 0.2)


# ---- Configurations ----
def test_config_is_the_lab_by_its_own_rules():
    config = lab.Config()
    assert config.hidden_size in (256, 512)
    assert config.latent_size == 32
    assert config.condition_size == 8
    assert config.decoding == "gated"
    assert config.strategy == "target-rate"
    assert config.kl_weight == 1
    assert (config.rate_start, config.rate_end) == (8, 4)
    assert (config.epochs, config.first_phase) == (84, 63)
    assert lab.teacher_forcing_ratio(config, 84) == approx(0.95)


def test_classic_is_the_original_as_published():
    classic = lab.Config.classic()
    assert classic.epochs == 500
    assert classic.hidden_size == 256
    assert classic.latent_size == 32
    assert classic.condition_size == 8
    assert classic.decoding == "direct"
    assert classic.optimizer == "sgd"
    assert classic.learning_rate == approx(0.05 * classic.batch_size)
    assert classic.strategy == "monotonic"
    assert classic.kl_weight == 1
    assert classic.ce_per == "character"
    assert classic.refine == 0
    assert lab.teacher_forcing_ratio(classic, 200) == approx(1 - 0.0018 * 200)


@pytest.mark.parametrize("recipe", [lab.Config, beyond.Config])
@pytest.mark.parametrize("name", ["training", "hiden_size", "directions", "context_in"])
def test_a_name_that_is_no_hyperparameter_is_a_type_error_that_names_it(recipe, name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        recipe(**{name: "same-tense"})


@pytest.mark.parametrize(
    "make, values, named",
    [
        (small, {"decoding": "direct", "gate_price": 0.2}, "gate_price: .* decoding 'direct'"),
        (small, {"decoding": "direct", "prefix_letters": 2}, "prefix_letters: .* 'direct'"),
        (small, {"strategy": "monotonic", "rate_end": 5.0}, "rate_end: .* strategy 'monotonic'"),
        (small, {"strategy": "constant", "rate_start": 5.0}, "rate_start: .* strategy 'constant'"),
        (small, {"optimizer": "sgd", "warm_up": 9}, "warm_up: .* optimizer 'sgd'"),
        (small, {"condition_size": 64}, "condition_size: found 64 beside hidden_size 64"),
        (small_beyond, {"gate_price": 0.2}, "gate_price: .* decoding 'lemma-first'"),
        (small_beyond, {"prefix_letters": 1}, "prefix_letters: .* decoding 'lemma-first'"),
        (small_beyond, {"hidden_size": 65}, "hidden_size: found 65 .* expected even"),
        (small_beyond, {"condition_size": 32}, "hidden_size: found 64 beside condition_size 32"),
    ],
)
def test_a_value_without_a_meaning_beside_another_is_refused_naming_both(make, values, named):
    with pytest.raises(ValueError, match=named):
        make(**values)
    for name in values:
        others = {other: values[other] for other in values if other != name}
        assert make(**others), "each alone has one"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().seed = 1
