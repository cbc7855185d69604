"""What the READMEs say: commands, links, code, results and the files they name."""

import re
from unittest.mock import patch

import pandas as pd
import pytest
from conftest import ROOT, lab, lab5_figures, lab5_train, taught

from experiments import RESULTS

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
    assert "`.venv/bin/python notebooks/report.py`" in README


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
    "plain, 16 epochs": "the plain model",
    "with a gate, 16 epochs": "with a tense gate",
    "`Config()`, 63 epochs": "by the lab's rules, before the second phase",
    "then refined, 84 epochs": "by the lab's rules",
}


def results_of(row_name):
    """Returns the numbers of a row of README's tables by heading: (mean, sd), as written."""
    for table in re.findall(r"(?:^\|.+\n)+", README.replace("&nbsp;", " "), re.MULTILINE):
        headings, _, *rows = [re.split(r" ?\| ?", line) for line in table.splitlines()]
        for row in rows:
            if row[1].startswith(row_name):
                cells = zip(headings, row, strict=True)
                return {name: cell.split(" ± ") for name, cell in cells if "±" in cell}
    raise LookupError(row_name)


def agree(written, values):
    """Tells whether a mean and sd, as written, are those of values, rounded."""
    numbers = zip(written, values.agg(["mean", "std"]), strict=True)
    return all(float(text) == round(found, len(text.partition(".")[2])) for text, found in numbers)


@pytest.mark.parametrize("name", RECIPES)
def test_results_are_those_of_the_table_of_seeds(name):
    seeds = pd.read_csv(RESULTS / "03_seeds.csv")
    scores = seeds[seeds["recipe"] == RECIPES[name]]
    written = results_of(name)
    assert len(written) >= 3
    for heading, numbers in written.items():
        assert agree(numbers, scores[COLUMNS[heading.split()[0]]]), heading


SELF_TAUGHT = {  # by the beginning of a row: its system over seeds, and in notebook 06
    "`self_taught`": ("self-taught", "self-taught (lists of words)"),
    "[a count](experiments/count_full.py), then copying": (
        "count",
        "neighbour in a count's rows (lists of words)",
    ),
    "copying the most similar verb": (None, "neighbour (true rows)"),
    "lemminflect's rules": (None, "lemminflect's rules (English)"),
}


@pytest.mark.parametrize("name", SELF_TAUGHT)
def test_results_of_what_taught_itself_are_those_of_its_tables(name):
    (row,) = re.findall(rf"^\| {re.escape(name)}.+$", README, re.MULTILINE)
    *of_table, forms = row.replace("&nbsp;", " ").strip("| ").split(" | ")[-3:]
    over_seeds, never_met = SELF_TAUGHT[name]
    if over_seeds:
        seeds = pd.read_csv(RESULTS / "06_selftaught.csv")
        scores = seeds[seeds["system"] == over_seeds]
        assert scores["seed"].tolist() == [0, 1, 2, 3, 4]
        for text, column in zip(of_table, ("conversions", "irregular_pasts"), strict=True):
            numbers = text.split(" ± ")
            values = scores[column].agg(["mean", "std"]).round(3).tolist()
            assert [float(number) for number in numbers] == values[: len(numbers)]
    table = pd.read_csv(ROOT / "figures" / "06_never_met.csv", index_col=0)
    assert float(forms) == round(table.loc[never_met, "forms"], 3)


def test_results_of_the_count_are_those_of_its_table():
    counts = pd.read_csv(ROOT / "figures" / "05_counts.csv", index_col=0).loc["a better count"]
    row = re.search(r"^\| \[a count\]\S+ \|(.+)\| – \|$", README, re.MULTILINE)[1]
    for text, found in zip(row.split("|"), counts, strict=True):
        digits = len(text.strip().partition(".")[2])
        assert float(text) == round(found, digits)
