"""What the READMEs say: commands, links, code, numbers and the files they name."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

import lab5_beyond as beyond
import lab5_utils as lab

EXPERIMENTS = ROOT / "tests" / "experiments"
FOLDERS = (".", "figures", "tests", "tests/experiments")
TEXTS = {name: (ROOT / name / "README.md").read_text(encoding="utf-8") for name in FOLDERS}
README = TEXTS["."]
SEEDS = pd.read_csv(ROOT / "figures" / "03_seeds.csv")


def command(marker):
    pattern = rf"<!-- {marker} command -->\n```bash\n(.+)\n```"
    return re.search(pattern, README).group(1)


def test_the_two_commands_stand_alone():
    install = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && "
    assert command("run").startswith(install)
    assert command("test").startswith(install)
    assert "--nbval " in command("test"), "strict, not lax"


def test_ci_runs_the_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    for part in ("<!-- test command -->", "README.md", "eval"):
        assert part in script


def slug(title):
    """Returns the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", FOLDERS)
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\(([^)]+)\)", TEXTS[name]) + re.findall(
        r'<img src="([^"]+)"', TEXTS[name]
    )
    for link in links:
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        path = ROOT / name / (target or "README.md")
        assert path.exists(), link
        if anchor:
            page = path.read_text(encoding="utf-8")
            assert anchor in map(slug, re.findall(r"^#+ (.+)$", page, re.MULTILINE)), link


@pytest.mark.parametrize(("name", "words"), [(".", 1500), ("tests", 800)])
def test_short_enough_to_be_read(name, words):
    assert len(TEXTS[name].split()) <= words


@pytest.mark.parametrize("name", FOLDERS)
def test_code_uses_what_there_is(name):
    for room, attribute in re.findall(r"\b(lab|beyond)\.(\w+)", TEXTS[name]):
        module = lab if room == "lab" else beyond
        assert hasattr(module, attribute), f"{room}.{attribute}"
    for call in re.findall(r"\b(?:lab|beyond)\.Config(?:\.classic)?\([^()]*\)", TEXTS[name]):
        eval(call, {"lab": lab, "beyond": beyond})  # refuses unknown names and values


def test_every_notebook_is_reachable():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.name}" in README


def test_every_figure_is_in_the_gallery_with_a_caption():
    for path in (ROOT / "figures").glob("*.pdf"):
        shown = rf'<img src="{path.stem}\.png" [^>]+>\n\n\[{path.name}\]\({path.name}\): .{{40,}}\n'
        assert re.search(shown, TEXTS["figures"]), path.stem


def test_every_test_file_and_script_is_explained():
    for path in (ROOT / "tests").glob("*.py"):
        assert path.name in TEXTS["tests"], path.name
    for path in EXPERIMENTS.glob("*.py"):
        assert f"tests/experiments/{path.name}" in TEXTS["tests/experiments"], path.name


@pytest.mark.parametrize("name", FOLDERS)
def test_only_files_that_exist_are_named(name):
    for path in re.findall(r"(?:tests|notebooks|figures)/[\w/]+\.(?:py|ipynb|csv)\b", TEXTS[name]):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("recipe", ["by the lab's rules", "beyond the rules"])
@pytest.mark.parametrize("name", [".", "tests/experiments"])
def test_results_are_those_of_the_table(recipe, name):
    """The table of seeds is written by score_seeds.py; prose repeats its means and deviations."""
    scores = SEEDS[SEEDS["recipe"] == recipe]
    assert len(scores) >= 3
    written = np.array(re.findall(r"(\d\.\d{3,4}) ± (\d\.\d{3,4})", TEXTS[name]), dtype=float)
    for column in ("bleu4", "conversion", "regular", "gaussian_exact"):
        found = scores[column].agg(["mean", "std"]).to_numpy()
        assert np.abs(written - found).max(axis=1).min() < 6e-4, f"{column}: {found}"
