"""Trains recipes with several seeds and prints their scores.

    .venv/bin/python -m experiments.score_seeds [recipe ...]
    .venv/bin/python -m experiments.score_seeds --data folder
    .venv/bin/python -m experiments.score_seeds --ablation

The first trains the recipes of RECIPES, or those that are named, with five seeds, and renews their
rows in results/03_seeds.csv: scores of the last epoch and, where there is a second phase, of the
model before it; 10,000 draws. All of them take two hours on two cores, the first three ten minutes.
With --data it trains on another folder's English table and its pairs, and writes nothing. With
--ablation it takes parts of the lab's recipe away, three seeds. What is trained is kept in runs/.
"""

import argparse
import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import lab5_utils as lab
from experiments import RESULTS, replace_rows
from experiments.words import is_regular
from lab5_train import Config, sweep


class GateWithoutPrice(lab.GatedDecoder):
    """May open as early as it likes."""

    price = 0.0


lab.DECODERS["no price"] = GateWithoutPrice
BY_THE_BOOK = {"strategy": "monotonic", "kl_weight": 0.3, "refine": 0.0, "epochs": 16}
ORIGINAL = {"strategy": "cyclical-sigmoid", "kl_weight": 0.5, "epochs": 60}
SMALLER = {"hidden_size": 128, "embedding_size": 32, "batch_size": 64}
ADAM = {"optimizer": "adam", "learning_rate": 0.004}
RECIPES = {  # the first three as in notebook 02
    "the original": partial(Config.classic, **ORIGINAL, **SMALLER, **ADAM),
    "the plain model": partial(Config, **BY_THE_BOOK, decoding="direct"),
    "with a tense gate": partial(Config, **BY_THE_BOOK),
    "by the lab's rules": Config,
}
ABLATION = {
    "the recipe": Config,
    "no price on the gate": partial(Config, decoding="no price"),
    "no gate": partial(Config, decoding="direct"),
    "monotonic, to the weight at which the target rate settles": partial(
        Config, strategy="monotonic", kl_weight=0.78
    ),
}


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
    """Returns the scores of a recipe's runs at their last epochs, and before a second phase."""
    models = {name: [run.model for run in runs]}
    if runs[0].before is not None:
        models[f"{name}, before the second phase"] = [run.before for run in runs]
    rows = []
    for recipe, of_recipe in models.items():
        for run, model in zip(runs, of_recipe, strict=True):
            scores = lab.score(model, verbs)
            scores |= conversions_by_kind(model, lab.distinct_verbs(verbs))
            rows.append({"recipe": recipe, "seed": run.config.seed} | scores)
    return rows


def train_and_score(recipes, seeds):
    """Trains each recipe with each seed; returns their scores, and prints them recipe by recipe."""
    verbs = lab.load_verbs()
    rows = []
    for name, recipe in recipes.items():
        runs = sweep([recipe(seed=seed) for seed in range(seeds)], verbs)
        rows += score_recipe(name, runs, verbs)
    table = pd.DataFrame(rows)
    for recipe, of_recipe in table.groupby("recipe", sort=False):
        show(recipe, of_recipe.drop(columns="recipe").set_index("seed"))
    return table


def main():
    """Reads the arguments, trains, scores, and renews the table of seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipes", nargs="*", metavar="recipe", default=list(RECIPES))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--ablation", action="store_true")
    asked = parser.parse_args()
    unknown = set(asked.recipes) - set(RECIPES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(RECIPES)}")
    if asked.data:
        os.environ["LAB5_DATA"] = str(asked.data.absolute())
    if asked.ablation:
        train_and_score(ABLATION, seeds=3)
        return
    table = train_and_score({name: RECIPES[name] for name in asked.recipes}, seeds=5)
    if not asked.data:
        replace_rows(RESULTS / "03_seeds.csv", table.round(5), column="recipe")


if __name__ == "__main__":
    main()
