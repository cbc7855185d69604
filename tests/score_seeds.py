"""Trains both recipes, or the ablation of the one by the lab's rules, with several seeds and prints their scores.

    python tests/score_seeds.py [data folder]
    python tests/score_seeds.py --ablation [data folder]

The last epoch of each seed, 10,000 draws; every seed, and mean ± sd. What is trained is kept in runs/. Of the
project's own table the scores of both recipes are written to figures/03_seeds.csv, too.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab

RECIPES = {"by the rules": lab.Config.course, "beyond the rules": lab.Config}
ABLATION = {
    "the recipe": {},
    "no price on the gate": dict(gate_price=0.0),
    "no gate, the tense in the cell": dict(decoding="direct"),
    "no gate, the tense in the hidden state": dict(decoding="direct", context_in="hidden"),
    "monotonic, to the weight at which the target rate settles": dict(strategy="monotonic", kl_weight=0.78),
    "teacher forcing throughout": dict(tf_final=1.0),
}
BEFORE = ["bleu4", "bleu4_drawn", "conversion", "gaussian_exact", "distinct", "kl_table"]


def scores(run, verbs):
    """Returns every score of a run, and its conversions by kind of row: regular, irregular, to or from its past."""
    once = list(dict.fromkeys(verbs))
    right = lab.convert_verbs(run.model, once) == np.array(once)[:, None]  # (N, 4, 4)
    off, gap = ~np.eye(4, dtype=bool), np.zeros((4, 4), bool)
    gap[lab.P, : lab.P] = gap[: lab.P, lab.P] = True
    irregular = np.array([verb not in lab.regular_rows(verb[0]) for verb in once])
    kinds = {"regular": right[~irregular][:, off], "irregular": right[irregular][:, off]}
    kinds["irregular, to or from the past"] = right[irregular][:, gap]
    return lab.score(run.model, verbs) | {name: hits.mean() for name, hits in kinds.items()}


def main(arguments):
    ablation = "--ablation" in arguments
    if folder := [argument for argument in arguments if argument != "--ablation"]:
        os.environ["LAB5_DATA"] = str(Path(folder[0]).absolute())
    try:
        verbs, _ = lab.load_verbs(), lab.load_test_pairs()
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    seeds = range(3 if ablation else 5)
    recipes = {name: lambda x=x, **seed: lab.Config.course(**x | seed) for name, x in ABLATION.items()}
    recipes = recipes if ablation else RECIPES
    runs = iter(lab.sweep([recipe(seed=seed) for recipe in recipes.values() for seed in seeds], verbs))
    tables = []
    for name in recipes:
        group = [next(runs) for _ in seeds]
        before = pd.DataFrame([run.history.loc[run.config.joint_epochs, BEFORE] for run in group], index=seeds)
        after = pd.DataFrame([scores(run, verbs) for run in group], index=seeds)
        for when, table in {"before refining, 1,000 draws": before, "last epoch, 10,000 draws": after}.items():
            table = table.astype(float).T
            print(f"\n{name}; {when}")
            print(table.assign(mean=table.mean(axis=1), sd=table.std(axis=1)).round(4).to_string(), flush=True)
        tables.append(after.rename_axis("seed").reset_index().assign(recipe=name))
    if recipes is RECIPES and not folder:
        pd.concat(tables).round(5).to_csv(lab.FIGURES / "03_seeds.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
