"""Draws README's picture, figures/front.png: a word's code, and codes of twelve verbs.

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
    "English": "English: forms of a verb meet",
    "in secret": "Secret alphabets: they never do",
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


def draw_last(ax, verbs):
    """Draws the last frame of a film of codes."""
    points = film(finish(verbs, miniature(verbs)))
    draw_frame(ax, points[-1], filmed(lab.distinct_verbs()[::10]), named=True)
    ax.set(xticks=[], yticks=[])


def main():
    """Draws the picture."""
    set_style()
    english = lab.distinct_verbs()[::10]
    tables = {"English": english, "in secret": in_secret(english, 3)}
    fig = plt.figure(figsize=(1.5 * WIDTH, 0.9 * WIDTH))
    axes = fig.subplot_mosaic([["word", "word"], [*tables]], height_ratios=[1, 3])
    draw_word(axes["word"], load_or_train(Config()).model)
    for name, verbs in tables.items():
        draw_last(axes[name], verbs)
        axes[name].set_title(TITLES[name])
    marks, names = axes["English"].get_legend_handles_labels()
    fig.legend(marks, names, loc="outside lower center", ncols=len(names))
    fig.savefig(FIGURES / "front.png", dpi=150)


if __name__ == "__main__":
    main()
