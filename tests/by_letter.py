"""The networks written out letter by letter and path by path, for the fused ones to agree with."""

from typing import NamedTuple

import torch
from conftest import ENGLISH, lab
from torch import Tensor
from torch.nn import functional as F


def assert_close(found, expected, tolerance=1e-5):
    """Compares tensors, or tuples of them."""
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def words_of(words, tense, padding=0):
    """Returns words of the alphabet with their tenses (B,), padded further if need be."""
    letters, lengths = ENGLISH.to_tensor(words)
    letters = F.pad(letters, (0, padding), value=lab.EOS)
    return lab.Words(letters, lengths, torch.as_tensor(tense))


class Spelled(NamedTuple):
    """Holds what one word cost, and how it was spelled."""

    minimized: Tensor
    ce: Tensor
    fed: list[int]  # SOS first
    end: Tensor  # (H,): the hidden state after its last letter


def lstm_step(lstm, x, h, c):
    """Makes one step of an LSTM by its equations."""
    from_input = lstm.weight_ih_l0 @ x + lstm.bias_ih_l0
    from_state = lstm.weight_hh_l0 @ h + lstm.bias_hh_l0
    i, f, g, o = (from_input + from_state).chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def read(lstm, embedding, word, h):
    """Returns the hidden state after a word and its EOS."""
    c = torch.zeros_like(h)
    for letter in ENGLISH.to_tensor([word])[0][0]:
        h, c = lstm_step(lstm, embedding(letter), h, c)
    return h


def behind_gate(decoder, h, scores, tense):
    """Returns the scores of letters behind the gate; the one of EOS comes from the MLP alone."""
    added = decoder.gate_mlp(torch.cat([h, decoder.condition.weight[tense]]))
    return torch.cat([added[:1], scores[1:] + added[1:]])


def spell(decoder, context, word, free=False, tense=None, pressure=(1.0, 0.0)) -> Spelled:
    """Spells letters (T,) from a context (H,), fed its own if `free`; with a tense, gated."""
    h = context.tanh()
    c = context
    letter = torch.tensor(decoder.vocabulary.sos)
    fed = []
    nats = []
    opened = False
    for target in word:
        fed.append(letter.item())
        h, c = lstm_step(decoder.lstm, decoder.embedding(letter), h, c)
        scores = decoder.letter(h)
        nats.append(F.cross_entropy(scores, target))
        if tense is not None:
            opened = opened or scores.argmax() == lab.EOS
            scores = behind_gate(decoder, h, scores, tense) if opened else scores
        letter = scores.argmax() if free else target
        if letter == lab.EOS:
            break
    if tense is None:
        return Spelled(sum(nats), sum(nats), fed, h)
    inverse_temperature, price = pressure
    priced = gate_paths(decoder, context, word, fed, tense, price)
    paths = gate_paths(decoder, context, word, fed, tense)
    return Spelled(over_paths(priced, inverse_temperature), over_paths(paths), fed, h)


def gate_paths(decoder, context, word, fed, tense, price=0.0):
    """Returns the nats of a word's paths, a path a letter that the gate may open at."""
    h = context.tanh()
    c = context
    before = []
    behind = []
    opens = []
    for target, letter in zip(word, fed, strict=False):
        h, c = lstm_step(decoder.lstm, decoder.embedding.weight[letter], h, c)
        scores = decoder.letter(h)
        before.append(F.cross_entropy(scores, target))
        opens.append(F.cross_entropy(scores, torch.tensor(lab.EOS)))
        told = behind_gate(decoder, h, scores, tense)
        behind.append(F.cross_entropy(told, target) + price)
    return [sum(before[:k]) + opens[k] + sum(behind[k:]) for k in range(len(fed))]


def over_paths(paths, tau=1.0):
    """Returns −log of the sum of what a word's paths are worth."""
    T = len(paths)
    worth = [(-tau * nats).exp() * T ** (tau - 1) for nats in paths]
    return -sum(worth).log() / tau
