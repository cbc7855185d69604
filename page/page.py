r"""Makes a page on which three trained models run in a browser. It works offline.

    .venv/bin/python page/page.py [--update]

writes build/page.html, one file that needs no other; with --update it is page/page.html, to be
committed.
The page is template.html with its style, its scripts, the film of notebook 03, a map and the
models: `Config()`, called our model, of notebook 06, the conjugator of notebook 07, and a small
plain one that learned the words in the secret alphabets of 03. They are loaded from runs/; what is
missing there is trained first, in about twelve minutes. Their weights are rounded to 8 bits.
Chromium takes the gallery's picture of it:

    chromium --headless --hide-scrollbars --window-size=1120,752 \
        --force-device-scale-factor=0.8 --screenshot=figures/page.png \
        "file://$PWD/page/page.html#stopping"
"""

import argparse
import base64
import io
import os
import random
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
from experiments import language
from experiments.score_selftaught import lemmas_of, lists_of, rarer_verbs
from lab5_figures import draw_map, tense_names
from lab5_gate import BackwardEncoder
from lab5_runs import load_or_train
from lab5_train import Config

SIDES = (3.4, 2.4)  # ends of the map to the right and up, in standard deviations of noise
SECRET = Config.plain(  # smaller than ours, since the page has to hold it
    epochs=140, hidden_size=192, embedding_size=16, learning_rate=0.008, kl_weight=0.5
)
EXAMPLES = ["walked", "stopping", "broke", "went", "vlogging", "photobombs", "blorp"]


# ---- Secret alphabets ----
def keys_of(alphabet: str, forms: int) -> list[str]:
    """Returns what each tense writes for the letters of an alphabet, as in notebook 03."""
    shuffled = [random.Random(tense).sample(alphabet, len(alphabet)) for tense in range(1, forms)]
    return [alphabet, *map("".join, shuffled)]


def cipher(keys: list[str]) -> language.Language:
    """Returns the language that writes forms by these keys, of which the first is the alphabet."""
    tables = [str.maketrans(keys[0], key) for key in keys]
    return lambda form, tense: form.translate(tables[tense])


# ---- Models ----
def load_models(verbs: list[lab.Verb], in_secret: list[lab.Verb]) -> tuple[dict, list]:
    """Loads or trains the models. Returns them by name, and the rows that taught the conjugator."""
    print("Loading our model, or training it if it is not in runs/.")
    ours = load_or_train(Config(), verbs).model
    print("Loading the model of secret alphabets, or training it.")
    secret = load_or_train(SECRET, in_secret, pairs=[]).model
    print("Loading the conjugator, or training it.")
    lists = lists_of(verbs)
    joins = taught.sure_joins(ours, lists)
    held_out = lemmas_of(rarer_verbs())
    conjugator = taught.teach(lists, joins, seed=0, held_out=held_out)  # as in notebook 07
    return {"ours": ours, "secret": secret, "conjugator": conjugator.model}, conjugator.rows


def in_bytes(numbers) -> str:
    """Returns numbers as text, in base64."""
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()


def packed(model: lab.CVAE) -> dict:
    """Returns a model as network.js reads it: a row of a weight is whole numbers times a scale."""
    weights = {}
    for name, weight in model.cpu().state_dict().items():
        scales = weight.abs().amax(-1, keepdim=True) / 127
        numbers = (weight / scales).round().to(torch.int8)
        texts = {"scales": in_bytes(scales), "numbers": in_bytes(numbers)}
        weights[name] = {"shape": weight.shape} | texts
    return {
        "alphabet": model.vocabulary.alphabet,
        "latent": model.latent_size,
        "backwards": isinstance(model.encoder, BackwardEncoder),
        "weights": weights,
    }


# ---- The film of notebook 03 ----
def load_films(verbs: list[lab.Verb]) -> dict:
    """Returns the film of miniatures that learn verbs in English and in secret alphabets."""
    keys = keys_of(lab.vocabulary_of(verbs).alphabet, len(verbs[0]))
    languages = {"English": lambda form, tense: form, "secret alphabets": cipher(keys)}
    learned = language.learn(languages, verbs)
    scores = language.compare(learned)[["repeated", "converted"]]
    films = [language.film(trained.run) for trained in learned.values()]
    return packed_films(films, language.filmed(verbs), scores.to_dict("records"))


def packed_films(films: list[np.ndarray], verbs: list[lab.Verb], scores: list[dict]) -> dict:
    """Returns films (E, n, F, 2) as page.js reads them: whole numbers, at most 127."""
    scaled = [film * [127, -127] / np.abs(film).max() for film in films]  # down, as SVG counts
    points = [in_bytes(film.round().astype(np.int8)) for film in scaled]
    return {"verbs": verbs, "epochs": len(films[0]), "points": points, "scores": scores}


# ---- The map, as in notebook 06 ----
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
    pages.filters["percent"] = lambda share: f"{100 * share:.0f}\u00a0%"
    return pages.get_template("template.html").render(data=data, picture=picture, examples=EXAMPLES)


def page_of(verbs, models: dict[str, lab.CVAE], joined: list, in_secret: list, film: dict) -> str:
    """Returns the page of a table, of what `load_models` and `load_films` return for it.

    `in_secret` is what the model of secret alphabets has read.
    """
    ours, secret = models["ours"], models["secret"]
    right = lab.convert_verbs(secret, in_secret) == np.array(in_secret)[:, None]  # (N, F, F)
    repeated = right.diagonal(axis1=1, axis2=2).sum()
    learned = {
        "joined": joined,
        "keys": keys_of(secret.vocabulary.alphabet, secret.vocabulary.forms),
        "repeated": int(repeated),
        "converted": int(right.sum() - repeated),
        "film": film,
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
    keys = keys_of(lab.vocabulary_of(verbs).alphabet, len(verbs[0]))
    in_secret = language.rewrite(verbs, cipher(keys))
    models, joined = load_models(verbs, in_secret)
    print("Loading the film, or training what it shows; drawing the map.")
    page = page_of(verbs, models, joined, in_secret, load_films(verbs[::10]))
    path.write_text(page, encoding="utf-8")
    print(f"Wrote {path}")


if __name__ == "__main__":
    main()
