"""Trains the lab's recipe on tables of other languages, for results/05_languages.csv.

    .venv/bin/python -m experiments.score_languages             # English, and all of tables/
    .venv/bin/python -m experiments.score_languages a_folder    # with a train.txt

By the lab's rules, `Config()`, nothing tuned, one seed a language (--seeds 3: three). Its rows
take the place of those of the same language. Scores are of the last epoch, with 10,000 draws.
Trained models are kept in runs/, so that a second call goes on.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import lab5_utils as lab
from experiments import RESULTS, replace_rows
from lab5_selftaught import common_prefix
from lab5_train import Config, sweep

TABLES = sorted(Path(__file__).resolve().parent.glob("tables/*"))
EXAMPLES = {  # lemmas whose cut forms are kept
    "english": "stop",
    "spanish": "hablar",
    "italian": "parlare",
    "finnish": "sanoa",
    "turkish": "batmak",
}
SCORES = ("conversion", "gaussian_exact", "gaussian_inconsistent", "distinct")


# ---- Gates ----
@torch.no_grad()
def gates(model, verbs):
    """Returns by form, (N, F), before which letter its gate is likeliest to open."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, _ = lab.encode_verbs(model, verbs)  # (N, F, Z)
    decoder = model.decoder
    context = decoder.context(mu.flatten(0, 1).to(model.device), words.tense)
    mask = lab.up_to(words.lengths, words.letters.shape[1])
    costs = decoder.letter_costs(decoder(words.letters, context), words, mask)
    paths = lab.path_nats(*costs).masked_fill(~mask, torch.inf)
    return paths.argmin(1).view(len(verbs), -1).cpu().numpy()


def show_gates(verb, opened):
    """Returns the forms of a verb, each with | where its gate opens."""
    shown = [f"{form[:k]}|{form[k:]}" for form, k in zip(verb, opened, strict=True)]
    return " ".join(shown)


def gate_scores(language, model, verbs):
    """Returns how often the gate opens where a verb's forms part, 0..1, and an example."""
    opened = gates(model, verbs)
    ends = np.array([len(common_prefix(verb)) for verb in verbs])
    scores = {"gate_at_common_prefix": (opened == ends[:, None]).mean()}
    for n, verb in enumerate(verbs):
        if verb[0] == EXAMPLES.get(language):
            scores["example"] = show_gates(verb, opened[n])
    return scores


# ---- Scores ----
def score(language, run, verbs):
    """Returns a row of the table: what a run scores."""
    scores = lab.score(run.model, verbs, pairs=[])
    return {
        "language": language,
        "seed": run.config.seed,
        "verbs": len(verbs),
        **{name: scores[name] for name in SCORES},
        **gate_scores(language, run.model, verbs),
    }


def score_language(folder, seeds):
    """Returns the rows of a language, one a seed."""
    language = "english" if folder == lab.HERE else folder.name
    verbs = lab.distinct_verbs(lab.load_verbs(folder / "train.txt"))
    configs = [Config(seed=seed) for seed in range(seeds)]
    rows = [score(language, run, verbs) for run in sweep(configs, verbs)]
    return pd.DataFrame(rows)


def main():
    """Reads the arguments, trains, scores, and replaces rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[lab.HERE, *TABLES])
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    for folder in arguments.folders:
        rows = score_language(folder, arguments.seeds)
        replace_rows(RESULTS / "05_languages.csv", rows.round(4), column="language")
        print(rows.T.to_string(), flush=True)


if __name__ == "__main__":
    main()
