"""Notebooks as committed, READMEs, and what lab5_figures exports and shows."""

import json
import re

import ipywidgets as widgets
import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest
from conftest import ROOT, VERBS, lab5_figures

from experiments import write_tables
from lab5_runs import Run

README = (ROOT / "README.md").read_text("utf-8")
TABLES = write_tables.make_tables()


# ---- Notebooks ----
@pytest.fixture(params=sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
def notebook(request):
    return nbformat.read(request.param, 4)


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


def test_each_table_stands_in_a_readme_as_its_file_has_it():
    texts = README + (ROOT / "experiments" / "README.md").read_text("utf-8")
    assert write_tables.with_tables(texts, TABLES) == texts
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
    first = export([3, 1, 2])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # as if it was long ago
    assert export([3, 1, 2]) == first != export([3, 1, 1])
    assert first[0].startswith(b"%PDF") and first[1].startswith(b"\x89PNG")


def test_a_run_has_the_same_colour_in_all_panels():
    histories = {"a": {"kl": [1, 2]}, "b": {"kl": [2, 1], "bleu4": [None, 0.2]}}
    frames = {name: pd.DataFrame(columns) for name, columns in histories.items()}
    runs = {name: Run(None, frame.rename_axis("epoch"), None) for name, frame in frames.items()}
    fig = lab5_figures.draw_curves(runs, {"bleu4": "BLEU-4", "kl": "KL", "none": "in no run"})
    in_bleu4, in_kl = ([line.get_color() for line in ax.lines] for ax in fig.axes)
    assert in_bleu4 == in_kl[1:] != in_kl[:1]
    assert [ax.lines[0].get_marker() for ax in fig.axes] == [".", ""], "one point is seen"
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"]
    plt.close(fig)
    with pytest.raises(
        ValueError, match=r"found none of \['none'\]; expected some of \['bleu4', 'kl'\]"
    ):
        lab5_figures.draw_curves(runs, {"none": "in no run"})


@pytest.mark.parametrize("word, answer", [(" Walked ", "walked"), ("ab cd", "One word, please")])
def test_a_panel_answers_kindly_and_anew(monkeypatch, word, answer):
    def describe(word, tense):
        asked.append(word)
        if " " in word:
            raise ValueError
        return word

    asked, shown = [], []
    monkeypatch.setattr(lab5_figures, "display", lambda bundle, raw: shown.append(bundle))
    boxes = lab5_figures.word_boxes(word, 3, VERBS)
    lab5_figures.show_panel(describe, boxes)
    boxes[0].value = "<GOES>"
    assert answer in shown[0]["text/plain"] and asked == [word.strip().lower(), "<goes>"]
    assert "&lt;goes&gt;" in str(widgets.Widget.get_manager_state()), "as text, not as HTML"
    widgets.Widget.close_all()


def test_a_claim_out_of_its_range_is_named():
    assert len(lab5_figures.check_claims([("a share", 0.5, 0, 1)])) == 1
    with pytest.raises(AssertionError, match="a share: found 2"):
        lab5_figures.check_claims([("a share", 2, 0, 1)])


def test_a_note_says_where_a_word_stands_in_a_table():
    verbs = [("see", "sees", "seeing", "saw"), ("saw", "saws", "sawing", "sawed")]
    for word, tense, said in (("saw", 0, "saw, saws"), ("sees", 0, "third"), ("ox", 0, "not in")):
        assert said in lab5_figures.note_on(word, tense, verbs)
