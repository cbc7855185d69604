"""Trains recipes of the lab's model with several seeds, for results/02_* to 05_*.csv.

    .venv/bin/python -m experiments.score_seeds [part ...]

- seeds: the plain model, with and without gate and time, and our model, five seeds: 05_seeds.csv
- front: both decoders, 84 epochs, several β, three seeds: 05_front.csv
- ablation: our model without one of its parts, three seeds: 05_ablation.csv
- hidden: models that never saw one form of every fifth verb, three seeds: 03_hidden.csv
- controls: small models, with all that could have refuted why they convert, five seeds:
  03_controls.csv
- secret: the plain model, trained for 84 epochs, in plain English and in secret alphabets, five
  seeds: 03_secret.csv
- annealing: schedules and constants of the plain model, five seeds: 04_annealing.csv
- rate: schedules of the plain model at one effective β, and with a constant learning rate at one
  mean β, three seeds: 04_rate.csv
- miniature: constants and rises of a small model, trained on every tenth verb, four seeds:
  04_miniature.csv
- ahead: a small model, one part of which is ahead or waits at first, five seeds: 04_ahead.csv
- forcing: a slow rise with four teacher-forcing ratios, for two of them two controls, and 84 epochs
  with two, three seeds: 04_forcing.csv
- trials: the plain model with other batches, learning rates, sizes, and SGD, five seeds:
  02_trials.csv
- h0: the plain model with its code in c0 or in h0, three seeds: 02_h0.csv

Without a part: all, in ten core-hours. A second call resumes: what is trained is kept in runs/.
Scores are those of the last epoch, with 10,000 draws. Shares are 0..1. `never`: rows that are never
drawn; `unknown_…`: draws with an unknown word, from the prior, from the words' own posteriors, or
around their means with one width for all models; `gate_ed`: for verbs with a past in -ed, the share
of forms whose gate opens exactly after the common prefix; `first_half`, `second_half`: of the
hidden forms; `repeated`: words that are decoded as themselves; `nearest`: words whose nearest code
in another tense is their own verb's.
With LAB5_DATA=folder another table of four forms is used, and files are named after its folder.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

import lab5_utils as lab
from experiments import score_parts, scores
from experiments.paths import BothAhead, DecoderWaits, EncoderAhead, EncoderWaits
from experiments.variants import (
    CodeInH0,
    ConstantRate,
    FromTo,
    GateNotTempered,
    GateWithoutPrice,
    MistakesInPlace,
    PairsTold,
    PartsPerTense,
    UpToAMistake,
    WithoutHiddenForms,
    disjoint,
    hidden_forms,
    in_secret,
)
from lab5_gate import GatedDecoder
from lab5_runs import load_or_train, sweep
from lab5_train import (
    Config,
    Training,
    backwards,
    constant,
    even_rise,
    four_cycles,
    learning_rate,
    short_rise,
    slow_rise,
    two_sigmoids,
)
from lab5_utils import DirectDecoder

PLAIN = Config.plain
PLAIN_84 = partial(Config, decoder=DirectDecoder)  # with our model's epochs and β
MODELS = {
    "plain model": PLAIN,
    "gate, 16 epochs": partial(PLAIN, decoder=GatedDecoder),
    "plain, 84 epochs": PLAIN_84,
    "our model": Config,
}
SHORT_RISES = (0.3, 0.4, 0.5, 0.6, 0.7)  # their β
FRONT = {
    f"{name}, short rise to {beta}": partial(Config, decoder=decoder, kl_weight=beta)
    for name, decoder in {"gated": GatedDecoder, "plain": DirectDecoder}.items()
    for beta in SHORT_RISES
}
FRONT |= {
    f"gated, constant {beta}": partial(Config, schedule=constant, kl_weight=beta)
    for beta in (0.4, 0.5, 0.6)
}
FRONT["plain, constant 0.5"] = partial(PLAIN_84, schedule=constant)
FRONT["plain, constant 0.3, 16 epochs"] = partial(PLAIN, schedule=constant)
FRONT["plain, even rise to 1, 16 epochs"] = partial(PLAIN, schedule=even_rise, kl_weight=1.0)
FRONT |= {  # with less time, or more
    f"gated, short rise to {beta}, {epochs} epochs": partial(Config, epochs=epochs, kl_weight=beta)
    for epochs, beta in ((16, 0.5), (168, 0.6))
}
ABLATION = {
    "nothing changed": Config,
    "no gate": PLAIN_84,
    "no λ": partial(Config, decoder=GateWithoutPrice),
    "no tempering": partial(Config, decoder=GateNotTempered),
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
HIDDEN = {"plain model": PLAIN, "plain, 84 epochs": PLAIN_84}
HIDDEN |= {f"gated, β = {beta}": partial(Config, kl_weight=beta) for beta in (0.4, 0.5, 0.6)}
H0 = {"plain model": PLAIN, "code in h0": partial(PLAIN, decoder=CodeInH0)}


# ---- Why it converts: notebook 03 ----
class Control(NamedTuple):
    """How a small model differs: in what it reads and writes, how it is trained, and in β."""

    read: str = "plain"
    written: str = "plain"
    make_training: type = FromTo
    kl_weight: float = 0.02


CONTROLS = {
    "plain English": Control(),
    "secret alphabets": Control("secret", "secret"),
    "disjoint alphabets": Control("disjoint", "disjoint"),
    "an encoder and a decoder per tense": Control(
        make_training=partial(PartsPerTense, encoder=True, decoder=True)
    ),
    "an encoder and a decoder per tense, which start alike": Control(
        make_training=partial(PartsPerTense, encoder=True, decoder=True, alike=True)
    ),
    "an encoder per tense": Control(make_training=partial(PartsPerTense, encoder=True)),
    "a decoder per tense": Control(make_training=partial(PartsPerTense, decoder=True)),
    "only what is read is secret": Control(read="secret"),
    "only what is read is disjoint": Control(read="disjoint"),
    "only what is written is secret": Control(written="secret"),
    "only what is written is disjoint": Control(written="disjoint"),
    "an encoder per tense, what is written is disjoint": Control(
        written="disjoint", make_training=partial(PartsPerTense, encoder=True)
    ),
    "a decoder per tense, what is read is disjoint": Control(
        read="disjoint", make_training=partial(PartsPerTense, decoder=True)
    ),
    "secret alphabets, pairs told": Control("secret", "secret", PairsTold),
    "plain English, β = 0": Control(kl_weight=0.0),
    "secret alphabets, β = 0": Control("secret", "secret", kl_weight=0.0),
}
LONG_ENOUGH = partial(Config.miniature, epochs=160)  # all of them repeat their words


# ---- Schedules of notebook 04 ----
STEPS = 1232  # of the plain model's training


PROGRESS = [step / STEPS for step in range(1, STEPS + 1)]
RATES = [learning_rate(PLAIN(), progress) for progress in PROGRESS]


def at_mean_weight(schedule, rates=None):
    """Returns the plain model's recipe, with a schedule whose mean β is 0.3.

    Weighted by the learning rates of all steps, this is its effective β.
    """
    shape = [schedule(progress) for progress in PROGRESS]
    return partial(PLAIN, schedule=schedule, kl_weight=0.3 / np.average(shape, weights=rates))


def at_constant(weight):
    """Returns the plain model's recipe, with a constant β."""
    return partial(PLAIN, schedule=constant, kl_weight=weight)


SHAPES = {
    "constant": constant,
    "short rise": short_rise,
    "slow rise": slow_rise,
    "four cycles": four_cycles,
    "two sigmoids": two_sigmoids,
    "backwards": backwards,
}
FALLING = {f"{name}, falling rate": at_mean_weight(SHAPES[name], RATES) for name in SHAPES}
CONSTANT = {f"{name}, constant rate": at_mean_weight(SHAPES[name]) for name in SHAPES}
CONSTANT |= {  # constants beside them
    f"constant {weight}, constant rate": at_constant(weight) for weight in (0.2, 0.4)
}
ANNEALING = {
    f"constant {weight}": at_constant(weight) for weight in (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
}
ANNEALING |= {
    name: at_mean_weight(SHAPES[name])
    for name in ("slow rise", "four cycles", "two sigmoids", "backwards")
}
ANNEALING |= {
    "short rise to 0": partial(PLAIN, kl_weight=0.0),
    "short rise to 1": partial(PLAIN, kl_weight=1.0),
    "even rise to 1": partial(PLAIN, schedule=even_rise, kl_weight=1.0),
}
MINIATURE = partial(Config.miniature, epochs=36)
WEIGHTS = {  # a line of constants, and rises beside it
    "constant": (constant, (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)),
    "slow rise": (slow_rise, (0.1, 0.15, 0.2, 0.3, 0.4)),
    "even rise": (even_rise, (0.2, 0.3, 0.5)),
}
MINIATURES = {
    f"{name} {weight}": partial(MINIATURE, schedule=schedule, kl_weight=weight)
    for name, (schedule, weights) in WEIGHTS.items()
    for weight in weights
}
AHEAD = {  # a training, and what it changes in the recipe
    "none ahead, β = 0.5": (Training, {}),
    "none ahead, 480 epochs, β = 0.5": (Training, {"epochs": 480}),
    "encoder waits, β = 0.5": (EncoderWaits, {}),
    "decoder waits, β = 0.5": (DecoderWaits, {}),
    "both ahead, β = 0.5": (BothAhead, {}),
    "encoder ahead, β = 0.5": (EncoderAhead, {}),
    "encoder ahead, β = 1": (EncoderAhead, {"kl_weight": 1.0}),
}
AT_HALF = partial(Config.miniature, epochs=120, schedule=constant, kl_weight=0.5)
SLOW = ANNEALING["slow rise"]
RATIOS = {f"to {ratio:g}": partial(SLOW, tf_final=ratio) for ratio in (1, 0.95, 0.5, 0.1)}
LONGER = partial(PLAIN, epochs=84)
KINDS = {"up to a mistake": UpToAMistake, "mistakes in place": MistakesInPlace}
FORCING = RATIOS | {
    f"to {ratio:g}, {kind}": partial(SLOW, tf_final=ratio, decoder=decoder)
    for kind, decoder in KINDS.items()
    for ratio in (0.5, 0.1)
}
FORCING |= {
    "84 epochs, to 0.95": LONGER,
    "84 epochs, to 0.5": partial(LONGER, tf_final=0.5),
}


# ---- Scores ----
WIDTH = 0.5  # a standard deviation, with which all models are asked what lies around their means


def score_model(model, verbs):
    """Returns the scores of a model that tables show, by name."""
    row = scores.score_conversions(model.convert, verbs)
    row |= scores.score_drawn(lab.sample_prior(model, 10_000), verbs)
    row |= lab.information(model, verbs)
    del row["mutual_information"]  # the rest of KL
    if isinstance(model.decoder, GatedDecoder):
        at_end = scores.at_common_prefix(scores.gates(model, verbs), verbs)
        in_ed = [verb[lab.PAST].endswith("ed") for verb in verbs]
        row["gate_ed"] = scores.mean(at_end[in_ed])
    return row


def score_both_draws(model, verbs):
    """Returns these scores, and how many draws have unknown words, from three distributions."""
    row = score_model(model, verbs)
    mu, logvar = (part.flatten(0, 1) for part in lab.encode_verbs(model, verbs))  # (M, Z)
    row["unknown_from_prior"] = 1 - row["from_noise"] - row["inconsistent"]
    as_wide = torch.full_like(logvar, math.log(WIDTH**2))
    for name, spread in {"from_posteriors": logvar, "at_one_width": as_wide}.items():
        z = lab.reparameterize(mu, spread, torch.Generator().manual_seed(0))
        drawn = scores.score_drawn(model.generate(z), verbs)
        row[f"unknown_{name}"] = 1 - drawn["from_noise"] - drawn["inconsistent"]
    return row


def score_hidden_forms(model, verbs):
    """Returns how many conversions are right of a model that never saw the hidden forms.

    The hidden forms are also scored by halves, so that one half may choose, and the other score.
    """
    right = scores.right_conversions(model.convert, verbs)
    hidden = hidden_forms(verbs)
    row = scores.score_hidden(right, hidden)
    for half, name in enumerate(("first_half", "second_half")):
        in_half = hidden & (np.arange(len(verbs)) // 5 % 8 // 4 == half)[:, None]  # all tenses
        row[name] = scores.score_hidden(right, in_half)["hidden"]
    return row


def score_codes(model, verbs, targets=None):
    """Returns what a model repeats and converts, and what its codes tell of words."""
    spelled = lab.convert_verbs(model, verbs)  # (N, F, F)
    right = spelled == np.array(targets or verbs)[:, None]
    same = np.eye(right.shape[1], dtype=bool)
    return {
        "repeated": right[:, same].mean(),
        "conversions": right[:, ~same].mean(),
        "nearest": scores.nearest_are_partners(model, verbs),
        "mutual_information": lab.information(model, verbs)["mutual_information"],
    }


# ---- Rows ----
def rows_of(recipes, seeds, every=1, score=score_model, **options):
    """Returns the rows of recipes and seeds, whose runs are loaded or trained, one per core."""
    verbs = lab.distinct_verbs()[::every]
    items = [(recipe, seed) for seed in range(seeds) for recipe in recipes]
    runs = sweep([recipes[recipe](seed=seed) for recipe, seed in items], verbs, **options)
    return [
        {"row": recipe} | score(run.model, verbs) | {"seed": seed}
        for (recipe, seed), run in zip(items, runs, strict=True)
    ]


def control_rows():
    """Returns the rows of small models and of their controls, with seeds that chose nothing."""
    plain = lab.distinct_verbs()[::10]
    rows = []
    for seed in range(3, 8):
        tables = {"plain": plain, "secret": in_secret(plain, seed), "disjoint": disjoint(plain)}
        for name, control in CONTROLS.items():
            read, written = tables[control.read], tables[control.written]
            make_training = partial(control.make_training, targets=written)
            config = LONG_ENOUGH(seed=seed, kl_weight=control.kl_weight)
            run = load_or_train(config, read, pairs=[], make_training=make_training)
            rows.append({"row": name} | score_codes(run.model, read, written) | {"seed": seed})
    return rows


def secret_rows():
    """Returns the rows of models that were trained for 84 epochs at the plain model's β."""
    plain = lab.distinct_verbs()
    rows = []
    for seed in range(5):
        tables = {"plain English": plain, "secret alphabets": in_secret(plain, seed)}
        for name, table in tables.items():
            run = load_or_train(LONGER(seed=seed), table, pairs=[])
            rows.append({"row": name} | score_codes(run.model, table) | {"seed": seed})
    return rows


def ahead_rows():
    """Returns the rows of trainings of a small model, one part of which may be ahead or wait."""
    rows = []
    for name, (training, changes) in AHEAD.items():
        rows += rows_of({name: partial(AT_HALF, **changes)}, 5, 10, make_training=training)
    return rows


def front_rows():
    """Returns the rows of the front, with what a figure needs to know of each."""
    rows = rows_of(FRONT, 3, score=score_both_draws)
    for row in rows:
        decoder, schedule = row["row"].split(", ")[:2]
        config = FRONT[row["row"]]()
        row |= {"decoder": decoder, "schedule": schedule.rpartition(" ")[0].removesuffix(" to")}
        row |= {"beta": config.kl_weight, "epochs": config.epochs}
    return rows


def rate_rows():
    """Returns the rows of schedules at one effective β, and at one mean with a constant rate."""
    falling = rows_of(FALLING, 3)
    return falling + rows_of(CONSTANT, 3, make_training=ConstantRate)


UNSEEN = {"score": score_hidden_forms, "make_training": WithoutHiddenForms}
PARTS = {
    "seeds": ("05_seeds", partial(rows_of, MODELS, 5, score=score_both_draws)),
    "front": ("05_front", front_rows),
    "annealing": ("04_annealing", partial(rows_of, ANNEALING, 5)),
    "miniature": ("04_miniature", partial(rows_of, MINIATURES, 4, every=10)),
    "forcing": ("04_forcing", partial(rows_of, FORCING, 3)),
    "trials": ("02_trials", partial(rows_of, TRIALS, 5)),
    "h0": ("02_h0", partial(rows_of, H0, 3)),
    "hidden": ("03_hidden", partial(rows_of, HIDDEN, 3, **UNSEEN)),
    "controls": ("03_controls", control_rows),
    "secret": ("03_secret", secret_rows),
    "ahead": ("04_ahead", ahead_rows),
    "rate": ("04_rate", rate_rows),
    "ablation": ("05_ablation", partial(rows_of, ABLATION, 3)),
}


if __name__ == "__main__":
    torch.set_num_threads(1)  # so that scores are the same bits on any number of cores
    score_parts(PARTS)
