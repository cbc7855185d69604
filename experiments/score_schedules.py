"""Compares KL schedules where their models invent equally well: writes results/04_full.csv.

    .venv/bin/python -m experiments.score_schedules

A schedule at several weights draws a curve: the more KL weighs, the more noise becomes verbs (the
Gaussian score), and the fewer conversions are right. Schedules are compared by their curves, twice:

- in *miniature*: every fifth verb, hidden size 128, 36 epochs, nothing refined;
- at *full size*: the lab's recipe in 28 epochs, and 9 more in which the encoder is refined.

Last epoch, 1,000 draws. Finished runs are kept in runs/, so that a second start goes on.

Fixed before the runs of an experiment, but for what is said:
- A *dial* is a mean KL weight or, for the target rate, nats. Dials were placed by one run each of a
  seed that is not used; these runs are in the table, too ("placing").
- One number a seed and schedule: the mean conversion over Gaussian scores in a range, on straight
  lines between its dials, where the curve first rises to each. A seed is missing for all schedules
  if one of its curves does not hold the whole range. (At full size the range was chosen after the
  runs: it holds all hundredths that every curve of every seed reaches.)
- Each schedule is compared with the constant weight, seed by seed. *Different*: a paired t-test.
  *Equal*: within MARGIN, by two one-sided t-tests (Schuirmann 1987). Both at LEVEL, which was 0.05
  / 4 until full size was added. The same for distinct rows.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

import lab5_utils as lab
from experiments import RESULTS
from experiments.scores import slow_monotonic
from lab5_train import STRATEGIES, Config, sweep

SLOW = "monotonic, 30 %"
STRATEGIES[SLOW] = slow_monotonic


# ---- What is trained ----
class Experiment(NamedTuple):
    """Holds what is trained, and the Gaussian scores at which curves are read."""

    config: Config
    verbs: slice
    placing: dict[str, list[float]]  # dials by schedule, each trained once, to choose
    dials: dict[str, list[float]]
    seeds: int
    levels: np.ndarray


UNUSED_SEED = 100
WEIGHTS = [0.06, 0.09, 0.13, 0.18, 0.25, 0.35]
MINIATURE = Experiment(
    config=Config(
        epochs=36,
        batch_size=40,
        hidden_size=128,
        learning_rate=0.012,
        tf_final=1.0,
        refine=0.0,
    ),
    verbs=slice(None, None, 5),
    placing={
        "constant": WEIGHTS,
        SLOW: WEIGHTS,
        "cyclical-linear": WEIGHTS,
        "cyclical-sigmoid": WEIGHTS,
        "target-rate": [14.0, 12.0, 10.0, 8.5, 7.0, 5.5],
    },
    dials={
        "constant": [0.05, 0.1, 0.15, 0.22],
        SLOW: [0.05, 0.13, 0.22, 0.36],
        "cyclical-linear": [0.05, 0.1, 0.16, 0.25],
        "cyclical-sigmoid": [0.05, 0.16, 0.28, 0.45],
        "target-rate": [16.0, 11.0, 8.0, 5.5],
    },
    seeds=12,
    levels=np.linspace(0.8, 0.9, 11),
)
FULL_SIZE = Experiment(
    config=Config(epochs=37),  # 28, and 9 in which the encoder is refined
    verbs=slice(None),
    placing={
        "constant": [0.2, 0.25, 0.33],
        "cyclical-sigmoid": [0.45, 0.58, 0.72],
        "target-rate": [9.5, 7.5, 6.0],
    },
    dials={
        "constant": [0.21, 0.27, 0.35],
        "cyclical-sigmoid": [0.48, 0.6, 0.8],
        "target-rate": [9.5, 7.0, 5.5],
    },
    seeds=5,
    levels=np.linspace(0.76, 0.83, 8),  # what all five seeds hold
)
EXPERIMENTS = {"miniature": MINIATURE, "full size": FULL_SIZE}


def mean_shape(name, steps=1000):
    """Returns the mean of a schedule's shape over so many steps."""
    shape = STRATEGIES[name]
    return sum(shape(step / steps, 0.0) for step in range(1, steps + 1)) / steps


def dialled(config, name, dial):
    """Returns a configuration with a schedule at a mean weight or, if it watches KL, at nats."""
    if name == "target-rate":
        return replace(config, strategy=name, target_kl=dial)
    return replace(config, strategy=name, kl_weight=dial / mean_shape(name))


def row(name, dial, run):
    """Returns what the table keeps of a run: KL and CE in nats per word."""
    scores = run.history.iloc[-1]
    return {
        "strategy": name,
        "dial": dial,
        "seed": run.config.seed,
        "mean_weight": run.history.loc[: run.config.kl_epochs, "kl_weight"].mean(),
        "ce": scores["ce"],
        "kl": scores["kl_table"],
        "conversion": scores["conversion"],
        "gaussian": scores["gaussian_exact"],
        "distinct": scores["distinct"],
    }


def train_dials(experiment, dials, seeds):
    """Returns a table of the last epochs: all dials by name, all seeds."""
    listed = [(name, dial, seed) for name in dials for dial in dials[name] for seed in seeds]
    configs = []
    for name, dial, seed in listed:
        configs.append(dialled(replace(experiment.config, seed=seed), name, dial))
    runs = sweep(configs, lab.load_verbs()[experiment.verbs])
    rows = [row(name, dial, run) for (name, dial, _), run in zip(listed, runs, strict=True)]
    return pd.DataFrame(rows)


def make_table():
    """Trains what runs/ does not hold, and writes the table."""
    tables = {}
    for name, experiment in EXPERIMENTS.items():
        placing = train_dials(experiment, experiment.placing, [UNUSED_SEED])
        tables[f"{name}, placing"] = placing
        tables[name] = train_dials(experiment, experiment.dials, range(experiment.seeds))
    table = pd.concat(tables, names=["experiment"]).reset_index(0)
    table.round(4).to_csv(RESULTS / "04_full.csv", index=False)


# ---- What is read ----
MARGIN = {"conversion": 0.02, "distinct": 2.0}
LEVEL = 0.05 / 7  # seven comparisons were planned, six are made


def value_at(level, x, y):
    """Returns y where x first rises to a level, on straight lines between points; else NaN."""
    if x[0] > level:
        return np.nan
    for n in range(len(x) - 1):
        if x[n] <= level <= x[n + 1] and x[n] < x[n + 1]:
            share = (level - x[n]) / (x[n + 1] - x[n])
            return y[n] + share * (y[n + 1] - y[n])
    return np.nan


def readings(table, column, levels):
    """Returns a column's mean over Gaussian scores: a row a seed, a column a schedule.

    The dials of each schedule stand in the order in which KL weighs more. Seeds that one of the
    curves misses are left out.
    """
    read = {}
    for key, curve in table.groupby(["seed", "strategy"], sort=False):
        x = curve["gaussian"].array
        y = curve[column].array
        read[key] = np.mean([value_at(level, x, y) for level in levels])
    return pd.Series(read).unstack().dropna()


def compare(read, margin):
    """Returns each schedule's difference to the constant weight, an interval, and tests.

    A schedule is equal if the whole interval, of 1 − 2 LEVEL, lies within the margin.
    """
    rows = {}
    for name in read.columns.drop("constant"):
        difference = read[name] - read["constant"]
        half = stats.t.ppf(1 - LEVEL, len(difference) - 1) * difference.sem()
        above = stats.ttest_1samp(difference, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(difference, margin, alternative="less").pvalue
        p_different = stats.ttest_1samp(difference, 0).pvalue
        found = {"different": p_different < LEVEL, "equal": max(above, below) < LEVEL}
        rows[name] = {
            "difference": difference.mean(),
            "±": half,
            "p different": p_different,
            "p equal": max(above, below),
            "outcome": " and ".join(word for word, true in found.items() if true) or "open",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def compare_all(table):
    """Returns the comparisons of conversions and of distinct rows, and how many seeds they have."""
    found = {}
    for name, experiment in EXPERIMENTS.items():
        trained = table[table["experiment"] == name]
        for column, margin in MARGIN.items():
            read = readings(trained, column, experiment.levels)[list(experiment.dials)]
            found[name, column] = compare(read, margin).assign(seeds=len(read))
    return pd.concat(found, names=["experiment", "score", "schedule"])


if __name__ == "__main__":
    make_table()
    print(compare_all(pd.read_csv(RESULTS / "04_full.csv")).to_string())
