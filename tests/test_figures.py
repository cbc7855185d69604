"""Export of figures."""

import re

import matplotlib.pyplot as plt
import pytest
from conftest import ROOT, lab


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


def test_strategies_are_told_apart_by_line_as_well_as_colour():
    styles = [lab.strategy_style(name) for name in lab.STRATEGIES]
    assert (
        len({style["color"] for style in styles}) == len({str(style["linestyle"]) for style in styles}) == len(styles)
    )


def test_no_figure_without_a_notebook():
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    exported = set(re.findall(r'save_fig\(fig, \\"([^"\\]+)\\"\)', sources))
    assert {path.stem for path in (ROOT / "figures").iterdir()} == exported
