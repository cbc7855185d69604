"""Trains the rows of `recipes`, for the tables in results/.

    .venv/bin/python -m experiments.score_seeds [part ...] [--row ROW] [--seed SEED] [--again]

A part is a table, such as 05_changes; without one, all are made. A row that stands in its table
isn't trained anew, unless `--again` asks for it; `--row` and `--seed` choose among rows. One
training runs per core, and is kept in runs/, so that a second call resumes. Scores are those of
the last epoch, with 10,000 draws. `core_seconds` are those of the call that finished a row, and
`commit` is the one that made it. With LAB5_DATA=folder another table of four forms is used, and
files are named after its folder.

Shares are 0..1. `never`: rows of the table that are never drawn; `gate_ed`: for verbs with a past
in -ed, the share of forms whose gate opens exactly after the common prefix; `repeated`: words that
are decoded as themselves; `nearest`: words whose nearest code in another tense is their own
verb's; `best_bleu4`: the highest of all epochs, that of `best_epoch`; `best_gaussian`: the
official Gaussian score of that epoch, with the course's 100 draws.
"""

import argparse
import subprocess
import time
from dataclasses import replace
from functools import partial

import joblib
import pandas as pd
import torch

import lab5_utils as lab
from experiments import HERE, add_rows, has_row
from experiments.recipes import ROWS, Row
from lab5_runs import load_or_train, train

PARTS = list(dict.fromkeys(row.part for row in ROWS))
HISTORIES = ("05_lab", "05_forcing")  # the parts whose epochs are kept, too
SHOWN = ["ce", "kl", "beta", "tf_ratio", "bleu4", "gaussian"]  # of each of them


def run_of(row: Row, seed: int, again: bool):
    """Returns the run of a row, and the verbs that it reads and writes."""
    table = lab.distinct_verbs()[:: row.every]
    read = row.read(table, seed)
    written = read
    make_training = row.make_training
    options = {}
    if row.written:
        written = row.written(table, seed)
        make_training = partial(make_training, targets=written)
    if read != table or row.written:
        options["pairs"] = []  # those of the test aren't in it
    config = replace(row.config, seed=seed)
    make_run = train if again else load_or_train
    run = make_run(config, read, progress=False, make_training=make_training, **options)
    return run, read, written


def finish_row(row: Row, seed: int, again: bool) -> tuple[Row, dict, pd.DataFrame]:
    """Returns a row, its numbers, and the history of its run."""
    torch.set_num_threads(1)  # so that scores are the same bits on any number of cores
    began = time.process_time()
    run, read, written = run_of(row, seed, again)
    numbers = {"row": row.name} | row.fields() | row.score(run, read, written)
    numbers |= {"core_seconds": round(time.process_time() - began), "seed": seed}
    return row, numbers, run.history


def commit() -> str:
    """Returns the short name of the checkout's commit, or an empty text outside of git."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip()


def write_row(row: Row, numbers: dict, history: pd.DataFrame) -> None:
    """Adds a row to its table, in place of the one before, and its epochs to theirs."""
    key = ["row", "seed"]
    add_rows(row.part, [numbers | {"commit": commit()}], key)
    if row.part in HISTORIES:
        epochs = history.filter(SHOWN).reset_index().assign(row=row.name, seed=numbers["seed"])
        add_rows(f"{row.part}_history", epochs.to_dict("records"), [*key, "epoch"])


def asked_rows(asked: argparse.Namespace) -> list[tuple[Row, int]]:
    """Returns the rows and seeds that are asked for and have to be trained, in their order."""
    rows = [
        (row, seed)
        for part in asked.parts or PARTS
        for row in ROWS
        for seed in row.seeds
        if row.part == part
        if asked.row in (None, row.name) and asked.seed in (None, seed)
        if asked.again or not has_row(part, row.name, seed)
    ]
    return sorted(rows, key=lambda item: (item[0].part, item[1]))  # a seed of each row first


def main() -> None:
    """Trains what is asked for, and writes each row as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--row", help="only the row with this name")
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--again", action="store_true", help="what stands in its table, too")
    parser.add_argument("--jobs", type=int, default=-1, help="trainings at a time; default: cores")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.parts) - set(PARTS)):
        parser.error(f"{unknown[0]}: not one of {', '.join(PARTS)}")
    calls = [joblib.delayed(finish_row)(*item, asked.again) for item in asked_rows(asked)]
    for row, numbers, history in joblib.Parallel(asked.jobs, return_as="generator_unordered")(
        calls
    ):
        write_row(row, numbers, history)
        print(row.part, numbers, flush=True)


if __name__ == "__main__":
    main()
