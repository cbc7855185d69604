r"""Makes a page on which three trained models run in a browser. It works offline.

    .venv/bin/python page/page.py [--update]

writes build/page.html, one file that needs no other; with --update it is page/page.html, to be
committed.
The page is template.html with its style, its scripts, a map and the models: `Config()`, called our
model, of notebook 05, the conjugator of notebook 06, and a small one that collapsed. They are
loaded from runs/; what is missing there is trained first, in about ten minutes. Their weights are
rounded to 8 bits. Chromium takes the README's picture of it:

    chromium --headless --hide-scrollbars --window-size=1120,840 \
        --force-device-scale-factor=0.8 --screenshot=figures/page.png \
        "file://$PWD/page/page.html#stopping"
"""

import argparse
import base64
import io
import os
import sys
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import torch

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
sys.path.insert(0, str(HERE.parent))
import lab5_selftaught as taught
import lab5_utils as lab
from experiments.score_selftaught import lemmas_of, lists_of, rarer_verbs
from lab5_figures import draw_map, tense_names
from lab5_runs import load_or_train
from lab5_train import Config, constant

SIDES = (3.4, 2.4)  # ends of the map to the right and up, in standard deviations of noise
COLLAPSED = Config.plain(
    batch_size=32,
    hidden_size=64,  # few parameters, which the page has to hold
    embedding_size=16,
    learning_rate=0.01,
    schedule=constant,
    kl_weight=1.0,
)
EXAMPLES = ["walked", "stopping", "broke", "vlogging", "photobombs", "blorp"]


# ---- Models ----
def load_models(verbs: list[lab.Verb]) -> tuple[dict, list, list]:
    """Loads or trains the models.

    Returns them by name, the rows that our model is sure of, and those that taught the conjugator.
    """
    print("Loading our model, or training it if it is not in runs/.")
    ours = load_or_train(Config(), verbs).model
    collapsed = load_or_train(COLLAPSED, verbs, pairs=[]).model
    print("Finding the verbs that our model is sure of.")
    lists = lists_of(verbs)
    joins = taught.sure_joins(ours, lists)
    print("Loading the conjugator, or training it.")
    held_out = lemmas_of(rarer_verbs())
    conjugator = taught.teach(lists, joins, seed=0, held_out=held_out)  # as in notebook 06
    models = {"ours": ours, "collapsed": collapsed, "conjugator": conjugator.model}
    return models, taught.rows_of(lists, joins), conjugator.rows


def packed(model: lab.CVAE) -> dict:
    """Returns a model as network.js reads it: a row of a weight is whole numbers times a scale."""
    weights = {}
    for name, weight in model.cpu().state_dict().items():
        scales = weight.abs().amax(-1, keepdim=True) / 127
        parts = {"scales": scales, "numbers": (weight / scales).round().to(torch.int8)}
        texts = {part: base64.b64encode(parts[part].numpy().tobytes()).decode() for part in parts}
        weights[name] = {"shape": weight.shape} | texts
    alphabet = model.vocabulary.alphabet
    return {"alphabet": alphabet, "latent": model.latent_size, "weights": weights}


# ---- The map, as in notebook 05 ----
def axes_of(model: lab.CVAE) -> list[int]:
    """Returns which two numbers of a code have the largest weights: to the right, and up."""
    sizes = model.decoder.from_z.weight.detach().norm(dim=0)
    return sizes.argsort(descending=True)[:2].tolist()


def picture_of_map(model: lab.CVAE, lemmas: list[str]) -> str:
    """Draws what a model spells at each point; returns a PNG in base64."""
    right, up = axes_of(model)
    width, height = SIDES
    xs = np.linspace(-width, width, 180)
    ys = np.linspace(-height, height, 127)
    codes = np.zeros((len(ys), len(xs), model.latent_size))
    codes[..., right] = xs
    codes[..., up] = ys[:, None]
    words = model.decode(codes.reshape(-1, model.latent_size), lab.LEMMA)
    words = np.array(words).reshape(len(ys), len(xs))
    fig = plt.figure(figsize=(4.4, 3.1), dpi=240, layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    draw_map(ax, xs, ys, np.where(np.isin(words, lemmas), words, ""))
    picture = io.BytesIO()
    fig.savefig(picture)
    plt.close(fig)
    return base64.b64encode(picture.getvalue()).decode()


# ---- The page ----
def facts_of(verbs: list[lab.Verb]) -> dict:
    """Returns what the page says of a table, whatever its models are."""
    return {"tenses": tense_names(verbs), "longest": lab.MAX_LETTERS, "verbs": verbs}


def filled(data: dict, picture: str) -> str:
    """Returns the page of some data, and of a map as a PNG in base64."""
    files = jinja2.FileSystemLoader(HERE)
    pages = jinja2.Environment(loader=files, undefined=jinja2.StrictUndefined)
    pages.filters["thousands"] = "{:,}".format
    return pages.get_template("template.html").render(
        data=data, picture=picture, examples=EXAMPLES, collapsed=COLLAPSED
    )


def page_of(verbs: list[lab.Verb], models: dict[str, lab.CVAE], sure: list, joined: list) -> str:
    """Returns the page of a table and what `load_models` returns for it."""
    ours = models["ours"]
    learned = {
        "joined": joined,
        "sure": {"rows": len(sure), "right": len({*sure} & {*verbs})},
        "map": {"axes": axes_of(ours), "sides": SIDES},
        "models": {name: packed(model) for name, model in models.items()},
    }
    return filled(facts_of(verbs) | learned, picture_of_map(ours, lemmas_of(verbs)))


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--update", action="store_true", help="write page/page.html, for a commit")
    options = parser.parse_args()
    if os.environ.get("LAB5_DATA"):
        parser.error("LAB5_DATA is set, but the page is about the project's table")
    verbs = lab.distinct_verbs()
    path = (HERE if options.update else BUILD) / "page.html"
    path.parent.mkdir(exist_ok=True)
    models, sure, joined = load_models(verbs)
    print("Drawing the map.")
    path.write_text(page_of(verbs, models, sure, joined), encoding="utf-8")
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
