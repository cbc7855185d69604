"""How schedules are compared: readings of curves by hand, tests against SciPy's and an interval."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments import score_schedules
from experiments.score_schedules import compare, readings, value_at


def curves(rows):
    """Returns a table of (seed, strategy, gaussian, conversion)."""
    return pd.DataFrame(rows, columns=["seed", "strategy", "gaussian", "conversion"])


def test_a_curve_is_read_where_it_first_rises_to_a_level():
    gaussian = [0.7, 0.9, 0.8, 0.95]
    conversion = [1.0, 0.8, 0.9, 0.5]
    assert value_at(0.85, gaussian, conversion) == pytest.approx(0.85)
    assert value_at(0.7, gaussian, conversion) == 1.0
    assert value_at(0.9, gaussian, conversion) == 0.8
    assert value_at(0.95, gaussian, conversion) == 0.5
    assert np.isnan(value_at(0.69, gaussian, conversion)), "it begins above"
    assert np.isnan(value_at(0.96, gaussian, conversion)), "it never gets there"


def test_one_number_a_seed_and_a_seed_that_one_curve_misses_is_left_out_for_all():
    rows = []
    for seed, highest in enumerate((0.95, 0.85)):
        for name, lost in (("constant", 0.2), ("mine", 0.4)):
            rows.append((seed, name, 0.75, 1.0))
            rows.append((seed, name, highest if name == "mine" else 0.95, 1.0 - lost))
    read = readings(curves(rows), "conversion", levels=[0.8, 0.9])
    assert read.index.tolist() == [0]
    # a quarter and three quarters of the way from the first point to the second
    assert read.loc[0, "constant"] == pytest.approx(1 - 0.2 * 0.5)
    assert read.loc[0, "mine"] == pytest.approx(1 - 0.4 * 0.5)


@pytest.mark.parametrize(
    "shift, outcome",
    [(0.0, "equal"), (0.008, "different and equal"), (0.05, "different"), (0.019, "different")],
)
def test_tests_agree_with_scipy_and_with_the_interval_of_the_same_level(shift, outcome):
    rng = np.random.default_rng(0)
    constant = rng.normal(0.9, 0.02, 20)
    noise = rng.normal(0.0, 0.006, 20)
    read = pd.DataFrame({"constant": constant, "mine": constant + shift + noise - noise.mean()})
    found = compare(read, margin=0.02).loc["mine"]
    assert found["difference"] == pytest.approx(shift)
    paired = stats.ttest_rel(read["mine"], read["constant"])
    assert found["p different"] == pytest.approx(paired.pvalue)
    low, high = paired.confidence_interval(1 - 2 * score_schedules.LEVEL)
    assert found["±"] == pytest.approx((high - low) / 2)
    assert ("equal" in found["outcome"]) == (low > -0.02 and high < 0.02)
    assert found["outcome"] == outcome


def test_schedules_get_the_mean_weight_of_their_dial():
    for name in score_schedules.MINIATURE.dials:
        config = score_schedules.dialled(score_schedules.MINIATURE.config, name, 7.0)
        if name == "target-rate":
            assert config.target_kl == 7.0
        else:
            shape = score_schedules.mean_shape(name)
            assert config.kl_weight * shape == pytest.approx(7.0)
