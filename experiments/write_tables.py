"""Writes the tables of README.md and experiments/README.md from the files that hold their numbers.

    .venv/bin/python -m experiments.write_tables

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import re

import pandas as pd

from experiments import HERE, headed, over_seeds

SCORES = headed(["conversions", "from_noise", "irregular_pasts", "bleu4"])
MODELS = ("plain model", "plain, 84 epochs", "our model")


# ---- Tables ----
def course():
    """Returns the table of the models and the count, on the course's table."""
    models = over_seeds("05_seeds_course.csv", MODELS, SCORES)
    count = over_seeds("07_selftaught_course.csv", ["the count"], SCORES).assign(seeds="–")
    return pd.concat([models, count])[[*SCORES.values(), "seeds"]]  # on a phone the first are seen


def results():
    """Returns the table of the models, of what taught itself, and of the count."""
    spelled = {f"spelled_{name}": heading for name, heading in SCORES.items()}
    models = over_seeds("05_seeds.csv", MODELS, SCORES)
    taught = over_seeds("07_selftaught.csv", ["self-taught"], spelled)
    count = over_seeds("07_selftaught.csv", ["the count"], SCORES).assign(seeds="–")
    return pd.concat([models, taught, count])[[*SCORES.values(), "seeds"]]


TABLES = {"results": results, "course": course}


def make_tables():
    """Returns the tables by name."""
    return {name: make() for name, make in TABLES.items()}


def markdown(table):
    """Returns a table as Markdown; its cells do not wrap at ±."""
    lines = [["", *table.columns], ["---"] * (table.shape[1] + 1)]
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
