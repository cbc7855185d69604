"""The networks written out letter by letter and path by path, for the fused ones to agree with."""

from typing import NamedTuple

import torch
from conftest import lab
from torch import Tensor
from torch.nn import functional as F

NO_GATE = lab.Gate(inverse_temperature=1.0, price=0.0)


def assert_close(found, expected, tolerance=1e-5):
    """Compares tensors, or tuples of them."""
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


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
    for letter in lab.words_to_tensor([word])[0][0]:
        h, c = lstm_step(lstm, embedding(letter), h, c)
    return h


def behind_gate(decoder, h, scores, tense):
    """Returns the scores of letters behind the gate; the one of EOS comes from the MLP alone."""
    added = decoder.gate_mlp(torch.cat([h, decoder.condition.weight[tense]]))
    return torch.cat([added[:1], scores[1:] + added[1:]])


def spell(decoder, context, word, free=False, tense=None, gate=NO_GATE) -> Spelled:
    """Spells letters (T,) from a context (H,), fed its own if `free`; with a tense, gated."""
    h = context.tanh()
    c = context
    letter = torch.tensor(lab.SOS)
    fed = []
    before = []
    behind = []
    opens = []
    opened = False
    for target in word:
        fed.append(letter.item())
        h, c = lstm_step(decoder.lstm, decoder.embedding(letter), h, c)
        scores = decoder.letter(h)
        before.append(F.cross_entropy(scores, target))
        if tense is not None:
            opens.append(F.cross_entropy(scores, torch.tensor(lab.EOS)))
            opened = opened or scores.argmax() == lab.EOS
            tensed = behind_gate(decoder, h, scores, tense)
            behind.append(F.cross_entropy(tensed, target))
            scores = tensed if opened else scores
        letter = scores.argmax() if free else target
        if letter == lab.EOS:
            break
    if tense is None:
        return Spelled(sum(before), sum(before), fed, h)
    priced = [nats + gate.price for nats in behind]
    minimized = over_paths(before, priced, opens, gate.inverse_temperature)
    return Spelled(minimized, over_paths(before, behind, opens), fed, h)


def over_paths(before, behind, opens, tau=1.0):
    """Returns −log of the sum of what a word's paths are worth, a path a letter it may open at."""
    T = len(before)
    worth = []
    for k in range(T):
        nats = sum(before[:k]) + opens[k] + sum(behind[k:])
        worth.append((-tau * nats).exp() * T ** (tau - 1))
    return -sum(worth).log() / tau
