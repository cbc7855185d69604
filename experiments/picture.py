"""Draws README's picture, figures/front.png: a word's code, and the film's first and last frames.

    .venv/bin/python -m experiments.picture

Our model and two miniatures are loaded from runs/, or trained.
"""

import matplotlib.pyplot as plt

import lab5_utils as lab
from experiments.language import film, filmed, finish, miniature
from experiments.variants import in_secret
from lab5_figures import FIGURES, WIDTH, draw_frame, set_style
from lab5_runs import load_or_train
from lab5_train import Config

WORD, TENSE = "walked", lab.PAST
TITLES = {
    "English": "In English, the four forms of a verb find each other",
    "in secret": "In secret alphabets they never meet",
}


def draw_word(ax, model):
    """Draws the code of a word as bars, with the word on its left and four forms on its right."""
    code = model.encode([WORD], TENSE)[0][0]
    ax.bar(range(len(code)), code, color="C0")
    ax.axhline(0, color="0.7", linewidth=0.8)
    forms = "\n".join(model.generate(code[None])[0])
    place = {"transform": ax.transAxes, "va": "center", "size": 12}
    ax.text(-0.04, 0.5, f"{WORD} →", ha="right", **place)
    ax.text(1.03, 0.5, "→", ha="left", **place)
    ax.text(1.09, 0.5, forms, ha="left", **place)
    ax.set_title("A word becomes a code of 32 numbers, and the code becomes four forms")
    ax.set_axis_off()


def draw_frames(row, verbs, title):
    """Draws the first and the last frame of a film of codes into a row of two axes."""
    points = film(finish(verbs, miniature(verbs)))
    for ax, epoch in zip(row, (1, len(points)), strict=True):
        draw_frame(ax, points[epoch - 1], filmed(lab.distinct_verbs()[::10]), named=epoch > 1)
        ax.set(xticks=[], yticks=[], xlabel=f"after epoch {epoch}")
    row[0].set_title(title, loc="left")


def main():
    """Draws the picture."""
    set_style()
    english = lab.distinct_verbs()[::10]
    tables = {"English": english, "in secret": in_secret(english, 3)}
    fig = plt.figure(figsize=(1.5 * WIDTH, 1.5 * WIDTH))
    places = [["word", "word"], ["English", "English last"], ["in secret", "in secret last"]]
    axes = fig.subplot_mosaic(places, height_ratios=[1, 3, 3])
    draw_word(axes["word"], load_or_train(Config()).model)
    for name, verbs in tables.items():
        draw_frames([axes[name], axes[f"{name} last"]], verbs, TITLES[name])
    marks, names = axes["English"].get_legend_handles_labels()
    fig.legend(marks, names, loc="outside lower center", ncols=len(names))
    fig.savefig(FIGURES / "front.png", dpi=150)


if __name__ == "__main__":
    main()
