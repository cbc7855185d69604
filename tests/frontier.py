"""Trains the recommended recipe with one thing changed at a time and prints what each change costs or brings.

    python tests/frontier.py

One seed (another than the notebooks'), the project's own table, the last epoch, 10,000 draws. Two run at a time, a core each:
about forty minutes on two cores. What is trained is kept in runs/, so an interrupted table goes on where it stopped.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab

CHANGES = [
    {},
    {"rate_end": 3.0},
    {"rate_end": 6.4},
    {"rate_end": 9.0},
    {"hold_from": 0.6},
    {"epochs": 55},
    {"epochs": 110},
    {"latent_size": 8},
    {"targets": 4},
    {"batch_size": 16},
    {"decoding": "direct"},
    {"starts_in": "hidden"},
    {"tf_final": 0.5},
]
SEED = 1


def row(change, run, verbs):
    """Returns a row of the table: the change, the run before its encoder is finished, and at its last epoch."""
    before, after = run.history.loc[run.config.joint_epochs], lab.score(run.model, verbs)
    name = ", ".join(f"{field} {value}" for field, value in change.items()) or "none"
    numbers = [f"{before[c]:.{d}f}" for c, d in (("kl_table", 1), ("marginal_kl", 2), ("conversion", 3))]
    columns = (("bleu4", 3), ("conversion", 4), ("gaussian_exact", 3), ("gaussian_mixed", 3), ("distinct", 1))
    return " | ".join([f"| {name}", *numbers, *(f"{after[c]:.{d}f}" for c, d in columns)]) + " |"


def main():
    verbs = lab.load_verbs()
    runs = lab.sweep([lab.Config(seed=SEED, **change) for change in CHANGES], verbs)
    print(
        "| change | KL before | marginal KL | conversion before | BLEU-4 | conversion | Gaussian | mixed | distinct |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for change, run in zip(CHANGES, runs):
        print(row(change, run, verbs))


if __name__ == "__main__":
    main()
