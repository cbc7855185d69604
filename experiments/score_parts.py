"""Takes parts of the recipe beyond the rules away, one at a time: writes figures/06_parts.csv.

    .venv/bin/python -m experiments.score_parts

`lab5_beyond.Config()`, trained on tenths 0 to 4 of the table and asked for the verbs of tenths 5 to
9, which nothing else scores; three seeds. A part is taken away in the second phase, spelling, and
all variants of a seed go on from the same first phase. Last epoch, 10,000 draws.
"""

import itertools
from dataclasses import replace

import joblib
import pandas as pd
import torch
from tqdm.auto import tqdm

import lab5_beyond as beyond
import lab5_utils as lab
from experiments.held_out import exact_match, split_verbs
from experiments.words import is_regular
from lab5_figures import FIGURES
from lab5_train import reproducible

SEEDS = 3
DRAWS = 10_000


class NoRehearsal(beyond.RowTraining):
    """Forgets what noise decoded to."""

    def rehearsal(self, noise):
        """Returns no loss."""
        return torch.zeros(())


class HardLetters(beyond.RowTraining):
    """Rehearses the teacher's letters, not how likely it found each."""

    def rehearsal(self, noise):
        """Returns the mean CE of noise against the teacher's letters, in nats per word."""
        scores = self.model.decoder.scores(noise.z, *noise.row)
        return self.cross_entropy(scores, noise.row, [word.letters for word in noise.row])


class KLKept(beyond.RowTraining):
    """Weighs KL as at the end of the first phase."""

    def loss(self, batch, progress, refining):
        """Returns the loss of a batch and what the history keeps of it."""
        return super().loss(batch, progress, refining=False)


class NoPrefixes(beyond.RowTraining):
    """Practises on verbs without prefixes."""

    def start_second_phase(self):
        """Makes every prefix empty."""
        super().start_second_phase()
        self.synthesizer.prefix = lambda rng: ""


class NoSynthetic(beyond.RowTraining):
    """Spells the real verbs alone, as many of them."""

    def start_second_phase(self):
        """Replaces synthetic verbs by real ones."""
        super().start_second_phase()
        self.synthesizer.draw = self.draw_real

    def draw_real(self, count, seed):
        """Returns verbs of the table, as often in proportion as they are shown."""
        return list(itertools.islice(itertools.cycle(self.shown()), count))


PARTS = {  # a training, and what changes in the configuration
    "the recipe": (beyond.RowTraining, {}),
    "no rehearsal": (NoRehearsal, {}),
    "hard letters for soft targets": (HardLetters, {}),
    "KL kept": (KLKept, {}),
    "no synthetic verbs": (NoSynthetic, {}),
    "no prefixes": (NoPrefixes, {}),
    "no letters resampled": (beyond.RowTraining, {"resampled": 0.0}),
    "irregular verbs no more often": (beyond.RowTraining, {"irregular": 2}),
}


def split_in_half():
    """Returns the verbs of tenths 0 to 4, to train on, and those of 5 to 9, to ask for."""
    tenths = [split_verbs(lab.load_verbs(), tenth)[1] for tenth in range(10)]
    chain = itertools.chain.from_iterable
    return list(chain(tenths[:5])), list(chain(tenths[5:]))


def scores(model, table, held):
    """Returns what a model scores on its table, from noise, and on verbs it has not met."""
    noise = lab.score_noise(model, table, DRAWS)
    irregular = [verb for verb in table if not is_regular(verb)]
    mu, _ = model.encode([verb[lab.LEMMA] for verb in held], lab.LEMMA)
    unseen = exact_match(model.generate(mu), held, [is_regular(verb) for verb in held])
    return {
        "conversion": lab.conversion_accuracy(model, table),
        "irregular": lab.conversion_accuracy(model, irregular),
        "gaussian": noise["gaussian_exact"],
        "distinct": noise["distinct"],
        "unseen_forms": unseen["forms"],
        "unseen_regular": unseen["regular"],
        "unseen_rows": unseen["rows"],
    }


def new_training(kind, config, verbs, held):
    """Returns a training of a kind that has not begun."""
    model = beyond.make_model(config, lab.vocabulary_of(verbs))
    return kind(config, model, verbs, held_out=[verb[lab.LEMMA] for verb in held])


def first_phase(seed):
    """Trains the first phase on half of the verbs; returns what goes on from there."""
    verbs, held = split_in_half()
    config = beyond.Config(seed=seed)
    with reproducible(seed):
        training = new_training(beyond.RowTraining, config, verbs, held)
        for epoch in range(1, config.kl_epochs + 1):
            training.history.append(training.run_epoch(epoch))
        return config, verbs, held, training.state()


def spell(part, config, verbs, held, state):
    """Goes on from the state of a first phase without a part; returns its scores."""
    kind, changes = PARTS[part]
    config = replace(config, **changes)
    with reproducible(config.seed):
        training = new_training(kind, config, verbs, held)
        training.restore(state)
        for epoch in range(config.kl_epochs + 1, config.epochs + 1):
            training.history.append(training.run_epoch(epoch))
    return {"part": part, "seed": config.seed, **scores(training.model, verbs, held)}


def main():
    """Trains, scores and writes the table."""
    parallel = joblib.Parallel(-1, return_as="generator")
    firsts = list(parallel(joblib.delayed(first_phase)(seed) for seed in range(SEEDS)))
    asked = list(itertools.product(PARTS, firsts))
    rows = parallel(joblib.delayed(spell)(part, *first) for part, first in asked)
    table = pd.DataFrame(tqdm(rows, total=len(asked)))
    table.round(4).to_csv(FIGURES / "06_parts.csv", index=False)
    means = table.drop(columns="seed").groupby("part", sort=False).agg(["mean", "std"])
    print(means.round(3).T.to_string())


if __name__ == "__main__":
    main()
