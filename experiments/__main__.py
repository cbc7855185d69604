"""Trains what the tables in results/ lack, and writes their means into README.md.

    .venv/bin/python -m experiments [TABLE …]

Without a name all tables are made. A row that stands in its table isn't trained anew: delete it
there to see whether it is reproduced. One training runs per core, and is kept in runs/, so that a
second call goes on. Scores are those of the last epoch, with 10,000 draws. `core_seconds` are those
of the call that finished a row, and `commit` is the code that made it. With LAB5_DATA=FOLDER
another table of four forms is used, and files are named after its folder.
"""

import argparse
import subprocess
import time
from dataclasses import replace

import joblib
import pandas as pd
import torch
from tqdm.auto import tqdm

import lab5_utils as lab
from experiments import tables
from experiments.recipes import ROWS, Row
from lab5_runs import load_or_train

NAMES = list(dict.fromkeys(row.part for row in ROWS))
HISTORIES = ("05_lab",)  # tables of which the epochs are kept, too
SHOWN = ["ce", "kl", "beta", "tf_ratio", "bleu4", "gaussian"]  # of each of them
DESCRIBE = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
COMMIT = subprocess.run(DESCRIBE, cwd=lab.HERE, capture_output=True, text=True).stdout.strip()


def finish_row(row: Row, seed: int) -> tuple[Row, dict, pd.DataFrame]:
    """Returns a row, its numbers, and the history of its run."""
    torch.set_num_threads(1)  # so that scores are the same bits on any number of cores
    began = time.process_time()
    verbs = row.table(lab.distinct_verbs()[:: row.every], seed)
    run = load_or_train(replace(row.config, seed=seed), verbs, progress=False)
    numbers = {"row": row.name} | row.fields() | row.score(run, verbs)
    numbers |= {"core_seconds": round(time.process_time() - began), "seed": seed, "commit": COMMIT}
    return row, numbers, run.history


def write_row(row: Row, numbers: dict, history: pd.DataFrame) -> None:
    """Adds a row to its table, and its epochs to theirs."""
    tables.add_rows(row.part, [numbers])
    if row.part in HISTORIES:
        epochs = history.filter(SHOWN).reset_index().assign(row=row.name, seed=numbers["seed"])
        key = ("row", "seed", "epoch")
        tables.add_rows(f"{row.part}_history", epochs.to_dict("records"), key)


def missing_rows(names: list[str]) -> list[tuple[Row, int]]:
    """Returns the rows and seeds that these tables lack, and prints how many they hold."""
    missing = []
    for name in names:
        planned = [(row, seed) for row in ROWS if row.part == name for seed in row.seeds]
        lacking = [item for item in planned if not tables.has_row(name, item[0].name, item[1])]
        print(f"{name}: {len(planned) - len(lacking)} of {len(planned)} rows")
        missing += sorted(lacking, key=lambda item: item[1])  # a seed of each row first
    return missing


def main() -> None:
    """Trains what is missing, writes each row as soon as it is done, and then the means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(NAMES))
    asked = parser.parse_args().tables
    if unknown := sorted(set(asked) - set(NAMES)):
        parser.error(f"{unknown[0]}: not one of {', '.join(NAMES)}")
    missing = missing_rows(asked or NAMES)
    calls = [joblib.delayed(finish_row)(*item) for item in missing]
    finished = joblib.Parallel(-1, return_as="generator_unordered")(calls)
    for row, numbers, history in tqdm(finished, "rows", len(missing)):
        write_row(row, numbers, history)
        tqdm.write(f"{row.part}: {row.name}, seed {numbers['seed']}")
    if lab.data_folder() == lab.HERE:
        tables.write_means()


if __name__ == "__main__":
    main()
