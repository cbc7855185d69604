"""Makes build/page.html, on which two trained models run in a browser. It works offline.

    .venv/bin/python page/page.py

The page is template.html with its style, its scripts, a map and two models: `Config()`, called
our model, of notebook 05, and the conjugator of notebook 06. They are loaded from runs/; what is
missing there is trained first, in about ten minutes. Their weights are rounded to 8 bits.
"""

import base64
import io
import sys
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import torch

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "build" / "page.html"
sys.path[:0] = [str(HERE.parent)]
import lab5_selftaught as taught
import lab5_utils as lab
from experiments.score_selftaught import rarer_verbs
from lab5_figures import draw_map
from lab5_runs import load_or_train
from lab5_train import Config

SIDES = (3.4, 2.4)  # ends of the map to the right and up, in standard deviations of noise


# ---- Models ----
def load_models(verbs: list[lab.Verb]) -> tuple[dict[str, lab.CVAE], list[lab.Verb]]:
    """Returns our model and the conjugator, by name, and the rows that our model is sure of."""
    lists = taught.check_lists(zip(*verbs, strict=True))
    print("Loading our model, or training it if it is not in runs/.")
    run = load_or_train(Config())
    print("Finding the verbs that it is sure of.")
    joins = taught.sure_joins(run, lists)
    print("Loading the conjugator, or training it in two rounds.")
    held_out = [verb[lab.LEMMA] for verb in rarer_verbs()]  # as in notebook 06
    conjugator = taught.teach(lists, joins, seed=0, held_out=held_out).model
    models = {"ours": run.model.cpu(), "conjugator": conjugator.cpu()}
    return models, taught.rows_of(lists, joins)


def packed(model: lab.CVAE) -> dict:
    """Returns a model as network.js reads it: each weight is whole numbers times a scale."""
    weights = {}
    for name, weight in model.state_dict().items():
        scale = weight.abs().max() / 127
        numbers = (weight / scale).round().to(torch.int8).numpy()
        text = base64.b64encode(numbers.tobytes()).decode()
        weights[name] = {"shape": weight.shape, "scale": scale.item(), "numbers": text}
    return {"alphabet": model.vocabulary.alphabet, "weights": weights}


# ---- The map, as in notebook 05 ----
def axes_of(model: lab.CVAE) -> list[int]:
    """Returns which two numbers of a code have the largest weights: to the right, and up."""
    sizes = model.decoder.from_z.weight.detach().norm(dim=0)
    return sizes.argsort(descending=True)[:2].tolist()


def picture_of_map(model: lab.CVAE, lemmas: list[str]) -> str:
    """Draws what a model spells at each point; returns a PNG in base64."""
    right, up = axes_of(model)
    width, height = SIDES
    xs = torch.linspace(-width, width, 180)
    ys = torch.linspace(-height, height, 127)
    codes = torch.zeros(len(ys), len(xs), model.latent_size)
    codes[..., right] = xs
    codes[..., up] = ys[:, None]
    words = np.array(model.decode(codes.flatten(0, 1), lab.LEMMA)).reshape(len(ys), len(xs))
    fig = plt.figure(figsize=(4.4, 3.1), dpi=240, layout="none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    draw_map(ax, xs, ys, np.where(np.isin(words, lemmas), words, ""))
    picture = io.BytesIO()
    fig.savefig(picture)
    plt.close(fig)
    return base64.b64encode(picture.getvalue()).decode()


# ---- The page ----
def page_of(models: dict[str, lab.CVAE], sure: list[lab.Verb], verbs: list[lab.Verb]) -> str:
    """Returns the page of models, the rows that our model is sure of, and the table."""
    ours = models["ours"]
    data = {
        "tenses": lab.TENSES,
        "longest": lab.MAX_LETTERS,
        "verbs": verbs,
        "map": {"axes": axes_of(ours), "sides": SIDES},
        "models": {name: packed(model) for name, model in models.items()},
    }
    counts = {"verbs": len(verbs), "sure": len(sure), "right": len(set(sure) & set(verbs))}
    picture = picture_of_map(ours, [verb[lab.LEMMA] for verb in verbs])
    files = jinja2.FileSystemLoader(HERE)
    pages = jinja2.Environment(loader=files, undefined=jinja2.StrictUndefined)
    pages.filters["thousands"] = "{:,}".format
    return pages.get_template("template.html").render(data=data, picture=picture, **counts)


def main() -> None:
    """Writes build/page.html."""
    verbs = lab.distinct_verbs(None)
    models, sure = load_models(verbs)
    print("Drawing the map.")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page_of(models, sure, verbs), encoding="utf-8")
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
