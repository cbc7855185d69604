"""Trains recipes of the lab's model with several seeds, for results/02_*, 04_* and 05_*.csv.

    .venv/bin/python -m experiments.score_seeds [part ...] [--data FOLDER]

- seeds: one change at a time, five seeds: 05_seeds.csv
- ablation: `Config()` without one of its parts, three seeds: 05_ablation.csv
- annealing: six KL schedules of the plain model at one mean weight, and three constant weights,
  three seeds: 04_annealing.csv
- forcing: its monotonic schedule with four teacher-forcing ratios, three seeds: 04_forcing.csv
- trials: the plain model with other batches, rates and sizes, two seeds: 02_trials.csv
- languages: a weight found for English and the target rate, two seeds: 05_languages.csv

Without a part: all, in seven core-hours, a run a core. A second call goes on: what is trained is
kept in runs/, and rows take the place of those of the same recipe and seed. Scores are of the last
epoch and, where the encoder is refined, of the model before it; 10,000 draws. Shares are 0..1.
`never`: rows that no draw is; `gate_ed`, `gate_other`: forms of verbs with a past in -ed, and of
others, whose gate opens exactly at the end of the common prefix. `core_seconds` are those of the
training, its scores on the way included. With --data another folder's English table and pairs are
used, and files are named after it.
"""

from functools import partial

import numpy as np

import lab5_utils as lab
from experiments import TABLES, run_parts, scores, timed
from lab5_train import STRATEGIES, Config, load_or_train

AT_THREE_TENTHS = partial(Config, strategy="monotonic", kl_weight=0.3, refine=0.0)
PLAIN = partial(AT_THREE_TENTHS, epochs=16, decoding="direct")
SMALLER = {"hidden_size": 128, "embedding_size": 32, "batch_size": 64, "epochs": 60}
ADAM = {"optimizer": "adam", "learning_rate": 0.004}
RECIPES = {
    "the original": partial(
        Config.classic, strategy="cyclical-sigmoid", kl_weight=0.5, **SMALLER, **ADAM
    ),
    "plain, 16 epochs": PLAIN,
    "gate, 16 epochs": partial(AT_THREE_TENTHS, epochs=16),
    "plain, 84 epochs": partial(AT_THREE_TENTHS, decoding="direct"),
    "gate, 84 epochs": AT_THREE_TENTHS,
    "pressed, 84 epochs": partial(Config, refine=0.0),
    "Config()": Config,
}
ABLATION = {
    "Config()": Config,
    "no gate": partial(Config, decoding="direct"),
    "no price": partial(Config, decoding="no price"),
    "not flattened": partial(Config, decoding="not flattened"),
    "no pressure: β to 0.3": partial(Config, strategy="monotonic", kl_weight=0.3),
    "no target: β to 0.78": partial(Config, strategy="monotonic", kl_weight=0.78),
}
TRIALS = {
    "nothing changed": PLAIN,
    "a hidden size of 512": partial(PLAIN, hidden_size=512),
    "batches of 32": partial(PLAIN, batch_size=32),
    "batches of 128": partial(PLAIN, batch_size=128),
    "a rate of 0.003": partial(PLAIN, learning_rate=0.003),
    "a rate of 0.012": partial(PLAIN, learning_rate=0.012),
}
TARGETS = {name: ABLATION[name] for name in ("no target: β to 0.78", "Config()")}


# ---- Schedules of notebook 04 ----
STEPS = 1232  # of the plain model's training


def at_mean_weight(strategy):
    """Returns the plain model's recipe, with a schedule whose mean weight is 0.3."""
    shape = [STRATEGIES[strategy](step / STEPS, 0.0) for step in range(1, STEPS + 1)]
    return partial(PLAIN, strategy=strategy, kl_weight=0.3 / np.mean(shape))


ANNEALING = {
    "constant": at_mean_weight("constant"),
    "monotonic": at_mean_weight("slow monotonic"),
    "four cycles": at_mean_weight("cyclical-linear"),
    "backwards": at_mean_weight("backwards"),
    "two sigmoids": at_mean_weight("cyclical-sigmoid"),
    "target rate": partial(PLAIN, strategy="target-rate", kl_weight=1.0, target_kl=7.5),
}
ANNEALING |= {  # what another weight does, without a schedule
    f"constant {weight}": partial(PLAIN, strategy="constant", kl_weight=weight)
    for weight in (0.15, 0.2, 0.4)
}
MONOTONIC = ANNEALING["monotonic"]
FORCING = {f"to {ratio:g}": partial(MONOTONIC, tf_final=ratio) for ratio in (1, 0.95, 0.5, 0.1)}


# ---- Scores ----
def score_gates(model, verbs, is_english):
    """Returns the shares of gates that open at the end of the common prefix, by name."""
    at_end = scores.at_common_prefix(scores.gates(model, verbs), verbs)
    if not is_english:
        return {"gate": at_end.mean()}
    in_ed = np.array([verb[lab.PAST].endswith("ed") for verb in verbs])
    parts = {"gate": at_end, "gate_ed": at_end[in_ed], "gate_other": at_end[~in_ed]}
    return {name: part.mean() for name, part in parts.items()}


def score_model(model, verbs, is_english):
    """Returns all scores of a model, by name."""
    found = lab.score(model, verbs)
    once = lab.distinct_verbs(verbs)
    found["never"] = len(once) - lab.gaussian_score(lab.sample_prior(model, 10_000), once).distinct
    if is_english:
        found |= scores.score_english(model.convert, once)
    if isinstance(model.decoder, lab.GatedDecoder):
        found |= score_gates(model, once, is_english)
    return found


def score_run(recipes, recipe, seed, language=None):
    """Returns the rows of a run: at its last epoch and, if it is refined, before that."""
    verbs = lab.load_verbs(TABLES.get(language))
    config = recipes[recipe](seed=seed)
    train = partial(load_or_train, config, verbs, progress=False)
    run, seconds = timed("core_seconds", train, config, verbs)
    models = {recipe: run.model}
    if run.before is not None:
        models[f"{recipe}, before refining"] = run.before
    rows = []
    for name, model in models.items():
        found = score_model(model, verbs, is_english=language is None)
        if model is run.before:
            found["beta"] = run.history.loc[config.kl_epochs, "beta"]
        rows.append({"row": name, **found, "core_seconds": seconds})
    return rows


def items_of(recipes, seeds):
    """Returns the items of a part, seed by seed."""
    return [{"recipe": name, "seed": seed} for seed in range(seeds) for name in recipes]


LANGUAGES = [{"language": name} | item for item in items_of(TARGETS, 2) for name in TABLES]
PARTS = {  # the table, what returns rows, and what of
    "seeds": ("05_seeds", partial(score_run, RECIPES), items_of(RECIPES, 5)),
    "annealing": ("04_annealing", partial(score_run, ANNEALING), items_of(ANNEALING, 3)),
    "forcing": ("04_forcing", partial(score_run, FORCING), items_of(FORCING, 3)),
    "trials": ("02_trials", partial(score_run, TRIALS), items_of(TRIALS, 2)),
    "ablation": ("05_ablation", partial(score_run, ABLATION), items_of(ABLATION, 3)),
    "languages": ("05_languages", partial(score_run, TARGETS), LANGUAGES),
}


if __name__ == "__main__":
    run_parts(PARTS)
