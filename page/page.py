"""Makes a page on which two trained models run in a browser; it needs no network.

    .venv/bin/python notebooks/page.py [FOLDER]

writes page.html into a folder, by default report/. It is template.html of the folder page/, with
its style, its programs and two models in it: the lab's own of notebook 05, and the conjugator of
notebook 06, both of seed 0. They are loaded from runs/; what is missing there is trained, in about
ten minutes. Matrices are rounded to 8 bits. The page's last links lead to notebooks.html, which
report.py writes into the same folder.
"""

import argparse
import base64
import copy
import json
import subprocess
import sys
from pathlib import Path

import torch

NOTEBOOKS = Path(__file__).resolve().parent
sys.path[:0] = [str(NOTEBOOKS.parent)]
import lab5_selftaught as taught
import lab5_train
import lab5_utils as lab
from experiments import store_of
from experiments.score_selftaught import lemmas_of, lists_of, rarer_verbs
from experiments.words import is_regular

FOLDER = NOTEBOOKS.parent / "report"
PARTS = NOTEBOOKS / "page"
PLACES = {  # what stands in the template where a part belongs
    "/* style.css */": "style.css",
    "/* network.js */": "network.js",
    "/* page.js */": "page.js",
    "/* map.js */": "map.js",
}
DATA = '"DATA"'  # and where the models do
LARGEST = 127  # of 8 bits
SEED = 0
WIDE, HIGH = 180, 127  # points of the map
SIDES = {"right": 3.5, "up": 2.5}  # of the map, in standard deviations of noise
USUAL = 0.99  # of the words of the table cost less than what the page calls usual


# ---- Weights ----
def round_rows(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds a matrix (R, C); returns its whole numbers, −127..127, and a scale per row (R, 1)."""
    scales = matrix.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (matrix / scales).round().to(torch.int8), scales


def rounded(model: lab.CVAE) -> lab.CVAE:
    """Returns a copy of a model, on the CPU, with the weights that the page computes with."""
    model = copy.deepcopy(model).cpu()
    for weight in model.parameters():
        if weight.dim() == 2:
            numbers, scales = round_rows(weight.data)
            weight.data = numbers * scales
    return model


def as_text(tensor: torch.Tensor) -> str:
    """Returns the bytes of a tensor in base64; a number of several has its lowest byte first."""
    array = tensor.numpy()
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def describe_weight(weight: torch.Tensor) -> dict:
    """Returns a matrix or a vector as the page reads it."""
    if weight.dim() == 1:
        return {"values": as_text(weight)}
    numbers, scales = round_rows(weight)
    return {"columns": weight.shape[1], "numbers": as_text(numbers), "scales": as_text(scales)}


def describe_model(model: lab.CVAE) -> dict:
    """Returns a model as the page reads it, without what gives a posterior its width."""
    weights = {name: weight.cpu() for name, weight in model.state_dict().items()}
    kept = {name: weight for name, weight in weights.items() if "logvar" not in name}
    return {
        "alphabet": model.vocabulary.alphabet,
        "weights": {name: describe_weight(weight) for name, weight in kept.items()},
    }


# ---- The map and the table ----
def axes_of(model: lab.CVAE) -> list[int]:
    """Returns which two numbers of a code have the largest weights, the largest first."""
    sizes = model.decoder.from_z.weight.detach().norm(dim=0)
    return sizes.argsort(descending=True)[:2].tolist()


def codes_of_map(model: lab.CVAE) -> torch.Tensor:
    """Returns the codes of the map's points (HIGH · WIDE, Z), in rows from the upper left."""
    right, up = axes_of(model)
    z = torch.zeros(HIGH, WIDE, model.latent_size)
    z[..., right] = SIDES["right"] * ((2 * torch.arange(WIDE) + 1) / WIDE - 1)
    z[..., up] = SIDES["up"] * (1 - (2 * torch.arange(HIGH)[:, None] + 1) / HIGH)
    return z.flatten(0, 1)


def describe_map(model: lab.CVAE, verbs: list[lab.Verb]) -> dict:
    """Returns the map as the page reads it: equal points that follow each other are counted."""
    numbers = {verb[lab.LEMMA]: number for number, verb in enumerate(verbs, 1)}
    lemmas = model.decode(codes_of_map(model), lab.LEMMA)
    points = torch.tensor([numbers.get(lemma, 0) for lemma in lemmas], dtype=torch.int16)
    points, counts = points.unique_consecutive(return_counts=True)
    size = {"wide": WIDE, "high": HIGH, "sides": SIDES, "axes": axes_of(model)}
    return size | {"points": as_text(points), "counts": as_text(counts.to(torch.int16))}


def usual_nats(model: lab.CVAE, verbs: list[lab.Verb]) -> float:
    """Returns below what nearly all words of a table cost a model, in nats."""
    costs = []
    for tense, words in enumerate(zip(*verbs, strict=True)):
        mu, _ = model.encode(words, tense)
        costs.append(taught.nats_of(model, mu, taught.words_of(model, words, tense)))
    return torch.cat(costs).quantile(USUAL).item()


def irregular_pasts(model: lab.CVAE, verbs: list[lab.Verb]) -> list[bool]:
    """Returns for each irregular verb whether a model makes its past from its first form."""
    irregular = [verb for verb in verbs if not is_regular(verb)]
    pasts = model.convert([verb[lab.LEMMA] for verb in irregular], lab.LEMMA, lab.PAST)
    return [past == verb[lab.PAST] for past, verb in zip(pasts, irregular, strict=True)]


# ---- The page ----
def page_of(network: lab.CVAE, pupil: lab.CVAE, verbs: list[lab.Verb], about: dict) -> str:
    """Returns the page of a network with a gate, of its pupil, and of the verbs of the table."""
    data = {
        "about": about,
        "map": describe_map(rounded(network), verbs),
        "tenses": lab.TENSES,
        "longest": lab.MAX_LETTERS,
        "verbs": verbs,
        "models": {"network": describe_model(network), "pupil": describe_model(pupil)},
    }
    page = (PARTS / "template.html").read_text("utf-8")
    for place, name in PLACES.items():
        page = page.replace(place, (PARTS / name).read_text("utf-8"))
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # no tag ends it early
    return page.replace(DATA, text)


def commit() -> str:
    """Returns the commit that is checked out, or says that there is none."""
    command = ["git", "-C", NOTEBOOKS, "describe", "--always", "--dirty=, edited", "--exclude=*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def store_of_run() -> lab5_train.Store:
    """Returns where the run of notebook 05 is kept."""
    return store_of(lab5_train.Config(seed=SEED))


def load_models(verbs: list[lab.Verb]) -> tuple[lab.CVAE, lab.CVAE, list[lab.Verb]]:
    """Returns the models of notebooks 05 and 06, and the rows that the first is sure of.

    Raises as `check_lists`.
    """
    lists = lists_of(verbs)
    run = lab5_train.load_or_train(lab5_train.Config(seed=SEED))
    joins = taught.sure_joins(run, lists)
    held_out = lemmas_of(rarer_verbs())  # as in the notebook, whose runs are found again
    pupil = taught.teach(lists, joins, SEED, held_out).model
    return run.model, pupil, taught.rows_of(lists, joins)


def make_page(verbs: list[lab.Verb]) -> str:
    """Returns the page of the models of notebooks 05 and 06. Raises as `check_lists`."""
    network, pupil, sure = load_models(verbs)
    computed = rounded(network)  # what the page computes with
    network_pasts = irregular_pasts(computed, verbs)
    about = {
        "run": store_of_run().folder.name,
        "seed": SEED,
        "commit": commit(),
        "sure": len(sure),
        "right": len(set(sure) & set(verbs)),
        "usual": round(usual_nats(computed, verbs), 2),
        "irregular": len(network_pasts),
        "network_pasts": sum(network_pasts),
        "pupil_pasts": sum(irregular_pasts(rounded(pupil), verbs)),
    }
    return page_of(network, pupil, verbs, about)


def main() -> None:
    """Writes the page into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: report/")
    folder = parser.parse_args().folder.resolve()
    verbs = lab.distinct_verbs(None)
    if len(verbs[0]) != len(lab.TENSES):
        parser.error(f"found verbs of {len(verbs[0])} forms; expected {len(lab.TENSES)}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "page.html").write_text(make_page(verbs), encoding="utf-8")
    print(f"page.html is in {folder}")


if __name__ == "__main__":
    main()
