"""Trains the longer steps of notebook 02: writes figures/02_steps.csv.

    .venv/bin/python -m experiments.score_steps

The monotonic schedule up to a weight that presses KL below ln 1227 nats, with the tense gate and
without it, before and after the encoder is refined. One seed each, 84 epochs, 1,000 draws. Trained
models are kept in runs/. Some seven minutes of one core.
"""

import pandas as pd

import lab5_utils as lab
from lab5_figures import FIGURES
from lab5_train import sweep

PRESSED = {"strategy": "monotonic", "kl_weight": 0.78}
COLUMNS = ["bleu4", "conversion", "gaussian_exact", "gaussian_inconsistent", "distinct", "kl_table"]


def rows_of(name, run):
    """Yields the rows of a run: before and after refining."""
    ends = {"pressed": run.config.kl_epochs, "refined": run.config.epochs}
    for step, epoch in ends.items():
        scores = run.history.loc[epoch].reindex(COLUMNS).astype(float)
        yield {"step": f"{step}, {name}", "epochs": run.config.epochs, **scores}


def main():
    """Trains, and writes the table."""
    configs = {
        "without the gate": lab.Config(decoding="direct", **PRESSED),
        "with the gate": lab.Config(**PRESSED),
    }
    rows = []
    for name, run in zip(configs, sweep(configs.values()), strict=True):
        rows += rows_of(name, run)
    table = pd.DataFrame(rows).sort_values("step", key=lambda step: step.str[:1], kind="stable")
    table.round(4).to_csv(FIGURES / "02_steps.csv", index=False)
    print(table.to_string())


if __name__ == "__main__":
    main()
