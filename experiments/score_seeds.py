"""Trains recipes of the lab's model with several seeds, for results/02_* to 05_*.csv.

    .venv/bin/python -m experiments.score_seeds [part ...]

- seeds: one change at a time, five seeds: 05_seeds.csv
- ablation: `Config()` without one of its parts, three seeds: 05_ablation.csv
- annealing: six KL schedules of the plain model at one mean weight, and four constant weights,
  three seeds: 04_annealing.csv
- collapse: the plain model with other highest weights, three seeds: 04_collapse.csv
- long: a small model trained for long, with rises and constants, three seeds: 04_long.csv
- miniature: constant and rising KL weights of a small model, trained on every tenth verb, four
  seeds: 04_miniature.csv
- forcing: its monotonic schedule with four teacher-forcing ratios, and the plain model with two, 84
  epochs, three seeds: 04_forcing.csv
- trials: the plain model with other batches, rates, sizes, and SGD, five seeds: 02_trials.csv
- h0: the plain model with its code in c0 or in h0, three seeds: 02_h0.csv
- hidden: models that never saw one form of every fifth verb, three seeds: 03_hidden.csv
- secret: models of tables whose tenses have alphabets of their own, five seeds (`Config()` and a
  training that is told the pairs three): 03_secret.csv
- ahead: a small model, trained for long, and the plain one, whose encoder keeps ahead of the
  decoder at first, three seeds: 04_ahead.csv
- rate: KL schedules of the plain model at one effective β, and with a constant learning rate at one
  mean β, three seeds: 04_rate.csv

Without a part: all, in seven core-hours. A second call resumes: what is trained is kept in runs/.
Scores are those of the last epoch and, where the encoder is refined, of the model before it, with
10,000 draws. Shares are 0..1. `never`: rows that are never drawn; `gate_ed`: for verbs with a past
in -ed, the share of forms whose gate opens exactly after the common prefix; `repeated`: words that
are decoded as themselves; `nearest`: words whose nearest code in another tense is their own verb's.
With LAB5_DATA=folder another table of four forms is used, and files are named after its folder.
"""

from functools import partial

import numpy as np
import torch

import lab5_gate
import lab5_utils as lab
from experiments import score_parts, scores
from experiments.paths import BothAhead, DecoderAhead, EncoderAhead, ce_and_kl
from experiments.variants import (
    ConstantRate,
    PairsTold,
    WithoutHiddenForms,
    hidden_forms,
    in_secret,
)
from lab5_runs import sweep
from lab5_train import STRATEGIES, Config, Training, learning_rate

AT_THREE_TENTHS = partial(Config, strategy="monotonic", kl_weight=0.3, refine=0.0)
PLAIN = partial(AT_THREE_TENTHS, epochs=16, decoding="direct")
RECIPES = {
    "plain, 16 epochs": PLAIN,
    "gate, 16 epochs": partial(AT_THREE_TENTHS, epochs=16),
    "plain, 84 epochs": partial(AT_THREE_TENTHS, decoding="direct"),
    "gate, 84 epochs": AT_THREE_TENTHS,
    "Config()": Config,
}
ABLATION = {
    "Config()": Config,
    "no gate": partial(Config, decoding="direct"),
    "no price": partial(Config, decoding="no price"),
    "not flattened": partial(Config, decoding="not flattened"),
    # β rises as the plain model's does, or is held, at the value where the target rate's settles
    "no target rate": partial(Config, strategy="monotonic", kl_weight=0.76),
    "no rise": partial(Config, strategy="constant", kl_weight=0.76),
}
TRIALS = {
    "nothing changed": PLAIN,
    "a hidden size of 512": partial(PLAIN, hidden_size=512),
    "batches of 32": partial(PLAIN, batch_size=32),
    "batches of 128": partial(PLAIN, batch_size=128),
    "a rate of 0.003": partial(PLAIN, learning_rate=0.003),
    "a rate of 0.012": partial(PLAIN, learning_rate=0.012),
    "SGD, a rate of 0.05": partial(PLAIN, optimizer="sgd", learning_rate=0.05),  # the course's
    # of 0.2, 0.5 and 1 this rate had the most conversions, seed 0
    "SGD, a rate of 0.5": partial(PLAIN, optimizer="sgd", learning_rate=0.5),
}
HIDDEN = {name: RECIPES[name] for name in ("plain, 16 epochs", "plain, 84 epochs", "Config()")}
H0 = {"plain model": PLAIN, "code in h0": partial(PLAIN, decoding="code in h0")}


# ---- Schedules of notebook 04 ----
STEPS = 1232  # of the plain model's training


PROGRESS = [step / STEPS for step in range(1, STEPS + 1)]
RATES = [learning_rate(PLAIN(), progress) for progress in PROGRESS]


def at_mean_weight(strategy, rates=None):
    """Returns the plain model's recipe, with a schedule whose mean β is 0.3.

    Weighted by the learning rates of all steps, this is its effective β.
    """
    shape = [STRATEGIES[strategy](progress, 0.0) for progress in PROGRESS]
    return partial(PLAIN, strategy=strategy, kl_weight=0.3 / np.average(shape, weights=rates))


ANNEALING = {
    "constant": at_mean_weight("constant"),
    "monotonic": at_mean_weight("slow-monotonic"),
    "four cycles": at_mean_weight("cyclical-linear"),
    "backwards": at_mean_weight("backwards"),
    "two sigmoids": at_mean_weight("cyclical-sigmoid"),
    "target rate": partial(PLAIN, strategy="target-rate", kl_weight=1.0, target_kl=7.5),
}
SHAPES = {
    "constant": "constant",
    "short rise": "monotonic",
    "slow rise": "slow-monotonic",
    "four cycles": "cyclical-linear",
    "two sigmoids": "cyclical-sigmoid",
    "backwards": "backwards",
}
FALLING = {f"{name}, falling rate": at_mean_weight(SHAPES[name], RATES) for name in SHAPES}
CONSTANT = {f"{name}, constant rate": at_mean_weight(SHAPES[name]) for name in SHAPES}
CONSTANT |= {  # constants beside them
    f"constant {weight}, constant rate": partial(PLAIN, strategy="constant", kl_weight=weight)
    for weight in (0.2, 0.4)
}
ANNEALING |= {  # what another weight does, without a schedule
    f"constant {weight}": partial(PLAIN, strategy="constant", kl_weight=weight)
    for weight in (0.15, 0.2, 0.25, 0.4)
}
COLLAPSE = {
    "β = 0": partial(PLAIN, kl_weight=0.0),
    "rise to 1": partial(PLAIN, strategy="even-rise", kl_weight=1.0),
    "constant 0.5": partial(PLAIN, strategy="constant", kl_weight=0.5),
    "β = 1": partial(PLAIN, kl_weight=1.0),
}
MINIATURE = partial(
    PLAIN, epochs=36, batch_size=32, hidden_size=96, learning_rate=0.012, tf_final=1.0
)
WEIGHTS = {  # a line of constants, and rises beside it
    "constant": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "slow-monotonic": (0.1, 0.15, 0.2, 0.3, 0.4),
    "even-rise": (0.2, 0.3, 0.5),
}
MINIATURES = {
    f"{strategy} {weight}": partial(MINIATURE, strategy=strategy, kl_weight=weight)
    for strategy, weights in WEIGHTS.items()
    for weight in weights
}
LONG_MINIATURE = partial(MINIATURE, epochs=120)
LONG = {
    "rise to 1": partial(LONG_MINIATURE, strategy="slow-monotonic", kl_weight=1.0),
    "rise to 0.5": partial(LONG_MINIATURE, strategy="slow-monotonic", kl_weight=0.5),
    "constant 0.5": partial(LONG_MINIATURE, strategy="constant", kl_weight=0.5),
    "constant 0.2": partial(LONG_MINIATURE, strategy="constant", kl_weight=0.2),
}
AHEAD = {  # trainings, and their constant β
    "none ahead": (Training, (0.5,)),
    "encoder ahead": (EncoderAhead, (0.5, 1.0)),
    "decoder ahead": (DecoderAhead, (0.5,)),
    "both ahead": (BothAhead, (0.5,)),
}
MONOTONIC = ANNEALING["monotonic"]
RATIOS = {f"to {ratio:g}": partial(MONOTONIC, tf_final=ratio) for ratio in (1, 0.95, 0.5, 0.1)}
PLAIN_84 = RECIPES["plain, 84 epochs"]
FORCING = RATIOS | {
    "84 epochs, to 0.95": PLAIN_84,
    "84 epochs, to 0.5": partial(PLAIN_84, tf_final=0.5),
}


# ---- Scores ----
def score_model(model, verbs):
    """Returns the scores of a model that tables show, by name."""
    row = scores.score_conversions(model.convert, verbs)
    row |= scores.score_drawn(lab.sample_prior(model, 10_000), verbs)
    information = lab.information(model, verbs)
    row |= {name: information[name] for name in ("kl_table", "marginal_kl")}
    if isinstance(model.decoder, lab5_gate.GatedDecoder):
        at_end = scores.at_common_prefix(scores.gates(model, verbs), verbs)
        in_ed = [verb[lab.PAST].endswith("ed") for verb in verbs]
        row["gate_ed"] = scores.mean(at_end[in_ed])
    return row


def score_run(recipe, run, verbs):
    """Returns the rows of a run: of its last epoch and, if it is refined, of the model before."""
    rows = [{"row": recipe} | score_model(run.model, verbs)]
    if run.before_refining is not None:
        before = score_model(run.before_refining, verbs)
        rows.append({"row": f"{recipe}, before refining"} | before)
    return rows


def hidden_of_run(recipe, run, verbs):
    """Returns the row of a run that never saw the hidden forms: how many it spells right."""
    right = scores.right_conversions(run.model.convert, verbs)
    return [{"row": recipe} | scores.score_hidden(right, hidden_forms(verbs))]


def rows_of(recipes, seeds, every=1, score=score_run, **options):
    """Returns the rows of recipes and seeds, whose runs are loaded or trained, one per core."""
    verbs = lab.distinct_verbs()[::every]
    items = [(recipe, seed) for seed in range(seeds) for recipe in recipes]
    runs = sweep([recipes[recipe](seed=seed) for recipe, seed in items], verbs, **options)
    rows = []
    for (recipe, seed), run in zip(items, runs, strict=True):
        rows += [row | {"seed": seed} for row in score(recipe, run, verbs)]
    return rows


def secret_of_run(recipe, run, verbs):
    """Returns the row of a run: what it repeats and converts, what its codes tell, and noise."""
    right = lab.convert_verbs(run.model, verbs) == np.array(verbs)[:, None]  # (N, F, F)
    same = np.eye(right.shape[1], dtype=bool)
    ce, kl = ce_and_kl(run.model, verbs)
    row = {
        "row": recipe,
        "repeated": right[:, same].mean(),
        "conversions": right[:, ~same].mean(),
        "nearest": scores.nearest_are_partners(run.model, verbs),
        "ce": ce,
        "kl": kl,
        "mutual_information": lab.information(run.model, verbs)["mutual_information"],
    }
    return [row | scores.score_drawn(lab.sample_prior(run.model, 10_000), verbs)]


BOTH = {"16 epochs": PLAIN, "84 epochs": PLAIN_84}
SECRET = [  # what a name ends with, seeds, alphabets, recipes, training
    ("", 5, None, BOTH, Training),
    (", one alphabet", 5, "shared", {"16 epochs": PLAIN}, Training),
    (", secret", 5, "own", BOTH, Training),
    (", secret", 3, "own", {"Config()": Config}, Training),
    (", secret, pairs told", 3, "own", {"84 epochs": PLAIN_84}, PairsTold),
]


def secret_rows():
    """Returns the rows of models whose tenses have alphabets of their own, and of controls."""
    verbs = lab.distinct_verbs()
    rows = []
    for ending, seeds, alphabets, recipes, training in SECRET:
        for seed in range(seeds):
            table = in_secret(verbs, seed, shared=alphabets == "shared") if alphabets else verbs
            configs = [recipe(seed=seed) for recipe in recipes.values()]
            runs = sweep(configs, table, pairs=[], make_training=training)
            for name, run in zip(recipes, runs, strict=True):
                (row,) = secret_of_run(name + ending, run, table)
                rows.append(row | {"seed": seed})
    return rows


def ahead_of_run(recipe, run, verbs):
    """Returns the row of a run, with its CE and KL."""
    ce, kl = ce_and_kl(run.model, verbs)
    return [{"row": recipe, "ce": ce, "kl": kl} | score_model(run.model, verbs)]


def ahead_rows():
    """Returns the rows of trainings of two sizes, in which one part may keep ahead."""
    sizes = {"miniature": (LONG_MINIATURE, 10), "full size": (PLAIN, 1)}
    rows = []
    for size, (recipe, every) in sizes.items():
        for ahead, (training, betas) in AHEAD.items():
            at = partial(recipe, strategy="constant")
            recipes = {
                f"{size}, {ahead}, β = {beta:g}": partial(at, kl_weight=beta) for beta in betas
            }
            rows += rows_of(recipes, 3, every, ahead_of_run, make_training=training)
    return rows


def rate_rows():
    """Returns the rows of schedules at one effective β, and at one mean with a constant rate."""
    falling = rows_of(FALLING, 3)
    return falling + rows_of(CONSTANT, 3, make_training=ConstantRate)


UNSEEN = {"score": hidden_of_run, "make_training": WithoutHiddenForms}
PARTS = {
    "seeds": ("05_seeds", partial(rows_of, RECIPES, 5)),
    "annealing": ("04_annealing", partial(rows_of, ANNEALING, 3)),
    "collapse": ("04_collapse", partial(rows_of, COLLAPSE, 3)),
    "long": ("04_long", partial(rows_of, LONG, 3, every=10)),
    "miniature": ("04_miniature", partial(rows_of, MINIATURES, 4, every=10)),
    "forcing": ("04_forcing", partial(rows_of, FORCING, 3)),
    "trials": ("02_trials", partial(rows_of, TRIALS, 5)),
    "h0": ("02_h0", partial(rows_of, H0, 3)),
    "hidden": ("03_hidden", partial(rows_of, HIDDEN, 3, **UNSEEN)),
    "secret": ("03_secret", secret_rows),
    "ahead": ("04_ahead", ahead_rows),
    "rate": ("04_rate", rate_rows),
    "ablation": ("05_ablation", partial(rows_of, ABLATION, 3)),
}


if __name__ == "__main__":
    torch.set_num_threads(1)  # so that scores are the same bits on any number of cores
    score_parts(PARTS)
