"""Trains recipes with several seeds and prints their scores.

    .venv/bin/python -m experiments.score_seeds [data folder]
    .venv/bin/python -m experiments.score_seeds --ablation [data folder]

The first trains both recipes, by the lab's rules and beyond them, with five seeds; the second takes
parts of the first one away, with three. The last epoch of each seed, 10,000 draws; every seed, and
mean ± sd. What is trained is kept in runs/. The scores of both recipes on the project's own table
are written to figures/03_seeds.csv, too. Another folder has another English table and its pairs.
"""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import lab5_beyond as beyond
import lab5_figures
import lab5_utils as lab
from experiments.words import is_regular
from lab5_train import sweep


class GateWithoutPrice(lab.GatedDecoder):
    """May open as early as it likes."""

    price = 0.0


lab.DECODERS["no price"] = GateWithoutPrice
RECIPES = {"by the lab's rules": lab.Config, "beyond the rules": beyond.Config}
ABLATION = {
    "the recipe": lab.Config,
    "no price on the gate": partial(lab.Config, decoding="no price"),
    "no gate": partial(lab.Config, decoding="direct"),
    "monotonic, to the weight at which the target rate settles": partial(
        lab.Config, strategy="monotonic", kl_weight=0.78
    ),
}
BEFORE = ["bleu4", "bleu4_drawn", "conversion", "gaussian_exact", "distinct", "kl_table"]


def conversions_by_kind(model, verbs):
    """Returns the share of right conversions of regular and irregular verbs, 0..1 by name."""
    right = lab.convert_verbs(model, verbs) == np.array(verbs)[:, None]  # (N, 4, 4)
    irregular = np.array([not is_regular(verb) for verb in verbs])  # (N,)
    different = ~np.eye(right.shape[1], dtype=bool)
    past = np.zeros_like(different)
    past[lab.PAST, :] = True
    past[:, lab.PAST] = True
    return {
        "regular": right[~irregular][:, different].mean(),
        "irregular": right[irregular][:, different].mean(),
        "irregular, to or from the past": right[irregular][:, different & past].mean(),
    }


def show(title, table):
    """Prints a table, a row a seed, with a column a seed, and their mean and sd."""
    columns = table.astype(float).T
    columns = columns.assign(mean=columns.mean(axis=1), sd=columns.std(axis=1))
    print(f"\n{title}")
    print(columns.round(4).to_string(), flush=True)


def score_recipe(name, runs, verbs):
    """Prints the scores of a recipe's runs, a seed each; returns those of their last epochs."""
    seeds = pd.Index([run.config.seed for run in runs], name="seed")
    before = [run.history.loc[run.config.kl_epochs, BEFORE] for run in runs]
    show(f"{name}; end of the first phase, 1,000 draws", pd.DataFrame(before, index=seeds))
    after = []
    for run in runs:
        scores = lab.score(run.model, verbs)
        after.append(scores | conversions_by_kind(run.model, lab.distinct_verbs(verbs)))
    after = pd.DataFrame(after, index=seeds)
    show(f"{name}; last epoch, 10,000 draws", after)
    return after.reset_index().assign(recipe=name)


def train_and_score(recipes, seeds):
    """Trains each recipe with each seed, prints all scores, and returns those of last epochs."""
    verbs = lab.load_verbs()
    configs = [recipe(seed=seed) for recipe in recipes.values() for seed in range(seeds)]
    runs = sweep(configs, verbs)
    tables = []
    for n, name in enumerate(recipes):
        of_recipe = runs[n * seeds : (n + 1) * seeds]
        tables.append(score_recipe(name, of_recipe, verbs))
    return pd.concat(tables)


def main(arguments):
    """Reads the arguments, trains, scores, and writes the table of both recipes."""
    folders = [argument for argument in arguments if argument != "--ablation"]
    if folders:
        os.environ["LAB5_DATA"] = str(Path(folders[0]).absolute())
    if "--ablation" in arguments:
        train_and_score(ABLATION, seeds=3)
        return
    table = train_and_score(RECIPES, seeds=5)
    if not folders:
        table.round(5).to_csv(lab5_figures.FIGURES / "03_seeds.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
