"""Figures: what curves show, how they are exported, and that they can be read in print."""

import os
import re
import subprocess
import sys
import zlib

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT, lab5_figures, lab5_train, small

COLUMN = 85 / 25.4 * 72  # points
SIX_PANELS = lab5_figures.CURVES
THREE_PANELS = {"kl": "KL", "ce": "CE", "bleu4": "BLEU-4"}
ONE_PANEL = {"loss": "loss"}


@pytest.fixture(autouse=True)
def style():
    lab5_figures.set_style()
    yield
    plt.close("all")


def export(values, folder, monkeypatch):
    """Draws and exports values; returns the bytes of both files."""
    monkeypatch.setattr(lab5_figures, "FIGURES", folder)
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot(values, label="ce")
    ax.legend()
    lab5_figures.save_fig(fig, "00_test")
    return [(folder / f"00_test.{suffix}").read_bytes() for suffix in ("pdf", "png")]


def test_the_same_figure_is_the_same_bytes(tmp_path, monkeypatch):
    folder = tmp_path / "figures"
    pdf, png = export([3, 1, 2], folder, monkeypatch)
    assert export([3, 1, 2], folder, monkeypatch) == [pdf, png]
    other_pdf, other_png = export([3, 1, 1], folder, monkeypatch)
    assert other_pdf != pdf
    assert other_png != png
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")


def test_a_table_is_pandas_csv_and_the_same_cells_in_latex(tmp_path, monkeypatch):
    monkeypatch.setattr(lab5_figures, "FIGURES", tmp_path)
    table = pd.DataFrame({"β_max": [0.25, 1.0], "word": ["a & b", "50 %"]}, index=["x", "y"])
    lab5_figures.save_table(table, "00_test", index_label="run")
    assert (tmp_path / "00_test.csv").read_text("utf-8") == table.to_csv(index_label="run")
    latex = (tmp_path / "00_test.tex").read_text("utf-8")
    rows = re.findall(r"^(.+) & (.+?) & (.+) \\\\$", latex, re.MULTILINE)
    assert rows[0] == ("run", r"$\beta$\_max", "word")
    assert rows[1:] == [("x", "0.25", r"a \& b"), ("y", "1.0", r"50 \%")]
    assert latex.startswith(r"\begin{tabular}{lrl}")


def test_a_table_keeps_the_words_null_and_nan(tmp_path, monkeypatch):
    monkeypatch.setattr(lab5_figures, "FIGURES", tmp_path)
    lab5_figures.save_table(pd.DataFrame({"word": ["null", "nan", "NA"]}), "00_test", index=False)
    latex = (tmp_path / "00_test.tex").read_text("utf-8")
    assert re.findall(r"^(\w+) \\\\$", latex, re.MULTILINE) == ["word", "null", "nan", "NA"]


WRITE_ELSEWHERE = """
import matplotlib.pyplot as plt
import lab5_figures, lab5_train
print(lab5_train.RUNS, lab5_figures.FIGURES)
lab5_figures.save_fig(plt.figure(), "00_test")
"""


def test_a_checkout_that_cannot_be_written_writes_elsewhere(tmp_path):
    folders = {"LAB5_RUNS": str(tmp_path / "r"), "LAB5_FIGURES": str(tmp_path / "f" / "g")}
    command = [sys.executable, "-c", WRITE_ELSEWHERE]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | folders, capture_output=True)
    assert done.stdout.decode().split() == list(folders.values())
    assert (tmp_path / "f" / "g" / "00_test.pdf").exists()


@pytest.fixture(scope="module")
def runs(verbs):
    runs = {}
    for weight in (0.1, 0.2):
        config = small(epochs=4, kl_weight=weight, strategy="constant", refine=0.5)
        runs[f"weight {weight}"] = lab5_train.train(config, verbs[:10], progress=False)
    return runs


@pytest.mark.parametrize("curves", [SIX_PANELS, THREE_PANELS, ONE_PANEL], ids=len)
def test_every_curve_has_a_panel_and_every_run_a_line(runs, curves):
    fig = lab5_figures.draw_curves(runs, curves)
    assert [ax.get_title() for ax in fig.axes] == list(curves.values())
    for ax, column in zip(fig.axes, curves, strict=True):
        drawn = [line.get_ydata().tolist() for line in ax.lines if len(line.get_ydata())]
        assert drawn == [run.history[column].dropna().tolist() for run in runs.values()]
    texts = fig.legends[0].get_texts()
    assert [text.get_text() for text in texts] == list(runs)


def test_lines_differ_in_colour_and_dashes_or_have_the_palettes_colours(runs):
    first, second = lab5_figures.draw_curves(runs).axes[0].lines[:2]
    assert first.get_color() != second.get_color()
    assert first.is_dashed() != second.is_dashed()
    palette = dict(zip(runs, ["red", "black"], strict=True))
    lines = lab5_figures.draw_curves(runs, palette=palette).axes[0].lines[:2]
    assert [line.get_color() for line in lines] == ["red", "black"]


def test_no_figure_without_a_notebook():
    exported = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        source = path.read_text(encoding="utf-8")
        exported |= set(re.findall(r'save_fig\(\w+, \\"([^"\\]+)\\"\)', source))
    assert {path.stem for path in (ROOT / "figures").glob("*.p[dn][fg]")} == exported


def test_letters_can_be_read_in_a_column():
    """Printed 85 mm wide, the smallest letters are 6 points high: the PDFs' streams say so."""
    for path in (ROOT / "figures").glob("*.pdf"):
        content = path.read_bytes()
        width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", content)[1])
        sizes = []
        for stream in re.findall(rb"stream\n(.+?)\nendstream", content, re.DOTALL):
            if stream.startswith(b"\x78"):  # compressed
                sizes += re.findall(rb"/F\S+ ([\d.]+) Tf", zlib.decompress(stream))
        smallest = min(float(size) for size in sizes)
        assert smallest * COLUMN / width >= 6, f"{path.stem}: {smallest} points in {width}"


# ---- Panels ----
@pytest.fixture(autouse=True)
def no_widget_is_left():
    yield
    widgets.Widget.close_all()


def shown_by_panel(describe, word, monkeypatch):
    """Returns the first answer of a panel, and its box."""
    shown = []
    monkeypatch.setattr(lab5_figures, "display", lambda bundle, raw: shown.append(bundle))
    boxes = lab5_figures.word_boxes(word, 3)
    lab5_figures.show_panel(describe, boxes)
    return shown[0]["text/plain"].split("\n\n")[1], boxes[0]


def test_a_panel_takes_capitals_and_spaces_and_answers_anew(monkeypatch):
    asked = []

    def describe(word, tense):
        asked.append((word, tense))
        return "<" + word

    first, box = shown_by_panel(describe, " Walked ", monkeypatch)
    box.value = "GOES"
    assert first == "<walked" and asked == [("walked", 3), ("goes", 3)]


@pytest.mark.parametrize("word", ["", "two words", "straße"])
def test_a_panel_answers_kindly_what_no_model_can_read(monkeypatch, learned, word):
    def describe(word, tense):
        return str(learned.model.encode([word], tense))

    assert shown_by_panel(describe, word, monkeypatch)[0].startswith("One word, please")


def test_a_note_says_in_which_tense_a_word_is_in_the_table():
    verbs = [("put", "puts", "putting", "put"), ("walk", "walks", "walking", "walked")]
    assert lab5_figures.note_on("put", 3, verbs) == "in the table: put, puts, putting, put"
    assert lab5_figures.note_on("walk", 3, verbs).startswith("in the table as simple present:")
    assert lab5_figures.note_on("blog", 0, verbs).startswith("not in the table")
