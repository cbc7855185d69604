"""The tables in results/: adding rows, and showing means over seeds."""

import re
from pathlib import Path

import pandas as pd
from filelock import FileLock

import lab5_utils as lab

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DIGITS = {"core_seconds": 0, "kl_table": 1}  # else 3
HEADINGS = {"bleu4": "BLEU-4", "kl_table": "KL"}  # of columns not called as in their file


# ---- Making tables ----
def path_of(table):
    """Returns the file of a table, which ends in the folder's name if verbs aren't the lab's."""
    folder = lab.data_folder()
    suffix = "" if folder == lab.HERE else f"_{folder.name}"
    return RESULTS / f"{table}{suffix}.csv"


def has_row(table, row, seed):
    """Tells whether a table has a row with a seed."""
    path = path_of(table)
    if not path.exists():
        return False
    known = pd.read_csv(path)
    return ((known["row"] == row) & (known["seed"] == seed)).any()


def add_rows(table, rows, key=("row", "seed")):
    """Writes rows into a table, in place of those with the same key, which sorts it.

    The file is replaced whole, by one process at a time.
    """
    path = path_of(table)
    with FileLock(RESULTS / ".lock"):
        known = pd.read_csv(path) if path.exists() else None
        both = pd.concat([known, pd.DataFrame(rows).round(6)])
        both = both.drop_duplicates([*key], keep="last").sort_values([*key])
        part = path.with_suffix(".part")
        both.to_csv(part, index=False, lineterminator="\n")
        part.replace(path)


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


def headed(names):
    """Returns names with their headings, which a dictionary already has."""
    if isinstance(names, dict):
        return names
    return {name: HEADINGS.get(name, name.replace("_", " ")) for name in names}


def over_seeds(file, rows, columns):
    """Returns a table of texts, mean ± standard deviation over seeds, from a file in `results`.

    `rows` and `columns` are names in the file, or dictionaries from such names to headings. A
    column that the file lacks becomes "–". Raises KeyError for a row that it lacks.
    """
    rows, columns = headed(rows), headed(columns)
    results = read_results(file).set_index("row").reindex(columns=list(columns))
    table = {}
    for name, label in rows.items():
        known = results.loc[[name]].dropna(how="all")
        table[label] = {"seeds": len(known)}
        for column, heading in columns.items():
            table[label][heading] = mean_and_sd(known[column], DIGITS.get(column, 3))
    return pd.DataFrame(table).T


# ---- Showing tables ----
def markdown(table):
    """Returns a table as Markdown; its cells do not wrap at ±."""
    lines = [[table.index.name or "", *table.columns], ["---"] * (table.shape[1] + 1)]
    lines += table.fillna("–").itertuples()
    text = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    return text.replace("|  |", "| |").replace(" ± ", "&nbsp;±&nbsp;")


def with_tables(text, tables):
    """Returns a text with its tables as they are now."""
    for name, table in tables.items():
        before, after = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        new = f"{before}{markdown(table)}\n{after}"
        text = re.sub(f"{before}.*?{after}", new, text, flags=re.DOTALL)
    return text


# ---- What README shows ----
SHOWN = {"bleu4": "BLEU-4", "from_noise": "Gaussian score", "conversions": "conversions"}
MODELS = {
    "plain model": "plain model, 16 epochs",
    "84 epochs": "plain model, 84 epochs",
    "our model": "bonus: gate, β = 0.6, read backwards",
}


def results():
    """Returns README's table: full marks, the original recipe, the plain model, and ours."""
    full = pd.DataFrame({"BLEU-4": "0.70", "Gaussian score": "0.30"}, index=["full marks"])
    columns = SHOWN | {"core_seconds": "core-seconds"}
    last = over_seeds("05_lab.csv", {"two sigmoids": "the original recipe, last epoch"}, columns)
    best_columns = {"best_bleu4": "BLEU-4", "best_gaussian": "Gaussian score"}
    best = over_seeds("05_lab.csv", {"two sigmoids": "…, best epoch"}, best_columns)
    models = over_seeds("06_seeds.csv", MODELS, columns)
    return pd.concat([full, last, best, models])[[*columns.values(), "seeds"]].fillna("–")


def write_means() -> None:
    """Writes the table between `<!-- results -->` and `<!-- /results -->` into README.md."""
    path = lab.HERE / "README.md"
    text = with_tables(path.read_text("utf-8"), {"results": results()})
    path.write_text(text, "utf-8")
