"""Takes parts of the recipe beyond the rules away, one at a time: writes figures/06_parts.csv.

    .venv/bin/python -m experiments.score_parts

Three held-out tenths of the table (notebook 06), a training seed each, the same budget for every
row: hidden size 128 and 96 epochs. A part is taken away in the second phase, spelling, and all
variants of a tenth go on from the same first phase. Last epoch, 10,000 draws.
"""

import itertools
from dataclasses import replace

import joblib
import pandas as pd
import torch
from tqdm.auto import tqdm

import lab5_beyond as beyond
import lab5_figures
import lab5_utils as lab
from experiments.held_out import exact_match, split_verbs
from experiments.words import is_regular
from lab5_train import reproducible

TENTHS = 3
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


class NoSynthetic(beyond.RowTraining):
    """Spells the real verbs alone, as many of them."""

    def start_second_phase(self):
        """Replaces synthetic verbs by real ones."""
        super().start_second_phase()
        self.synthesizer.draw = self.draw_real

    def draw_real(self, count, seed):
        """Returns verbs of the table, as often in proportion as they are shown."""
        return list(itertools.islice(itertools.cycle(self.shown()), count))


class AnyClass(beyond.RowTraining):
    """Keeps new verbs whatever the verbs most like them do."""

    def start_second_phase(self):
        """Keeps every verb that is not in the table."""
        super().start_second_phase()
        self.synthesizer.is_likely = self.is_new

    def is_new(self, lemma, affixes):
        """Tells whether a verb is not in the table."""
        return lemma not in self.synthesizer.known


SMALL = {"hidden_size": 128, "epochs": 96}
PARTS = {  # a training, and what changes in the configuration
    "the recipe": (beyond.RowTraining, {}),
    "no rehearsal": (NoRehearsal, {}),
    "hard letters for soft targets": (HardLetters, {}),
    "KL kept": (KLKept, {}),
    "no synthetic verbs": (NoSynthetic, {}),
    "no compounds": (beyond.RowTraining, {"compounds": 0.0}),
    "no letters resampled": (beyond.RowTraining, {"resampled": 0.0}),
    "irregular verbs no more often": (beyond.RowTraining, {"irregular": 2}),
    "similar verbs not asked": (AnyClass, {}),
}


def scores(model, table, held):
    """Returns what a model scores on its table, from noise, and on verbs it has not seen."""
    noise = lab.gaussian_score(lab.sample_prior(model, DRAWS), table)
    irregular = [verb for verb in table if not is_regular(verb)]
    mu, _ = model.encode([verb[0] for verb in held], lab.LEMMA)
    unseen = exact_match(model.generate(mu), held, [is_regular(verb) for verb in held])
    return {
        "conversion": lab.conversion_accuracy(model, table),
        "irregular": lab.conversion_accuracy(model, irregular),
        "gaussian_exact": noise.exact,
        "distinct": noise.distinct,
        "unseen_forms": unseen["forms"],
        "unseen_regular": unseen["regular"],
        "unseen_rows": unseen["rows"],
    }


def new_training(kind, config, verbs):
    """Returns a training of a kind that has not begun."""
    model = beyond.make_model(config, lab.vocabulary_of(verbs))
    return kind(config, model, verbs)


def first_phase(tenth):
    """Trains the first phase without a tenth of the verbs; returns what goes on from there."""
    config = beyond.Config(seed=tenth, **SMALL)
    verbs, held = split_verbs(lab.load_verbs(), tenth)
    with reproducible(config.seed):
        training = new_training(beyond.RowTraining, config, verbs)
        for epoch in range(1, config.kl_epochs + 1):
            training.history.append(training.run_epoch(epoch))
        return config, verbs, held, training.state()


def spell(part, config, verbs, held, state):
    """Goes on from the state of a first phase without a part; returns its scores."""
    kind, changes = PARTS[part]
    config = replace(config, **changes)
    with reproducible(config.seed):
        training = new_training(kind, config, verbs)
        training.restore(state)
        for epoch in range(config.kl_epochs + 1, config.epochs + 1):
            training.history.append(training.run_epoch(epoch))
    return {"part": part, "tenth": config.seed, **scores(training.model, verbs, held)}


def main():
    """Trains, scores and writes the table."""
    parallel = joblib.Parallel(-1, return_as="generator")
    firsts = list(parallel(joblib.delayed(first_phase)(tenth) for tenth in range(TENTHS)))
    asked = list(itertools.product(firsts, PARTS))
    rows = parallel(joblib.delayed(spell)(part, *first) for first, part in asked)
    table = pd.DataFrame(tqdm(rows, total=len(asked)))
    table.round(4).to_csv(lab5_figures.FIGURES / "06_parts.csv", index=False)
    means = table.drop(columns="tenth").groupby("part", sort=False).agg(["mean", "std"])
    print(means.round(3).T.to_string())


if __name__ == "__main__":
    main()
