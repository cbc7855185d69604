"""Variants of the lab's training and decoders; what they train is kept in runs/."""

from collections import Counter

import numpy as np
import torch

import lab5_utils as lab
from lab5_runs import note
from lab5_train import Training


class StepByStep(Training):
    """A training that also keeps β, KL and CE of each step in the run's history."""

    def loss(self, batch, progress, refining):
        """Returns what the lab's loss does."""
        loss, measured = super().loss(batch, progress, refining)
        self.steps.append([measured[name] for name in ("beta", "kl", "ce")])
        return loss, measured

    def run_epoch(self, epoch):
        """Returns an epoch's row of the history, with its steps."""
        self.steps = []
        return super().run_epoch(epoch) | {"steps": self.steps}


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


class GateWithoutPrice(lab.GatedDecoder):
    """A gate that may open as early as it likes."""

    price = 0.0


class GateNotFlattened(lab.GatedDecoder):
    """A gate whose openings count by their likelihood from the first step on."""

    lowest_tau = 1.0


class CodeInH0(lab.DirectDecoder):
    """A decoder whose LSTM gets code and tense in h0 alone, as in the re-created recipe."""

    def initial_state(self, context):
        """Returns the LSTM's first state, h0 and c0, each (1, B, H), for a context (B, H)."""
        h0 = context[None]
        return h0, torch.zeros_like(h0)


lab.DECODERS["no price"] = GateWithoutPrice
lab.DECODERS["not flattened"] = GateNotFlattened
lab.DECODERS["code in h0"] = CodeInH0
note(__name__)
