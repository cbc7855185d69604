"""Scripts that make the tables in `results`. Each is run as `python -m experiments.NAME`."""

import argparse
import os
from pathlib import Path

import pandas as pd
from filelock import FileLock
from joblib import Parallel, delayed

import lab5_utils as lab

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DIGITS = {"never": 0, "kept": 0, "kl_table": 1}  # else 3


# ---- Making tables ----
def put_rows(path, rows):
    """Puts rows into a CSV, where they replace those with the same name, seed and epoch, if any."""
    with FileLock(path.parent / ".lock"):  # two processes may score at the same time
        if path.exists():
            rows = pd.concat([pd.read_csv(path), rows])
        keys = [name for name in ("row", "seed", "epoch") if name in rows]
        rows = rows.drop_duplicates(keys, keep="last")
        part = path.with_suffix(".part")  # so that a table is whole, whatever happens
        rows.sort_values(keys).to_csv(part, index=False)
        part.replace(path)


def score_item(score, item, asker):
    """Returns the rows that come out for an item, such as a recipe and a seed.

    It ends soon after the process that asks, if that is another.
    """
    from lab5_runs import end_with  # here, since what reads tables needs none of it

    end_with(asker)
    return pd.DataFrame(score(**item)).assign(seed=item["seed"]).round(6)


def run_parts(parts):
    """Scores the parts that the command line names, or else all, with one item per core.

    By its name, a part has the file of its table, a function that returns rows, and the items with
    which that is called. Rows are written as soon as there are any.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="part", default=list(parts))
    parser.add_argument("--data", type=Path, help="a folder with another train.txt and test.txt")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where tables are written")
    asked = parser.parse_args()
    if unknown := ", ".join(sorted(set(asked.parts) - set(parts))):
        parser.error(f"{unknown}: not one of {', '.join(parts)}")
    if asked.data:
        if not asked.data.is_dir():
            parser.error(f"--data: found no folder {asked.data}")
        os.environ["LAB5_DATA"] = str(asked.data.absolute())
    try:
        verbs = lab.load_verbs()
        lab.known_pairs(verbs)  # which reads test.txt
        asked.results.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if len(verbs[0]) != len(lab.TENSES):
        parser.error(f"{lab.data_folder() / 'train.txt'}: verbs must have {len(lab.TENSES)} forms")
    folder = lab.data_folder().resolve()  # which may have been set before
    suffix = "" if folder == lab.HERE.resolve() else f"_{folder.name}"
    for name in asked.parts:
        file, score, items = parts[name]
        calls = [delayed(score_item)(score, item, os.getpid()) for item in items]
        for rows in Parallel(-1, return_as="generator_unordered")(calls):
            put_rows(asked.results / f"{file}{suffix}.csv", rows)
            print(rows.to_string(), flush=True)


# ---- Reading tables ----
def mean_and_sd(values, digits=3):
    """Returns mean ± standard deviation of numbers as text, or one number if all are equal."""
    if not values.count():
        return "–"
    mean, sd = (f"{number:.{digits}f}" for number in (values.mean(), values.std()))
    return mean if values.nunique() == 1 else f"{mean} ± {sd}"


def read_results(file):
    """Returns a table of `results`; a line says that it isn't about a table of one's own."""
    if lab.data_folder() != lab.HERE:
        print(f"{file} is about the project's table, not about yours")
    return pd.read_csv(RESULTS / file)


def over_seeds(file, rows, columns):
    """Returns a table of texts, mean ± standard deviation over seeds, from a file in `results`.

    `rows` and `columns` are dictionaries from a name in the file to a heading. A column that the
    file lacks becomes "–". Raises KeyError for a row that it lacks.
    """
    results = read_results(file).set_index("row").reindex(columns=list(columns))
    table = {}
    for name, label in rows.items():
        known = results.loc[[name]].dropna(how="all")
        table[label] = {"seeds": len(known)}
        for column, heading in columns.items():
            table[label][heading] = mean_and_sd(known[column], DIGITS.get(column, 3))
    return pd.DataFrame(table).T
