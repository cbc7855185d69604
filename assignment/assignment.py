"""Exports what the notebooks of the assignment show, and keeps the model that 02 trained."""

from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pandas as pd

YOURS = Path("yours.pkl")  # what notebook 02 keeps


def save_fig(fig, name):
    """Exports a figure as PDF."""
    fig.savefig(f"{name}.pdf")


def save_table(table, name, **options):
    """Exports a table as CSV, with options of pandas."""
    table.to_csv(f"{name}.csv", **options)


def keep_model(model, train):
    """Keeps the trained model and the function `train` of notebook 02, with all that they use."""
    YOURS.write_bytes(cloudpickle.dumps({"model": model, "train": train, "CVAE": type(model)}))


def your_notebook():
    """Returns what notebook 02 kept, by name."""
    if not YOURS.exists():
        raise FileNotFoundError("there is no model yet: fill in notebook 02 and run it")
    return cloudpickle.loads(YOURS.read_bytes())


def your_model():
    """Returns the model that notebook 02 trained, with `latent_size`, `convert` and `generate`."""
    model = your_notebook()["model"]

    def generate(z):
        """Returns verbs, all four forms decoded from each z (N, Z)."""
        forms = [model.decode(z, [tense] * len(z)) for tense in range(4)]
        return list(zip(*forms, strict=True))

    return SimpleNamespace(latent_size=32, convert=model.convert, generate=generate)


def convert_all(model, verbs):
    """Returns what a model spells, words (N, F, F), by verb, source tense and target tense."""
    tenses, count = range(len(verbs[0])), len(verbs)
    spelled = [  # (F, F, N)
        [model.convert(list(words), [source] * count, [target] * count) for target in tenses]
        for source, words in enumerate(zip(*verbs, strict=True))
    ]
    return np.array(spelled).transpose(2, 0, 1)


def our_curves():
    """Returns the curves of our own four trainings, and their words, by name, for 04."""
    curves = pd.read_csv("05_curves.csv", index_col="epoch").groupby("training", sort=False)
    words = {name: curve["words"].iloc[-1].split() for name, curve in curves}
    return {name: curve[["β", "KL", "CE"]] for name, curve in curves}, words
