"""Lends the notebooks of an assignment what they need; `handout.py` copies this file into it.

Cells that need a missing answer are skipped; the model that notebook 02 trained goes on to 03, 04
and 05; figures have one look.
"""

import dis
from pathlib import Path

import cloudpickle
import seaborn as sns
import torch
from IPython import get_ipython
from IPython.core.magic import register_cell_magic

YOURS = Path("yours.pkl")  # what notebook 02 made
FIGURES = Path("figures")
WIDTH = 5.0  # of a figure, inches
BLANK = "NotImplementedError"  # what an empty answer raises


# ---- Figures ----
def set_style():
    """Sets the look of all figures."""
    rc = {"figure.dpi": 120, "figure.constrained_layout.use": True}
    sns.set_theme("paper", "whitegrid", "colorblind", rc=rc)


def save_fig(fig, name):
    """Exports a figure as PDF."""
    FIGURES.mkdir(exist_ok=True)
    fig.savefig(FIGURES / f"{name}.pdf")


def save_table(table, name, **options):
    """Exports a table as CSV, with options of pandas."""
    FIGURES.mkdir(exist_ok=True)
    table.to_csv(FIGURES / f"{name}.csv", **options)


# ---- What cells need ----
def is_missing(name):
    """Tells whether an answer is blank, or was never made."""
    value = get_ipython().user_ns.get(name.split(".")[0])
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    code = getattr(getattr(value, "__wrapped__", value), "__code__", None)
    steps = dis.get_instructions(code) if code else []  # none behind a return
    return value is None or BLANK in {step.argval for step in steps}


@register_cell_magic
def needs(line, cell):
    """Runs a cell if all that it needs was answered."""
    missing = [name for name in line.split() if is_missing(name)]
    if missing:
        print("This cell needs what is still missing:", ", ".join(missing))
        return
    get_ipython().run_cell(cell)


# ---- From one notebook to the next ----
def keep_model(encoder, decoder, convert, train):
    """Keeps a trained model and two functions of notebook 02, with all that they use."""
    model = {"encoder": encoder, "decoder": decoder, "convert": convert, "train": train}
    classes = {"Encoder": type(encoder), "Decoder": type(decoder)}
    YOURS.write_bytes(cloudpickle.dumps(model | classes))


def your_notebook():
    """Returns what notebook 02 made, by name; None if it did not. `train` works with its values."""
    if not YOURS.exists():
        print("There is no model yet: fill in notebook 02 and run it.")
        return None
    made = cloudpickle.loads(YOURS.read_bytes())
    names = made["train"].__globals__
    names.update(made)
    return names


class YourModel:
    """Holds the model that notebook 02 trained."""

    latent_size = 32

    def __init__(self, names):
        self.convert = names["convert"]
        self.decode = names["decode"]

    def generate(self, z):
        """Returns the verbs, all four tenses, that are decoded from z (N, Z)."""
        forms = [self.decode(z, torch.full((len(z),), tense)) for tense in range(4)]
        return list(zip(*forms, strict=True))


def your_model():
    """Returns the model that notebook 02 trained; None if it did not."""
    names = your_notebook()
    return None if names is None else YourModel(names)
