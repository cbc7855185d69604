"""The networks written out letter by letter and path by path, for the fused ones to agree with."""

from typing import NamedTuple

import torch
from conftest import ENGLISH, lab
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
    for letter in ENGLISH.to_tensor([word])[0][0]:
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
    priced = gate_paths(decoder, context, word, fed, tense, gate.price)
    paths = gate_paths(decoder, context, word, fed, tense)
    return Spelled(over_paths(priced, gate.inverse_temperature), over_paths(paths), fed, h)


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


def prefix_scores(decoder, context, tense, letter, place):
    """Returns the scores of a prefix's letter behind another one; EOS ends the prefix."""
    before = decoder.embedding.weight[letter] + decoder.place.weight[place]
    told = torch.cat([context, decoder.condition.weight[tense], before])
    return decoder.prefix_mlp(told)


def spell_prefixed(decoder, context, word, free, tense, gate=NO_GATE) -> Spelled:
    """Spells letters (T,) as `spell`, the gated word behind a prefix of any length."""
    sos = decoder.vocabulary.sos
    own = []
    letter = sos
    for place in range(decoder.prefix_letters):
        letter = prefix_scores(decoder, context, tense, letter, place).argmax().item()
        if letter == lab.EOS:
            break
        own.append(letter)
    rest = spell(decoder, context, torch.ones_like(word), True, tense)
    own += rest.fed[1:]
    fed = [sos, *(own if free else word.tolist())][: len(word)]
    priced = prefix_paths(decoder, context, word, fed, tense, gate.price)
    paths = prefix_paths(decoder, context, word, fed, tense)
    minimized = over_paths(priced, gate.inverse_temperature)
    return Spelled(minimized, over_paths(paths), fed, rest.end)


def prefix_paths(decoder, context, word, fed, tense, price=0.0):
    """Returns the nats of a word's paths, a path a length of its prefix and a gate's opening."""
    paths = []
    prefix = 0.0
    for i in range(min(decoder.prefix_letters + 1, len(fed))):
        start = prefix
        if i < decoder.prefix_letters:
            scores = prefix_scores(decoder, context, tense, fed[i], i)
            start = prefix + F.cross_entropy(scores, torch.tensor(lab.EOS))
            prefix = prefix + F.cross_entropy(scores, word[i]) + price
        again = [decoder.vocabulary.sos, *fed[i + 1 :]]  # the word behind it, as if from its start
        behind = gate_paths(decoder, context, word[i:], again, tense, price)
        paths += [start + nats for nats in behind]
    return paths
