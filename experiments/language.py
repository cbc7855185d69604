"""Languages that rewrite a table, the miniatures that learn them, and a film of their codes."""

from collections.abc import Callable
from typing import NamedTuple

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.transforms import Bbox

import lab5_utils as lab
from experiments.scores import nearest_are_partners, score_codes
from lab5_figures import MARKS, WIDTH, tense_names
from lab5_runs import Run, load_or_train
from lab5_train import Config, Training, reproducible

Language = Callable[[str, int], str]  # from a form of a verb and its tense to a word
APART = 0.9  # of the words of a tense must still differ from each other
LEARNED = 0.95  # of its words a miniature must repeat
FILMED = 12  # verbs, at most


class Learned(NamedTuple):
    """A table as a language writes it, and the run of a miniature that learned it."""

    verbs: list[lab.Verb]
    run: Run


# ---- A language ----
def rewrite(verbs, language: Language, name="language") -> list[lab.Verb]:
    """Returns verbs whose forms a language writes.

    Raises a ValueError that names the first form that doesn't become a word, or a tense in which
    too many words become the same one.
    """
    rows = []
    for verb in verbs:
        row = []
        for tense, form in enumerate(verb):
            where = f"{name}, {form!r} in tense {tense}"
            row.append(lab.check_word(language(form, tense), where))
        rows.append(tuple(row))
    for tense, (before, after) in enumerate(zip(columns(verbs), columns(rows), strict=True)):
        if len(after) < APART * len(before):
            expected = f"at least {APART:.0%} of {len(before)}"
            raise lab.wrong(f"{name}, tense {tense}", f"{len(after)} different words", expected)
    return rows


def columns(verbs) -> list[set[str]]:
    """Returns the different words of each tense."""
    return [set(column) for column in zip(*verbs, strict=True)]


# ---- What learns it ----
def filmed(verbs) -> list[lab.Verb]:
    """Returns the verbs whose codes are kept: at most twelve, evenly spaced in a table."""
    return verbs[:: -(-len(verbs) // FILMED)]


class Filming(Training):
    """A training whose history has the codes of some verbs (n, F, Z) in every row, and no score."""

    def evaluate(self, epoch):
        """Returns the codes after an epoch, as posterior means."""
        mu, _ = lab.encode_verbs(self.model, filmed(self.verbs))
        return {"codes": mu.numpy()}


def miniature(verbs, **changes) -> Config:
    """Returns a miniature that takes at least half as many steps on a small table as on ours.

    Its β is small, so that it learns more languages. Keywords change it.
    """
    words = len(verbs) * len(verbs[0])
    batch_size = min(32, -(-words // 5))
    steps = -(-words // batch_size)  # in an epoch; 16 on ours
    values = {"batch_size": batch_size, "epochs": max(80, 80 * 8 // steps), "kl_weight": 0.05}
    return Config.miniature(**(values | {"training": Filming} | changes))


def learn(languages: dict[str, Language], verbs, **changes) -> dict[str, Learned]:
    """Returns what miniatures learned, by the names of languages; one is trained per core.

    Keywords change the miniature. Raises the errors of `rewrite`.
    """
    tables = [rewrite(verbs, language, name) for name, language in languages.items()]
    jobs = min(joblib.effective_n_jobs(-1), len(tables))
    run = joblib.delayed(load_or_train)
    calls = [run(miniature(table, **changes), table, progress=False) for table in tables]
    learned = map(Learned, tables, joblib.Parallel(jobs)(calls))
    return dict(zip(languages, learned, strict=True))


def untrained(config, verbs):
    """Returns the model with which a run begins."""
    with reproducible(config.seed):
        return config.training(config, verbs).model.eval()


def compare(learned: dict[str, Learned]) -> pd.DataFrame:
    """Returns a table of what miniatures repeat and convert, with a row for each language.

    `nearest` is the share of words whose nearest code in another tense is that of their own verb,
    and `at first` the same before any training.
    """
    rows = {}
    for name, (verbs, run) in learned.items():
        scores = score_codes(run, verbs)
        rows[name] = {
            "repeated": scores["repeated"],
            "learned": "yes" if scores["repeated"] >= LEARNED else "no",
            "converted": scores["conversions"],
            "nearest": scores["nearest"],
            "at first": nearest_are_partners(untrained(run.config, verbs), verbs),
        }
    return pd.DataFrame(rows.values(), index=list(rows))


# ---- The film ----
def film(run: Run) -> np.ndarray:
    """Returns the codes of n verbs in F forms after each of E epochs, on two axes (E, n, F, 2).

    These are the axes on which the verbs, each the mean of its forms, differ most at the end.
    """
    codes = np.array(run.history["codes"].tolist())  # (E, n, F, Z)
    means = codes[-1].mean(1)  # (n, Z)
    centre = means.mean(0)  # (Z,)
    axes = np.linalg.svd(means - centre)[2][:2]  # (2, Z)
    return (codes - centre) @ axes.T


def draw_film(films: dict[str, np.ndarray], verbs: list[lab.Verb]) -> plt.Figure:
    """Returns three frames of each film, in a row: after its first epoch, a tenth, and the last.

    A film has the points (E, n, F, 2) of n verbs, those of `film`. The first frame is too dense
    for lemmas.
    """
    size = (1.5 * WIDTH, 0.5 + 2.8 * len(films))
    shared = {"sharex": "row", "sharey": "row", "squeeze": False}
    fig, grid = plt.subplots(len(films), 3, figsize=size, **shared)
    shown = []  # frames, as axes and points
    for row, (name, points) in zip(grid, films.items(), strict=True):
        row[0].set_ylabel(name)
        last = len(points)
        for ax, epoch in zip(row, (1, max(1, last // 10), last), strict=True):
            draw_frame(ax, points[epoch - 1], verbs)
            ax.set(xticks=[], yticks=[], title=f"after epoch {epoch}")
            shown.append((ax, points[epoch - 1]))
    marks, names = grid[0, 0].get_legend_handles_labels()
    fig.legend(marks, names, loc="outside lower center", ncols=len(names))
    fig.draw_without_rendering()  # now marks and texts have their places
    for ax, points in shown:
        if ax not in grid[:, 0]:
            name_verbs(ax, points, verbs)
    return fig


def draw_frame(ax: plt.Axes, points: np.ndarray, verbs: list[lab.Verb]) -> None:
    """Draws points (n, F, 2), a mark for each tense, and a line that joins the forms of a verb."""
    ax.margins(x=0.27, y=0.12)
    ring = [*range(points.shape[1]), 0]
    ax.plot(*points[:, ring].T, color="0.8", linewidth=0.8)
    for tense, name in enumerate(tense_names(verbs)):
        mark = MARKS[tense % len(MARKS)]
        ax.plot(*points[:, tense].T, mark, color=f"C{tense}", markersize=4, label=name)


BESIDE = [  # where a lemma may stand, in points from its mark
    {"xytext": (x, y), "ha": ha, "va": va}
    for x, y, ha, va in [
        (0, 5, "center", "bottom"),
        (0, -5, "center", "top"),
        (5, 0, "left", "center"),
        (-5, 0, "right", "center"),
    ]
]


def name_verbs(ax: plt.Axes, points: np.ndarray, verbs: list[lab.Verb]) -> None:
    """Writes lemmas beside their first forms, where they cover no mark and no other lemma."""
    marks = ax.transData.transform(points.reshape(-1, 2))  # pixels
    taken = [Bbox([mark, mark]).padded(4) for mark in marks]
    for verb, point in zip(verbs, points[:, lab.LEMMA], strict=True):
        for place in BESIDE:
            text = ax.annotate(verb[lab.LEMMA], point, textcoords="offset points", size=7, **place)
            text.set_in_layout(False)
            box = text.get_window_extent()
            if not box.count_overlaps(taken):
                taken.append(box)
                break
            text.remove()
