"""Notebooks as committed, READMEs, and what lab5_figures exports and shows."""

import json
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import nbformat
import pytest
from conftest import ROOT, lab5_figures

from experiments import write_tables

NOTEBOOKS = {
    path.relative_to(ROOT).as_posix(): nbformat.read(path, 4)
    for path in sorted(ROOT.glob("notebooks/*.ipynb"))
}
READMES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/README.md"))]
}
README = READMES["README.md"]
TABLES = write_tables.make_tables()


def text_of(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


# ---- Notebooks ----
@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    return NOTEBOOKS[request.param]


def test_a_notebook_was_run_in_one_go(notebook):
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_metadata_are_those_of_any_machine(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not {"execution", "ExecuteTime"} & set(cell.metadata)


def test_outputs_have_no_errors_and_no_paths_of_a_machine(notebook):
    for output in [output for cell in notebook.cells for output in cell.get("outputs", [])]:
        assert output.output_type != "error" and output.get("name") != "stderr"
        assert not re.search(r"/(?:root|home|tmp|work|usr|Users)/", json.dumps(output))


# ---- READMEs ----
def test_the_two_commands_stand_alone():
    commands = dict(re.findall(r"<!-- (\w+) command -->\n```bash\n(.+)\n```", README))
    install = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && "
    assert commands["run"] == f"{install}.venv/bin/python report/report.py --run"
    assert commands["test"].startswith(f"{install}.venv/bin/python -m pytest tests notebooks ")
    assert "--nbval " in commands["test"], "compares outputs, and is not lax"


def anchors_of(text):
    """Returns what links to a text may name: its headings, as GitHub names them, and its ids."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles]
    return {*slugs, *re.findall(r'<a id="([^"]+)"', text)}


TEXTS = READMES | {name: text_of(notebook) for name, notebook in NOTEBOOKS.items()}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for link in re.findall(r'(?:\]\(|<img src="|<a href=")([^")]+)[)"]', TEXTS[name]):
        target, _, anchor = link.partition("#")
        if target.startswith(("http", "<")):
            continue
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), link
        if anchor:
            place = path.resolve().relative_to(ROOT).as_posix()
            assert anchor in anchors_of(TEXTS[place]), link


@pytest.mark.parametrize("name", ["README.md", "experiments/README.md"])
def test_tables_are_those_of_their_files(name):
    assert write_tables.with_tables(READMES[name], TABLES) == READMES[name]


def test_every_table_stands_in_a_text():
    texts = README + READMES["experiments/README.md"]
    for name in TABLES:
        assert texts.count(f"<!-- {name} -->\n|") == texts.count(f"|\n<!-- /{name} -->") == 1, name


# ---- Figures, tables, panels ----
def export(values):
    """Exports a figure of values; returns its bytes as PDF and PNG."""
    fig, ax = plt.subplots()
    ax.plot(values)
    lab5_figures.save_fig(fig, "a")
    plt.close(fig)
    return [(lab5_figures.FIGURES / f"a.{suffix}").read_bytes() for suffix in ("pdf", "png")]


def test_the_same_figure_is_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(lab5_figures, "FIGURES", tmp_path / "figures")
    first, other = export([3, 1, 2]), export([3, 1, 1])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # as if it was long ago
    again = export([3, 1, 2])
    assert first == again and first[0] != other[0] and first[1] != other[1]
    assert first[0].startswith(b"%PDF") and first[1].startswith(b"\x89PNG")


@pytest.mark.parametrize("word, answer", [(" Walked ", "walked"), ("ab cd", "One word, please")])
def test_a_panel_answers_kindly_and_anew(monkeypatch, word, answer):
    def describe(word, tense):
        asked.append(word)
        if " " in word:
            raise ValueError
        return word

    asked, shown = [], []
    monkeypatch.setattr(lab5_figures, "display", lambda bundle, raw: shown.append(bundle))
    boxes = lab5_figures.word_boxes(word, 3)
    lab5_figures.show_panel(describe, boxes)
    boxes[0].value = "<GOES>"
    assert answer in shown[0]["text/plain"] and asked == [word.strip().lower(), "<goes>"]
    assert "&lt;goes&gt;" in str(widgets.Widget.get_manager_state()), "as text, not as HTML"
    widgets.Widget.close_all()


def test_a_note_says_where_a_word_stands_in_a_table():
    verbs = [("see", "sees", "seeing", "saw"), ("saw", "saws", "sawing", "sawed")]
    for word, tense, said in (("saw", 0, "saw, saws"), ("sees", 0, "third"), ("ox", 0, "not in")):
        assert said in lab5_figures.note_on(word, tense, verbs)
