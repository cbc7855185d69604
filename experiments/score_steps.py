"""Trains what notebook 02 cannot wait for: writes results/02_steps.csv and 02_tables.csv.

    .venv/bin/python -m experiments.score_steps

Steps: the monotonic schedule up to a weight that presses KL below ln 1227 nats, with the tense gate
and without it, before and after the encoder is refined. Tables: that weight and the target rate, on
tables of three languages. One seed each, 84 epochs, 1,000 draws. Trained models are kept in runs/.
Some forty minutes of one core.
"""

import pandas as pd

import lab5_utils as lab
from experiments import RESULTS
from lab5_train import Config, sweep

PRESSED = {"strategy": "monotonic", "kl_weight": 0.78}
STEPS = {
    "without the gate": Config(decoding="direct", **PRESSED),
    "with the gate": Config(**PRESSED),
}
LANGUAGES = {
    "English": lab.HERE,
    "Spanish": lab.HERE / "experiments/tables/spanish",
    "Turkish": lab.HERE / "experiments/tables/turkish",
}
SCHEDULES = {"β to 0.78": STEPS["with the gate"], "target rate": Config()}
SCORES = ["conversion", "gaussian_exact", "gaussian_inconsistent", "distinct", "kl_table"]


def scores_at(run, epoch, names):
    """Returns scores of a run at an epoch, by name."""
    return run.history.loc[epoch].reindex(names).astype(float).round(4).to_dict()


def train_steps():
    """Returns a table of steps: first all before refining, then all after."""
    runs = dict(zip(STEPS, sweep(STEPS.values()), strict=True))
    rows = []
    for step in ("pressed", "refined"):
        for name, run in runs.items():
            epoch = run.config.kl_epochs if step == "pressed" else run.config.epochs
            scores = scores_at(run, epoch, ["bleu4", *SCORES])
            rows.append({"step": f"{step}, {name}", "epochs": run.config.epochs, **scores})
    return pd.DataFrame(rows)


def train_tables():
    """Returns a table of languages and schedules: β and KL before refining, scores after."""
    rows = []
    for language, folder in LANGUAGES.items():
        verbs = lab.load_verbs(folder / "train.txt")
        runs = sweep([(config, verbs) for config in SCHEDULES.values()])
        for name, run in zip(SCHEDULES, runs, strict=True):
            before = scores_at(run, run.config.kl_epochs, ["beta", "kl_table"])
            after = scores_at(run, run.config.epochs, SCORES[:-1])
            rows.append({"language": language, "schedule": name, **before, **after})
    return pd.DataFrame(rows)


def main():
    """Trains, and writes both tables."""
    for name, make_table in {"02_steps": train_steps, "02_tables": train_tables}.items():
        table = make_table()
        table.to_csv(RESULTS / f"{name}.csv", index=False)
        print(table.to_string(), flush=True)


if __name__ == "__main__":
    main()
