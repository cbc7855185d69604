"""What the READMEs say: commands, links, code, results and the files they name."""

import csv
import re
import statistics
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, lab, lab5_figures, lab5_train, taught

from experiments import RESULTS, write_tables

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
RESULTS_IN = ["README.md", "experiments/README.md"]


@pytest.mark.parametrize("name", RESULTS_IN)
def test_tables_are_those_of_their_files(name):
    assert write_tables.with_tables(TEXTS[name], write_tables.make_tables()) == TEXTS[name]


def test_every_table_stands_in_a_text():
    texts = "".join(TEXTS[name] for name in RESULTS_IN)
    for name in write_tables.make_tables():
        assert texts.count(f"<!-- {name} -->\n|") == texts.count(f"|\n<!-- /{name} -->") == 1, name


def test_a_cell_is_the_mean_and_the_deviation_of_its_file():
    with open(RESULTS / "05_seeds.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["row"] == "Config()"]
    values = [float(row["conversions"]) for row in rows]
    expected = f"{statistics.mean(values):.3f}&nbsp;±&nbsp;{statistics.stdev(values):.3f}"
    (line,) = re.findall(r"^\| `Config\(\)`.+$", README, re.MULTILINE)
    assert line.split(" | ")[1:3] == ["5", expected]


def test_cells_of_nothing_and_of_one_value():
    assert write_tables.cell(pd.Series([np.nan, np.nan]), 3) == "–"
    assert write_tables.cell(pd.Series([np.nan, 0.12345]), 3) == "0.123"
    assert write_tables.cell(pd.Series([2, 2]), 1) == "2.0"
    assert write_tables.cell(pd.Series([1, np.nan, 3]), 0, seeds=3) == "2&nbsp;±&nbsp;1 (2)"
