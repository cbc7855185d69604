"""Fills the holes of a table, by the lab's rules and by counting: writes figures/05_holes.csv.

    python tests/experiments/score_holes.py [k ...] [--jobs -1]
    python tests/experiments/score_holes.py [k ...] --validate    # how RATES was chosen

Each verb is shown in k of its four tenses, which ones at random, as single words with their tense:
no two forms of a verb ever meet. Asked for is every other form, from each form that is shown:
*missing* ones, which no list has, and *shown* ones. Three masks, each with a training seed of its
own; last epochs, 10,000 draws of noise, scored against the table without holes. The methods:

- count: `count_holes.py`, told k, and not told.
- the recipe: `lab.Config()`, untouched.
- no KL: the same with KL weight 0, an autoencoder; the first mask only.
- its rate: the recipe with a target rate of RATES[k], held.
- filled: what that model is sure of joins the lists, as single words, and a new model is trained on
  them, from that rate down to 6 nats.

A model is sure of a word if each shown form gives it, at SURE nats at most, and no list shows it.
For --validate an eighth of the verbs has one more form hidden, and only these are scored. With
k = 1 that would leave no form: its rate goes on from the other two.
"""

import argparse
import itertools
import sys
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from count_holes import Count, shown_tenses
from words import is_regular

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_utils as lab

MASKS = 3
RATES = {3: 8.0, 2: 12.0, 1: 16.0}  # nats per word
TRIED = (8.0, 10.0, 12.0, 16.0)
LOWEST_RATE = 6.0
SURE = 0.1  # nats that a form costs the model at most, from each source
DRAWS = 10_000


def make_holes(verbs, k, seed):
    """Returns the verbs with k forms shown, and holes."""
    shown = shown_tenses(len(verbs), k, seed)
    rows = []
    for verb, tenses in zip(verbs, shown, strict=True):
        rows.append(tuple(form if t in tenses else lab.HOLE for t, form in enumerate(verb)))
    return rows


def hide_more(rows, seed):
    """Returns the rows with one more form hidden in an eighth of those that show two or more."""
    rng = np.random.default_rng(77 + seed)
    rows = [list(row) for row in rows]
    for n in rng.choice(len(rows), len(rows) // 8, replace=False):
        shown = [t for t, form in enumerate(rows[n]) if form != lab.HOLE]
        if len(shown) > 1:
            rows[n][rng.choice(shown)] = lab.HOLE
    return [tuple(row) for row in rows]


# ---- Filling ----
def candidates(model, rows):
    """Returns what could fill a hole: verb, tense, the word that all its shown forms give."""
    known = lab.known_forms(rows)
    converted = lab.convert_verbs(model, rows)  # (N, F, F)
    lists = [set(column) for column in zip(*rows, strict=True)]
    found = []
    for n, t in np.argwhere(~known):
        words = set(converted[n, known[n], t].tolist())
        word = words.pop()
        if not words and word not in lists[t] and 0 < len(word) <= lab.MAX_LETTERS:
            found.append((n, t, word))
    return found


@torch.no_grad()
def costs(model, z, found):
    """Returns what the words that were found cost the decoder from codes z (B, Z), in nats."""
    words = [word for _, _, word in found]
    tenses = [int(t) for _, t, _ in found]
    letters, lengths = model.vocabulary.to_tensor(words)
    target = lab.Words(letters, lengths, torch.tensor(tenses))
    forced = torch.zeros(len(found), dtype=torch.bool)
    gate = lab.Gate(inverse_temperature=1.0, price=0.0)
    return model.decoder.nats(z, target, forced, gate).ce.numpy()  # (B,)


def fill(model, rows):
    """Returns the rows with those holes filled of which the model is sure."""
    found = candidates(model, rows)
    if not found:
        return rows
    known = lab.known_forms(rows)
    mu, _ = lab.encode_verbs(model, rows)  # (N, F, Z)
    highest = np.zeros(len(found))  # of the costs from each source
    verbs = [n for n, _, _ in found]
    for place in range(known.sum(1).max()):
        sources = [np.flatnonzero(known[n])[: place + 1][-1] for n in verbs]
        z = mu[verbs, sources]  # of the last, if a verb shows fewer
        highest = np.maximum(highest, costs(model, z, found))
    filled = [list(row) for row in rows]
    for (n, t, word), cost in zip(found, highest, strict=True):
        if cost < SURE:
            filled[n][t] = word
    return [tuple(row) for row in filled]


# ---- Scores ----
def vote(words):
    """Returns the commonest of some words."""
    ((word, _),) = Counter(words).most_common(1)
    return word


def cell_scores(converted, verbs, rows, regular):
    """Returns the shares, 0..1 by name, of right missing and shown forms, converted (N, F, F)."""
    table = np.array(verbs)
    known = lab.known_forms(rows)  # (N, F)
    right = converted == table[:, None]  # (N, F, F)
    different = ~np.eye(known.shape[1], dtype=bool)
    kinds = {"regular": regular, "irregular": ~regular}
    found = {}
    for name, targets in {"missing": ~known, "shown": known}.items():
        cells = known[:, :, None] & targets[:, None]
        cells = cells & different
        for kind, chosen in kinds.items():
            counted = cells & chosen[:, None, None]
            if counted.any():
                found[f"{name}_{kind}"] = right[counted].mean()
    for kind, chosen in kinds.items():
        votes = []
        for n, t in np.argwhere(~known & chosen[:, None]):
            answers = converted[n, known[n], t].tolist()
            votes.append(vote(answers) == table[n, t])
        found[f"voted_{kind}"] = np.mean(votes)
    return found


def count_scores(verbs, rows, regular, size):
    """Returns what counting scores; `size`: how many forms a verb shows, None: it is not told."""
    columns = zip(*rows, strict=True)
    lists = [[form for form in column if form != lab.HOLE] for column in columns]
    count = Count(lists, size=size)
    forms = len(lists)
    shape = len(rows), forms, forms
    converted = np.full(shape, lab.HOLE, dtype=f"U{lab.MAX_LETTERS + 1}")
    for n, row in enumerate(rows):
        for source, word in enumerate(row):
            if word != lab.HOLE:
                converted[n, source] = [count.convert(word, source, t) for t in range(forms)]
    return cell_scores(converted, verbs, rows, regular)


def model_scores(run, verbs, rows, regular):
    """Returns what a run scores: cells, and noise against the table without holes."""
    converted = lab.convert_verbs(run.model, rows)
    noise = lab.gaussian_score(lab.sample_prior(run.model, DRAWS), verbs)
    return cell_scores(converted, verbs, rows, regular) | {
        "gaussian_exact": noise.exact,
        "gaussian_inconsistent": noise.inconsistent,
    }


def score_mask(verbs, k, seed):
    """Returns a row a method, for one mask."""
    rows = make_holes(verbs, k, seed)
    regular = np.array([is_regular(verb) for verb in verbs])
    scores = {
        "count, told k": count_scores(verbs, rows, regular, size=k),
        "count": count_scores(verbs, rows, regular, size=None),
    }
    rate = RATES[k]
    recipes = {"the recipe": lab.Config(seed=seed)}
    if seed == 0:
        recipes["no KL"] = lab.Config(seed=seed, kl_weight=0.0)
    recipes["its rate"] = lab.Config(seed=seed, rate_start=rate, rate_end=rate)
    for name, config in recipes.items():
        run = lab.load_or_train(config, rows, progress=False)
        scores[name] = model_scores(run, verbs, rows, regular)
    filled = fill(run.model, rows)
    falling = lab.Config(seed=seed, rate_start=rate, rate_end=LOWEST_RATE)
    run = lab.load_or_train(falling, filled, progress=False)
    added = lab.known_forms(filled) & ~lab.known_forms(rows)
    scores["filled"] = model_scores(run, verbs, rows, regular) | {
        "added": added.sum(),
        "added_right": (np.array(filled) == np.array(verbs))[added].mean(),
    }
    mask = {"k": k, "seed": seed}
    return [mask | {"method": name} | found for name, found in scores.items()]


def validate(verbs, k, rate):
    """Returns the share, 0..1, of right forms among those hidden for validation, by rate."""
    rows = make_holes(verbs, k, seed=0)
    fewer = hide_more(rows, seed=0)
    config = lab.Config(rate_start=rate, rate_end=rate)
    run = lab.load_or_train(config, fewer, progress=False)
    right = lab.convert_verbs(run.model, fewer) == np.array(verbs)[:, None]  # (N, F, F)
    known = lab.known_forms(fewer)
    hidden = lab.known_forms(rows) & ~known
    cells = known[:, :, None] & hidden[:, None]
    return {"k": k, "rate": rate, "right": right[cells].mean()}


def main():
    """Reads the arguments, trains, scores and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("k", nargs="*", type=int, default=list(RATES))
    parser.add_argument("--jobs", type=int, default=-1, help="masks at a time; -1: a core each")
    parser.add_argument("--validate", action="store_true")
    arguments = parser.parse_args()
    verbs = lab.load_verbs()
    parallel = joblib.Parallel(arguments.jobs)
    if arguments.validate:
        tried = [(k, rate) for k in arguments.k if k > 1 for rate in TRIED]
        found = parallel(joblib.delayed(validate)(verbs, k, rate) for k, rate in tried)
        print(pd.DataFrame(found).round(3).to_string())
        return
    tasks = itertools.product(range(MASKS), arguments.k)
    masks = parallel(joblib.delayed(score_mask)(verbs, k, seed) for seed, k in tasks)
    rows = itertools.chain(*masks)
    table = pd.DataFrame(rows).sort_values("k", ascending=False, kind="stable")
    table.round(4).to_csv(lab.FIGURES / "05_holes.csv", index=False)
    means = table.drop(columns="seed").groupby(["k", "method"], sort=False).agg(["mean", "std"])
    print(means.round(3).T.to_string())


if __name__ == "__main__":
    main()
