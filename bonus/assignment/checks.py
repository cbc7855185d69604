"""Checks the answers of the assignment against what the solution gives for the same inputs.

A check runs an answer and returns, by name, what is to be compared. Its docstring is the hint for
an answer that differs. When `handout.py` makes the assignment, it runs the same checks on the
solution: case 0 goes into expected.json, case 1 into the hidden tests. No check holds an answer.
"""

import functools
import inspect
import itertools
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


def decoder_of(answer, case):
    """Returns a student's decoder with this start, and codes (B, Z)."""
    decoder = fill(type("Started", (Start, answer), {})(), case + 6)
    decoder.letter.bias.data[lab.EOS] += 1.0  # most words end early, and would go on after EOS
    return decoder, numbers(case, 16, Z).requires_grad_()


def decoder_forward(answer, case):
    """Begin with self.first_state. Feed SOS, then the letters, each one place later.

    Logits are no probabilities.
    """
    decoder, z = decoder_of(answer, case)
    words = batch(case)
    logits = call(decoder, z, words.tense, words.letters)
    sources = {"z": z, **dict(decoder.named_parameters())}
    return {"the logits": logits} | slopes(logits, sources)


def decoder_greedy(answer, case):
    """Begin with self.first_state. Feed SOS, then each word's likeliest letter. Hand the state on.

    After EOS comes EOS, up to the last of the steps, even if all words have ended.
    """
    decoder, z = decoder_of(answer, case)
    steps = itertools.count()

    def stop(lstm, inputs):
        if next(steps) > 999:  # 27 are enough, or 297 if each word is spelled alone
            raise ValueError("it doesn't stop after `steps` steps")

    decoder.lstm.register_forward_pre_hook(stop)
    tense = batch(case).tense
    spelled = call(decoder.greedy, z, tense, 9)
    outputs = {f"word {n}": row for n, row in enumerate(spelled)}
    outputs["a single word"] = decoder.greedy(z[:1], tense[:1], 9)
    decoder.letter.bias.data[lab.EOS] += 99  # all words end at once
    return outputs | {"words without a letter": decoder.greedy(z, tense, 9)}


class Speller(nn.Module):
    """Stands for a decoder. Its logits depend on z, tense, place and the letter fed last."""

    def __init__(self, case):
        super().__init__()
        self.weight = nn.Parameter(numbers(case + 50, 4, Z, SYMBOLS))
        self.embedding = nn.Identity()  # letters (B, T) as they are

    def first_state(self, z, tense):
        """Returns a state that holds z, the tense, and 0 as the place."""
        state = torch.cat([z, F.pad(tense[:, None], (0, 1))], 1)[None]
        return state, state

    def lstm(self, fed, hx):
        """Returns hidden states (B, T, Z + 2), the last one, and a cell, which counts places."""
        places = torch.arange(1, fed.shape[1] + 1)[None, :, None]
        cells = hx[1].transpose(0, 1) + F.pad(places, (Z + 1, 0))
        states = cells + F.pad(fed[..., None], (Z + 1, 0))
        return states, (states[:, -1][None], cells[:, -1][None])

    def letter(self, states):
        """Returns logits (..., V − 1) of states (..., Z + 2)."""
        z, tense, place = states.split([Z, 1, 1], dim=-1)
        weight = self.weight[tense[..., 0].long()]  # (..., Z, V − 1)
        return ((place * z).sin()[..., None, :] @ weight)[..., 0, :]

    def forward(self, z, tense, fed):
        """Returns logits (B, T, V − 1)."""
        before = F.pad(fed[:, :-1], (1, 0), value=VOCABULARY.sos)
        states, _ = self.lstm(before, self.first_state(z, tense))
        return self.letter(states)

    def greedy(self, z, tense, steps=lab.MAX_LETTERS + 1):
        """Returns letters (B, steps), EOS after EOS."""
        state, spelled = self.first_state(z, tense), [torch.full((len(z), 1), VOCABULARY.sos)]
        for _ in range(steps):
            states, state = self.lstm(spelled[-1], state)
            spelled.append(self.letter(states).argmax(2))
        letters = torch.cat(spelled[1:], 1)
        return letters * (letters != lab.EOS).cumprod(1)


class Reader(nn.Embedding):
    """Stands for an encoder. What it returns depends on letters, lengths and tense."""

    def forward(self, words):
        """Returns mu and logvar, each (B, Z)."""
        size = 0.1 * words.lengths + 0.01 * words.letters.sum(1)
        mu = self.weight[words.tense] * size[:, None]
        return mu, 1 - mu


def model_of(answer, case):
    """Returns a student's model whose parts are stand-ins."""

    class StandIn(answer):
        """A model that makes no parts of its own."""

        def __init__(self):
            nn.Module.__init__(self)

    model = StandIn()
    model.encoder = Reader.from_pretrained(numbers(7, 4, Z), freeze=False)
    model.decoder = Speller(case)
    return model


def cvae_decode(answer, case):
    """Let the decoder spell greedily from z as it is. It wants a tense for each code, as a tensor.

    It takes the steps that it takes by default: nobody knows how long the words are.
    """
    z, tense = numbers(case, 16, Z), batch(case).tense.tolist()
    decode = model_of(answer, case).decode
    return {"the words": call(decode, z, tense), "those of one tense": call(decode, z, 1 + case)}


def cvae_convert(answer, case):
    """Encode the words in their own tenses, and decode mu, not a draw, in those that are asked.

    (A stand-in for a model spells nonsense.)
    """
    model, tense = model_of(answer, case), batch(case).tense.tolist()
    greedy = model.decoder.greedy
    model.decode = lambda z, tense: VOCABULARY.to_words(greedy(z, torch.as_tensor(tense)))
    return {"the words": call(model.convert, some_words(case), tense, tense[1:] + tense[:1])}


# ---- 02: the objective ----
def log_ratio(answer, case):
    """Nats are summed over dimensions, one number per word (B,). logvar is log σ², p is N(0, I)."""
    z, mu, logvar = numbers(case, 3, 3, 5)
    return call_with_slopes(answer, z=z, mu=mu, logvar=logvar)


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
def choose_fed(answer, case):
    """Words that run free are fed what the decoder spells from their own z in their own tense.

    The mask is true up to each word's own EOS, this included. For a word that runs free it ends
    at the decoder's EOS, if that comes first. Return the letters, then the mask.
    """
    words, decoder = batch(case), Speller(case)
    z = numbers(case + 45, 16, Z)  # from which words end before, after and with the right ones
    outputs = {}
    for title, runs_free in {"none": 0, "some": torch.arange(16) % 3, "all": 1}.items():
        fed, mask = call(answer, decoder, z, words, torch.zeros(16) < runs_free)
        outputs[f"the mask if {title} run free"] = mask
        outputs[f"the letters if {title} run free, masked"] = fed * mask
    return outputs


def stand_ins(coins):
    """Returns functions that take the place of those of the notebook; coins go into a list."""

    def choose_fed(decoder, z, target, free_running):
        """Returns letters and a mask that depend on all that comes in."""
        coins.append(free_running)
        own = decoder.greedy(z, target.tense, target.letters.shape[1])
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
    model, words, coins, outputs = model_of(nn.Module, case), batch(case), [], {}
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
        "the number that runs free differs by chance": len(coins.sum(1).unique()) > 1,
        "the same rng tosses the same coins": coins[-1].equal(coins[-2]),
    }


def descend(answer, case):
    """Set gradients to 0, find the new ones, clip all together to the norm 5, and set the rate.

    Then let the optimizer make its step.
    """
    model, x, outputs = fill(nn.Linear(3, 2), case), numbers(case + 5, 4, 3), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=1000.0, momentum=0.5)
    for title, scale in (("1", 0.1), ("2", 0.2), ("3, clipped", 50.0)):
        answer(model, optimizer, scale * model(x).square().mean(), 0.3)
        outputs[f"the weights after step {title}"] = [part.clone() for part in model.parameters()]
    return outputs


# ---- 02 and 05: schedules ----
def shares(schedule, case):
    """Returns a schedule's values over a training; in 05 a cycle begins at each quarter."""
    steps = 40 + 4 * case
    places = [n / steps for n in range(1, steps + 1)] + [1e-6, 0.25 + 1e-6, 0.75 + 1e-6]
    return {f"at {place:g}": float(call(schedule, place)) for place in places}


def short_rise(answer, case):
    """The share rises evenly from 0 to 1 in the first tenth of the training, and then stays 1."""
    return shares(answer, case)


def teacher_forcing_ratio(answer, case):
    """The share falls evenly, in a straight line, from 1 at the start to 0.95 at the end."""
    fed = shares(answer, case).items()  # the free words show a curve that the share hides
    return {f"the percentage that runs free {at}": 100 * (1 - share) for at, share in fed}


def four_cycles(answer, case):
    """In the first half of each quarter the share rises evenly from 0 to 1; then it is 1.

    The last step of a quarter still belongs to it.
    """
    return shares(answer, case)


# ---- 04: scores ----
def bleu4(answer, case):
    """Without NLTK, count the output's runs of 1 to 4 letters, clipped. 0 hits count as 0.1.

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


def repeated_and_converted(answer, case):
    """A word is repeated where both tenses are the same, and converted where they differ.

    It is right if it is its verb's form of the target tense. Both are shares of words, not verbs.
    """
    rows = VERBS[31 + case :: 300]
    forms = np.array(rows)  # (N, F)
    spelled = np.repeat(forms[:, None], forms.shape[1], axis=1)  # (N, F, F), all right
    spelled[:, 1 + case] = forms[:, 1 + case, None]  # the source, whatever the target
    spelled[: 1 + case, :, 0] = forms[-1, 0]  # a form of another verb
    repeated, converted = call(answer, spelled, rows)
    return {"the share repeated": float(repeated), "the share converted": float(converted)}
