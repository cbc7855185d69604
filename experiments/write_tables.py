"""Writes the tables of README.md and experiments/README.md from the files that hold their numbers.

    .venv/bin/python -m experiments.write_tables

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import re

import pandas as pd

from experiments import HERE, RESULTS, headed, over_seeds
from experiments.recipes import ROWS

COLUMNS = ["conversions", "bleu4", "from_noise", "lemma_first", "hidden"]
SCORES = headed(COLUMNS)
MODELS = ("plain model", "our model")
BY_LOOKING_UP = {"from noise": "–", "seeds": "–"}  # what the count has none of


# ---- Tables ----
def results():
    """Returns README's table: the lab's recipe, both models, what taught itself, and the count."""
    spelled = {f"spelled_{name}": heading for name, heading in SCORES.items()}
    tables = [
        over_seeds("05_lab.csv", {"two sigmoids": "the lab's recipe"}, SCORES),
        models("06_seeds.csv", "04_hidden.csv"),
        over_seeds("07_selftaught.csv", ["self-taught"], spelled),
        over_seeds("07_selftaught.csv", ["the count"], SCORES).assign(**BY_LOOKING_UP),
    ]
    return pd.concat(tables)[[*SCORES.values(), "seeds"]]  # on a phone the first are seen


def models(seeds, hidden):
    """Returns the table of both models, whose hidden forms stand in a file of their own."""
    table = over_seeds(seeds, MODELS, SCORES)
    heading = SCORES["hidden"]
    table[heading] = over_seeds(hidden, MODELS, {"hidden": heading})[heading]
    return table


def hours():
    """Returns what each table of `recipes` holds so far, and the core-hours of these rows."""
    rows = {}
    for part in dict.fromkeys(row.part for row in ROWS):
        planned = {row.name: len(row.seeds) for row in ROWS if row.part == part}
        path = RESULTS / f"{part}.csv"
        table = pd.read_csv(path) if path.exists() else pd.DataFrame({"row": []})
        made = table[table["row"].isin(planned)].reindex(columns=["core_seconds"])
        seconds = made["core_seconds"].sum()
        hours = f"{seconds / 3600:.1f}" if seconds else "–"  # not told of earlier rows
        rows[part] = {"rows": f"{len(made)} of {sum(planned.values())}", "core-hours": hours}
    return pd.DataFrame(rows).T


def cost():
    """Returns how the cost of a training grows."""
    table = pd.read_csv(RESULTS / "cost.csv").rename(columns={"core_seconds": "core-seconds"})
    return table.set_index("verbs")


TABLES = {"results": results, "hours": hours, "cost": cost}


def make_tables():
    """Returns the tables by name."""
    return {name: make() for name, make in TABLES.items()}


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


if __name__ == "__main__":
    tables = make_tables()
    for path in (HERE.parent / "README.md", HERE / "README.md"):
        text = path.read_text(encoding="utf-8")
        path.write_text(with_tables(text, tables), encoding="utf-8")
