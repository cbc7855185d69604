"""Takes parts of the recipe beyond the rules away, one at a time: writes figures/06_parts.csv.

    python tests/experiments/score_parts.py [--jobs -1]

Three held-out tenths of the table (notebook 06), a training seed each, the same budget for every
row: hidden size 128 and 96 epochs. A part is taken away in the second phase, spelling, and all
variants of a tenth go on from the same first phase. Last epoch, 10,000 draws. What is done is kept
in runs/, and a second start goes on.
"""

import argparse
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import pandas as pd
import torch
from held_out import exact_match, split_verbs
from words import is_regular

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_beyond as beyond
import lab5_utils as lab

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
        forced = torch.zeros_like(noise.target.lengths, dtype=torch.bool)  # (b, 2)
        return self.model.decoder.nats(noise.z, noise.target, forced).ce.mean()


class KLKept(beyond.RowTraining):
    """Weighs KL as in the last epoch of the first phase."""

    def loss(self, batch, epoch):
        """Returns the loss of a batch and what the history keeps of it."""
        loss, measured = super().loss(batch, epoch)
        if batch.noise is not None:
            mu, logvar = self.model.encoder(batch.source)  # (B, Z)
            kl = lab.kl_divergence(mu, logvar).mean()
            excess = kl.item() - self.config.rate_end
            weight = self.config.kl_weight * lab.target_rate(1.0, excess)
            loss = loss + weight * kl
        return loss, measured


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
        known = self.synthesizer.known
        self.synthesizer.is_likely = lambda lemma, affixes: lemma not in known


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


def spell(part, first, held):
    """Goes on from the state of a first phase with one variant; returns its scores."""
    config, table, state = first
    kind, changes = PARTS[part]
    config = replace(config, **changes)
    with lab.reproducible(config.seed):
        training = kind(config, table)
        training.restore(state)
        for epoch in range(config.first_phase + 1, config.epochs + 1):
            training.history.append(training.run_epoch(epoch))
    return {"part": part, "tenth": config.seed, **scores(training.model, table, held)}


def first_phase(tenth):
    """Trains the first phase without a tenth of the verbs; returns what goes on from there."""
    config = beyond.Config(seed=tenth, **SMALL)
    table, held = split_verbs(lab.load_verbs(), tenth)
    with lab.reproducible(config.seed):
        training = beyond.RowTraining(config, table)
        for epoch in range(1, config.first_phase + 1):
            training.history.append(training.run_epoch(epoch))
        return (config, table, training.state()), held


def place_to_keep() -> Path:
    """Returns the file of finished rows, of exactly this recipe, table and version."""
    key = lab.digest(beyond.Config(**SMALL), lab.load_verbs(), [])
    return lab.RUNS / f"06_parts-{key[:16]}.csv"


def main():
    """Reads the arguments, trains, scores and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=-1, help="trainings at a time; -1: a core each")
    parallel = joblib.Parallel(parser.parse_args().jobs, return_as="generator")
    kept = place_to_keep()
    kept.parent.mkdir(exist_ok=True)
    rows = pd.read_csv(kept).to_dict("records") if kept.exists() else []
    done = {(row["part"], row["tenth"]) for row in rows}
    asked = itertools.product(range(TENTHS), PARTS)
    left = [(part, tenth) for tenth, part in asked if (part, tenth) not in done]
    tenths = sorted({tenth for _, tenth in left})
    firsts = dict(zip(tenths, parallel(map(joblib.delayed(first_phase), tenths)), strict=True))
    for row in parallel(joblib.delayed(spell)(part, *firsts[tenth]) for part, tenth in left):
        rows.append(row)
        lab.atomic_write(kept, pd.DataFrame(rows).to_csv(index=False).encode())
    table = pd.DataFrame(rows)
    table.round(4).to_csv(lab.FIGURES / "06_parts.csv", index=False)
    means = table.drop(columns="tenth").groupby("part", sort=False).agg(["mean", "std"])
    print(means.round(3).T.to_string())


if __name__ == "__main__":
    main()
