"""Asks for verbs never seen, in other languages: writes figures/06_languages.csv.

    python tests/experiments/score_conjugation.py [language ...] [--jobs -1]

Of each table three tenths are held out in turn, families together, and one model is trained on the
rest of its rows: nothing is tuned, a training seed each, last epoch. It is asked for every other
form from the lemma, and so is the training verb that ends most like it. A verb is regular if its
class is productive in the whole table.
"""

import argparse
import itertools
import sys
from pathlib import Path

import joblib
import pandas as pd
from held_out import exact_match, split_verbs
from words import neighbour

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_beyond as beyond
import lab5_utils as lab

TABLES = Path(__file__).resolve().parent / "tables"
LANGUAGES = ("spanish", "italian", "german", "finnish", "russian", "turkish", "swahili", "hebrew")
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


def score_tenth(language, tenth):
    """Returns the rows of a model and of the neighbour for one held-out tenth."""
    verbs = lab.distinct_verbs(lab.load_verbs(TABLES / language / "train.txt"))
    classes = beyond.productive_classes(verbs)
    training, held = split_verbs(verbs, tenth, prefixes=None)
    regular = [beyond.cut(verb).affixes in classes for verb in held]
    run = lab.load_or_train(beyond.Config(seed=tenth, **SMALL), training, progress=False)
    lemmas = [verb[lab.LEMMA] for verb in held]
    systems = {
        "model": ask(run.model, lemmas),
        "neighbour": [neighbour(lemma, training) for lemma in lemmas],
    }
    row = {"language": language, "tenth": tenth}
    rows = []
    for name, answers in systems.items():
        rows.append(row | {"system": name} | exact_match(answers, held, regular))
    return rows


def main():
    """Reads the arguments, trains, scores and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("languages", nargs="*", default=list(LANGUAGES))
    parser.add_argument("--jobs", type=int, default=-1, help="trainings at a time; -1: a core each")
    arguments = parser.parse_args()
    tasks = itertools.product(arguments.languages, range(TENTHS))
    parallel = joblib.Parallel(arguments.jobs)
    tables = parallel(joblib.delayed(score_tenth)(*task) for task in tasks)
    table = pd.DataFrame(itertools.chain(*tables))
    table.round(4).to_csv(lab.FIGURES / "06_languages.csv", index=False)
    means = table.drop(columns="tenth").groupby(["language", "system"], sort=False)
    print(means.agg(["mean", "std"]).round(3).to_string())


if __name__ == "__main__":
    main()
