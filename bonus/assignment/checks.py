"""Checks the answers of the assignment against what the solution gives for the same inputs.

A check runs an answer and returns, by name, what is to be compared. Its docstring is the hint for
an answer that differs. When `handout.py` makes the assignment, it runs the same checks on the
solution: case 0 goes into expected.json, case 1 into the hidden tests. No check holds an answer.
"""

import functools
import inspect
import json
import math
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import lab5_utils as lab

BLANK = "YOUR CODE HERE: this function is still blank"
EXPECTED = Path(__file__).with_name("expected.json")
VERBS = lab.load_verbs()
VOCABULARY = lab.vocabulary_of(VERBS)
SYMBOLS = VOCABULARY.size - 1  # that have a score: SOS has none
Z = 32  # numbers of a code
FEW = 16  # a tensor with more numbers is compared by weighted sums of them


# ---- Points ----
def award(points, name, answer, case=0, expected=None):
    """Returns the points of an answer, 0 if it differs from the solution, and prints why.

    A hidden test is case 1, and passes what it expects.
    """
    expected = expected or json.loads(EXPECTED.read_text("utf-8"))[name]
    fault = find_fault(globals()[name], answer, case, expected)
    print(f"{name}: {fault or f'right, {points} points'}")
    return 0 if fault else points


def find_fault(check, answer, case, expected):
    """Returns what is wrong with an answer, an empty text if nothing is."""
    if answer is None:
        return "not defined: run its cell, and see whether that ends in an error"
    hint = "Hint: " + " ".join(check.__doc__.split())
    try:
        values = results(check, answer, case)
    except Exception as error:  # an answer may fail in any way, and the notebook must go on
        if str(error) == BLANK:
            return "still blank"
        return f"{type(error).__name__}: {error}\n{hint}"
    for name, right in expected.items():
        value = values.get(name)  # without words there may be no word 0
        if not agree(value, right):
            return f"this differs: {name}\nfound:    {value}\nexpected: {right}\n{hint}"
    return ""


def results(check, answer, case):
    """Returns what a check returns for an answer, in the form that is kept in JSON."""
    with torch.random.fork_rng(), torch.enable_grad():  # whatever an answer turns off
        torch.manual_seed(0)
        return {name: brief(value) for name, value in check(answer, case).items()}


def brief(value):
    """Returns a value in the form that is kept in JSON: a tensor's kind, shape and numbers."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [brief(part) for part in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 4)
    if not isinstance(value, torch.Tensor):
        return value
    kind = "fractions" if value.is_floating_point() else "whole numbers"
    title = f"{kind} of shape {tuple(value.shape)}"
    flat = value.detach().flatten()
    if len(flat) > FEW:
        count = len(value) if 1 < len(value) <= FEW else 3
        title += f", as {count} weighted sums"
        parts = flat.double().tensor_split(count)  # one per word, if these are words
        flat = torch.stack([part @ weights(len(part)) for part in parts])
        flat *= (count / value.numel()) ** 0.5
    return [title, brief(flat.tolist())]


@functools.cache
def weights(count):
    """Returns the numbers by which those of a tensor are multiplied in a weighted sum."""
    return numbers(0, count).double()


def agree(value, right):
    """Tells whether two values are the same. Fractions may differ a little."""
    if isinstance(right, list):
        same_length = isinstance(value, list) and len(value) == len(right)
        return same_length and all(map(agree, value, right))
    if isinstance(right, float) and isinstance(value, float):
        return math.isclose(value, right, rel_tol=1e-3, abs_tol=1e-3)
    return type(value) is type(right) and value == right


# ---- What the checks share ----
def numbers(seed, *shape):
    """Returns normal numbers, the same on every machine."""
    return torch.tensor(np.random.RandomState(seed).standard_normal(shape), dtype=torch.float32)


def call(answer, *inputs):
    """Returns an answer's result. Raises ValueError if it is None, or an input has changed."""
    before = brief(inputs)
    result = answer(*inputs)
    if result is None:
        raise ValueError("returned None: is there a `return`?")
    if brief(inputs) != before:
        raise ValueError("an input was changed in place: work on a copy of it")
    return result


def slopes(output, sources):
    """Returns an output's gradients by tensors, which are given by name. Raises ValueError."""
    if not getattr(output, "requires_grad", False):
        raise ValueError("no gradient passes: is it a tensor? Is something detached, or no_grad?")
    direction = numbers(11, *output.shape)  # in a plain sum gradients could cancel out
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    grads = torch.autograd.grad(output, list(sources.values()), direction, **options)
    return {f"the gradient by {name}": grad for name, grad in zip(sources, grads, strict=True)}


def call_with_slopes(answer, **inputs):
    """Returns a function's result and its gradients by its inputs."""
    tensors = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    result = call(answer, *tensors.values())
    return {"the result": result} | slopes(result, tensors)


def fill(module, case):
    """Returns a module with weights that are the same in each run."""
    for n, weight in enumerate(module.parameters()):
        weight.data = 2 * numbers(10 * n + case, *weight.shape) * weight.shape[-1] ** -0.5
    return module


def some_words(case):
    """Returns sixteen words of several lengths: the forms of four verbs."""
    return [form for verb in VERBS[31 + case :: 300] for form in verb][:16]


def batch(case):
    """Returns these words as tensors, each with a tense."""
    letters, lengths = VOCABULARY.to_tensor(some_words(case))
    return lab.Words(letters, lengths, torch.arange(len(lengths)) % 4)


# ---- 01: words and tensors ----
def to_numbers(answer, case):
    """Return a tensor of whole numbers: a is 1, z is 26. EOS, which is 0, comes once, last."""
    return {word: call(answer, word) for word in some_words(case)}


def to_word(answer, case):
    """A word ends at its first EOS, whatever comes after it. a is 1, z is 26."""
    letters, _ = VOCABULARY.to_tensor(some_words(case))
    rows = [*F.pad(letters, (0, 2), value=3).tolist(), [2, 5, 7]]  # the last has no EOS
    return {f"the word of {row}": call(answer, torch.tensor(row)) for row in rows}


# ---- 02: the model ----
def encoder_forward(answer, case):
    """The tense is the last numbers of h0. All others are 0, and the first cell is 0.

    Both layers read the hidden state after each word's own EOS, as it is.
    """
    encoder = fill(answer(), case)
    words = batch(case)
    mu, logvar = call(encoder, words)
    outputs = {"mu": mu, "logvar": logvar}
    return outputs | slopes(torch.cat([mu, logvar], 1), dict(encoder.named_parameters()))


def decoder_first_state(answer, case):
    """from_z makes the cell from z and the tense's embedding. The hidden state is its tanh."""
    decoder, z = fill(answer(), case), numbers(case, 3, Z).requires_grad_()
    layer, embedding = decoder.from_z, decoder.condition.weight
    width = embedding.shape[1]  # repeated, the same weights fit z and tense in either order
    layer.weight.data = layer.weight[:, :width].repeat(1, 1 + Z // width)
    h, c = call(decoder.first_state, z, torch.tensor([2, 0, 3]))
    sources = {"z": z, "condition.weight": embedding, "from_z.bias": layer.bias}
    return {"the hidden state": h, "the cell": c} | slopes(torch.cat([h, c]), sources)


class Start:
    """Takes the place of a student's own first state."""

    def first_state(self, z, tense):
        """Returns a hidden state and a cell, each (1, B, H), which differ."""
        start = 3 * F.pad(z + tense[:, None], (0, self.lstm.hidden_size - Z))[None]
        return start.tanh(), start


def decoder_forward(answer, case):
    """Begin with self.first_state. Feed SOS, then the letters, each one place later.

    Logits are no probabilities.
    """
    decoder = fill(type("Started", (Start, answer), {})(), case + 6)
    z, words = numbers(case, 16, Z).requires_grad_(), batch(case)
    logits = call(decoder, z, words.tense, words.letters)
    sources = {"z": z, **dict(decoder.named_parameters())}
    return {"the logits": logits} | slopes(logits, sources)


class Speller(nn.Module):
    """Stands for a decoder. Its logits depend on z, tense, place and the letters fed."""

    def __init__(self, case):
        super().__init__()
        self.weight = nn.Parameter(numbers(case + 50, 4, Z, SYMBOLS))

    def forward(self, z, tense, fed):
        """Returns logits (B, T, V − 1)."""
        places = fed + torch.arange(fed.shape[1])  # (B, T)
        return (places[..., None] * z[:, None]).sin() @ self.weight[tense]


class Reader(nn.Embedding):
    """Stands for an encoder. What it returns depends on letters, lengths and tense."""

    def forward(self, words):
        """Returns mu and logvar, each (B, Z)."""
        size = 0.1 * words.lengths + 0.01 * words.letters.sum(1)
        mu = self.weight[words.tense] * size[:, None]
        return mu, 1 - mu


def stand_in_model(case):
    """Returns a model whose parts are stand-ins."""
    model = nn.Module()
    model.encoder = Reader.from_pretrained(numbers(7, 4, Z), freeze=False)
    model.decoder = Speller(case)
    return model


# ---- 02: the objective ----
def reparameterize(answer, case):
    """Compute z = μ + σ ε with σ = exp(½ logvar). torch.randn draws ε like mu, from `rng`."""
    mu, logvar = numbers(case, 2, 16, Z)
    rng = torch.Generator().manual_seed(case)
    return call_with_slopes(lambda mu, logvar: answer(mu, logvar, rng), mu=mu, logvar=logvar)


def letter_nats(answer, case):
    """−log p of each letter, where the mask is true, and 0 elsewhere.

    F.cross_entropy takes logits, not probabilities, with the symbols in dimension 1.
    """
    letters = batch(case).letters
    mask = numbers(case, *letters.shape) < 1  # whatever it leaves out
    logits = numbers(case, *letters.shape, SYMBOLS)
    return call_with_slopes(lambda logits: call(answer, logits, letters, mask), logits=logits)


# ---- 02: the training ----
def stand_ins(coins):
    """Returns functions that take the place of those of the notebook; coins go into a list."""

    def choose_fed(decoder, z, target, free_running):
        """Returns letters and a mask that depend on all that comes in."""
        coins.append(free_running)
        own = decoder(z, target.tense, target.letters).argmax(2)
        fed = (own + target.letters + free_running[:, None].long()) % SYMBOLS
        return fed, torch.arange(fed.shape[1]) < target.lengths[:, None] - 1

    return {
        "choose_fed": choose_fed,
        "reparameterize": lambda mu, logvar, rng: mu + logvar * (0.1 * rng.initial_seed()),
        "kl_divergence": lambda mu, logvar: (mu + logvar.square()).mean(1),
        "letter_nats": lambda logits, letters, mask: 0.1 * logits.mean(2) * letters * mask,
    }


def loss(answer, case):
    """Stand-ins take the place of the functions you call, so CE and KL may be any numbers here.

    z is drawn, CE is summed over a word's letters, CE and KL are means over words, and the loss is
    CE + kl_weight · KL. A word runs free if its number, of torch.rand, isn't below tf_ratio. Return
    the loss, through which gradients pass, and then the three numbers by name.
    """
    model, words, coins, outputs = stand_in_model(case), batch(case), [], {}
    rng = torch.Generator().manual_seed(case + 1)
    with patch.dict(inspect.unwrap(answer).__globals__, stand_ins(coins)):
        for tf_ratio, kl_weight in ((1.0, 0.5), (0.0, 2.0)):
            total, measured = call(answer, model, words, kl_weight, tf_ratio, rng)
            title = f"with tf_ratio {tf_ratio} and kl_weight {kl_weight}"
            outputs[f"the loss {title}"] = total
            outputs |= {f"{name} {title}": float(measured[name]) for name in ("ce", "kl", "loss")}
            weights = {f"{name} {title}": part for name, part in model.named_parameters()}
            outputs |= slopes(total, weights)
        for draw in range(20):
            rng = rng.manual_seed(1) if draw > 17 else rng  # the last two toss the same coins
            answer(model, words, 1.0, 0.7, rng)
    coins = torch.stack(coins[2:])  # (20, B)
    return outputs | {
        "about 0.3 run free with tf_ratio 0.7": 0.2 < coins.float().mean().item() < 0.4,
        "more than 10 different choices in 20 calls": len(coins.unique(dim=0)) > 10,
        "the same rng tosses the same coins": coins[-1].equal(coins[-2]),
    }


def descend(answer, case):
    """Print a weight's gradient when the optimizer makes its step: is it what backward found?"""
    model, x, outputs = fill(nn.Linear(3, 2), case), numbers(case + 5, 4, 3), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=1000.0, momentum=0.5)
    for title, scale in (("1", 0.1), ("2", 0.2), ("3", 50.0)):
        answer(model, optimizer, scale * model(x).square().mean(), 0.3)
        outputs[f"the weights after step {title}"] = [part.clone() for part in model.parameters()]
    return outputs


# ---- 04: scores ----
@patch.dict("sys.modules", {"nltk.translate.bleu_score": None})  # lab.bleu4 fails without it
def bleu4(answer, case):
    """Without lab.bleu4 and NLTK, count runs of 1 to 4 letters, clipped. 0 hits count as 0.1.

    Without a shared letter the score is 0. An output shorter than its target scores less.
    """
    words = [word for word in some_words(case) if len(word) >= 4]
    pairs = list(zip(words, words[1:] + words[:1], strict=True))
    pairs += [("", "sends"), ("s", "sends"), ("zzz", "sends"), ("bananana", "bandana")]
    pairs += [("banana", "banana")]  # in which runs overlap
    return {" for ".join(pair): float(call(answer, *pair)) for pair in pairs}


def gaussian_score(answer, case):
    """Return the share of verbs that are rows, all four forms, and how many different rows."""
    rows = VERBS[case::300]
    mixed = [one[: 1 + n % 3] + other[1 + n % 3 :] for n, (one, other) in enumerate(pairwise(rows))]
    generated = rows[: 3 - case] + rows[:1] * 3 + mixed + [("zzz",) * len(rows[0])]
    share, distinct = call(answer, generated, rows + rows[:2])  # a table may repeat rows
    return {"the share": float(share), "the number of different rows": float(distinct)}
