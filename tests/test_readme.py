"""What the READMEs say: commands, links, code, results and the files they name."""

import re
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, lab, lab5_figures, lab5_train, taught

from experiments import RESULTS, score_selftaught

MODULES = {
    "lab": lab,
    "lab5_train": lab5_train,
    "lab5_figures": lab5_figures,
    "lab5_selftaught": taught,
    "Config": lab5_train.Config,
}
PATHS = [ROOT / "README.md", *ROOT.glob("[a-z]*/README.md")]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PATHS}
README = TEXTS["README.md"]
each_text = pytest.mark.parametrize("name", TEXTS)


# ---- Commands ----
def command(marker):
    pattern = rf"<!-- {marker} command -->\n```bash\n(.+)\n```"
    return re.search(pattern, README).group(1)


def test_the_two_commands_stand_alone():
    install = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && "
    assert command("run").startswith(install)
    assert command("test").startswith(install)
    assert "--nbval " in command("test"), "strict, not lax"
    assert command("run").endswith(".venv/bin/python notebooks/report.py --run")


def test_ci_runs_the_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    for part in ("<!-- test command -->", "README.md", "eval"):
        assert part in script


# ---- Links and files ----
def slug(title):
    """Returns the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


@each_text
def test_links_lead_somewhere(name):
    for link in re.findall(r'(?:\]\(|<img src=")([^)"]+)[)"]', TEXTS[name]):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, titles), link
            # JupyterLab names headings otherwise than GitHub: it needs one of our own
            assert f'<a id="{anchor}"></a>' in path.read_text(encoding="utf-8"), link


@each_text
def test_only_files_that_exist_are_named(name):
    form = r"(?:tests|notebooks|figures|experiments)/[\w/]+\.(?:py|ipynb|csv)\b"
    for path in re.findall(form, TEXTS[name]):
        assert (ROOT / path).exists(), path


def test_every_notebook_figure_test_and_script_is_explained():
    named = {
        "README.md": ROOT.glob("notebooks/*.ipynb"),
        "tests/README.md": ROOT.glob("tests/*.py"),
        "experiments/README.md": ROOT.glob("experiments/[a-z]*.py"),
    }
    for name, paths in named.items():
        for path in paths:
            assert path.stem in TEXTS[name], f"{name}: {path.name}"
    for path in (ROOT / "figures").glob("*.pdf"):
        shown = rf'<img src="{path.stem}\.png" [^>]+>\n\n\[{path.name}\]\({path.name}\): .{{40,}}\n'
        assert re.search(shown, TEXTS["figures/README.md"]), path.stem


# ---- Code ----
@each_text
def test_code_uses_what_there_is(name, monkeypatch):
    for own in ("late", "mine"):  # are registered there
        monkeypatch.setitem(lab5_train.STRATEGIES, own, None)
    monkeypatch.setitem(lab.DECODERS, "deep", None)
    for module, attribute in re.findall(r"\b(\w+)\.(?!py\b)([A-Za-z]\w+)", TEXTS[name]):
        if module in MODULES:
            assert hasattr(MODULES[module], attribute), f"{module}.{attribute}"
    for call in re.findall(r"\bConfig[\w.]*\([^()]*\)", TEXTS[name]):
        eval(call, dict(MODULES))  # refuses unknown names and values
    for line in re.findall(r"^from (?:lab5_|experiments).+$", TEXTS[name], re.MULTILINE):
        exec(line, {})


@patch.dict(lab5_train.STRATEGIES)  # what is registered is forgotten in the end
@patch.dict(lab.DECODERS)
def test_what_is_said_of_additions_works():
    found = {"__name__": "__main__"}
    blocks = re.findall(r"```python\n(.+?)```", TEXTS["tests/README.md"], re.DOTALL)
    *of_english, of_a_language = blocks
    for block in of_english:
        exec(block.replace("miniature(", "miniature(epochs=4, "), found)
    weights = found["run"].history["kl_weight"]
    assert weights.iloc[0] == 0 < weights.iloc[2]
    assert found["scored"].history["pasts"].between(0, 1).all()
    deep = lab.make_model(lab5_train.Config(decoding="deep"), lab.vocabulary_of(found["verbs"]))
    assert len(deep.convert(["walked"], lab.PAST, lab.THIRD)) == 1
    exec(of_a_language.replace("miniature(", "miniature(epochs=1, refine=0, "), found)


# ---- Results ----
COLUMNS = {  # of the table of seeds, by the first word of a heading
    "conversions": "conversion",
    "regular": "regular",
    "irregular": "irregular",
    "from": "gaussian_exact",
    "distinct": "distinct",
    "BLEU-4": "bleu4",
}
RECIPES = {  # by the beginning of a row
    "the original": "the original",
    "plain, 16 epochs": "plain, 16 epochs",
    "with a gate, 16 epochs": "gate, 16 epochs",
    "`Config()`, 63 epochs": "Config(), before refining",
    "then refined, 84 epochs": "Config()",
}


def results_of(row_name):
    """Returns the cells of a row of README's tables that have a mean and an sd, by heading."""
    for table in re.findall(r"(?:^\|.+\n)+", README.replace("&nbsp;", " "), re.MULTILINE):
        headings, _, *rows = [re.split(r" ?\| ?", line) for line in table.splitlines()]
        for row in rows:
            if row[1].startswith(row_name):
                cells = zip(headings, row, strict=True)
                return {name: cell for name, cell in cells if "±" in cell}
    raise LookupError(row_name)


def numbers_in(cell):
    """Returns the numbers of a cell, as they are written."""
    return re.findall(r"-?\d+\.\d+", cell.replace("−", "-"))


def are_written(cell, values):
    """Tells whether a cell has these numbers, in order and rounded; an sd of 0 may be left out."""
    written = numbers_in(cell)
    left_out = list(values)[len(written) :]
    digits = [len(text.partition(".")[2]) for text in written]
    rounded = [round(value, n) for value, n in zip(values, digits, strict=False)]
    return written and not any(np.round(left_out, 9)) and list(map(float, written)) == rounded


@pytest.mark.parametrize("name", RECIPES)
def test_results_are_those_of_the_table_of_seeds(name):
    seeds = pd.read_csv(RESULTS / "05_seeds.csv")
    scores = seeds[seeds["row"] == RECIPES[name]]
    assert sorted(scores["seed"]) == [0, 1, 2, 3, 4]
    written = results_of(name)
    assert len(written) >= 3
    for heading, cell in written.items():
        values = scores[COLUMNS[heading.split()[0]]]
        assert are_written(cell, values.agg(["mean", "std"])), heading


TOLD = {  # by the beginning of a row: its system over seeds, and of verbs never met
    "`self_taught`": ("self-taught", "self-taught"),
    "a count, then copying": ("count", "the count's rows, the neighbour"),
    "copying the most similar verb": (None, "neighbour"),
    "a spelling rule": (None, "spelling rule"),
    "lemminflect's rules": (None, "lemminflect's rules"),
}


@pytest.mark.parametrize("name", TOLD)
def test_results_beside_what_is_told_are_those_of_their_tables(name):
    (row,) = re.findall(rf"^\| {re.escape(name)}.+$", README, re.MULTILINE)
    cells = row.replace("&nbsp;", " ").strip("| ").split(" | ")
    conversions, pasts, never_met, of_these = cells[-4:]
    over_seeds, unseen = TOLD[name]
    if over_seeds:
        table = pd.read_csv(RESULTS / "06_selftaught.csv")
        scores = table[table["system"] == over_seeds]
        assert scores["seed"].tolist() == [0, 1, 2, 3, 4]
        assert are_written(conversions, scores["conversions"].agg(["mean", "std"]))
        assert are_written(pasts, scores["irregular_pasts"].agg(["mean", "std"]))
    table = pd.read_csv(RESULTS / "06_unseen.csv")
    of_system = table[table["system"] == unseen]
    assert are_written(never_met, of_system["forms"].agg(["mean", "std"]))
    assert are_written(of_these, of_system["irregular_pasts"].agg(["mean", "std"]))


def test_results_of_the_count_are_those_of_its_table():
    counts = pd.read_csv(ROOT / "figures" / "05_rivals.csv", index_col=0).loc["a better count"]
    columns = ["conversions", "regular", "irregular", "Gaussian", "distinct"]
    row = re.search(r"^\| \[a count\]\S+ .+? \|(.+)\| – \|$", README, re.MULTILINE)[1]
    for text, found in zip(row.split("|"), counts[columns], strict=True):
        assert are_written(text, [found])


# ---- The experiments' README ----
UNSEEN = {  # by the beginning of a row: its system
    "self-taught": "self-taught",
    "the count's rows, the same conjugator": "the count's rows, the same conjugator",
    "the count's rows, the neighbour": "the count's rows, the neighbour",
    "the neighbour": "neighbour",
    "a spelling rule": "spelling rule",
    "lemminflect's rules": "lemminflect's rules",
}
TABLES_OF_SEEDS = {  # by the beginning of a row: its system over seeds
    "the lab's model alone": "model alone",
    "self-taught": "self-taught",
    "the conjugator itself": "self-taught, its model",
    "a count in a closed table": "count",
    "a count, common endings": "count, its endings alone",
}


def rows_between(marker):
    """Returns the rows of a table of experiments/README.md, split into cells."""
    text = TEXTS["experiments/README.md"]
    table = re.search(rf"<!-- {marker} -->\n(.+?)<!-- /{marker} -->", text, re.DOTALL)[1]
    return [re.split(r" *\| *", line)[1:-1] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("name", UNSEEN)
def test_verbs_never_met_are_those_of_their_table(name):
    table = pd.read_csv(RESULTS / "06_unseen.csv")
    of_system = table[table["system"] == UNSEEN[name]]
    assert sorted(of_system["tenth"]) == [0, 1, 2, 3, 4]
    ahead = score_selftaught.leads(table, "forms")
    ((_, _, forms, lead, pasts),) = [row for row in rows_between("unseen") if row[0] == name]
    assert are_written(forms, of_system["forms"].agg(["mean", "std"]))
    assert are_written(pasts, of_system["irregular_pasts"].agg(["mean", "std"]))
    if name != "self-taught":
        assert len(numbers_in(lead)) == 3
        assert are_written(lead, ahead.loc[UNSEEN[name]])


@pytest.mark.parametrize("name", TABLES_OF_SEEDS)
def test_rows_found_are_those_of_their_table(name):
    table = pd.read_csv(RESULTS / "06_selftaught.csv")
    of_system = table[table["system"] == TABLES_OF_SEEDS[name]]
    (row,) = [row for row in rows_between("selftaught") if row[0].startswith(name)]
    columns = ["rows", "conversions", "regular", "irregular", "irregular_pasts", "bleu4"]
    for cell, column in zip(row[1:], columns, strict=True):
        assert are_written(cell, of_system[column].agg(["mean", "std"])), column
