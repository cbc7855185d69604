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
    """What one word cost, and how it was spelled."""

    minimized: Tensor
    ce: Tensor
    fed: list[int]  # SOS first


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


def after_gate(decoder, h, scores, tense):
    """Returns the scores of letters after the gate; that of EOS comes from the MLP alone."""
    added = decoder.gate_mlp(torch.cat([h, decoder.condition.weight[tense]]))
    return torch.cat([added[:1], scores[1:] + added[1:]])


def spell(decoder, context, word, tense, free=False, progress=1.0) -> Spelled:
    """Spells letters (T,) from a context (H,), fed its own if `free`."""
    is_gated = isinstance(decoder, lab.GatedDecoder)
    h, c = context.tanh(), context
    letter = torch.tensor(decoder.vocabulary.sos)
    fed = []
    nats = []
    opened = False
    for target in word:
        fed.append(letter.item())
        h, c = lstm_step(decoder.lstm, decoder.embedding(letter), h, c)
        scores = decoder.letter(h)
        nats.append(F.cross_entropy(scores, target))
        opened = opened or scores.argmax() == lab.EOS
        if is_gated and opened:
            scores = after_gate(decoder, h, scores, tense)
        letter = scores.argmax() if free else target
        if letter == lab.EOS:
            break
    if not is_gated:
        return Spelled(sum(nats), sum(nats), fed)
    tau, price = decoder.tau_and_price(progress)
    priced = gate_paths(decoder, context, word, fed, tense, price)
    paths = gate_paths(decoder, context, word, fed, tense)
    return Spelled(over_paths(priced, tau), over_paths(paths), fed)


def gate_paths(decoder, context, word, fed, tense, price=0.0):
    """Returns the nats of a word's paths, one per letter that the gate may open at."""
    h, c = context.tanh(), context
    before = []
    after = []
    opens = []
    for target, letter in zip(word, fed, strict=False):
        h, c = lstm_step(decoder.lstm, decoder.embedding.weight[letter], h, c)
        scores = decoder.letter(h)
        before.append(F.cross_entropy(scores, target))
        opens.append(F.cross_entropy(scores, torch.tensor(lab.EOS)))
        after.append(F.cross_entropy(after_gate(decoder, h, scores, tense), target) + price)
    paths = []
    for k, opening in enumerate(opens):
        paths.append(sum(before[:k]) + opening + sum(after[k:]))
    return paths


def over_paths(paths, tau=1.0):
    """Returns −log of the sum of what a word's paths are worth."""
    T = len(paths)
    worth = [(-tau * nats).exp() * T ** (tau - 1) for nats in paths]
    return -sum(worth).log() / tau
