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
import sys
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
AWARDED = {}  # points of this notebook's answers, by check


# ---- Points ----
def award(points, name, answer, hidden=None):
    """Returns the points of an answer, 0 if it differs from the solution, and prints why.

    A hidden test passes what it expects.
    """
    expected = hidden or json.loads(EXPECTED.read_text("utf-8"))[name]
    fault = find_fault(globals()[name], answer, int(hidden is not None), expected)
    print(f"{name}: {fault or f'right, {points} points'}")
    AWARDED[name] = 0 if fault else points
    return AWARDED[name]


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


def show_total(most):
    """Prints the points of a notebook."""
    print(f"points of this notebook: {sum(AWARDED.values())} of {most}, texts not counted")


# ---- What the checks share ----
def numbers(seed, *shape):
    """Returns normal numbers, the same on every machine."""
    return torch.tensor(np.random.RandomState(seed).standard_normal(shape), dtype=torch.float32)


def call(answer, *inputs):
    """Returns an answer's result. Raises ValueError if it is None, or an input has changed."""
    before = brief(inputs)
    try:
        result = answer(*inputs)
    except ArithmeticError as error:  # such as a division by zero
        raise type(error)(f"{error}, for {str(before)[:80]}") from error
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
    mu, logvar = call(encoder, *words)
    outputs = {"mu": mu, "logvar": logvar}
    outputs["mu and logvar of a single word"] = encoder(*(part[:1] for part in words))
    return outputs | slopes(torch.cat([mu, logvar], 1), dict(encoder.named_parameters()))


def decoder_first_state(answer, case):
    """from_z makes the cell from z and the tense's embedding. The hidden state is its tanh."""
    decoder, z = fill(answer(), case), numbers(case, 3, Z).requires_grad_()
    layer, embedding = decoder.from_z, decoder.condition.weight
    width = embedding.shape[1]  # repeated, the same weights fit z and tense in either order
    layer.weight.data = layer.weight[:, :width].repeat(1, 1 + Z // width)
    h, c = call(decoder.first_state, z, torch.tensor([2, 0, 3]))
    sources = {"z": z, "condition.weight": embedding, "from_z.bias": layer.bias}
    outputs = {"the hidden state": h, "the cell": c} | slopes(torch.cat([h, c]), sources)
    return outputs | {"those of a single word": decoder.first_state(z[:1], torch.tensor([2]))}


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
    outputs = {"the logits of the first letter": logits[:, 0], "all logits": logits}
    outputs["the logits of a single word"] = decoder(z[:1], words.tense[:1], words.letters[:1])
    return outputs | slopes(logits, {"z": z, **dict(decoder.named_parameters())})


def decoder_greedy(answer, case):
    """Begin with self.first_state. Feed SOS, then each word's likeliest letter. Hand the state on.

    After EOS comes EOS, up to the last of the steps, even if all words have ended.
    """
    decoder, z = decoder_of(answer, case)
    steps = itertools.count()

    def stop(lstm, inputs):
        if next(steps) > 999:  # four times nine are enough, or 441 if each word is spelled alone
            raise ValueError("it doesn't stop after `steps` steps")

    decoder.lstm.register_forward_pre_hook(stop)
    tense = batch(case).tense
    spelled = call(decoder.greedy, z, tense, 9)
    decoder.letter.bias.data[lab.EOS] -= 3  # no word ends
    spelled = [*spelled, *decoder.greedy(z, tense, 9)]
    outputs = {f"word {n}": row for n, row in enumerate(spelled)}
    outputs["a single word"] = decoder.greedy(z[:1], tense[:1], 9)
    decoder.letter.bias.data[lab.EOS] += 99  # all words end at once
    return outputs | {"words without a letter": decoder.greedy(z, tense, 9)}


class Speller(nn.Module):
    """Stands for a decoder. Its logits depend on z, tense place and the letter fed last."""

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

    def greedy(self, z, tense, steps):
        """Returns letters (B, steps), EOS after EOS."""
        state, spelled = self.first_state(z, tense), [torch.full((len(z), 1), VOCABULARY.sos)]
        for _ in range(steps):
            states, state = self.lstm(spelled[-1], state)
            spelled.append(self.letter(states).argmax(2))
        letters = torch.cat(spelled[1:], 1)
        return letters * (letters != lab.EOS).cumprod(1)


class Reader(nn.Embedding):
    """Stands for an encoder. What it returns depends on letters, lengths and tense."""

    def forward(self, letters, lengths, tense):
        """Returns mu and logvar, each (B, Z)."""
        mu = self.weight[tense] * (0.1 * lengths + 0.01 * letters.sum(1))[:, None]
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
    """Let the decoder spell greedily from z as it is. It wants the tenses as a tensor.

    It takes MAX_LETTERS steps for letters and one for EOS: nobody knows how long the words are.
    """
    z, tenses = numbers(case, 16, Z), batch(case).tense.tolist()
    return {"the words": call(model_of(answer, case).decode, z, tenses)}


def cvae_convert(answer, case):
    """Encode the words in their own tenses, and decode mu, not a draw, in those that are asked.

    (A stand-in for a model spells nonsense.)
    """
    model, tenses = model_of(answer, case), batch(case).tense.tolist()
    greedy = model.decoder.greedy
    model.decode = lambda z, tenses: VOCABULARY.to_words(greedy(z, torch.tensor(tenses), 33))
    return {"the words": call(model.convert, some_words(case), tenses, tenses[1:] + tenses[:1])}


# ---- 02: the objective ----
def log_ratio(answer, case):
    """Nats are summed over dimensions, one number per word (B,). logvar is log σ², p is N(0, I)."""
    z, mu, logvar = numbers(case, 3, 3, 5)
    return call_with_slopes(answer, z=z, mu=mu, logvar=logvar)


def reparameterize(answer, case):
    """Compute z = μ + σ ε with σ = exp(½ logvar). torch.randn draws ε like mu, from `rng`."""
    mu, logvar = (numbers(case + n, Z).repeat(4000, 1).requires_grad_() for n in (0, 1))
    rng = torch.Generator().manual_seed(0)
    z = call(answer, mu, logvar, rng)
    noise = (z - mu) / (0.5 * logvar).exp()
    by_mu, by_logvar = slopes(z, {"mu": mu, "logvar": logvar}).values()
    half = numbers(11, *z.shape) * (z - mu) / 2
    return {
        "different numbers in two words' (z − μ)/σ, the noise": noise[:2].unique().numel(),
        "each call draws the same noise": z.equal(answer(mu, logvar, rng)),
        "the same rng draws the same noise": z.equal(answer(mu, logvar, rng.manual_seed(0))),
        "the mean of (z − μ)/σ, the noise": round(noise.mean().item(), 1) + 0.0,
        "the standard deviation of (z − μ)/σ, the noise": round(noise.std().item(), 1),
        "the mean of its fourth power, ((z − μ)/σ)⁴": round((noise**4).mean().item()),
        "the gradient by mu": by_mu,
        "the gradient by logvar is ½ σ ε": by_logvar.allclose(half, atol=1e-3),
    }


def cross_entropy(answer, case):
    """Nats are summed over a word's first `lengths` characters, whatever these are.

    F.cross_entropy takes logits, not probabilities, with the symbols in dimension 1.
    """
    letters, lengths, _ = batch(case)
    lengths[::3] -= 2  # a word that ran free may count less
    logits = numbers(case, *letters.shape, SYMBOLS)
    return call_with_slopes(lambda logits: call(answer, logits, letters, lengths), logits=logits)


# ---- 02: the training ----
def choose_fed(answer, case):
    """Toss a coin for each word, torch.rand from `rng`. One that is fed right letters counts whole.

    One that runs free is fed what the decoder spells from its own z in its own tense. It counts to
    its own EOS, this included, or to the right word's end, whichever comes first. Return the
    letters, then the lengths.
    """
    words, decoder = batch(case), Speller(case)
    z = numbers(case + 45, 16, Z)  # from which words end before, after and with the right ones
    rng = torch.Generator().manual_seed(0)

    def choose(ratio, rng=rng):
        """Returns the letters that are fed, 0 where they do not count, and the lengths."""
        fed, lengths = call(answer, decoder, z, words, ratio, rng)
        return fed * (torch.arange(fed.shape[1]) < lengths[:, None]), lengths

    (fed, all_fed), (free, all_free) = choose(1.0), choose(0.0)
    drawn = torch.stack([choose(0.7)[0] for _ in range(100)])  # (100, B, T)
    is_fed, is_free = ((drawn == way).all(2) for way in (fed, free))
    one, other = (choose(0.7, rng.manual_seed(1))[0] for _ in range(2))
    return {
        "the letters with a ratio of 1, 0 where they don't count": fed,
        "the lengths with a ratio of 1": all_fed,
        "the lengths with a ratio of 0": all_free,
        **{f"word {n} with a ratio of 0": row for n, row in enumerate(free)},
        "each word is fed or free, with its own z and tense": (is_fed ^ is_free).all().item(),
        "more than 50 different choices in 100 calls": len(is_fed.unique(dim=0)) > 50,
        "the share of fed words with a ratio of 0.7": round(is_fed.float().mean().item(), 1),
        "the number of fed words differs by chance": len(is_fed.sum(1).unique()) > 1,
        "the same rng tosses the same coins": one.equal(other),
    }


def step(answer, case):
    """Stand-ins take the place of the functions you call, so CE and KL may be any numbers here.

    Call model.encoder and model.decoder. Minimize CE + β KL, means over words, with z drawn, and
    return CE and KL as numbers. Set gradients to 0, clip the gradient of all weights together to
    the norm 5, set the rate, and let the optimizer make its step.
    """
    model, words, outputs = model_of(nn.Module, case), batch(case), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=1000.0, momentum=0.5)
    rng = torch.Generator().manual_seed(case + 1)

    def choose_fed(decoder, z, words, tf_ratio, rng):
        """Returns letters that depend on all that comes in, and lengths that are shorter."""
        own = decoder.greedy(z, words.tense, words.letters.shape[1])
        shift = 100 * (tf_ratio + torch.rand((), generator=rng))
        return (own + words.letters + shift.long()) % SYMBOLS, words.lengths - 1

    stand_ins = {  # for what the notebook defines
        "choose_fed": choose_fed,
        "reparameterize": lambda mu, logvar, rng: mu + logvar * torch.rand((), generator=rng),
        "kl_divergence": lambda mu, logvar: (mu + logvar.square()).mean(1),
        "cross_entropy": lambda logits, letters, lengths: (
            0.1 * (logits.mean(2) * letters).sum(1) / lengths
        ),
    }
    for title, beta in (("1", 0.5), ("2", 0.0), ("3, clipped", 50.0)):
        with patch.dict(inspect.unwrap(answer).__globals__, stand_ins):
            losses = call(answer, model, optimizer, words, beta, 0.9, 3.0, rng)
        outputs[f"CE and KL of step {title}"] = losses
        outputs[f"the weights after step {title}"] = [part.clone() for part in model.parameters()]
    return outputs


# ---- 02 and 04: schedules ----
def shares(schedule, case):
    """Returns a schedule's values over a training; in 04 a cycle begins at each quarter."""
    steps = 40 + 4 * case
    places = [n / steps for n in range(1, steps + 1)] + [1e-6, 0.25 + 1e-6, 0.75 + 1e-6]
    return {f"at {place:g}": float(call(schedule, place)) for place in places}


def short_rise(answer, case):
    """The share rises evenly from 0 to 1 in the first tenth of the training, and then stays 1."""
    return shares(answer, case)


def teacher_forcing(answer, case):
    """The share falls evenly, in a straight line, from 1 at the start to 0.95 at the end."""
    fed = shares(answer, case).items()  # the free words show a curve that the share hides
    return {f"the percentage that runs free {at}": 100 * (1 - share) for at, share in fed}


def four_cycles(answer, case):
    """In the first half of each quarter the share rises evenly from 0 to 1; then it is 1.

    The last step of a quarter still belongs to it.
    """
    return shares(answer, case)


# ---- 03: scores ----
def bleu4(answer, case):
    """Without NLTK, count the output's runs of 1 to 4 letters, clipped. 0 hits count as 0.1.

    Without a shared letter the score is 0. An output shorter than its target scores less.
    """
    words = [word for word in some_words(case) if len(word) >= 4]
    pairs = [*zip(words, words[1:] + words[:1], strict=True), *zip(words, words[::-1], strict=True)]
    pairs += [("", "sends"), ("s", "sends"), ("zzz", "sends"), ("bananana", "bandana")]
    pairs += [("banana", "banana")]  # in which runs overlap
    modules = dict.fromkeys(("nltk", "nltk.translate", "nltk.translate.bleu_score"))
    with patch.dict(sys.modules, modules):
        return {" for ".join(pair): float(call(answer, *pair)) for pair in pairs}


def gaussian_score(answer, case):
    """Return the share of verbs that are rows, all four forms, and how many different rows."""
    rows = VERBS[case::300]
    mixed = [one[: 1 + n % 3] + other[1 + n % 3 :] for n, (one, other) in enumerate(pairwise(rows))]
    generated = rows[:3] + rows[:1] * 3 + mixed + [("zzz",) * len(rows[0])]
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
