"""Scores what teaches itself to conjugate, beside its baselines, for results/07_selftaught.csv.

    .venv/bin/python -m experiments.score_selftaught

These are rows found in the whole table, and 500 rarer verbs, over five seeds, in an hour on one
core. A second call resumes: a seed that stands in the table isn't trained anew, and what is trained
is kept in runs/.
Shares are 0..1; a row is right if its lemma leads to all its forms. `kept`: the rows that a
conjugator starts from, or that a count is sure of. Conversions are looked up in the rows; those
that begin with `spelled` are spelled by the network that learned these rows. `rarer`: the right
forms of the rarer verbs, asked from the lemma. With LAB5_DATA=folder another English table of four
forms is used, and files are named after its folder.
"""

import random
from functools import partial

import torch
from scipy.optimize import linear_sum_assignment

import lab5_selftaught as taught
import lab5_utils as lab
from experiments import HERE, add_rows, has_row
from experiments.count_baseline import (
    rows_by_counting,
    rows_by_likeness,
    rows_of_endings,
)
from experiments.scores import by_rows, exact_match, score_conversions, score_drawn
from experiments.words import neighbour
from lab5_runs import load_or_train
from lab5_train import Config

TABLE = "07_selftaught"


# ---- What is asked ----
def lists_of(verbs):
    """Returns the words of verbs, one list per tense, sorted, so what belongs together is lost."""
    return taught.check_lists(zip(*verbs, strict=True))


def lemmas_of(verbs):
    """Returns the lemmas of verbs."""
    return [verb[lab.LEMMA] for verb in verbs]


def rarer_verbs():
    """Returns 500 verbs outside the table, which `make_train` drew."""
    return lab.load_verbs(HERE / "rarer.txt")


def joins_of(rows, lists):
    """Returns the joins (N, F) of rows of words; other lemmas are joined with nothing."""
    joins = taught.nothing_joined(lists)
    for row in rows:
        indices = [words.index(word) for words, word in zip(lists, row, strict=True)]
        joins[indices[lab.LEMMA]] = indices
    return joins


# ---- Scores ----
def answer(model, verbs):
    """Returns a model's rows of verbs, from their lemmas; copies where it lacks a letter."""
    alphabet = set(model.vocabulary.alphabet)
    rows = {lemma: (lemma,) * len(verbs[0]) for lemma in lemmas_of(verbs)}
    readable = [lemma for lemma in rows if set(lemma) <= alphabet]
    mu, _ = model.encode(readable, lab.LEMMA)
    rows |= zip(readable, model.generate(mu), strict=True)
    return [rows[lemma] for lemma in lemmas_of(verbs)]


def score_rows(name, rows, kept, verbs):
    """Returns the scores of rows that were found, which began with those that were kept."""
    right = len(set(kept) & set(verbs)) / max(1, len(kept))
    row = {"row": name, "kept": len(kept), "kept_right": right}
    rng = random.Random(0)
    drawn = [rng.choice(rows) for _ in range(10_000)]
    return row | score_conversions(by_rows(rows), verbs) | score_drawn(drawn, verbs)


def score_spelled(model, verbs, rarer):
    """Returns the scores of what a network spells: the table's conversions, and rarer verbs."""
    spelled = score_conversions(model.convert, verbs)
    row = {f"spelled_{name}": share for name, share in spelled.items()}
    return row | {"rarer": exact_match(answer(model, rarer), rarer)}


def score_table(seed):
    """Returns the rows of a seed: of the whole table, words and tenses are told."""
    verbs = lab.distinct_verbs()
    lists = lists_of(verbs)
    rarer = rarer_verbs()
    hidden = lemmas_of(rarer)
    model = load_or_train(Config(seed=seed), verbs, progress=False).model
    sure = taught.sure_joins(model, lists)
    found = taught.rows_of(lists, taught.join(model, lists, sure, linear_sum_assignment))
    endings = rows_of_endings(lists)
    alike = rows_by_likeness(lists)
    counted = rows_by_counting(lists)
    copied = [neighbour(lemma, verbs) for lemma in hidden]
    alphabet = lab.vocabulary_of(verbs).alphabet
    learn = partial(taught.learn, alphabet=alphabet, seed=seed, held_out=hidden)
    rows = [
        score_rows("our model", found, taught.rows_of(lists, sure), verbs)
        | score_spelled(model, verbs, rarer),
        score_rows("similarity of letters", alike, alike, verbs),
        {"row": "nearest neighbour", "rarer": exact_match(copied, rarer)},
        score_rows("the count", counted, endings, verbs),
        {"row": "true rows"} | score_spelled(learn(verbs), verbs, rarer),
    ]
    starts = {
        "self-taught": sure,
        "from the count's endings": joins_of(endings, lists),
    }
    for name, joins in starts.items():
        result = taught.teach(lists, joins, seed, hidden)
        row = score_rows(name, result.rows, taught.rows_of(lists, joins), verbs)
        rows.append(row | score_spelled(result.model, verbs, rarer))
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)  # so that scores are the same bits on any number of cores
    for seed in range(5):
        if not has_row(TABLE, "self-taught", seed):
            add_rows(TABLE, [row | {"seed": seed} for row in score_table(seed)])
            print(f"seed {seed}: done", flush=True)
