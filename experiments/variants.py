"""Variants of the lab's table, training and decoders; what they train is kept in runs/."""

import random
from collections import Counter

import numpy as np
import torch

import lab5_gate
import lab5_utils as lab
from lab5_train import WARM_UP, Batch, Training, make_batches


# ---- Tables ----
def in_secret(verbs, seed, shared=False):
    """Returns verbs whose forms, but for the first, are written in secret alphabets.

    Each tense has one of its own, a permutation of the table's letters, or all of them share one,
    and then the first form is written in it, too.
    """
    letters = lab.vocabulary_of(verbs).alphabet
    rng = random.Random(seed)
    keys = [str.maketrans(letters, "".join(rng.sample(letters, len(letters)))) for _ in verbs[0]]
    keys = len(keys) * keys[:1] if shared else [{}, *keys[1:]]
    return [tuple(map(str.translate, verb, keys)) for verb in verbs]


# ---- Trainings ----
class ConstantRate(Training):
    """A training whose learning rate rises as ever, and then stays at half its highest value."""

    def rate(self, progress):
        """Returns the learning rate of a step."""
        return self.config.learning_rate / 2 * min(1, progress / WARM_UP)


class StepByStep(Training):
    """A training that also keeps β, KL and CE of each step in the run's history."""

    def loss(self, batch, progress):
        """Returns what the lab's loss does."""
        loss, measured = super().loss(batch, progress)
        self.steps.append([measured[name] for name in ("beta", "kl", "ce")])
        return loss, measured

    def run_epoch(self, epoch):
        """Returns an epoch's row of the history, with its steps."""
        self.steps = []
        return super().run_epoch(epoch) | {"steps": self.steps}


class PairsTold(Training):
    """A control, which is told what belongs together: targets are any forms of the same verb."""

    def make_epoch(self, epoch):
        """Returns the batches of an epoch, in which every form is once a source."""
        forms = self.model.vocabulary.forms
        batches = []
        for source in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            verb = source // forms
            target = forms * verb + torch.randint(forms, verb.shape, generator=self.rng)
            pair = (lab.select_words(self.words, n).to(self.device) for n in (source, target))
            batches.append(Batch(*pair))
        return batches


def hidden_forms(verbs):
    """Returns a mask (N, F) of one form of every fifth verb, each tense in turn.

    A form that some other word is spelled like is left out.
    """
    uses = Counter(form for verb in verbs for form in verb)
    hidden = np.zeros((len(verbs), len(verbs[0])), dtype=bool)
    for n in range(0, len(verbs), 5):
        tense = n // 5 % hidden.shape[1]
        hidden[n, tense] = uses[verbs[n][tense]] == 1
    return hidden


class WithoutHiddenForms(Training):
    """A training that never sees the hidden forms."""

    def __init__(self, config, verbs):
        super().__init__(config, verbs)
        (seen,) = np.nonzero(~hidden_forms(verbs).flatten())
        self.words = lab.select_words(self.words, torch.from_numpy(seen))


# ---- Decoders ----
class GateWithoutPrice(lab5_gate.GatedDecoder):
    """A gate that may open as early as it likes."""

    price = 0.0


class GateNotTempered(lab5_gate.GatedDecoder):
    """A gate whose openings count by their likelihood from the first step on."""

    lowest_tau = 1.0


class CodeInH0(lab.DirectDecoder):
    """A decoder whose LSTM gets code and tense in h0 alone, as in the re-created recipe."""

    def initial_state(self, context):
        """Returns the LSTM's first state, h0 and c0, each (1, B, H), for a context (B, H)."""
        h0 = context[None]
        return h0, torch.zeros_like(h0)
