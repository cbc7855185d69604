"""Asks for verbs never seen, in other languages: writes figures/06_languages.csv.

    .venv/bin/python -m experiments.score_conjugation [language ...]

Of each table three tenths are held out in turn, families together, and one model is trained on the
rest of its rows: nothing is tuned, a training seed each, last epoch. It is asked for every other
form from the lemma, and so is the training verb that ends most like it. A verb is regular if its
class is productive in the whole table.
"""

import itertools
import sys
from pathlib import Path

import pandas as pd

import lab5_beyond as beyond
import lab5_figures
import lab5_utils as lab
from experiments.held_out import exact_match, split_verbs
from experiments.words import neighbour
from lab5_train import sweep

TABLES = Path(__file__).resolve().parent / "tables"
LANGUAGES = ("spanish", "italian", "german")
TENTHS = 3
# as in notebook 06
SMALL = {"hidden_size": 128, "epochs": 27, "refine": 0.9, "irregular": 2}


def ask(model, lemmas):
    """Returns a model's rows of lemmas; one with a letter that training had not is copied."""
    alphabet = set(model.vocabulary.alphabet)
    readable = [lemma for lemma in lemmas if set(lemma) <= alphabet]
    mu, _ = model.encode(readable, lab.LEMMA)
    rows = dict(zip(readable, model.generate(mu), strict=True))
    return [rows.get(lemma, (lemma,) * model.vocabulary.forms) for lemma in lemmas]


def score_tenth(run, training, held):
    """Returns what a model and the neighbour score on the verbs held out of a table, by system."""
    classes = beyond.productive_classes(training + held)
    regular = [beyond.cut(verb).affixes in classes for verb in held]
    lemmas = [verb[lab.LEMMA] for verb in held]
    systems = {
        "model": ask(run.model, lemmas),
        "neighbour": [neighbour(lemma, training) for lemma in lemmas],
    }
    return {name: exact_match(answers, held, regular) for name, answers in systems.items()}


def main(languages):
    """Trains, scores and writes the table."""
    parts = {}
    for language, tenth in itertools.product(languages, range(TENTHS)):
        verbs = lab.load_verbs(TABLES / language / "train.txt")
        parts[language, tenth] = split_verbs(verbs, tenth, prefixes=None)
    tasks = []
    for (_, tenth), (training, _) in parts.items():
        tasks.append((beyond.Config(seed=tenth, **SMALL), training))
    rows = []
    for ((language, tenth), part), run in zip(parts.items(), sweep(tasks), strict=True):
        for system, scores in score_tenth(run, *part).items():
            rows.append({"language": language, "tenth": tenth, "system": system, **scores})
    table = pd.DataFrame(rows)
    table.round(4).to_csv(lab5_figures.FIGURES / "06_languages.csv", index=False)
    means = table.drop(columns="tenth").groupby(["language", "system"], sort=False)
    print(means.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main(sys.argv[1:] or LANGUAGES)
