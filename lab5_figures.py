"""One look for all figures and tables: the style, curves, maps, the export, and claims."""

from __future__ import annotations

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator
from scipy import ndimage

import lab5_utils as lab
from lab5_runs import Run

FIGURES = lab.folder_named("LAB5_FIGURES", lab.data_folder() / "figures")
WIDTH = 5.0  # of a figure, in inches
STYLES = ["-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))]  # of lines
MARKS = "s^DvXPo"
LOST = 0.6  # share of conversions below which a figure of schedules ends, since codes are lost


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


def draw_curves(curves: dict[str, pd.DataFrame], rows=2, dashed=None, decades=()) -> plt.Figure:
    """Returns a figure with a panel for each column, and in it a line for each table, by epoch.

    `dashed` has the height and the name of a dashed line, by column, and `decades` the columns with
    a logarithmic axis. Values that are missing are left out.
    """
    columns = list(next(iter(curves.values())))
    size = (WIDTH, 1.9 * rows)
    fig, axes = plt.subplots(
        rows, -(-len(columns) // rows), figsize=size, sharex=True, squeeze=False
    )
    for ax, column in zip(axes.flat, columns, strict=True):
        for (name, table), style in zip(curves.items(), STYLES, strict=False):
            ax.plot(table[column].dropna(), linestyle=style, label=name)
        ax.set_title(column)
        if column in decades:
            set_decades(ax)
        else:
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


def set_decades(ax: plt.Axes) -> None:
    """Makes the y axis logarithmic, with plain numbers at 1, 2 and 5 times a power of ten."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    few = high / low < 1000
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def outline(ax: plt.Axes, xs, ys, names: np.ndarray, **style):
    """Outlines the region of each name; yields it with its deepest point, and how deep that is."""
    for name in np.unique(names[names != ""]):
        inside = names == name
        smooth = ndimage.gaussian_filter(inside.astype(float), 1)
        ax.contour(xs, ys, smooth, levels=[0.5], **style)
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        yield name, np.unravel_index(depth.argmax(), depth.shape), depth.max()


def draw_map(ax: plt.Axes, xs, ys, names: np.ndarray) -> None:
    """Draws a map of what is spelled at points (Y, X), coloured by first letter.

    White lines separate names, and black lines separate first letters. Points without a name are
    dark.
    """
    first = names.astype("<U1")
    letters, numbers = np.unique(first, return_inverse=True)
    palette = sns.husl_palette(len(letters), s=0.7, l=0.82)
    colors = np.array(palette[::2] + palette[1::2])  # letters that follow each other differ
    colors[letters == ""] = 0.25
    sides = (xs[0], xs[-1], ys[0], ys[-1])
    ax.imshow(colors[numbers.reshape(names.shape)], origin="lower", aspect="auto", extent=sides)
    ax.grid(visible=False)
    centred = {"ha": "center", "va": "center"}
    named = set()
    for name, (row, column), depth in outline(ax, xs, ys, names, colors="white", linewidths=0.8):
        if depth > 1.6 * len(name):
            ax.text(xs[column], ys[row], name, size=9, **centred)
            named.add(name)
    for letter, (row, column), depth in outline(ax, xs, ys, first, colors="black", linewidths=1.6):
        if depth > 6 and names[row, column] not in named:
            look = {"size": max(9, depth), "weight": "bold", "alpha": 0.3}
            ax.text(xs[column], ys[row], letter.upper(), **look, **centred)


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


def draw_film(films: dict[str, np.ndarray], verbs: list[lab.Verb]) -> plt.Figure:
    """Returns three frames of each film, in a row: after its first epoch, a tenth, and the last.

    A film has the points (E, n, F, 2) of n verbs, those of `experiments.language.film`. Their
    lemmas are written beside their first forms, but for the first frame, which is too dense.
    """
    size = (1.5 * WIDTH, 0.5 + 2.8 * len(films))
    shared = {"sharex": "row", "sharey": "row", "squeeze": False}
    fig, grid = plt.subplots(len(films), 3, figsize=size, **shared)
    for row, (name, points) in zip(grid, films.items(), strict=True):
        row[0].set_ylabel(name)
        last = len(points)
        for ax, epoch in zip(row, (1, max(1, last // 10), last), strict=True):
            draw_frame(ax, points[epoch - 1], verbs, named=ax is not row[0])
            ax.set(xticks=[], yticks=[], title=f"after epoch {epoch}")
    marks, names = grid[0, 0].get_legend_handles_labels()
    fig.legend(marks, names, loc="outside lower center", ncols=len(names))
    return fig


def draw_frame(ax: plt.Axes, points: np.ndarray, verbs: list[lab.Verb], named: bool) -> None:
    """Draws points (n, F, 2), a mark for each tense, and a line that joins the forms of a verb."""
    ax.margins(x=0.22, y=0.12)
    ring = [*range(points.shape[1]), 0]
    ax.plot(*points[:, ring].T, color="0.8", linewidth=0.8)
    for tense, name in enumerate(tense_names(verbs)):
        mark = ("o" + MARKS)[tense % len(MARKS)]
        ax.plot(*points[:, tense].T, mark, color=f"C{tense}", markersize=4, label=name)
    if named:
        lemmas = points[:, lab.LEMMA]
        for rank, n in enumerate(lemmas[:, 0].argsort()):  # by turns above and below
            place = {"xytext": (0, 4 if rank % 2 else -10), "textcoords": "offset points"}
            text = ax.annotate(verbs[n][lab.LEMMA], lemmas[n], ha="center", size=7, **place)
            text.set_in_layout(False)


def draw_plane(ax: plt.Axes, verbs: list[lab.Verb], beyond: float) -> None:
    """Draws a plane of KL and CE, with the triangle that no model can enter."""
    floor = math.log(len(verbs))  # the nats that name a verb
    ax.fill([0, 0, floor], [0, floor, 0], color="0.88")
    look = {"ha": "center", "va": "center", "color": "0.35", "fontsize": 9}
    ax.text(floor / 3, floor / 3, "no model\ncan be\nhere", **look)
    ax.set(xlabel="KL, nats: what a code costs", ylabel="CE, nats: what is left to guess")
    ax.set(xlim=(0, beyond), ylim=(0, beyond))


def draw_paths(runs: dict[str, Run], verbs: list[lab.Verb]) -> plt.Figure:
    """Returns a figure with the paths of runs through the plane, and their KL over the epochs.

    Both are means of an epoch. A vertical line marks three tenths of the training.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), width_ratios=[4, 3])
    last = max(run.history["ce"].iloc[-1] for run in runs.values())
    draw_plane(axes[0], verbs, beyond=max(10.5, 1.2 * last))
    for (name, run), style in zip(runs.items(), STYLES, strict=False):
        path = run.history[["kl", "ce"]]
        (curve,) = axes[0].plot(path["kl"], path["ce"], linestyle=style, label=name)
        look = {"color": curve.get_color()}
        axes[0].plot(*path.iloc[-1], "o", **look, clip_on=False, zorder=3)
        axes[1].plot(path["kl"], linestyle=style, **look)
    axes[1].axvline(0.3 * len(path), color="0.4", linewidth=1)
    axes[1].set(xlabel="epoch", ylabel="KL, nats", ylim=(0, None))
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def draw_front(front: pd.DataFrame) -> plt.Figure:
    """Returns a figure of conversions over both scores from noise, with the gate and without.

    `front` has a row per training, like `06_front.csv`; lines are those of `draw_heights`.
    """
    names = {"DirectDecoder": "no gate", "GatedDecoder": "gate"}
    looks = {"no gate": {"color": "C0", "fmt": "o-"}, "gate": {"color": "C3", "fmt": "o-"}}
    front = front.assign(schedule=front["decoder"].map(names))
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.5), sharex=True, sharey=True)
    draw_heights(axes[0], front, looks)
    draw_heights(axes[1], front, looks, named=(), score="lemma_first")  # the same β again
    axes[1].set(xlim=(0.4, 1), ylabel="")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def draw_heights(ax: plt.Axes, scores: pd.DataFrame, looks, named=None, score="from_noise"):
    """Draws conversions over a score of draws: a line per schedule, and on it a mark per β.

    `scores` has a row per training, with the columns schedule, beta, conversions and the score's;
    `looks` has what `plt.errorbar` takes, by schedule. Marks are means over seeds, and bars their
    standard deviations. The schedules in `named`, by default all, have β beside their marks.
    """
    by_height = scores.groupby(["schedule", "beta"])[[score, "conversions"]]
    means, sds = by_height.mean(), by_height.std().fillna(0)
    for name, look in looks.items():
        xs, ys = means.loc[name].to_numpy().T
        x_errors, y_errors = sds.loc[name].to_numpy().T
        style = {"linewidth": 1, "elinewidth": 0.6, "markersize": 5} | look
        ax.errorbar(xs, ys, y_errors, x_errors, label=name, **style)
        for beta, point in means.loc[name].iterrows():
            if named is not None and name not in named:
                break
            place = {"xytext": (4, 3), "textcoords": "offset points", "clip_on": True}
            ax.annotate(f"{beta:g}", point, color=look["color"], size=7, **place)
    ax.set(xlabel=f"{score.replace('_', ' ')}: share of rows", ylabel="conversions: share right")
    ax.margins(0.08)


def draw_schedules(scores: pd.DataFrame, schedules: list[Callable]) -> plt.Figure:
    """Returns a figure of schedules, each at several heights, and below it their shapes.

    The first is drawn as a line behind the others, and the only one whose marks are labelled; the
    heights of the others stand over their shapes. `scores` is what `draw_heights` takes.
    """
    names = [schedule.__name__.replace("_", " ") for schedule in schedules]
    looks = {names[0]: {"color": "0.55", "fmt": ".-", "zorder": 1}}
    for n, name in enumerate(names[1:]):
        looks[name] = {"color": f"C{n}", "fmt": f"{MARKS[n % len(MARKS)]}-"}
    columns = 4
    shapes = [names[n : n + columns] for n in range(0, len(names), columns)]
    shapes[-1] += ["."] * (columns - len(shapes[-1]))
    places = [["heights"] * columns, *shapes]
    size = (WIDTH, 3.4 + len(shapes))
    ratios = [6] + [1] * len(shapes)
    fig, axes = plt.subplot_mosaic(places, figsize=size, height_ratios=ratios)
    draw_heights(axes["heights"], scores, looks, named=names[:1])
    axes["heights"].set_ylim(LOST, 1)
    progress = np.linspace(0.001, 1, 1000)
    for name, schedule in zip(names, schedules, strict=True):
        ax, look = axes[name], looks[name]
        shape = [schedule(p) for p in progress]
        ax.plot(progress, shape, look["fmt"], color=look["color"], markersize=5, markevery=[600])
        heights = scores.loc[scores["schedule"] == name, "beta"]
        ax.set_title(f"{name}\n{', '.join(map('{:g}'.format, sorted(set(heights))))}", size=8)
        ax.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(-0.05, 1.15))
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
