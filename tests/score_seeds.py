"""Trains the recommended recipe with five seeds and prints its scores, before and after the encoder is refined.

    python tests/score_seeds.py [data folder]

The last epoch of each seed, 10,000 draws; mean ± sd over the seeds, and every seed. A core trains a seed; what is
trained is kept in runs/, so an interrupted table goes on where it stopped.
"""

import os
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab

SEEDS = range(5)
BEFORE = ["bleu4", "bleu4_drawn", "conversion", "gaussian_exact", "distinct", "kl_table"]


def main():
    if len(sys.argv) > 1:
        os.environ["LAB5_DATA"] = str(Path(sys.argv[1]).absolute())
    verbs = lab.load_verbs()
    runs = lab.sweep([lab.Config(seed=seed) for seed in SEEDS], verbs)
    scores = pd.DataFrame([lab.score(run.model, verbs) for run in runs], index=pd.Index(SEEDS, name="seed"))
    before = pd.DataFrame([run.history.loc[run.config.joint_epochs, BEFORE] for run in runs], index=scores.index)
    for title, table in (("before refining (1,000 draws)", before), ("at the last epoch (10,000 draws)", scores)):
        print(f"\n{title}\n{table.astype(float).round(4).T.to_string()}\n\nmean ± sd")
        print((table.mean().map("{:.4f}".format) + " ± " + table.std().map("{:.4f}".format)).to_string())


if __name__ == "__main__":
    main()
