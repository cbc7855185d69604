"""Figures: how they are exported, and that what is exported can be read in print."""

import re
import zlib

import matplotlib.pyplot as plt
import pytest
from conftest import ROOT, lab, small

COLUMN = 85 / 25.4 * 72  # points


@pytest.fixture
def draw(tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "FIGURES", tmp_path / "figures")
    lab.set_style()

    def draw(values):
        fig, ax = plt.subplots(figsize=(3, 2))
        ax.plot(values, label="ce")
        ax.legend()
        lab.save_fig(fig, "00_test")
        plt.close(fig)
        return [(tmp_path / "figures" / f"00_test{suffix}").read_bytes() for suffix in (".pdf", ".png")]

    return draw


def test_the_same_figure_is_the_same_bytes(draw):
    first = draw([3, 1, 2])
    assert draw([3, 1, 2]) == first
    assert all(a != b for a, b in zip(draw([3, 1, 1]), first))
    assert first[0].startswith(b"%PDF") and first[1].startswith(b"\x89PNG")


def test_curves_show_the_histories_by_name(draw, verbs):
    configs = [small(kl_weight=weight, strategy="constant", refine=0.5) for weight in (0.1, 0.2)]
    runs = [lab.train(config, verbs[:20], progress=False) for config in configs]
    fig = lab.draw_curves(dict(zip(["weight 0.1", "0.2"], runs)))
    lines = {ax.get_title(): ax.lines[:2] for ax in fig.axes}
    for column, title in lab.CURVES.items():
        for run, line in zip(runs, lines[title]):
            assert line.get_ydata().tolist() == run.history[column].dropna().tolist()
    assert len({(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in lines[title]}) == 2
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["weight 0.1", "0.2"]
    fig = lab.draw_curves({"a": runs[0], "b": runs[0]}, {"kl": "KL", "ce": "CE"})
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"] and len(fig.axes) == 2


def test_no_figure_without_a_notebook():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    exported = set(re.findall(r'save_fig\(fig, \\"([^"\\]+)\\"\)', sources))
    assert {path.stem for path in (ROOT / "figures").glob("*.p[dn][fg]")} == exported


@pytest.mark.parametrize("path", sorted((ROOT / "figures").glob("*.pdf")), ids=lambda path: path.stem)
def test_letters_can_be_read_in_a_column(path):
    """The smallest text of a figure, printed 85 mm wide, is 6 points high: its sizes are in the PDF's streams."""
    content = path.read_bytes()
    width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", content)[1])
    streams = re.findall(rb"stream\n(.+?)\nendstream", content, re.DOTALL)
    drawn = b"".join(zlib.decompress(stream) for stream in streams if stream[:1] == b"\x78")
    sizes = [float(size) for size in re.findall(rb"/F\S+ ([\d.]+) Tf", drawn)]
    assert sizes and min(sizes) * COLUMN / width >= 6, f"{min(sizes)} points in a figure {width} points wide"
