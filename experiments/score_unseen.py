"""Asks for verbs that no training met, and counts invented ones: writes figures/06_*.csv.

    .venv/bin/python -m experiments.score_unseen

- `06_unseen.csv`: a tenth of the table is held out with its families, five times, a training seed
  each. Held-out lemmas are not among the synthetic verbs of any system. Each is given the simple
  present and asked for the other three forms. Then the same of 4,400 rarer verbs that two
  dictionaries agree on, and a model of the whole table.
- `06_invented.csv`: of 10,000 draws of models of the whole table, five seeds, those that are no row
  of the table, each counted once: how many are inflected as English spelling rules would, how many
  are verbs of a dictionary.

Last epoch; what is trained is kept in runs/. The control has two networks that share nothing and
have half of the weights each: one draws verbs from noise, the other conjugates.
"""

from dataclasses import dataclass, replace

import pandas as pd
import torch

import lab5_beyond as beyond
import lab5_train
import lab5_utils as lab
from experiments.held_out import exact_match, split_verbs
from experiments.make_train import AUXILIARIES, agreed_forms, lemmas
from experiments.words import in_dictionary, is_regular, lemminflect_rules, neighbour, spelling_rule
from lab5_figures import FIGURES
from lab5_train import sweep

TENTHS = 5
SEEDS = 5
DRAWS = 10_000


class OnlySpelling(beyond.RowTraining):
    """Learns to spell any verb, and rehearses no noise."""

    def rehearsal(self, noise):
        """Returns no loss."""
        return torch.zeros(())


@dataclass(frozen=True)
class Conjugator(beyond.Config):
    """Holds the hyperparameters of a network that only conjugates."""


@lab5_train.new_training.register
def new_training(config: Conjugator, verbs):
    """Returns a training that has not begun."""
    model = beyond.make_model(config, lab.vocabulary_of(verbs))
    return OnlySpelling(config, model, verbs)


# ---- What is trained ----
BEYOND = beyond.Config()
HALF = 126  # units: a network of half the weights
GENERATOR = beyond.Config(hidden_size=HALF, epochs=BEYOND.kl_epochs, refine=0.0)
CONJUGATOR = Conjugator(hidden_size=HALF, epochs=40, refine=0.9, kl_weight=0.0)
BY_RULES = lab.Config(hidden_size=128)
TAUGHT = beyond.Config(hidden_size=128, epochs=27, refine=0.9, irregular=2)


def lemmas_of(verbs):
    """Returns the first forms of verbs."""
    return [verb[lab.LEMMA] for verb in verbs]


def by_tenth(config, tables, parts):
    """Trains on a table a tenth; the lemmas of held-out verbs are never made. Returns runs."""
    tasks = []
    for tenth, (table, (_, held)) in enumerate(zip(tables, parts, strict=True)):
        tasks.append((replace(config, seed=tenth, held_out=lemmas_of(held)), table))
    return sweep(tasks)


def make_rows(model, verbs):
    """Returns the rows that a model makes of the verbs' simple present."""
    made = lab.convert_verbs(model, verbs)[:, lab.PRESENT]  # (N, 4)
    return [tuple(row) for row in made.tolist() if all(row)]


def train_systems(parts):
    """Trains each system without each tenth; returns runs by its name."""
    tables = [table for table, _ in parts]
    by_rules = sweep([(replace(BY_RULES, seed=n), table) for n, table in enumerate(tables)])
    made = [make_rows(run.model, table) for run, table in zip(by_rules, tables, strict=True)]
    return {
        "by the lab's rules": by_rules,
        "self-taught": by_tenth(TAUGHT, made, parts),
        "taught by rows": by_tenth(TAUGHT, tables, parts),
        "beyond the rules": by_tenth(BEYOND, tables, parts),
        "conjugator alone": by_tenth(CONJUGATOR, tables, parts),
    }


# ---- Verbs never met ----
def answer(model, asked):
    """Returns a model's rows of verbs, from their lemmas."""
    mu, _ = model.encode(lemmas_of(asked), lab.LEMMA)
    return model.generate(mu)


def rivals(asked, table):
    """Returns rows by name: of the most similar verb of a table, and of two sets of rules."""
    return {
        "neighbour": [neighbour(lemma, table) for lemma in lemmas_of(asked)],
        "spelling rule": [spelling_rule(lemma) for lemma in lemmas_of(asked)],
        "lemminflect's rules": [lemminflect_rules(lemma) for lemma in lemmas_of(asked)],
    }


def score_answers(verbs, answers, asked):
    """Returns a row of scores a system."""
    regular = [is_regular(verb) for verb in asked]
    rows = []
    for system, answered in answers.items():
        rows.append({"verbs": verbs, "system": system, **exact_match(answered, asked, regular)})
    return rows


def score_tenths():
    """Trains and asks every system, a tenth of the table at a time; returns rows of scores."""
    parts = [split_verbs(lab.load_verbs(), tenth) for tenth in range(TENTHS)]
    systems = train_systems(parts)
    rows = []
    for tenth, (table, held) in enumerate(parts):
        answers = {name: answer(runs[tenth].model, held) for name, runs in systems.items()}
        rows += score_answers(f"tenth {tenth}", answers | rivals(held, table), held)
    return rows


def rarer_verbs():
    """Lists the verbs outside the table whose four forms two dictionaries agree on."""
    known = set(lemmas_of(lab.load_verbs()))
    verbs = [agreed_forms(lemma) for lemma in sorted(set(lemmas()) - AUXILIARIES - known)]
    verbs = [verb for verb in verbs if verb is not None]
    return [verb for verb in verbs if max(map(len, verb)) <= lab.MAX_LETTERS]


def score_rarer():
    """Asks a model of the whole table for rarer verbs; returns rows of scores."""
    table = lab.load_verbs()
    asked = rarer_verbs()
    (run,) = sweep([replace(BEYOND, held_out=lemmas_of(asked))])
    answers = {"beyond the rules": answer(run.model, asked)}
    return score_answers("rarer verbs", answers | rivals(asked, table), asked)


# ---- Verbs from noise ----
INVENTORS = {
    "by the lab's rules": lab.Config(),
    "beyond the rules": BEYOND,
    "generator alone": GENERATOR,
}


def score_invented():
    """Trains on the whole table, and counts what is drawn from noise; returns a row a seed."""
    table = lab.distinct_verbs(None)
    configs = [replace(config, seed=n) for config in INVENTORS.values() for n in range(SEEDS)]
    names = [name for name in INVENTORS for _ in range(SEEDS)]
    rows = []
    for name, run in zip(names, sweep(configs), strict=True):
        drawn = lab.sample_prior(run.model, DRAWS)
        new = set(drawn) - set(table)
        rows.append(
            {
                "system": name,
                "seed": run.config.seed,
                "conversion": lab.conversion_accuracy(run.model, table),
                **lab.score_noise(run.model, table, DRAWS),
                "new": len(new),
                "regular": sum(map(is_regular, new)),
                "in the dictionary": sum(map(in_dictionary, new)),
            }
        )
    return rows


def main():
    """Trains, scores, writes both tables and prints their means."""
    unseen = pd.DataFrame(score_tenths() + score_rarer())
    unseen.round(4).to_csv(FIGURES / "06_unseen.csv", index=False)
    tenths = unseen["verbs"].str.startswith("tenth")
    unseen["verbs"] = unseen["verbs"].where(~tenths, f"{TENTHS} tenths")
    print(unseen.groupby(["verbs", "system"], sort=False).agg(["mean", "std"]).round(3).to_string())
    invented = pd.DataFrame(score_invented())
    invented.round(4).to_csv(FIGURES / "06_invented.csv", index=False)
    means = invented.drop(columns="seed").groupby("system", sort=False)
    print(means.agg(["mean", "std"]).round(3).T.to_string())


if __name__ == "__main__":
    main()
