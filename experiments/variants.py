"""Variants of the lab's table, training and decoders; what they train is kept in runs/."""

import random
from collections import Counter

import numpy as np
import torch
from torch import nn

import lab5_gate
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


def in_secret(verbs, seed):
    """Returns verbs whose forms, but for the first, are written in secret alphabets.

    Each tense has one of its own, a permutation of the table's letters.
    """
    letters = lab.vocabulary_of(verbs).alphabet
    rng = random.Random(seed)
    keys = [str.maketrans(letters, "".join(rng.sample(letters, len(letters)))) for _ in verbs[0]]
    return translated(verbs, [{}, *keys[1:]])


def disjoint(verbs, seed=0):
    """Returns verbs whose forms, but for the first, have letters that no other tense has."""
    letters = lab.vocabulary_of(verbs).alphabet
    keys = [{}]
    for tense in range(1, len(verbs[0])):
        first = ord("가") + tense * len(letters)  # of 11,172 syllables, a letter each
        keys.append({ord(letter): first + n for n, letter in enumerate(letters)})
    return translated(verbs, keys)


def translated(verbs, keys):
    """Returns verbs, each form of which is translated by the key of its tense."""
    return [tuple(map(str.translate, verb, keys)) for verb in verbs]


# ---- Trainings ----
class EveryEpoch(Training):
    """A training whose history has the course's Gaussian score, of 100 draws, in every row."""

    def evaluate(self, epoch, task):
        """Returns the scores of an epoch, by name."""
        scores = super().evaluate(epoch, task)
        generated = lab.sample_prior(self.model, 100)
        return scores | {"gaussian": lab.gaussian_score(generated, task.table).official}


class FromTo(Training):
    """A training that reads the words of its verbs, and writes those of other verbs."""

    def __init__(self, config, verbs, targets, model=None):
        if model is None:
            model = lab.make_model(config, lab.vocabulary_of([*verbs, *targets]))
        super().__init__(config, verbs, model)
        self.targets = lab.words_of(targets, model.vocabulary)

    def targets_of(self, numbers):
        """Returns the numbers of the words that are written for those that are read."""
        return numbers

    def make_epoch(self, epoch):
        """Returns the batches of an epoch, in which every form is once a source."""
        batches = []
        for n in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            source = lab.select(self.words, n)
            target = lab.select(self.targets, self.targets_of(n))
            batches.append(Batch(source.to(self.device), target.to(self.device)))
        return batches


class PairsTold(FromTo):
    """A control, which is told what belongs together: targets are any forms of the same verb."""

    def targets_of(self, numbers):
        """Returns the numbers of the words that are written for those that are read."""
        forms = self.model.vocabulary.forms
        verb = numbers // forms
        return forms * verb + torch.randint(forms, verb.shape, generator=self.rng)


class PartsPerTense(FromTo):
    """A control, in which each tense has an encoder of its own, or a decoder, or both."""

    def __init__(self, config, verbs, targets, encoder=False, decoder=False):
        vocabulary = lab.vocabulary_of([*verbs, *targets])
        make_encoder = EncoderPerTense if encoder else lab.Encoder
        make_decoder = DecoderPerTense if decoder else config.decoder
        model = lab.CVAE(make_encoder(config, vocabulary), make_decoder(config, vocabulary))
        super().__init__(config, verbs, targets, model)


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
class PerTense(nn.Module):
    """A part of a model for each tense; the parts share no weight."""

    def __init__(self, make_part, config, vocabulary):
        super().__init__()
        self.parts = nn.ModuleList(make_part(config, vocabulary) for _ in range(vocabulary.forms))

    def by_tense(self, tense, call):
        """Returns the tensors (B, ...) that `call(part, numbers)` returns of a tense's words."""
        numbers = [torch.nonzero(tense == n).flatten() for n in range(len(self.parts))]
        calls = [call(part, n) for part, n in zip(self.parts, numbers, strict=True) if len(n)]
        order = torch.cat(numbers).argsort()
        return [torch.cat(tensors)[order] for tensors in zip(*calls, strict=True)]


class EncoderPerTense(PerTense):
    """An encoder for each tense."""

    def __init__(self, config, vocabulary):
        super().__init__(lab.Encoder, config, vocabulary)
        self.mu = self.parts[0].mu  # tells its size

    def forward(self, words):
        """Returns mu and logvar of the posteriors of B words, each (B, Z)."""
        return self.by_tense(words.tense, lambda part, n: part(lab.select(words, n)))


class DecoderPerTense(PerTense):
    """A direct decoder for each tense."""

    def __init__(self, config, vocabulary):
        super().__init__(lab.DirectDecoder, config, vocabulary)
        self.vocabulary = vocabulary

    def nats(self, z, target, free_running, progress):
        """Returns what B words cost in nats (B,), each decoded from its z (B, Z)."""

        def call(part, n):
            return part.nats(z[n], lab.select(target, n), free_running[n], progress)

        return lab.Nats(*self.by_tense(target.tense, call))

    def greedy(self, z, tense):
        """Returns letters (B, steps), decoded greedily from each z (B, Z) in its tense (B,)."""
        (letters,) = self.by_tense(tense, lambda part, n: [part.greedy(z[n], tense[n])])
        return letters


class GateWithoutPrice(lab5_gate.GatedDecoder):
    """A gate that may open as early as it likes."""

    price = 0.0


class GateNotTempered(lab5_gate.GatedDecoder):
    """A gate whose openings count by their likelihood from the first step on."""

    lowest_tau = 1.0
