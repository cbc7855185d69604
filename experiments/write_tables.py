"""Writes the tables of README.md and experiments/README.md from the files that hold their numbers.

    .venv/bin/python -m experiments.write_tables

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import re
from functools import partial

import pandas as pd

from experiments import HERE, RESULTS, over_seeds
from experiments.score_selftaught import TOLD, leads

HEADINGS = {  # of columns that aren't called as in their file
    "gaussian_exact": "from noise",
    "gaussian_inconsistent": "inconsistent",
    "never": "never drawn",
    "bleu4": "BLEU-4",
    "kl_table": "KL",
    "gate_ed": "gate, *-ed*",
    "seen": "between seen forms",
    "hidden": "into hidden forms",
    "kept_right": "of these right",
    "rows": "rows right",
    "rarer": "rarer verbs",
}
ABLATION = {
    "Config()": "nothing changed",
    "Config(), before refining": "… before refining",
    "no gate": "no gate",
    "no price": "no price on the gate",
    "not flattened": "without tempering",
    "no target rate": "no target rate, but a short rise to 0.76",
    "no rise": "… or a constant 0.76",
}
RIVALS = {
    "model alone": "our model alone",
    "self-taught": "self-taught, from our model's sure rows",
    "count's endings, the same conjugator": "… from the count's endings",
    "beginnings, the same conjugator": "… from common beginnings",
    "likeness of letters, one to one": "similarity of letters, one to one",
    "count": "the count; the conjugator, taught its rows",
    "true rows": "the conjugator, taught the true rows",
    "neighbour": "the nearest neighbour among true rows",
}
REPORTED = {  # read from its report
    "[another solution](https://github.com/joycenerd/Deep_Learning_Practice_labs)": {
        "seeds": 1,
        "from noise": "0.452",
        "BLEU-4": "0.953",
    }
}


# ---- Rows and columns: by their name in a file, their heading ----
def same(*names):
    """Returns names that are shown as they are."""
    return {name: name for name in names}


def headed(names):
    """Returns the headings of columns, from a text of their names."""
    return {name: HEADINGS.get(name, name.replace("_", " ")) for name in names.split()}


PLAIN = same("plain, 16 epochs", "plain, 84 epochs")
GATE = same("gate, 16 epochs", "gate, 84 epochs")
BEFORE = {"Config(), before refining": "our model before refining: a VAE"}
OURS = {"Config()": "our model, `Config()`: refined, no VAE"}
CONVERTED = headed("conversions irregular_pasts")
SCORES = CONVERTED | headed("gaussian_exact")
MORE = SCORES | headed("gaussian_inconsistent never")


# ---- Tables ----
def best_models(suffix=""):
    """Returns the tables of the plain and our model, what taught itself, and the count."""
    scores = SCORES | headed("bleu4")
    spelled = {f"spelled_{name}": heading for name, heading in scores.items()}
    taught = {"self-taught": "self-taught: its network"}
    count = {"count": "a count: its rows, looked up or drawn"}
    return [
        over_seeds(f"05_seeds{suffix}.csv", PLAIN | BEFORE | OURS, scores),
        over_seeds(f"06_selftaught{suffix}.csv", taught, spelled),
        over_seeds(f"06_selftaught{suffix}.csv", count, scores),
    ]


def results():
    """Returns the README's table."""
    *models, count = best_models()
    table = pd.concat([*models, count.assign(seeds="–"), pd.DataFrame(REPORTED).T])
    columns = ["conversions", "from noise", "irregular pasts", "BLEU-4", "seeds"]
    return table[columns]  # on a phone the first are seen


def unseen():
    """Returns the table of unseen verbs, with self-taught's lead over each baseline."""
    table = over_seeds("06_unseen.csv", same(*TOLD), headed("forms irregular_pasts"))
    lead = leads(pd.read_csv(RESULTS / "06_unseen.csv"), "forms")
    texts = ["{:.3f} ({:.3f} to {:.3f})".format(*numbers) for numbers in lead.to_numpy()]
    table["told"] = pd.Series(TOLD)
    table["self-taught leads by"] = pd.Series(texts, lead.index).str.replace("-", "−")
    return table[["told", "forms", "self-taught leads by", "irregular pasts"]]


MODELS = PLAIN | GATE | BEFORE | OURS
JOINED = headed("kept kept_right rows")
JOINED |= {name: f"looked up: {heading}" for name, heading in CONVERTED.items()}
JOINED |= {f"spelled_{name}": f"spelled: {heading}" for name, heading in CONVERTED.items()}
JOINED |= headed("rarer")
TABLES = {
    "results": results,
    "seeds": partial(over_seeds, "05_seeds.csv", MODELS, MORE | headed("bleu4 kl_table")),
    "ablation": partial(over_seeds, "05_ablation.csv", ABLATION, MORE | headed("gate_ed")),
    "hidden": partial(over_seeds, "03_hidden.csv", PLAIN | OURS, headed("seen hidden")),
    "selftaught": partial(over_seeds, "06_selftaught.csv", RIVALS, JOINED),
    "unseen": unseen,
    "course": lambda: pd.concat(best_models("_course")),
}


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
