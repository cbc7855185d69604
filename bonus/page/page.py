r"""Makes page.html, on which the plain model and our model run in a browser, without a network.

    .venv/bin/python -m bonus.page.page

The page is template.html with its style, its scripts, the models, and the film of notebook 03. What
is missing in runs/ is trained first, in about five minutes. Weights are rounded to 8 bits. Chromium
takes the picture of it:

    chromium --headless --hide-scrollbars --window-size=1120,752 \
        --force-device-scale-factor=0.8 --screenshot=figures/page.png \
        "file://$PWD/bonus/page/page.html"
"""

import base64
from pathlib import Path

import jinja2
import numpy as np
import torch

import lab5_utils as lab
from bonus.gate import OURS, BackwardEncoder
from experiments import language
from experiments.variants import secret_keys
from lab5_runs import load_or_train
from lab5_train import Config

HERE = Path(__file__).resolve().parent
CONFIGS = {"plain": Config(), "ours": OURS}
EXAMPLES = ["stopping", "walked", "broke", "went", "blorp"]


# ---- Models ----
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


# ---- The film ----
def load_films(verbs: list[lab.Verb]) -> dict:
    """Returns the film of miniatures that learn verbs in English and in secret alphabets."""
    keys = secret_keys(lab.vocabulary_of(verbs).alphabet, len(verbs[0]), seed=0)
    languages = {
        "English": lambda form, tense: form,
        "secret alphabets": lambda form, tense: form.translate(keys[tense]),
    }
    learned = language.learn(languages, verbs)
    scores = language.compare(learned)[["repeated", "converted"]].to_dict("records")
    films = [language.film(run) for _, run in learned.values()]
    return packed_films(films, language.filmed(verbs), scores)


def packed_films(films: list[np.ndarray], verbs: list[lab.Verb], scores: list[dict]) -> dict:
    """Returns films (E, n, F, 2) as page.js reads them: whole numbers, at most 127."""
    scaled = [film * [127, -127] / np.abs(film).max() for film in films]  # down, as SVG counts
    points = [in_bytes(film.round().astype(np.int8)) for film in scaled]
    return {"verbs": verbs, "epochs": len(films[0]), "points": points, "scores": scores}


# ---- The page ----
def data_of(verbs: list[lab.Verb], models: dict[str, lab.CVAE], film: dict) -> dict:
    """Returns all that the page knows."""
    packed_models = {name: packed(model) for name, model in models.items()}
    known = {"tenses": lab.TENSES, "longest": lab.MAX_LETTERS, "verbs": verbs}
    return known | {"models": packed_models, "film": film}


def filled(data: dict) -> str:
    """Returns the page of what `data_of` returns."""
    files = jinja2.FileSystemLoader(HERE)
    pages = jinja2.Environment(loader=files, undefined=jinja2.StrictUndefined)
    pages.filters["percent"] = lambda share: f"{100 * share:.0f}\u00a0%"
    return pages.get_template("template.html").render(data=data, examples=EXAMPLES)


def main() -> None:
    """Writes the page."""
    verbs = lab.distinct_verbs(lab.load_verbs(lab.HERE / "train.txt"))
    models = {name: load_or_train(config, verbs).model for name, config in CONFIGS.items()}
    page = filled(data_of(verbs, models, load_films(verbs[::10])))
    (HERE / "page.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
