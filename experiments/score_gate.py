"""Trains the tense gate without its price and without flattening: writes results/05_gate.csv.

    .venv/bin/python -m experiments.score_gate

`Config()`, one seed each, last epoch. A row a decoder: its scores; where the gates of some
words are likeliest to open; and the share of forms in which that is exactly the end of the common
prefix, for verbs with a past in -ed and for others. What is trained is kept in runs/.
"""

import numpy as np
import pandas as pd

import lab5_utils as lab
from experiments import RESULTS, score_seeds  # noqa: F401 (registers the gate without a price)
from experiments.score_languages import gates
from lab5_selftaught import common_prefix
from lab5_train import Config, sweep

WORDS = "walked stopping carries trying hoped admires beginning broke understood"


class NotFlattened(lab.GatedDecoder):
    """Weighs openings by how likely they are, from the first step on."""

    flattest = 1.0


lab.DECODERS["not flattened"] = NotFlattened
DECODERS = {"the recipe": "gated", "no price": "no price", "not flattened": "not flattened"}


def exact(opened, verbs):
    """Returns the share of forms whose gate opens at the end of the common prefix, by past."""
    ends = np.array([len(common_prefix(verb)) for verb in verbs])  # (N,)
    at_end = opened == ends[:, None]  # (N, 4)
    in_ed = np.array([verb[lab.PAST].endswith("ed") for verb in verbs])
    return {"past in -ed": at_end[in_ed].mean(), "other pasts": at_end[~in_ed].mean()}


def row(name, run, verbs):
    """Returns what the table says of a decoder."""
    opened = gates(run.model.cpu(), verbs)
    shares = exact(opened, verbs)
    found = {
        "decoder": name,
        "conversion": run.history["conversion"].iloc[-1],
        "gaussian": run.history["gaussian_exact"].iloc[-1],
        **{f"exact, {past}": share for past, share in shares.items()},
    }
    place = {form: (n, t) for n, verb in enumerate(verbs) for t, form in enumerate(verb)}
    for word in WORDS.split():
        letters = opened[place[word]]
        found[word] = f"{word[:letters]}|{word[letters:]}"
    return found


def main():
    """Trains what runs/ does not hold, writes the table and prints it."""
    verbs = lab.distinct_verbs(None)
    runs = sweep([Config(decoding=decoding) for decoding in DECODERS.values()])
    rows = [row(name, run, verbs) for name, run in zip(DECODERS, runs, strict=True)]
    table = pd.DataFrame(rows)
    table.round(4).to_csv(RESULTS / "05_gate.csv", index=False)
    print(table.T.to_string())


if __name__ == "__main__":
    main()
