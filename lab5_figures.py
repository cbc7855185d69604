"""One look for all figures and tables: the style, curves, codes as bars, the export, claims."""

from __future__ import annotations

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

import lab5_utils as lab

FIGURES = lab.folder_named("LAB5_FIGURES", lab.data_folder() / "figures")
WIDTH = 5.0  # of a figure, in inches
STYLES = ["-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))]  # of lines
MARKS = "os^DvXP"


def set_style() -> None:
    """Sets the look of all figures, and makes tables show their cells uncut."""
    rc = {
        "image.cmap": "viridis",
        "lines.linewidth": 1.5,
        "figure.dpi": 120,
        "figure.figsize": (WIDTH, 3.2),
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,
        "axes.formatter.min_exponent": 5,
    }
    sns.set_theme("paper", "whitegrid", "colorblind", font_scale=1.05, rc=rc)
    pd.set_option("display.max_colwidth", None)


def draw_curves(curves: dict[str, pd.DataFrame], rows=2, dashed=None) -> plt.Figure:
    """Returns a figure with a panel for each column, and in it a line for each table, by epoch.

    `dashed` has the height and the name of a dashed line, by column. Values that are missing are
    left out.
    """
    columns = list(next(iter(curves.values())))
    size = (WIDTH, 1.9 * rows)
    fig, axes = plt.subplots(
        rows, -(-len(columns) // rows), figsize=size, sharex=True, squeeze=False
    )
    for ax in axes.flat[len(columns) :]:
        ax.set_visible(False)
    for ax, column in zip(axes.flat[: len(columns)], columns, strict=True):
        for (name, table), style in zip(curves.items(), cycle(STYLES)):
            ax.plot(table[column].dropna(), linestyle=style, label=name)
        ax.set_title(column)
        ax.set_ylim(0, 1.05 * ax.get_ylim()[1])
        if dashed and column in dashed:
            height, label = dashed[column]
            ax.axhline(height, color="0.4", linestyle="--")
            ax.set_ylim(top=max(ax.get_ylim()[1], 1.1 * height))
            ax.text(0.95, 0.2, f"dashed:\n{label}", transform=ax.transAxes, ha="right", size=9)
    if len(curves) > 1:
        fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    return fig


def draw_codes(columns: dict[str, tuple[lab.Verb, np.ndarray]]) -> plt.Figure:
    """Returns a figure of codes as bars: a column for each name, and in it a row for each form.

    A name has a verb and the codes of its forms (F, Z).
    """
    forms = len(next(iter(columns.values()))[0])
    size = (1.5 * WIDTH, 0.5 + 0.6 * forms)
    shared = {"sharex": True, "sharey": True, "squeeze": False}
    fig, grid = plt.subplots(forms, len(columns), figsize=size, **shared)
    for axes, (name, (verb, codes)) in zip(grid.T, columns.items(), strict=True):
        for tense, (ax, form, code) in enumerate(zip(axes, verb, codes, strict=True)):
            ax.bar(range(1, len(code) + 1), code, color=f"C{tense}", edgecolor="none")
            ax.axhline(0, color="0.7", linewidth=0.8)
            ax.grid(visible=False)
            ax.set_ylabel(form, rotation=0, ha="right", va="center")
        axes[0].set_title(name)
        axes[-1].set_xlabel("which number of the code")
    return fig


def save_fig(fig: plt.Figure, name: str) -> None:
    """Exports a figure as PDF and PNG, with the same bytes each time."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    fig.savefig(FIGURES / f"{name}.pdf", metadata={"CreationDate": None})
    fig.savefig(FIGURES / f"{name}.png", dpi=200)


def check_claims(claims: list[tuple[str, float, float, float]]) -> pd.DataFrame:
    """Returns a table of claims, each a text, the number found, the least and the most it may be.

    Raises AssertionError for a number out of its range, if the table of verbs is the lab's own.
    """
    if lab.data_folder() == lab.HERE:
        for claim, found, low, high in claims:
            assert low <= found <= high, f"{claim}: found {found:.3f}, expected {low} to {high}"
    else:
        print("These numbers are about your table; the texts above are about ours.")
    return pd.DataFrame(claims, columns=["claim", "found", "at least", "at most"])


def save_table(table: pd.DataFrame, name: str, **options) -> None:
    """Exports a table as CSV, with options of `pandas.DataFrame.to_csv`."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    table.to_csv(FIGURES / f"{name}.csv", lineterminator="\n", **options)


def tense_names(verbs: list[lab.Verb]) -> list[str]:
    """Returns the names of a table's tenses: the lab's if there are four, and numbers otherwise."""
    forms = len(verbs[0])
    return list(lab.TENSES) if forms == len(lab.TENSES) else [f"form {n + 1}" for n in range(forms)]


def verb_of(lemma: str, verbs: list[lab.Verb]) -> lab.Verb:
    """Returns the verb with a lemma, or the first verb of a table that lacks it."""
    return next((verb for verb in verbs if verb[lab.LEMMA] == lemma), verbs[0])
