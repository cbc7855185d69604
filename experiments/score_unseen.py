"""Asks for verbs that no training met, and counts invented ones: writes results/06_*.csv.

    .venv/bin/python -m experiments.score_unseen

- `06_unseen.csv`: a tenth of the table is held out with its families, five times, a training seed
  each. No system practises on a synthetic verb that is asked for. Each is given the simple
  present and asked for the other three forms. Then the same of 4,927 rarer verbs that two
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
from experiments import RESULTS
from experiments.held_out import exact_match, split_verbs
from experiments.make_train import AUXILIARIES, agreed_forms, lemmas
from experiments.words import in_dictionary, is_regular, lemminflect_rules, neighbour, spelling_rule
from lab5_train import Config, sweep

TENTHS = 5
SEEDS = 5
DRAWS = 10_000


# ---- What is trained ----
def lemmas_of(verbs):
    """Returns the first forms of verbs."""
    return [verb[lab.LEMMA] for verb in verbs]


def rarer_verbs():
    """Lists the verbs outside the table whose four forms two dictionaries agree on."""
    known = set(lemmas_of(lab.load_verbs()))
    verbs = [agreed_forms(lemma) for lemma in sorted(set(lemmas()) - AUXILIARIES - known)]
    verbs = [verb for verb in verbs if verb is not None]
    return [verb for verb in verbs if max(map(len, verb)) <= lab.MAX_LETTERS]


def all_asked():
    """Returns the lemmas of all verbs that are ever asked for here."""
    return lemmas_of(lab.load_verbs() + rarer_verbs())


class OnlySpelling(beyond.RowTraining):
    """Learns to spell any verb, and rehearses no noise."""

    def rehearsal(self, noise):
        """Returns no loss."""
        return torch.zeros(())


@dataclass(frozen=True)
class Examinee(beyond.Config):
    """Holds the hyperparameters of a model that practises on no verb that is asked for."""


@dataclass(frozen=True)
class Conjugator(Examinee):
    """Holds those of a network that only conjugates."""


def new_training(config, verbs):
    """Returns a training that has not begun."""
    if not isinstance(config, beyond.Config):
        return lab5_train.new_training(config, verbs)
    if not isinstance(config, Examinee):
        return beyond.new_training(config, verbs)
    model = beyond.make_model(config, lab.vocabulary_of(verbs))
    kind = OnlySpelling if isinstance(config, Conjugator) else beyond.RowTraining
    return kind(config, model, verbs, held_out=all_asked())


BEYOND = beyond.Config()
HALF = 126  # units: a network of half the weights
GENERATOR = beyond.Config(hidden_size=HALF, epochs=BEYOND.kl_epochs, refine=0.0)
CONJUGATOR = Conjugator(hidden_size=HALF, epochs=40, refine=0.9, kl_weight=0.0)
SYSTEMS = {
    "by the lab's rules": Config(hidden_size=128),
    "beyond the rules": Examinee(),
    "conjugator alone": CONJUGATOR,
}


def train_systems(parts):
    """Trains each system without each tenth, a seed each; returns runs by its name."""
    systems = {}
    for name, config in SYSTEMS.items():
        tasks = [(replace(config, seed=n), table) for n, (table, _) in enumerate(parts)]
        systems[name] = sweep(tasks, make_training=new_training)
    return systems


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


def score_rarer():
    """Asks a model of the whole table for rarer verbs; returns rows of scores."""
    table = lab.load_verbs()
    asked = rarer_verbs()
    (run,) = sweep([Examinee()], make_training=new_training)
    answers = {"beyond the rules": answer(run.model, asked)}
    return score_answers("rarer verbs", answers | rivals(asked, table), asked)


# ---- Verbs from noise ----
INVENTORS = {
    "by the lab's rules": Config(),
    "beyond the rules": BEYOND,
    "generator alone": GENERATOR,
}


def score_invented():
    """Trains on the whole table, and counts what is drawn from noise; returns a row a seed."""
    table = lab.distinct_verbs(None)
    configs = [replace(config, seed=n) for config in INVENTORS.values() for n in range(SEEDS)]
    names = [name for name in INVENTORS for _ in range(SEEDS)]
    rows = []
    for name, run in zip(names, sweep(configs, make_training=new_training), strict=True):
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
    unseen.round(4).to_csv(RESULTS / "06_unseen.csv", index=False)
    tenths = unseen["verbs"].str.startswith("tenth")
    unseen["verbs"] = unseen["verbs"].where(~tenths, f"{TENTHS} tenths")
    print(unseen.groupby(["verbs", "system"], sort=False).agg(["mean", "std"]).round(3).to_string())
    invented = pd.DataFrame(score_invented())
    invented.round(4).to_csv(RESULTS / "06_invented.csv", index=False)
    means = invented.drop(columns="seed").groupby("system", sort=False)
    print(means.agg(["mean", "std"]).round(3).T.to_string())


if __name__ == "__main__":
    main()
