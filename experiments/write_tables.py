"""Writes the tables of README.md and experiments/README.md from the files that hold their numbers.

    .venv/bin/python -m experiments.write_tables

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`. A cell is the mean ± the standard
deviation over what its file has of a row: seeds, or tenths of the table.
"""

import re

import numpy as np
import pandas as pd

from experiments import HERE, RESULTS
from experiments.score_seeds import ANNEALING, FORCING, TRIALS
from experiments.score_selftaught import TOLD, leads

ROOT = HERE.parent
NONE = "–"  # a system has no answer to this
SCORES = {  # headings: a column, and its digits
    "conversions": ("conversions", 3),
    "regular": ("regular", 3),
    "irregular": ("irregular", 3),
    "irregular pasts": ("irregular_pasts", 3),
    "from noise": ("gaussian_exact", 3),
    "never drawn": ("never", 0),
    "distinct": ("distinct", 1),
    "inconsistent": ("gaussian_inconsistent", 3),
    "BLEU-4": ("bleu4", 3),
    "BLEU-4, drawn": ("bleu4_drawn", 3),
    "KL": ("kl_table", 1),
    "I(x; z)": ("mutual_information", 1),
    "rows right": ("rows", 3),
    "verbs never met": ("unseen", 3),
    "gate": ("gate", 3),
    "gate, *-ed*": ("gate_ed", 3),
    "core-seconds": ("core_seconds", 0),
    "kept": ("kept", 0),
    "of these right": ("kept_right", 3),
    "other verbs": ("unseen_forms", 3),
}
COUNTS = {"a count in twenty lines": "a count of endings", "a better count": "count"}
ASKED = {  # names of verbs never met's table: those of the others
    "self-taught": "self-taught, its model",
    "the count's rows, the same conjugator": "the count's rows, its model",
}


# ---- What there is ----
def read(name):
    """Returns a table of results, with one name for what is the same in all of them."""
    table = pd.read_csv(RESULTS / name)
    return table.rename(columns={"row": "system"})


def read_counts():
    """Returns the scores of the two counts, as notebook 05 has saved them."""
    table = pd.read_csv(ROOT / "figures" / "05_rivals.csv").rename(columns={"who": "system"})
    names = {"irregular pasts": "irregular_pasts", "Gaussian": "gaussian_exact"}
    table = table.rename(columns=names)
    return table[table["system"].isin(COUNTS)].replace({"system": COUNTS})


def all_scores():
    """Returns the scores of all systems, a row for each seed or tenth of a file."""
    files = ["05_seeds.csv", "06_selftaught.csv", "06_controls.csv", "06_unseen.csv"]
    seeds, taught, controls, unseen = map(read, files)
    taught = taught[taught["system"] != "count"]  # the counts' own table has more scores
    controls = controls[controls["system"] == "the count's rows, its model"]
    unseen = unseen.replace({"system": ASKED})[["system", "forms"]]
    unseen = unseen.rename(columns={"forms": "unseen"})
    return pd.concat([seeds, taught, read_counts(), controls, unseen])


# ---- Markdown ----
def cell(values, digits, seeds=0):
    """Returns values as mean ± sd, and how many there are if that is less than the seeds."""
    values = values.dropna()
    if values.empty:
        return NONE
    mean, sd = (f"{value:.{digits}f}" for value in (values.mean(), values.std(ddof=1)))
    are_equal = np.allclose(values, values.iloc[0], atol=1e-9)  # or there is one
    text = mean if are_equal else f"{mean}&nbsp;±&nbsp;{sd}"
    return f"{text} ({len(values)})" if len(values) < seeds else text


def markdown(headings, rows):
    """Returns a table."""
    lines = [["", *headings], ["---"] * (len(headings) + 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def table_of(scores, labels, headings):
    """Returns a table of systems, by the names that `labels` gives them, with these scores."""
    columns = [SCORES[heading] for heading in headings]
    rows = []
    for system, label in labels.items():
        of_system = scores[scores["system"] == system]
        seeds = of_system["seed"].count()  # a count has none
        values = [of_system.get(column, pd.Series(dtype=float)) for column, _ in columns]
        cells = [cell(v, n, seeds) for v, (_, n) in zip(values, columns, strict=True)]
        rows.append([label, str(seeds) if seeds else NONE, *cells])
    return markdown(["seeds", *headings], rows)


def in_languages(file, labels, headings):
    """Returns a table of systems in each language that was run."""
    scores = read(file)
    if "conversions" not in scores:
        scores = scores.rename(columns={"conversion": "conversions"})
    languages = scores["language"].str.title()
    scores["system"] = languages + ", " + scores["system"]
    named = {
        f"{language}, {system}": f"{language}, {label}"
        for language in languages.unique()
        for system, label in labels.items()
    }
    return table_of(scores, named, headings)


def table_of_unseen():
    """Returns the table of verbs never met, with how far self-taught is ahead."""
    scores = read("06_unseen.csv")
    ahead = leads(scores, "forms")
    rows = []
    for system, told in TOLD.items():
        of_system = scores[scores["system"] == system]
        lead = NONE
        if system in ahead.index:
            lead = "{:.3f} ({:.3f} to {:.3f})".format(*ahead.loc[system]).replace("-", "−")
        shares = [cell(of_system[column], 3) for column in ("forms", "irregular_pasts", "long")]
        rows.append([system, told, shares[0], lead, *shares[1:]])
    return markdown(
        ["told", "forms", "self-taught is ahead by", "irregular pasts", "long forms"], rows
    )


# ---- The tables ----
RIVALS = {
    "count": "a count of common endings, the rest one to one",
    "count's endings, the same conjugator": "its common endings, the rest by our conjugator",
    "the count's rows, its model": "the count's rows, learned by the same conjugator",
}
NEVER_MET = {  # who only conjugates
    "neighbour": "the most similar verb in true rows",
    "spelling rule": "a spelling rule",
    "lemminflect's rules": "lemminflect's rules, from a dictionary",
}
SYSTEMS = {
    "the original": "a published recipe, smaller, 60 epochs: KL weighs eightfold, it collapses",
    "plain, 16 epochs": "plain, 16 epochs: the standard model of notebook 02",
    "plain, 84 epochs": "plain, 84 epochs",
    "gate, 16 epochs": "gate, 16 epochs",
    "gate, 84 epochs": "gate, 84 epochs: the tense is told late in the word",
    "pressed, 84 epochs": "pressed, 84 epochs",
    "Config(), before refining": "`Config()` before refining, 63 epochs",
    "Config()": "`Config()`, 84 epochs: codes pressed together, the encoder then refined",
    "model alone": "rows that `Config()` finds, alone",
    "self-taught": "self-taught: the rows that it finds",
    "self-taught, its model": "self-taught: the conjugator that learned them",
    "likeness of letters, one to one": "likeness of letters alone, one to one",
    "a count of endings": "a count of endings, twenty lines",
    **RIVALS,
}
MODELS = ["the original", "plain, 16 epochs", "plain, 84 epochs", "gate, 84 epochs", "Config()"]
FROM_LISTS = ["model alone", "self-taught", "self-taught, its model"]
SHOWN = [*MODELS, *FROM_LISTS, "likeness of letters, one to one", *RIVALS]
FEW = {name: SYSTEMS[name] for name in SHOWN} | NEVER_MET
NOT_ON_COURSE = ("the original", "the count's rows, its model")  # were not run
ON_COURSE = {name: SYSTEMS[name] for name in SHOWN if name not in NOT_ON_COURSE}
OF_PLAIN = {  # tables of the plain model: a file and its recipes
    "annealing": ("04_annealing.csv", ANNEALING),
    "forcing": ("04_forcing.csv", FORCING),
    "trials": ("02_trials.csv", TRIALS),
}
ABLATION = {
    "Config()": "nothing changed",
    "Config(), before refining": "… before refining",
    "no gate": "no gate",
    "no price": "no price on the gate",
    "not flattened": "not flattened",
    "no target: β to 0.78": "no target: β rises to 0.78",
    "no pressure: β to 0.3": "no pressure: β rises to 0.3",
}
CONTROLS = {
    "self-taught": "self-taught",
    "self-taught, its model": "… its conjugator",
    "without a gate": "without a gate in the model that finds rows",
    "without a gate, its model": "… its conjugator",
    "likeness of letters": "likeness of letters in place of that model",
    "likeness of letters, its model": "… its conjugator",
    "the count's rows": "the count's rows",
    "the count's rows, its model": "… a conjugator of them",
    "true rows, its model": "a conjugator of the true rows",
}
LANGUAGES = {
    "no target: β to 0.78, before refining": "β to 0.78, before refining",
    "no target: β to 0.78": "β to 0.78",
    "Config(), before refining": "`Config()` before refining",
    "Config()": "`Config()`",
}
TAUGHT = {
    "model alone": "rows that the model finds",
    "self-taught": "self-taught",
    "self-taught, its model": "… its conjugator",
    "count": "a count",
    "neighbour, told true rows": "the neighbour, told true rows",
}
RIGHT = ["conversions", "regular", "irregular", "irregular pasts"]
FROM_NOISE = ["from noise", "inconsistent", "distinct", "never drawn"]


def make_tables():
    """Returns the tables by name."""
    scores = all_scores()
    columns = ["conversions", "regular", "irregular pasts", "from noise", "never drawn", "BLEU-4"]
    columns += ["verbs never met", "core-seconds"]
    encoded = ["BLEU-4", "BLEU-4, drawn", "KL", "I(x; z)", "core-seconds"]
    ablation = [*RIGHT[:3], *FROM_NOISE[:3], "gate, *-ed*"]
    of_schedules = ["conversions", "irregular pasts", *FROM_NOISE, "BLEU-4", "KL"]
    of_languages = ["conversions", "from noise", "distinct", "KL", "gate"]
    of_rows = ["rows right", "conversions", "irregular pasts", "kept", "of these right"]
    course = pd.concat([read("05_seeds_course.csv"), read("06_selftaught_course.csv")])
    of_plain = {}
    for name, (file, recipes) in OF_PLAIN.items():
        of_plain[name] = table_of(read(file), {recipe: recipe for recipe in recipes}, of_schedules)
    return of_plain | {
        "course": table_of(course, ON_COURSE, [*columns[:6], "BLEU-4, drawn"]),
        "results": table_of(scores, FEW, columns),
        "conversions": table_of(scores, SYSTEMS, ["rows right", *RIGHT]),
        "noise": table_of(scores, SYSTEMS, [*FROM_NOISE, *encoded, "gate, *-ed*"]),
        "ablation": table_of(read("05_ablation.csv"), ABLATION, ablation),
        "unseen": table_of_unseen(),
        "controls": table_of(read("06_controls.csv"), CONTROLS, [*of_rows, "other verbs"]),
        "languages": in_languages("05_languages.csv", LANGUAGES, of_languages),
        "taught": in_languages(
            "06_languages.csv", TAUGHT, ["rows right", "conversions", "other verbs"]
        ),
    }


def with_tables(text, tables):
    """Returns a text with its tables as they are now."""
    for name, table in tables.items():
        before, after = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        text = re.sub(f"{before}.*?{after}", f"{before}{table}\n{after}", text, flags=re.DOTALL)
    return text


def main():
    """Writes the tables into both texts."""
    tables = make_tables()
    for path in (ROOT / "README.md", HERE / "README.md"):
        text = path.read_text(encoding="utf-8")
        path.write_text(with_tables(text, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
