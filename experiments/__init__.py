"""Scripts that make the tables of the notebooks; each runs as `python -m experiments.NAME`."""

import argparse
import math
import os
import time
import zlib
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed

import lab5_train
import lab5_utils as lab

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
TABLES = {path.parent.name: path for path in sorted(HERE.glob("tables/*/train.txt"))}  # by language


def replace_rows(path, rows, column):
    """Puts rows into a CSV, new or not, in place of those with the same values of a column.

    Or of several, if it is a list.
    """
    columns = [column] if isinstance(column, str) else column
    if path.exists():
        written = pd.read_csv(path)
        is_replaced = written.set_index(columns).index.isin(rows.set_index(columns).index)
        rows = pd.concat([written[~is_replaced], rows])
    rows.sort_values([*columns, "seed"]).to_csv(path, index=False)


def score_item(score, item):
    """Returns the rows of an item, which begin with what it is."""
    return pd.DataFrame([item | row for row in score(**item)]).round(6)


def score_items(path, score, items):
    """Trains and scores items, a core each; puts their rows into a CSV as soon as there are any.

    What an item has, such as its seed, is what `score` is asked for, and begins its rows.
    """
    calls = [delayed(score_item)(score, item) for item in items]
    for rows in Parallel(-1, return_as="generator_unordered")(calls):
        replace_rows(path, rows, list(items[0]))
        print(rows.to_string(), flush=True)


def plain_model_file(verbs):
    """Returns where notebook 02 keeps its plain model of a table; 03 and 05 read it."""
    return lab5_train.RUNS / f"plain_model-{zlib.crc32(repr(verbs).encode()):08x}.pt"


def load_plain(config, verbs):
    """Returns the model that 02 kept; where it kept none, one from other random numbers."""
    saved = plain_model_file(verbs)
    if not saved.exists():
        return lab5_train.load_or_train(config, verbs).model.cpu()
    model = lab.make_model(config, lab.vocabulary_of(verbs))
    model.load_state_dict(torch.load(saved, weights_only=True))
    return model


def run_parts(parts):
    """Scores the parts that the command line names, or all; of another folder's data if it says so.

    Parts by name: the table, what returns rows, and the items it is asked for.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="part", default=list(parts))
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    if unknown := ", ".join(sorted(set(asked.parts) - set(parts))):
        parser.error(f"{unknown}: not one of {', '.join(parts)}")
    suffix = ""
    if asked.data:
        os.environ["LAB5_DATA"] = str(asked.data.absolute())
        suffix = f"_{asked.data.name}"
    for name in asked.parts:
        table, score, items = parts[name]
        score_items(RESULTS / f"{table}{suffix}.csv", score, items)


def store_of(config, verbs=None, pairs=None):
    """Returns where a run of the lab's own training is kept."""
    task = lab5_train.check_task(config, verbs, pairs, None, lab5_train.new_training)
    return lab5_train.Store(task, lab5_train.RUNS)


def timed(note, make, config, verbs, pairs=None):
    """Returns what `make` makes, and its CPU seconds; it begins with a run of these.

    The seconds are noted in the run's folder. They are NaN if the folder was there and holds no
    note of this name.
    """
    folder = store_of(config, verbs, pairs).folder
    is_new = not folder.exists()
    start = time.process_time()
    made = make()
    path = folder / f"{note}.txt"
    if is_new:
        path.write_text(f"{time.process_time() - start:.1f}\n")
    return made, float(path.read_text()) if path.exists() else math.nan
