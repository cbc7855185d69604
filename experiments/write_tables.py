"""Writes the tables of README.md and experiments/README.md from the files that hold their numbers.

    .venv/bin/python -m experiments.write_tables

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import re

import pandas as pd

from experiments import HERE, RESULTS, over_seeds
from experiments.score_selftaught import TOLD, leads

CONVERTED = {"conversions": "conversions", "irregular_pasts": "irregular pasts"}
BLEU4 = {"bleu4": "BLEU-4"}
SCORES = CONVERTED | {"gaussian_exact": "from noise"}
MORE = SCORES | {"gaussian_inconsistent": "inconsistent", "never": "never drawn"}
FOUND = {"kept": "kept", "kept_right": "of these right", "rows": "rows right"}
LOOKED_UP = {name: f"looked up: {title}" for name, title in CONVERTED.items()}
HIDDEN = {"seen": "between seen forms", "hidden": "into hidden forms"}
SPELLED = {f"spelled_{name}": title for name, title in (CONVERTED | BLEU4).items()}
AS_SPELLED = {f"spelled_{name}": f"spelled: {title}" for name, title in CONVERTED.items()}

OURS = {"Config()": "our model, `Config()`"}
BEFORE = {"Config(), before refining": "our model before refining"}
PLAIN = {"plain, 16 epochs": "plain, 16 epochs", "plain, 84 epochs": "plain, 84 epochs"}
GATE = {"gate, 16 epochs": "gate, 16 epochs", "gate, 84 epochs": "gate, 84 epochs"}
TAUGHT = {"self-taught": "self-taught: its network"}
COUNT = {"count": "a count: its rows, looked up or drawn"}
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


def unseen():
    """Returns the table of unseen verbs, with self-taught's lead over each baseline."""
    scores = {"forms": "forms", "irregular_pasts": "irregular pasts"}
    table = over_seeds("06_unseen.csv", {name: name for name in TOLD}, scores)
    lead = leads(pd.read_csv(RESULTS / "06_unseen.csv"), "forms")
    texts = ["{:.3f} ({:.3f} to {:.3f})".format(*numbers) for numbers in lead.to_numpy()]
    table["told"] = pd.Series(TOLD)
    table["self-taught leads by"] = pd.Series(texts, lead.index).str.replace("-", "−")
    return table[["told", "forms", "self-taught leads by", "irregular pasts"]]


def make_tables():
    """Returns the tables by name."""
    scores = SCORES | BLEU4
    columns = ["conversions", "from noise", "irregular pasts", "BLEU-4", "seeds"]
    results = [
        over_seeds("05_seeds.csv", PLAIN | OURS, scores),
        over_seeds("06_selftaught.csv", TAUGHT, SPELLED),
        over_seeds("06_selftaught.csv", COUNT, scores).assign(seeds="–"),
        pd.DataFrame(REPORTED).T,
    ]
    course = [
        over_seeds("05_seeds_course.csv", PLAIN | OURS, scores),
        over_seeds("06_selftaught_course.csv", TAUGHT, SPELLED),
        over_seeds("06_selftaught_course.csv", COUNT, scores),
    ]
    found = FOUND | LOOKED_UP | AS_SPELLED | {"rarer": "rarer verbs"}
    shown = PLAIN | GATE | BEFORE | OURS
    return {
        "results": pd.concat(results)[columns],  # on a phone the first are seen
        "seeds": over_seeds("05_seeds.csv", shown, MORE | BLEU4 | {"kl_table": "KL"}),
        "ablation": over_seeds("05_ablation.csv", ABLATION, MORE | {"gate_ed": "gate, *-ed*"}),
        "hidden": over_seeds("03_hidden.csv", PLAIN | OURS, HIDDEN),
        "selftaught": over_seeds("06_selftaught.csv", RIVALS, found),
        "unseen": unseen(),
        "course": pd.concat(course),
    }


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
