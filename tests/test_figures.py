"""Figures: what curves show, how they are exported, and that they can be read in print."""

import re
import zlib

import matplotlib.pyplot as plt
import pytest
from conftest import ROOT, lab, small

COLUMN = 85 / 25.4 * 72  # points
SIX_PANELS = lab.CURVES
THREE_PANELS = {"kl": "KL", "ce": "CE", "bleu4": "BLEU-4"}
ONE_PANEL = {"loss": "loss"}


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Returns a function that draws and exports values, and returns the bytes of both files."""
    monkeypatch.setattr(lab, "FIGURES", tmp_path / "figures")
    lab.set_style()

    def export(values):
        fig, ax = plt.subplots(figsize=(3, 2))
        ax.plot(values, label="ce")
        ax.legend()
        lab.save_fig(fig, "00_test")
        plt.close(fig)
        pdf = tmp_path / "figures" / "00_test.pdf"
        return pdf.read_bytes(), pdf.with_suffix(".png").read_bytes()

    return export


def test_the_same_figure_is_the_same_bytes(export):
    pdf, png = export([3, 1, 2])
    assert export([3, 1, 2]) == (pdf, png)
    other_pdf, other_png = export([3, 1, 1])
    assert other_pdf != pdf
    assert other_png != png
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def runs(verbs):
    runs = {}
    for weight in (0.1, 0.2):
        config = small(epochs=4, kl_weight=weight, strategy="constant", refine=0.5)
        runs[f"weight {weight}"] = lab.train(config, verbs[:10], progress=False)
    return runs


@pytest.mark.parametrize("curves", [SIX_PANELS, THREE_PANELS, ONE_PANEL], ids=len)
def test_every_curve_has_a_panel_and_every_run_a_line(runs, curves):
    fig = lab.draw_curves(runs, curves)
    assert [ax.get_title() for ax in fig.axes] == list(curves.values())
    for ax, column in zip(fig.axes, curves, strict=True):
        drawn = [line.get_ydata().tolist() for line in ax.lines if len(line.get_ydata())]
        assert drawn == [run.history[column].dropna().tolist() for run in runs.values()]
    texts = fig.legends[0].get_texts()
    assert [text.get_text() for text in texts] == list(runs)
    plt.close(fig)


def test_lines_differ_in_colour_and_dashes_or_have_the_palettes_colours(runs):
    fig = lab.draw_curves(runs)
    first, second = fig.axes[0].lines[:2]
    assert first.get_color() != second.get_color()
    assert first.is_dashed() != second.is_dashed()
    plt.close(fig)
    palette = dict(zip(runs, ["red", "black"], strict=True))
    fig = lab.draw_curves(runs, palette=palette)
    lines = fig.axes[0].lines[:2]
    assert [line.get_color() for line in lines] == ["red", "black"]
    plt.close(fig)


def test_no_figure_without_a_notebook():
    exported = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        source = path.read_text(encoding="utf-8")
        exported |= set(re.findall(r'save_fig\(\w+, \\"([^"\\]+)\\"\)', source))
    assert {path.stem for path in (ROOT / "figures").glob("*.p[dn][fg]")} == exported


FIGURES = sorted((ROOT / "figures").glob("*.pdf"))


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_letters_can_be_read_in_a_column(path):
    """Printed 85 mm wide, the smallest letters are 6 points high: the PDF's streams say so."""
    content = path.read_bytes()
    width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", content)[1])
    sizes = []
    for stream in re.findall(rb"stream\n(.+?)\nendstream", content, re.DOTALL):
        if stream.startswith(b"\x78"):  # compressed
            drawn = zlib.decompress(stream)
            sizes += re.findall(rb"/F\S+ ([\d.]+) Tf", drawn)
    smallest = min(float(size) for size in sizes)
    assert smallest * COLUMN / width >= 6, f"{smallest} points in {width}"
