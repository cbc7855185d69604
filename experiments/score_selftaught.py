"""Scores what teaches itself to conjugate, beside its baselines, for results/06_*.csv.

    .venv/bin/python -m experiments.score_selftaught [part ...]

- table: rows found in the whole table, and 500 rarer verbs, five seeds: 06_selftaught.csv
- unseen: five folds of the table, held out with their families, a seed each: 06_unseen.csv

Without a part: both, in two hours on one core; two calls with a part each take one hour on two. A
second call resumes: what is trained is kept in runs/.
Shares are 0..1; a row is right if its lemma leads to all its forms. `kept`: the rows that a
conjugator starts from, or that a count is sure of. Conversions are looked up in the rows; those
that begin with `spelled` are spelled by the network that learned these rows. `rarer`: the right
forms of the rarer verbs, asked from the lemma. With LAB5_DATA=folder another English table of four
forms is used, and files are named after its folder.
"""

import random
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import stats

import lab5_selftaught as taught
import lab5_utils as lab
from experiments import score_parts
from experiments.count_baseline import (
    rows_by_counting,
    rows_by_likeness,
    rows_of_endings,
    shared_beginnings,
)
from experiments.held_out import exact_match, split_verbs
from experiments.make_train import agreed_verbs
from experiments.scores import by_rows, score_conversions, score_drawn
from experiments.words import lemminflect_rules, neighbour, spelling_rule
from lab5_runs import load_or_train
from lab5_train import Config

RARER = 500  # verbs outside the table


# ---- What is asked ----
def lists_of(verbs):
    """Returns the words of verbs, one list per tense, sorted, so what belongs together is lost."""
    return taught.check_lists(zip(*verbs, strict=True))


def lemmas_of(verbs):
    """Returns the lemmas of verbs."""
    return [verb[lab.LEMMA] for verb in verbs]


def rarer_verbs():
    """Draws verbs outside the table whose four forms two dictionaries agree on."""
    known = set(lemmas_of(lab.load_verbs()))
    verbs = [verb for verb in agreed_verbs() if verb[lab.LEMMA] not in known]
    return random.Random(0).sample(verbs, RARER)


# ---- Who is asked ----
def train_lab(lists, seed):
    """Returns the run of our model that `self_taught` starts from."""
    return load_or_train(Config(seed=seed), taught.table_of(lists), pairs=[], progress=False)


def joins_of(rows, lists):
    """Returns the joins (N, F) of rows of words; other lemmas are joined with nothing."""
    joins = taught.nothing_joined(lists)
    for row in rows:
        indices = [words.index(word) for words, word in zip(lists, row, strict=True)]
        joins[indices[lab.LEMMA]] = indices
    return joins


def only_highest(numbers):
    """Returns a mask (N, M) of the numbers that no other in their row reaches."""
    are_highest = numbers == numbers.max(1, keepdims=True)
    return are_highest & (are_highest.sum(1, keepdims=True) == 1)


def joins_of_beginnings(lists):
    """Returns the joins (N, F) of words whose longest common beginning is with each other alone."""
    joins = taught.nothing_joined(lists)
    for tense in range(1, len(lists)):
        shared = np.array([shared_beginnings(lemma, lists[tense]) for lemma in lists[lab.LEMMA]])
        rows, columns = (only_highest(shared) & only_highest(shared.T).T).nonzero()
        joins[rows, tense] = columns
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
    return row | {"rarer": exact_match(answer(model, rarer), rarer)["forms"]}


def score_table(seed):
    """Returns the rows of a seed: of the whole table, words and tenses are told."""
    verbs = lab.distinct_verbs()
    lists = lists_of(verbs)
    rarer = rarer_verbs()
    hidden = lemmas_of(rarer)
    run = train_lab(lists, seed)
    sure = taught.sure_joins(run, lists)
    endings = rows_of_endings(lists)
    alike = rows_by_likeness(lists)
    counted = rows_by_counting(lists)
    copied = [neighbour(lemma, verbs) for lemma in hidden]
    alphabet = lab.vocabulary_of(verbs).alphabet
    learn = partial(taught.learn, alphabet=alphabet, seed=seed, held_out=hidden)
    rows = [
        score_rows("model alone", taught.find_rows(run, lists), taught.rows_of(lists, sure), verbs),
        score_rows("likeness of letters, one to one", alike, alike, verbs),
        {"row": "neighbour", "rarer": exact_match(copied, rarer)["forms"]},
        score_rows("count", counted, endings, verbs) | score_spelled(learn(counted), verbs, rarer),
        {"row": "true rows"} | score_spelled(learn(verbs), verbs, rarer),
    ]
    starts = {
        "self-taught": sure,
        "count's endings, the same conjugator": joins_of(endings, lists),
        "beginnings, the same conjugator": joins_of_beginnings(lists),
    }
    for name, joins in starts.items():
        result = taught.teach(lists, joins, seed, hidden)
        row = score_rows(name, result.rows, taught.rows_of(lists, joins), verbs)
        rows.append(row | score_spelled(result.model, verbs, rarer))
    return rows


TOLD = {
    "self-taught": "words and tenses",
    "Config()": "words and tenses",
    "the count's rows, the same conjugator": "words and tenses",
    "the count's rows, the neighbour": "words and tenses",
    "neighbour": "true rows",
    "spelling rule": "rules of English spelling",
    "lemminflect's rules": "rules and when to use which, learned from a dictionary",
}


def score_fold(seed):
    """Returns the rows of a fold: a tenth of the table, which no system has seen."""
    training, unseen = split_verbs(lab.load_verbs(), seed)
    lists = lists_of(training)
    hidden = lemmas_of(unseen)
    alphabet = lab.vocabulary_of(training).alphabet
    counted = rows_by_counting(lists)
    answers = [
        answer(taught.self_taught(lists, seed, hidden).model, unseen),
        answer(train_lab(lists, seed).model, unseen),
        answer(taught.learn(counted, alphabet, seed, hidden), unseen),
        [neighbour(lemma, counted) for lemma in hidden],
        [neighbour(lemma, training) for lemma in hidden],
        [spelling_rule(lemma) for lemma in hidden],
        [lemminflect_rules(lemma) for lemma in hidden],
    ]
    named = zip(TOLD, answers, strict=True)
    return [{"row": name} | exact_match(answered, unseen) for name, answered in named]


def leads(table, score):
    """Returns self-taught's lead over each baseline on the same folds: mean, 95 % interval.

    Student's t, of the differences.
    """
    scores = table.pivot(index="seed", columns="row", values=score)
    ahead = scores.drop(columns="self-taught").rsub(scores["self-taught"], axis=0)
    low, high = stats.t.interval(0.95, len(ahead) - 1, ahead.mean(), ahead.sem())
    return pd.DataFrame({"mean": ahead.mean(), "low": low, "high": high})


def rows_of(score):
    """Returns the rows of five seeds."""
    return [row | {"seed": seed} for seed in range(5) for row in score(seed)]


PARTS = {
    "table": ("06_selftaught", partial(rows_of, score_table)),
    "unseen": ("06_unseen", partial(rows_of, score_fold)),
}


if __name__ == "__main__":
    torch.set_num_threads(1)  # so that scores are the same bits on any number of cores
    score_parts(PARTS)
