"""What the READMEs say: commands, links, code, results and the files they name."""

import re

import pandas as pd
import pytest
from conftest import ROOT, beyond, lab, lab5_figures, lab5_train

MODULES = {
    "lab": lab,
    "lab5_train": lab5_train,
    "lab5_figures": lab5_figures,
    "lab5_beyond": beyond,
    "beyond": beyond,
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


LONGEST = {
    "README.md": 900,
    "tests/README.md": 980,
    "experiments/README.md": 3000,
    "notebooks/README.md": 630,
}


@pytest.mark.parametrize("name", LONGEST)
def test_short_enough_to_be_read(name):
    words = [word for word in TEXTS[name].split() if re.search(r"\w", word)]
    assert len(words) <= LONGEST[name]  # the bars of tables are none


# ---- Code ----
@each_text
def test_code_uses_what_there_is(name, monkeypatch):
    monkeypatch.setitem(lab.STRATEGIES, "late", None)  # is registered there
    for module, attribute in re.findall(r"\b(\w+)\.(?!py\b)([A-Za-z]\w+)", TEXTS[name]):
        if module in MODULES:
            assert hasattr(MODULES[module], attribute), f"{module}.{attribute}"
    for call in re.findall(r"\b(?:lab|beyond|lab5_beyond)\.Config[\w.]*\([^()]*\)", TEXTS[name]):
        eval(call, dict(MODULES))  # refuses unknown names and values
    for line in re.findall(r"^from (?:lab5_|experiments).+$", TEXTS[name], re.MULTILINE):
        exec(line, {})


def test_what_is_said_of_additions_works(monkeypatch):
    for registry in (lab.STRATEGIES, lab.DECODERS, lab.SCORES):
        for name in ("late", "deep", "pasts"):
            monkeypatch.setitem(registry, name, None)  # forgets it in the end
            del registry[name]
    found = {"__name__": "__main__"}
    blocks = re.findall(r"```python\n(.+?)```", TEXTS["tests/README.md"], re.DOTALL)
    *of_english, of_a_language = blocks
    for block in of_english:
        exec(block.replace("miniature(", "miniature(epochs=4, "), found)
    weights = found["run"].history["kl_weight"]
    assert weights.iloc[0] == 0 < weights.iloc[2]
    assert 0 <= lab.SCORES.pop("pasts")(found["run"].model) <= 1
    deep = lab.make_model(lab.Config(decoding="deep"), lab.vocabulary_of(found["verbs"]))
    assert len(deep.convert(["walked"], lab.PAST, lab.THIRD)) == 1
    exec(of_a_language.replace("miniature(", "miniature(epochs=1, refine=0, "), found)


# ---- Results ----
COLUMNS = {  # of the table of seeds, by the first word of a heading, behind a colon if it has one
    "BLEU-4": "bleu4",
    "conversions": "conversion",
    "all": "conversion",
    "regular": "regular",
    "irregular": "irregular",
    "Gaussian": "gaussian_exact",
    "distinct": "distinct",
}
RECIPES = {  # by the beginning of a row
    "the original": "the original",
    "the plain model": "the plain model",
    "with a tense gate": "with a tense gate",
    "`lab.Config()`, 63 epochs": "by the lab's rules, before the second phase",
    "`lab.Config()`, 84 epochs": "by the lab's rules",
    "`lab5_beyond.Config()`": "beyond the rules",
}


def results_of(recipe):
    """Returns the first row of README's tables that a recipe has: means ± sd by heading."""
    for table in re.findall(r"(?:^\|.+\n)+", README, re.MULTILINE):
        headings, _, *rows = [re.split(r" ?\| ?| / ", line) for line in table.splitlines()]
        for row in rows:
            if row[1].startswith(recipe):
                cells = zip(headings, row, strict=True)
                return {heading: cell for heading, cell in cells if "±" in cell}
    raise LookupError(recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_results_are_those_of_the_table_of_seeds(recipe):
    seeds = pd.read_csv(ROOT / "figures" / "03_seeds.csv")
    scores = seeds[seeds["recipe"] == RECIPES[recipe]]
    written = results_of(recipe)
    assert len(written) >= 3
    for heading, cell in written.items():
        word = heading.split(":")[-1].split()[0]
        found = scores[COLUMNS[word]].agg(["mean", "std"])
        for number, expected in zip(cell.split(" ± "), found, strict=True):
            digits = len(number.partition(".")[2])
            assert float(number) == round(expected, digits), heading
