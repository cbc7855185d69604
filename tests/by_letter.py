"""The networks written out letter by letter and path by path, for the fused ones to agree with."""

import torch
from torch.nn import functional as F

from bonus import gate
from conftest import lab


def assert_close(ours, expected, tolerance=1e-5):
    """Compares tensors, or tuples of them."""
    torch.testing.assert_close(ours, expected, atol=tolerance, rtol=tolerance)


def first_state(decoder, z, tense):
    """Returns h and c before the first letter (H,), of a code (Z,) in a tense."""
    if isinstance(decoder, gate.GatedDecoder):
        c = decoder.from_z(z)
    else:
        c = decoder.from_z(torch.cat([z, decoder.condition.weight[tense]]))
    return (c, 0 * c) if isinstance(decoder, lab.CodeInH0) else (c.tanh(), c)


def read(network, letters, h, c):
    """Returns the hidden state (H,) after each letter, by the equations of an LSTM."""
    lstm = network.lstm
    states = []
    for letter in letters:
        from_input = lstm.weight_ih_l0 @ network.embedding.weight[letter] + lstm.bias_ih_l0
        from_state = lstm.weight_hh_l0 @ h + lstm.bias_hh_l0
        i, f, g, o = (from_input + from_state).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return states


def after_gate(decoder, h, tense):
    """Returns the scores of letters after the gate; that of EOS comes from the MLP alone."""
    blind = decoder.letter(h)
    added = decoder.gate_mlp(torch.cat([h, decoder.condition.weight[tense]]))
    return torch.cat([added[:1], blind[1:] + added[1:]])


def spell(decoder, state, steps, tense):
    """Returns what a decoder is fed if it runs free: SOS, then its own letters, up to EOS."""
    fed = [decoder.vocabulary.sos]
    opened = False
    while len(fed) < steps:
        h = read(decoder, fed, *state)[-1]
        scores = decoder.letter(h)
        if isinstance(decoder, gate.GatedDecoder):
            opened = opened or scores.argmax() == lab.EOS
            scores = after_gate(decoder, h, tense) if opened else scores
        letter = scores.argmax().item()
        if letter == lab.EOS:
            break
        fed.append(letter)
    return fed


def nats_of(decoder, state, word, fed, tense, tau=1.0, price=0.0):
    """Returns the nats of the letters that count; τ and λ are those of a gate."""
    if isinstance(decoder, gate.GatedDecoder):
        return over_paths(gate_paths(decoder, state, word, fed, tense, price), tau)
    states = read(decoder, fed, *state)
    scores = torch.stack([decoder.letter(h) for h in states])
    return F.cross_entropy(scores, word[: len(fed)], reduction="sum")


def gate_paths(decoder, state, word, fed, tense, price=0.0):
    """Returns the nats of a word's paths, one per letter that the gate may open at."""
    before = []
    after = []
    opens = []
    for h, target in zip(read(decoder, fed, *state), word, strict=False):
        scores = decoder.letter(h)
        before.append(F.cross_entropy(scores, target))
        opens.append(F.cross_entropy(scores, torch.tensor(lab.EOS)))
        after.append(F.cross_entropy(after_gate(decoder, h, tense), target) + price)
    return [sum(before[:k]) + opening + sum(after[k:]) for k, opening in enumerate(opens)]


def over_paths(paths, tau=1.0):
    """Returns −log of the sum of what a word's paths are worth."""
    T = len(paths)
    worth = [(-tau * nats).exp() * T ** (tau - 1) for nats in paths]
    return -sum(worth).log() / tau
