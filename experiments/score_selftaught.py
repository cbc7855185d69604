"""Scores what teaches itself to conjugate, beside rivals and controls, for results/06_*.csv.

    .venv/bin/python -m experiments.score_selftaught [part ...] [--data FOLDER]

- table: the whole table, five seeds: 06_selftaught.csv
- unseen: verbs never met, a tenth and its seed at a time, families apart: 06_unseen.csv
- controls: is it the network? Three seeds; rarer verbs are asked for, too: 06_controls.csv
- languages: four more, two seeds, each without a tenth of its verbs: 06_languages.csv

Without a part: all, in four core-hours, an item of a part a core. What is trained is kept in runs/,
and rows take the place of those of the same seed, tenth or language as soon as there are any: a
second call goes on. Shares are 0..1; a row is right if its lemma leads to all its forms. Rows that
are `kept` are those that a conjugator begins with, or that a count is sure of. `core_seconds` are
those of `self_taught`, NaN if the lab's model was there before. With --data another folder's
English table is used, and files are named after it.
"""

import math
import random
from functools import partial
from typing import NamedTuple

import pandas as pd
from scipy import stats

import lab5_selftaught as taught
import lab5_utils as lab
from experiments import TABLES, run_parts, timed
from experiments.count_full import (
    likenesses,
    most_alike,
    rows_by_counting,
    rows_of_endings,
)
from experiments.held_out import exact_match, split_verbs
from experiments.make_train import AUXILIARIES, agreed_forms, lemmas
from experiments.scores import by_rows, score_any, score_english
from experiments.words import is_regular, lemminflect_rules, neighbour, spelling_rule
from lab5_train import Config, load_or_train

RARER = 500  # verbs outside the table
ALIKE = 0.0  # likeness of what is joined at first: more than half of the letters are shared


# ---- What is asked ----
def lists_of(verbs):
    """Returns the words of verbs, a list a tense, sorted: what belongs together is lost."""
    return taught.check_lists(zip(*verbs, strict=True))


def lemmas_of(verbs):
    """Returns the first forms of verbs."""
    return [verb[lab.LEMMA] for verb in verbs]


def rarer_verbs():
    """Draws verbs outside the table whose four forms two dictionaries agree on."""
    known = set(lemmas_of(lab.load_verbs()))
    verbs = [agreed_forms(lemma) for lemma in sorted(set(lemmas()) - AUXILIARIES - known)]
    verbs = [verb for verb in verbs if verb and max(map(len, verb)) <= lab.MAX_LETTERS]
    return random.Random(0).sample(verbs, RARER)


# ---- Systems ----
class System(NamedTuple):
    """Holds what is scored: rows, perhaps a model, and the rows that it began with."""

    rows: list
    model: lab.CVAE | None
    kept: list
    core_seconds: float = math.nan


def train_lab(lists, seed, **changes):
    """Returns the run of the lab's model that `self_taught` begins with, or of a changed one."""
    config = Config(seed=seed, **changes)
    return load_or_train(config, taught.table_of(lists), pairs=[], progress=False)


def teach_and_time(lists, seed, held_out):
    """Returns what taught itself, and its CPU seconds, noted beside the run that came first."""
    note = f"core_seconds_{lab.SOURCES[taught.__name__][:16]}"  # by this code
    teach = partial(taught.self_taught, lists, seed, held_out)
    return timed(note, teach, Config(seed=seed), taught.table_of(lists), [])


def systems_of(verbs, seed, held_out=()):
    """Returns by name what is told the words of verbs and their tenses, and finds the rows."""
    lists = lists_of(verbs)
    found, seconds = teach_and_time(lists, seed, held_out)
    run = train_lab(lists, seed)
    sure = taught.rows_of(lists, taught.sure_joins(run, lists))
    endings = rows_of_endings(lists)
    return {
        "model alone": System(taught.find_rows(run, lists), run.model, sure),
        "self-taught": System(*found, sure, seconds),
        "count": System(rows_by_counting(verbs), None, endings),
        "count, its endings alone": System(endings, None, endings),
    }


def joins_of(rows, lists):
    """Returns the joins (N, F) of rows of words; other lemmas are joined with nothing."""
    joins = taught.nothing_joined(lists)
    for row in rows:
        numbers = [words.index(word) for words, word in zip(lists, row, strict=True)]
        joins[numbers[lab.LEMMA]] = numbers
    return joins


def alike_joins(lists):
    """Returns joins (N, F) of the words that are most alike each other, and alike enough."""
    joins = taught.nothing_joined(lists)
    for tense in range(1, len(lists)):
        costs = -likenesses(lists[lab.LEMMA], lists[tense])
        rows, columns = taught.mutual(costs, -ALIKE)
        joins[rows, tense] = columns
    return joins


def rows_by_likeness(lists):
    """Returns the rows of lemmas and the words that look most like them, each in one row."""
    lemmas, *others = lists
    partners = [most_alike(lemmas, words) for words in others]
    return [(lemma, *(partner[lemma] for partner in partners)) for lemma in lemmas]


# ---- Scores ----
def answer(model, verbs):
    """Returns a model's rows of verbs, from their lemmas; copies where it has not the letters."""
    alphabet = set(model.vocabulary.alphabet)
    rows = {lemma: (lemma,) * len(verbs[0]) for lemma in lemmas_of(verbs)}
    known = [lemma for lemma in rows if set(lemma) <= alphabet]
    mu, _ = model.encode(known, lab.LEMMA)
    rows |= zip(known, model.generate(mu), strict=True)
    return list(rows.values())


def score_unseen(answers, verbs):
    """Returns the shares of right forms and rows of verbs that were never met."""
    return {f"unseen_{name}": share for name, share in exact_match(answers, verbs).items()}


def score_systems(systems, verbs, score, asked=()):
    """Returns a row for each system's rows, and one for its model, asked for other verbs, too."""
    rows = []
    for name, system in systems.items():
        kept = {
            "kept": len(system.kept),
            "kept_right": len(set(system.kept) & set(verbs)) / len(system.kept),
            "core_seconds": system.core_seconds,
        }
        rows.append({"system": name} | score(by_rows(system.rows), verbs) | kept)
        if system.model is not None:
            scores = score(system.model.convert, verbs) | kept
            if asked:
                scores |= score_unseen(answer(system.model, asked), asked)
            rows.append({"system": f"{name}, its model"} | scores)
    return rows


# ---- Parts ----
def score_table(seed):
    """Returns the rows of a seed: of the whole table, words and tenses are told."""
    verbs = lab.distinct_verbs(None)
    lists = lists_of(verbs)
    systems = systems_of(verbs, seed)
    endings = systems["count, its endings alone"].rows
    conjugator = taught.teach(lists, joins_of(endings, lists), seed)
    systems["count's endings, the same conjugator"] = System(*conjugator, endings)
    alike = rows_by_likeness(lists)
    systems["likeness of letters, one to one"] = System(alike, None, alike)
    return score_systems(systems, verbs, score_english)


TOLD = {
    "self-taught": "words and tenses",
    "Config()": "words and tenses",
    "the count's rows, the same conjugator": "words and tenses",
    "the count's rows, the neighbour": "words and tenses",
    "neighbour": "true rows",
    "spelling rule": "rules of English spelling",
    "lemminflect's rules": "rules and when to use which, learned from a dictionary",
}


def score_tenth(tenth, seed):
    """Returns the rows of a tenth of the table, which no system has met."""
    training, asked = split_verbs(lab.load_verbs(), tenth)
    lists = lists_of(training)
    hidden = lemmas_of(asked)
    counted = rows_by_counting(training)
    answers = [
        answer(taught.self_taught(lists, seed, hidden).model, asked),
        answer(train_lab(lists, seed).model, asked),
        answer(taught.learn(counted, lists, seed, hidden), asked),
        [neighbour(lemma, counted) for lemma in hidden],
        [neighbour(lemma, training) for lemma in hidden],
        [spelling_rule(lemma) for lemma in hidden],
        [lemminflect_rules(lemma) for lemma in hidden],
    ]
    regular = [is_regular(verb) for verb in asked]
    rows = []
    for (system, told), answered in zip(TOLD.items(), answers, strict=True):
        scores = exact_match(answered, asked, regular)
        rows.append({"system": system, "told": told} | scores)
    return rows


def score_controls(seed):
    """Returns the rows of a seed: the same conjugator begins with other joins, or other rows."""
    verbs = lab.distinct_verbs(None)
    lists = lists_of(verbs)
    asked = rarer_verbs()
    hidden = lemmas_of(asked)
    begins = {
        "self-taught": taught.sure_joins(train_lab(lists, seed), lists),
        "without a gate": taught.sure_joins(train_lab(lists, seed, decoding="direct"), lists),
        "likeness of letters": alike_joins(lists),
    }
    systems = {}
    for name, sure in begins.items():
        taught_by = taught.teach(lists, sure, seed, hidden)
        systems[name] = System(*taught_by, taught.rows_of(lists, sure))
    for name, rows in {"true rows": verbs, "the count's rows": rows_by_counting(verbs)}.items():
        model = taught.learn(rows, lists, seed, hidden)
        systems[name] = System(rows, model, rows)
    return score_systems(systems, verbs, score_english, asked)


def score_language(language, seed):
    """Returns the rows of a language; no form stands in a column of two verbs of its table."""
    verbs = lab.load_verbs(TABLES[language])
    training, asked = split_verbs(verbs, seed, prefixes=None)
    hidden = lemmas_of(asked)
    rows = score_systems(systems_of(training, seed, hidden), training, score_any, asked)
    copied = [neighbour(lemma, training) for lemma in hidden]
    return [*rows, {"system": "neighbour, told true rows"} | score_unseen(copied, asked)]


SEEDS = [{"seed": seed} for seed in range(5)]
TENTHS = [{"tenth": tenth, "seed": tenth} for tenth in range(5)]
LANGUAGES = [{"language": language, "seed": seed} for seed in range(2) for language in TABLES]
PARTS = {  # the table, what returns rows, and what of
    "table": ("06_selftaught", score_table, SEEDS),
    "unseen": ("06_unseen", score_tenth, TENTHS),
    "controls": ("06_controls", score_controls, SEEDS[:3]),
    "languages": ("06_languages", score_language, LANGUAGES),
}


def leads(table, score):
    """Returns how far self-taught is ahead of each rival on the same tenths: mean, 95 % interval.

    Student's t, of the differences.
    """
    scores = table.pivot(index="tenth", columns="system", values=score)
    ahead = -scores.sub(scores.pop("self-taught"), axis=0)
    half = stats.t.ppf(0.975, len(ahead) - 1) * ahead.sem()
    mean = ahead.mean()
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half})


if __name__ == "__main__":
    run_parts(PARTS)
