"""Variants of the lab's table, training and decoders; what they train is kept in runs/."""

import random
from collections import Counter

import numpy as np
import torch
from torch import nn

import lab5_utils as lab
from lab5_train import Batch, Training, make_batches


# ---- Tables ----
# Each is made of verbs and a seed, which most of them don't need.
def unchanged(verbs, seed=0):
    """Returns the same verbs."""
    return verbs


def mirrored(verbs, seed=0):
    """Returns verbs whose forms are all written backwards."""
    return [tuple(form[::-1] for form in verb) for verb in verbs]


def secret_keys(alphabet, forms, seed):
    """Returns for each form a key of `str.translate`, a permutation; the first changes nothing."""
    rng = random.Random(seed)
    permuted = [rng.sample(alphabet, len(alphabet)) for _ in range(forms)]
    return [{}, *(str.maketrans(alphabet, "".join(letters)) for letters in permuted[1:])]


def in_secret(verbs, seed):
    """Returns verbs whose forms, but for the first, are written in secret alphabets.

    Each tense has one of its own, a permutation of the table's letters.
    """
    vocabulary = lab.vocabulary_of(verbs)
    keys = secret_keys(vocabulary.alphabet, vocabulary.forms, seed)
    return [tuple(map(str.translate, verb, keys)) for verb in verbs]


# ---- Trainings ----
class EveryEpoch(Training):
    """A training whose history has the course's Gaussian score, of 100 draws, in every row."""

    def evaluate(self, epoch):
        """Returns the scores of an epoch, by name."""
        scores = super().evaluate(epoch)
        generated = lab.sample_prior(self.model, 100)
        return scores | {"gaussian": lab.gaussian_score(generated, self.table).official}


class PairsTold(Training):
    """A control, which is told what belongs together: targets are any forms of the same verb."""

    def make_epoch(self, epoch):
        """Returns the batches of an epoch, in which every form is once a source."""
        forms = self.model.vocabulary.forms
        batches = []
        for n in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            first = n // forms * forms  # of the same verb
            target = first + torch.randint(forms, n.shape, generator=self.rng)
            pair = (lab.select(self.words, numbers).to(self.device) for numbers in (n, target))
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
        self.words = lab.select(self.words, torch.from_numpy(seen))


# ---- Encoders and decoders ----
def by_tense(parts, tense, call):
    """Returns the tensors (B, ...) that `call(part, numbers)` returns of each tense's words."""
    numbers = [torch.nonzero(tense == n).flatten() for n in range(len(parts))]
    calls = [call(part, n) for part, n in zip(parts, numbers, strict=True) if len(n)]
    order = torch.cat(numbers).argsort()
    return [torch.cat(tensors)[order] for tensors in zip(*calls, strict=True)]


class EncoderPerTense(lab.Encoder):
    """An encoder for each tense; they share no weight."""

    def __init__(self, config, vocabulary):
        nn.Module.__init__(self)  # and nothing of an encoder's own
        parts = [lab.Encoder(config, vocabulary) for _ in range(vocabulary.forms)]
        self.parts = nn.ModuleList(parts)
        self.mu = self.parts[0].mu  # tells its size

    def forward(self, words):
        """Returns mu and logvar of the posteriors of B words, each (B, Z)."""
        return by_tense(self.parts, words.tense, lambda part, n: part(lab.select(words, n)))


class DecoderPerTense(lab.Decoder):
    """A direct decoder for each tense; they share no weight."""

    def __init__(self, config, vocabulary):
        nn.Module.__init__(self)  # and nothing of a decoder's own
        parts = [lab.DirectDecoder(config, vocabulary) for _ in range(vocabulary.forms)]
        self.parts = nn.ModuleList(parts)
        self.vocabulary = vocabulary

    def nats(self, z, target, free_running):
        """Returns the CE of B words in nats (B,), each decoded from its z (B, Z)."""

        def call(part, n):
            return [part.nats(z[n], lab.select(target, n), free_running[n])]

        (ce,) = by_tense(self.parts, target.tense, call)
        return ce

    def greedy(self, z, tense):
        """Returns letters (B, steps), decoded greedily from each z (B, Z) in its tense (B,)."""
        (letters,) = by_tense(self.parts, tense, lambda part, n: [part.greedy(z[n], tense[n])])
        return letters
