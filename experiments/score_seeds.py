"""Trains recipes of the lab's model with several seeds, for results/02_* to 05_*.csv.

    .venv/bin/python -m experiments.score_seeds [part ...] [--data FOLDER] [--results FOLDER]

- seeds: one change at a time, five seeds: 05_seeds.csv
- ablation: `Config()` without one of its parts, three seeds: 05_ablation.csv
- annealing: six KL schedules of the plain model at one mean weight, and four constant weights,
  three seeds: 04_annealing.csv
- collapse: the plain model with other highest weights, three seeds: 04_collapse.csv
- long: a small model trained for long, with rises, constants and the original recipe, three seeds:
  04_long.csv
- miniature: constant and rising KL weights of a small model, trained on every tenth verb, four
  seeds: 04_miniature.csv
- forcing: its monotonic schedule with four teacher-forcing ratios, and the plain model with two, 84
  epochs, three seeds: 04_forcing.csv; curves: CE, KL and BLEU-4 of the four: 04_forcing_curves.csv
- trials: the plain model with other batches, rates, sizes, and SGD, five seeds: 02_trials.csv
- h0: the plain model with its code in c0 or in h0, three seeds: 02_h0.csv
- hidden: models that never saw one form of every fifth verb, three seeds: 03_hidden.csv

Without a part: all, in three core-hours. A second call resumes: what is trained is kept in runs/.
Scores are those of the last epoch and, where the encoder is refined, of the model before it, with
10,000 draws. Shares are 0..1. `never`: rows that are never drawn; `gate_ed`: for verbs with a past
in -ed, the share of forms whose gate opens exactly after the common prefix. With --data another
folder's table is used, and files are named after it.
"""

from functools import partial

import numpy as np

import lab5_utils as lab
from experiments import run_parts, scores
from experiments.variants import WithoutHiddenForms, hidden_forms  # and it registers decoders
from lab5_runs import load_or_train
from lab5_train import STRATEGIES, Config

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


def at_mean_weight(strategy):
    """Returns the plain model's recipe, with a schedule whose mean weight is 0.3."""
    shape = [STRATEGIES[strategy](step / STEPS, 0.0) for step in range(1, STEPS + 1)]
    return partial(PLAIN, strategy=strategy, kl_weight=0.3 / np.mean(shape))


ANNEALING = {
    "constant": at_mean_weight("constant"),
    "monotonic": at_mean_weight("slow-monotonic"),
    "four cycles": at_mean_weight("cyclical-linear"),
    "backwards": at_mean_weight("backwards"),
    "two sigmoids": at_mean_weight("cyclical-sigmoid"),
    "target rate": partial(PLAIN, strategy="target-rate", kl_weight=1.0, target_kl=7.5),
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
RE_CREATED = partial(Config.classic, epochs=150, hidden_size=96, embedding_size=64)
LONG = {
    "rise to 1": partial(LONG_MINIATURE, strategy="slow-monotonic", kl_weight=1.0),
    "rise to 0.5": partial(LONG_MINIATURE, strategy="slow-monotonic", kl_weight=0.5),
    "constant 0.5": partial(LONG_MINIATURE, strategy="constant", kl_weight=0.5),
    "constant 0.2": partial(LONG_MINIATURE, strategy="constant", kl_weight=0.2),
    "re-created": partial(RE_CREATED, strategy="cyclical-sigmoid", kl_weight=0.5),
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
    found = scores.score_conversions(model.convert, verbs)
    found |= scores.score_drawn(lab.sample_prior(model, 10_000), verbs)
    information = lab.information(model, verbs)
    found |= {name: information[name] for name in ("kl_table", "marginal_kl")}
    if isinstance(model.decoder, lab.GatedDecoder):
        at_end = scores.at_common_prefix(scores.gates(model, verbs), verbs)
        in_ed = [verb[lab.PAST].endswith("ed") for verb in verbs]
        found["gate_ed"] = scores.mean(at_end[in_ed])
    return found


def score_run(recipes, every, recipe, seed):
    """Returns the rows of a run: of its last epoch and, if it is refined, of the model before."""
    verbs = lab.distinct_verbs()[::every]
    run = load_or_train(recipes[recipe](seed=seed), verbs, progress=False)
    rows = [{"row": recipe} | score_model(run.model, verbs)]
    if run.before_refining is not None:
        before = score_model(run.before_refining, verbs)
        rows.append({"row": f"{recipe}, before refining"} | before)
    return rows


def curves_of_run(recipes, every, recipe, seed):
    """Returns the rows of a run's epochs, with CE, KL and BLEU-4 (if there is a test.txt)."""
    verbs = lab.distinct_verbs()[::every]
    history = load_or_train(recipes[recipe](seed=seed), verbs, progress=False).history
    epochs = history.reindex(columns=["ce", "kl", "bleu4"]).reset_index(names="epoch")
    return [{"row": recipe} | epoch for epoch in epochs.to_dict("records")]


def hidden_of_run(recipes, every, recipe, seed):
    """Returns the row of a run that never saw the hidden forms: how many it spells right."""
    verbs = lab.distinct_verbs()[::every]
    options = {"progress": False, "make_training": WithoutHiddenForms}
    run = load_or_train(recipes[recipe](seed=seed), verbs, **options)
    right = scores.right_conversions(run.model.convert, verbs)
    return [{"row": recipe} | scores.score_hidden(right, hidden_forms(verbs))]


def part(file, recipes, seeds, every=1, rows_of=score_run):
    """Returns a part: its file, what returns rows, and the recipes and seeds to call it with."""
    items = [{"recipe": name, "seed": seed} for seed in range(seeds) for name in recipes]
    return file, partial(rows_of, recipes, every), items


PARTS = {
    "seeds": part("05_seeds", RECIPES, 5),
    "annealing": part("04_annealing", ANNEALING, 3),
    "collapse": part("04_collapse", COLLAPSE, 3),
    "long": part("04_long", LONG, 3, every=10),
    "miniature": part("04_miniature", MINIATURES, 4, every=10),
    "forcing": part("04_forcing", FORCING, 3),
    "curves": part("04_forcing_curves", RATIOS, 3, rows_of=curves_of_run),
    "trials": part("02_trials", TRIALS, 5),
    "h0": part("02_h0", H0, 3),
    "hidden": part("03_hidden", HIDDEN, 3, rows_of=hidden_of_run),
    "ablation": part("05_ablation", ABLATION, 3),
}


if __name__ == "__main__":
    from experiments import score_seeds  # by name, so that workers import variants, too

    run_parts(score_seeds.PARTS)
