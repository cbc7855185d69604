"""Keeps the model that notebook 02 trained, for 04 and 05, which have our curves until then."""

from pathlib import Path

import cloudpickle
import pandas as pd

YOURS = Path("yours.pkl")  # what notebook 02 keeps


def keep_model(model, train):
    """Keeps the trained model and the function `train` of notebook 02, with all that they use."""
    YOURS.write_bytes(cloudpickle.dumps({"model": model, "train": train, "CVAE": type(model)}))


def your_notebook():
    """Returns what notebook 02 kept, by name: the model, `train`, and the class `CVAE`."""
    if not YOURS.exists():
        raise FileNotFoundError("there is no model yet: fill in notebook 02 and run it")
    return cloudpickle.loads(YOURS.read_bytes())


def our_curves():
    """Returns the curves of our own four trainings, and their words, by name, for 05."""
    curves = pd.read_csv("05_curves.csv", index_col="epoch").groupby("training", sort=False)
    words = {name: curve["words"].iloc[-1].split() for name, curve in curves}
    return {name: curve[["β", "KL", "CE"]] for name, curve in curves}, words
