"""One look for all figures, tables and panels.

It has the style, curves of runs, a map of codes, the export, and boxes to type a word into.
"""

from __future__ import annotations

import html
import math

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.ticker import FuncFormatter, LogLocator
from scipy import ndimage

import lab5_utils as lab
from lab5_runs import Run

FIGURES = lab.folder_named("LAB5_FIGURES", lab.data_folder() / "figures")
WIDTH = 5.0  # of a figure, in inches
CURVES = {
    "ce": "CE, nats per word (log scale)",
    "kl": "KL, nats per word (log scale)",
    "beta": "β",
    "tf_ratio": "teacher-forcing ratio",
    "bleu4": "BLEU-4, test pairs",
    "gaussian_exact": "from noise",
}
WIDE = ("ce", "kl")  # these range over decades
SHARES = ("tf_ratio", "bleu4", "gaussian_exact")  # 0..1
STYLES = ["-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1))]  # of lines
MARKS = "s^DvXPo"


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


def draw_curves(runs: dict[str, Run], curves=CURVES) -> plt.Figure:
    """Returns a figure with one panel per curve and, in each, one line per run.

    `curves` has the panels' titles by column of the history. Curves that no run has are left out.
    Raises ValueError if none is left.
    """
    histories = {str(name): run.history for name, run in runs.items()}
    table = pd.concat(histories, names=["run"]).reset_index().dropna(axis=1, how="all")
    shown = {column: title for column, title in curves.items() if column in table}
    if not shown:
        known = sorted(list(table)[2:])  # all but the names of runs, and the epochs
        raise ValueError(f"curves: found none of {list(curves)}; expected some of {known}")
    order = {"hue_order": list(histories), "style_order": list(histories)}
    by_run = {"hue": "run", "style": "run", "estimator": None, **order}
    rows = math.ceil(len(shown) / 2)
    size = (WIDTH, 1.9 * rows)
    fig, axes = plt.subplots(rows, 2, figsize=size, sharex=True, squeeze=False)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
        axes[rows - 2, 1].tick_params(labelbottom=True)  # nothing is below it
    for ax, (column, title) in zip(axes.flat, shown.items(), strict=False):
        known = table.dropna(subset=column)
        sns.lineplot(known, x="epoch", y=column, **by_run, ax=ax)
        for line in ax.lines:
            line.set_marker("." if len(line.get_xdata()) == 1 else "")  # else it isn't seen
        ax.set(title=title, ylabel=None)
        if column in WIDE:
            set_decades(ax)
        if column in SHARES:
            ax.set_ylim(0, 1.03)
        ax.get_legend().remove()
    if len(runs) > 1:
        fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def draw_steps(curves: pd.DataFrame, dashed: dict[str, tuple[float, str]]) -> plt.Figure:
    """Returns a figure with a panel for each of six columns of curves that have a row per step.

    CE, KL and the loss are means of 20 steps. `dashed` has the height and the name of a dashed line
    for some columns.
    """
    fig, axes = plt.subplots(2, 3, figsize=(WIDTH, 3.6), sharex=True)
    for ax, (name, curve) in zip(axes.flat, curves.items(), strict=True):
        smooth = curve.rolling(20, min_periods=1).mean()
        ax.plot(smooth if name in ("CE", "KL", "loss") else curve.dropna())
        if name in dashed:
            height, label = dashed[name]
            ax.axhline(height, color="0.4", linestyle="--")
            note = {"transform": ax.transAxes, "ha": "right", "va": "center", "size": 9}
            ax.text(0.95, 0.38, f"dashed:\n{label}", **note)
        ticks = range(0, 1 + round(curves.index[-1]), 4)
        ax.set(title=name, ylim=(0, 1.05 * ax.get_ylim()[1]), xticks=ticks)
    axes[0, 0].set_ylabel("nats per word")
    fig.supxlabel("epoch", fontsize=10)
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


def draw_plane(ax: plt.Axes, verbs: list[lab.Verb], beyond: float) -> None:
    """Draws a plane of KL and CE, with the triangle that no model can enter."""
    floor = math.log(len(verbs))  # the nats that name a verb
    ax.fill([0, 0, floor], [0, floor, 0], color="0.88")
    look = {"ha": "center", "va": "center", "color": "0.35", "fontsize": 9}
    ax.text(floor / 3, floor / 3, "no model\ncan be\nhere", **look)
    ax.set(xlabel="KL, nats: what a code costs", ylabel="CE, nats: what is left to guess")
    ax.set(xlim=(0, beyond), ylim=(0, beyond))


def draw_paths(runs: dict[str, Run], verbs: list[lab.Verb]) -> plt.Figure:
    """Returns a figure with the paths of runs through the plane, and their KL and conversions.

    Their trainings are those of `experiments.paths`.
    """
    places = [["plane", "KL"], ["plane", "converted"]]
    fig, axes = plt.subplot_mosaic(places, figsize=(WIDTH, 3.8), width_ratios=[4, 3])
    paths = {name: run.history[["KL", "CE", "converted"]].dropna() for name, run in runs.items()}
    last = max(path["CE"].iloc[-1] for path in paths.values())
    draw_plane(axes["plane"], verbs, beyond=max(10.5, 1.2 * last))
    for (name, path), style in zip(paths.items(), STYLES, strict=False):
        (curve,) = axes["plane"].plot(path["KL"], path["CE"], linestyle=style, label=name)
        look = {"color": curve.get_color()}
        axes["plane"].plot(*path[["KL", "CE"]].iloc[-1], "o", **look, clip_on=False, zorder=3)
        for column in ("KL", "converted"):
            axes[column].plot(path[column], linestyle=style, **look)
    for column, label in {"KL": "KL, nats", "converted": "conversions"}.items():
        axes[column].axvline(0.3 * max(path.index), color="0.4", linewidth=1)
        axes[column].set(ylabel=label, ylim=(0, None))
    axes["converted"].set_xlabel("epoch")
    fig.legend(*axes["plane"].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def draw_line(ax: plt.Axes, constants: pd.DataFrame, models: pd.DataFrame, x: str, y: str) -> None:
    """Draws the line of constants, a score by β, and a mark for each model at its kind of β.

    `constants` has the column `y`, by β, and `models` the columns `x` and `y`, by name.
    """
    ax.plot(constants[y], ".-", color="0.6", linewidth=1, label="constants")
    for n, (name, model) in enumerate(models.iterrows()):
        look = {"color": f"C{n}", "markersize": 5.5, "clip_on": False, "zorder": 3}
        ax.plot(model[x], model[y], MARKS[n % len(MARKS)], label=name, **look)
    ax.set(xlabel=x, ylabel=y, ylim=(0, None))


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


def word_boxes(word: str, tense: int, verbs: list[lab.Verb]) -> list[widgets.Widget]:
    """Returns a box to type a word into, and a list of tenses to choose from, for `show_panel`."""
    tenses = [(name, number) for number, name in enumerate(tense_names(verbs))]
    box = widgets.Text(word, description="word", continuous_update=False)
    return [box, widgets.Dropdown(description="its tense", options=tenses, value=tense)]


def note_on(word: str, tense: int, verbs: list[lab.Verb]) -> str:
    """Returns a sentence that says whether a word is in a table, in this tense or in another."""
    rows = [", ".join(verb) for verb in verbs if verb[tense] == word]
    names = tense_names(verbs)
    others = [names[t] for verb in verbs for t, form in enumerate(verb) if form == word]
    if rows:
        return f"in the table: {'; '.join(rows)}"
    if others:
        return f"in the table as {others[0]}: choose that tense"
    return "not in the table, so the model mostly answers with a word that it knows"


PANELS = []  # kept, since one that is collected would close its successor, which has its name


def show_panel(describe, boxes: list[widgets.Widget]) -> None:
    """Shows widgets, and the text that `describe` returns for their values, which follows them.

    The first box holds a word; spaces around it and capitals don't matter. For a word that can't be
    read, the reason is shown. Where no kernel runs, the first answer is shown.
    """
    answer = widgets.HTML()

    def update(_=None):
        word, *others = (box.value for box in boxes)
        try:
            text = describe(word.strip().lower(), *others)
        except ValueError as error:
            text = f"One word, please, for example stopped. ({error})"
        answer.value = f"<pre>{html.escape(text)}</pre>"
        return text

    for box in boxes:
        box.observe(update, names="value")
    panel = widgets.VBox([*boxes, answer], model_id="panel")  # the same in each run
    shown = {"text/plain": f"a panel, once this cell has run; its first answer:\n\n{update()}"}
    PANELS.append(panel)
    display(panel._repr_mimebundle_() | shown, raw=True)
