"""Checks the answers of an assignment.

`handout.py` copies this file into the assignment. A check takes one answer of a student, a function
or a class, and nothing else that was written: tensors, words and stand-ins are made here. It raises
AssertionError, with the likely mistake. Its numbers may be replaced by others: hidden tests are the
same checks with other numbers. No check holds an answer.
"""

import contextlib
import io
import math
import sys
import warnings
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F

import lab5_utils as lab

VOCABULARY = lab.vocabulary_of(lab.load_verbs())


# ---- Points ----
AWARDED = {}  # points of a notebook's answers, by check


def award(points, check, answer, **numbers):
    """Returns the points of an answer: all if a check passes, else 0, and says why."""
    name, earned = check.__name__, 0
    try:
        with quiet():
            check(answer, **numbers)
    except NotImplementedError:
        print(f"{name}: still blank")
    except AssertionError as error:
        print(f"{name}: {error}")
    except Exception as error:  # an answer may fail in any way, and the notebook must go on
        print(f"{name}: {type(error).__name__}: {error}")
    else:
        earned = points
    if earned:
        print(f"{name}: right")
    hidden = bool(numbers)  # a hidden test comes second, and can only take points away
    AWARDED[name] = min(AWARDED[name], earned) if hidden else earned
    return earned


def show_total(most):
    """Prints the points of a notebook."""
    print(f"points of this notebook: {sum(AWARDED.values())} of {most}, texts not counted")


@contextlib.contextmanager
def quiet():
    """Keeps what an answer prints and warns of out of a marked cell, and draws repeatably."""
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield


@contextlib.contextmanager
def stand_ins(function, **others):
    """Lets a function work with stand-ins for other things that its notebook defines."""
    names = getattr(function, "__wrapped__", function).__globals__
    before = {name: names[name] for name in others if name in names}
    names.update(others)
    try:
        yield
    finally:
        for name in others:
            del names[name]
        names.update(before)


class Untouchable:
    """Stands for what an answer must not use."""

    def __init__(self, why):
        self.__dict__["why"] = why

    def __getattr__(self, name):
        raise AssertionError(self.why)

    def __call__(self, *arguments):
        raise AssertionError(self.why)


def close(found, expected, why, tolerance=1e-4):
    """Asserts that tensors or numbers agree."""
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    shapes = f"found the shape {tuple(found.shape)}; expected {tuple(expected.shape)}"
    assert found.shape == expected.shape, shapes
    assert torch.allclose(found.double(), expected.double(), atol=tolerance), why


def differ(a, b, why):
    """Asserts that two tensors do not agree."""
    assert not torch.allclose(a, b, atol=1e-6), why


@contextlib.contextmanager
def kept(*tensors):
    """Asserts that an answer leaves the tensors that it is given as they are."""
    before = [tensor.clone() for tensor in tensors]
    yield
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old), "an input was changed in place: work on a copy of it"


def reaches(output, sources):
    """Asserts that a gradient passes from an output back to tensors, which are given by name."""
    assert output.requires_grad, "no gradient passes: nothing may be detached, or under no_grad"
    direction = torch.randn(output.shape)  # in a sum, gradients could cancel out
    total = (output * direction).sum()
    options = {"allow_unused": True, "retain_graph": True}
    gradients = torch.autograd.grad(total, list(sources.values()), **options)
    for name, gradient in zip(sources, gradients, strict=True):
        stopped = f"no gradient reaches {name}: is something detached on the way?"
        assert gradient is not None and gradient.abs().sum() > 0, stopped


def weights_of(module, *parts):
    """Returns the weights of some parts of a model, by name."""
    return {n: weight for n, weight in module.named_parameters() if n.split(".")[0] in parts}


# ---- 01: words and tensors ----
def to_numbers(answer, word="goes", expected=(7, 15, 5, 19, 0)):
    """Checks a word's numbers."""
    found = answer(word)
    assert isinstance(found, torch.Tensor), f"found {type(found).__name__}; expected a tensor"
    whole = f"found numbers of the type {found.dtype}; expected integers, to look letters up by"
    assert not found.is_floating_point(), whole
    assert len(found) == len(expected), "a number a letter is expected, and EOS, once, behind them"
    assert found[-1] == lab.EOS, "the last number is not EOS, which is 0"
    assert tuple(found.tolist()) == expected, "letters have other numbers: a is 1, z is 26"


def to_word(answer, numbers=(23, 5, 14, 20), expected="went"):
    """Checks the way back."""
    ended = torch.tensor([*numbers, 0])
    assert answer(ended) == expected, "letters have other numbers: a is 1, and EOS is no letter"
    padded = torch.tensor([*numbers, 0, 0, 0])
    assert answer(padded) == expected, "padding became letters: a word ends at its first EOS"
    behind = torch.tensor([*numbers, 0, 3, 1, 20])
    assert answer(behind) == expected, "a word ends at its first EOS, whatever stands behind"


# ---- 02: the model ----
def encode(encoder, words, tenses):
    """Returns what an encoder makes of words."""
    letters, lengths = VOCABULARY.to_tensor(words)
    tense = torch.tensor(tenses)
    with kept(letters, lengths, tense):
        return encoder(letters, lengths, tense)


@torch.no_grad()
def encoder_forward(answer, word="walked", neighbour="understanding"):
    """Checks the encoder."""
    encoder = answer()
    encoder.logvar.weight.fill_(0.0)
    encoder.logvar.bias.fill_(-3.0)
    mu, logvar = encode(encoder, [word], [3])
    assert mu.shape == logvar.shape == (1, encoder.mu.out_features), "mu and logvar are each (B, Z)"
    beside, _ = encode(encoder, [word, neighbour], [3, 2])
    why = "a word's code changes beside a longer word: take the state after its own EOS"
    close(beside[:1], mu, why)
    other, _ = encode(encoder, [neighbour], [2])
    own = "in a batch, each word has its own length and its own tense"
    close(beside[1:], other, own)
    differ(encode(encoder, [word], [0])[0], mu, "the tense is not read: it belongs into h0")
    differ(encode(encoder, [neighbour], [3])[0], mu, "all words have the same code")
    first_states = []
    encoder.lstm.register_forward_pre_hook(
        lambda lstm, inputs, named: first_states.append((*inputs, *named.values())[1]),
        with_kwargs=True,
    )
    encode(encoder, [word], [3])
    ((h0, c0),) = first_states
    condition = encoder.condition(torch.tensor([3]))
    close(h0[0, :, -condition.shape[1] :], condition, "the tense is the last numbers of h0")
    rest = torch.cat([h0[0, :, : -condition.shape[1]], c0[0]], 1)
    close(rest, torch.zeros_like(rest), "all else of the first state, the cell too, is 0")
    close(logvar, torch.full_like(mu, -3.0), "logvar is what its own layer makes, and comes second")
    encoder.embedding.weight[lab.EOS] += 1
    differ(encode(encoder, [word], [3])[0], mu, "the state is taken before EOS was read")
    encoder = answer()
    with torch.enable_grad():
        mu, logvar = encode(encoder, [word, neighbour], [3, 2])
        for layer, output in {"mu": mu, "logvar": logvar}.items():
            reaches(output, weights_of(encoder, "embedding", "condition", "lstm", layer))


class Echo(nn.Module):
    """Stands for an LSTM: its hidden state is its input, and adds up what it was fed."""

    def forward(self, inputs, hx):
        """Returns hidden states, and the state after the last."""
        h0, c0 = hx
        sums = inputs.cumsum(1) + h0.transpose(0, 1)  # (B, T, H)
        return sums, (sums[:, -1:].transpose(0, 1), c0)

    def flatten_parameters(self):
        """Has none."""


SOS, EOS = 5, 4  # what these symbols count in a chain; a letter counts its number
BEGINNING = torch.tensor([[0.0], [3.0]]).expand(2, 32)  # two z
TENSES = torch.tensor([0, 1])
BEGINS = (SOS, SOS + 3 + 2)  # what two words have added up before their first letter


def follower(fed, symbols):
    """Returns the symbol that comes in a chain after letters with this sum."""
    return (fed * fed + fed) % symbols


def chain(letters, symbols, steps, begins):
    """Returns the symbols of a chain; letters are those that it is fed, or None: its own.

    Of 27 symbols: where it begins at 5, 5 · 6 % 27 = 3 comes first; fed that, 8 · 9 % 27 = 18.
    """
    fed, found = begins, []
    for n in range(steps):
        found.append(follower(fed, symbols))
        letter = found[-1] if letters is None else letters[n]
        fed += letter if letter != lab.EOS else EOS
    return found


class Chain(nn.Module):
    """Stands for the layer of letters: what comes next depends on the sum of what was fed."""

    def __init__(self, symbols):
        super().__init__()
        self.symbols = symbols
        self.counts = torch.arange(symbols + 1.0)
        self.counts[[lab.EOS, symbols]] = torch.tensor([float(EOS), float(SOS)])

    def forward(self, hidden):
        """Returns scores: 1 for the symbol that comes next, else 0."""
        fed = (hidden[..., : self.symbols + 1] * self.counts).sum(-1)
        return F.one_hot(follower(fed.round().long(), self.symbols), self.symbols).float()


def adding_decoder(answer):
    """Returns a student's decoder whose parts were replaced: it adds up the letters it was fed.

    It begins with z, as if z letters *a* had come, and the tense, as so many *b*.
    """

    class Adding(answer):
        def first_state(self, z, tense):
            h0 = torch.zeros(1, len(z), 64)
            h0[0, :, 1], h0[0, :, 2] = z[:, 0], tense.float()
            return h0, h0

    decoder = Adding()
    symbols = decoder.letter.out_features
    decoder.embedding = nn.Embedding.from_pretrained(torch.eye(symbols + 1, 64))
    decoder.lstm = Echo()
    decoder.letter = Chain(symbols)
    return decoder, symbols


class SimpleStart:
    """Begins a word with z alone, in place of a student's own first state."""

    def first_state(self, z, tense):
        """Returns the first hidden state and cell, each (1, B, H)."""
        start = F.pad(z, (0, self.lstm.hidden_size - z.shape[1]))[None]
        return start, start


def simple_decoder(answer):
    """Returns a student's decoder with a simple start, and two codes that take gradients."""
    decoder = type("Simple", (SimpleStart, answer), {})()
    return decoder, torch.randn(2, 32, requires_grad=True)


def decoder_first_state(answer, tense=1):
    """Checks how z and tense begin a word."""
    decoder = answer()
    width = decoder.from_z.in_features - decoder.condition.embedding_dim
    z = torch.randn(3, width, requires_grad=True)
    tenses = torch.full((3,), tense)
    why = "the decoder may know z and the tense, nothing of the encoder"
    with stand_ins(answer.first_state, encoder=Untouchable(why)), kept(z, tenses):
        h, c = decoder.first_state(z, tenses)
        other_c = decoder.first_state(z, (tenses + 1) % 4)[1]
        moved_c = decoder.first_state(z + 1, tenses)[1]
    H = decoder.from_z.out_features
    assert h.shape == c.shape == (1, 3, H), "hidden state and cell are each (1, B, H)"
    close(h, c.tanh(), "the hidden state is tanh of the cell")
    differ(c, other_c, "the tense is not in the first state")
    differ(c, moved_c, "z is not in the first state")
    differ(c[0, 0], c[0, 1], "all words of a batch begin in the same state")
    calls = []
    decoder.from_z.register_forward_hook(lambda layer, given, made: calls.append((*given, made)))
    h, c = decoder.first_state(z, tenses)
    assert calls, "the cell is what the layer from_z makes"
    given, made = (tensor.reshape(len(z), -1) for tensor in calls[-1])
    close(c[0], made, "the cell is what the layer from_z makes, as it is")
    condition = decoder.condition(tenses)
    in_order = torch.equal(given[:, :width], z) and torch.equal(given[:, width:], condition)
    turned = torch.equal(given[:, -width:], z) and torch.equal(given[:, :-width], condition)
    assert in_order or turned, "from_z is given z and the tense's embedding, as they are"
    sources = {"z": z, **weights_of(decoder, "condition", "from_z")}
    reaches(h, sources)
    reaches(c, sources)


@torch.no_grad()
def decoder_forward(answer, word=(3, 1, 2, 0)):
    """Checks teacher forcing."""
    decoder, symbols = adding_decoder(answer)
    words = [word, (*word[-2::-1], 0)]  # and the same backwards
    letters = torch.tensor(words)
    with kept(letters):
        scores = decoder(BEGINNING, TENSES, letters)
    assert scores.shape == (2, len(word), symbols), "scores are (B, T, V − 1)"
    expected = [chain(words[n], symbols, len(word), BEGINS[n]) for n in (0, 1)]
    found = scores.argmax(2).tolist()
    first = (
        "the first letter fed is SOS, not the word's own, and the first state is self.first_state"
    )
    assert [row[0] for row in found] == [row[0] for row in expected], first
    shift = "each score comes from the letters *before* it, of its own word: shift them by one"
    assert found == expected, shift
    raw = F.one_hot(torch.tensor(expected), symbols).float()
    close(scores, raw, "scores are what the layer of letters gives, no probabilities")
    with torch.enable_grad():
        decoder, z = simple_decoder(answer)
        scores = decoder(z, TENSES, letters)
        reaches(scores[:, -1], {"z": z, **weights_of(decoder, "embedding", "lstm", "letter")})


@torch.no_grad()
def decoder_free_run(answer, steps=6):
    """Checks greedy decoding."""
    decoder, symbols = adding_decoder(answer)
    scores = decoder.free_run(BEGINNING, TENSES, steps)
    enough = "scores are (B, steps, V − 1): all steps are made, also behind an EOS"
    assert scores.shape == (2, steps, symbols), enough
    expected = torch.tensor([chain(None, symbols, steps, begins) for begins in BEGINS])
    found = scores.argmax(2)
    first = "the first letter fed is SOS, and the first state is self.first_state"
    assert found[:, 0].equal(expected[:, 0]), first
    goes_on = "each step goes on from the state of the one before: do not begin anew"
    first_letters = [follower(begins, symbols) for begins in BEGINS]
    pairs = zip(BEGINS, first_letters, strict=True)
    begun_anew = [follower(begins - SOS + letter, symbols) for begins, letter in pairs]
    assert found[:, 1].tolist() != begun_anew, goes_on
    fed = "each step is fed the likeliest letter of the one before, each word its own"
    assert found[:, 1].equal(expected[:, 1]), fed
    is_eos = expected == lab.EOS
    is_behind = is_eos.cumsum(1) > is_eos.int()  # an earlier EOS
    assert found.where(~is_behind, expected).equal(expected), goes_on
    likewise = "behind an EOS a word goes on likewise, fed EOS: where it ends is seen later"
    assert found.equal(expected), likewise
    raw = F.one_hot(expected, symbols).float()
    close(scores, raw, "scores are what the layer of letters gives, no probabilities")
    at_once = torch.full((2, 32), 26.0 - SOS)  # 26 · 27 % 27 = 0: EOS comes first
    ended = decoder.free_run(at_once, torch.zeros(2, dtype=torch.long), steps)
    assert ended.shape == scores.shape, enough
    with torch.enable_grad():
        decoder, z = simple_decoder(answer)
        scores = decoder.free_run(z, TENSES, steps)
        reaches(scores[:, -1], {"z": z, **weights_of(decoder, "embedding", "lstm", "letter")})


class Spelling(nn.Module):
    """Stands for a decoder that spells given words, each from its own code and in its own tense.

    Its hidden state counts the letters that it was fed; its last number says which word it spells.
    """

    def __init__(self, words, codes, tenses):
        super().__init__()
        self.codes, self.tenses = codes, tenses
        letters, _ = VOCABULARY.to_tensor(words)
        self.letters = F.pad(letters, (0, 2 * lab.MAX_LETTERS))  # (N, ·): EOS behind each word,
        is_behind = (self.letters == lab.EOS).cumsum(1) > 1
        self.letters[is_behind] = 1  # and then a's, which are no part of it
        symbols = VOCABULARY.size
        before = F.pad(self.letters[:, :-1], (1, 0), value=VOCABULARY.sos)
        self.fed = F.one_hot(before, symbols).cumsum(1)  # (N, ·, V): what must have been fed
        self.embedding = nn.Embedding.from_pretrained(torch.eye(symbols, 64))
        self.lstm = Echo()

    def first_state(self, z, tense):
        """Returns the first state (1, B, 64) of codes that it knows."""
        number = torch.cdist(z, self.codes).argmin(1)
        close(z, self.codes[number], "z is decoded as it is, without new noise")
        asked = "decode in the tenses that are asked for, each word in its own"
        assert tense.tolist() == self.tenses[number].tolist(), asked
        h0 = F.pad(number.float()[:, None], (63, 0))[None]
        return h0, h0

    def letter(self, hidden):
        """Returns scores (B, T, V − 1): 1 for the next letter, or for *a* if others were fed."""
        number = hidden[..., -1].round().long()
        counts = hidden[..., : VOCABULARY.size].round().long()
        place = (counts.sum(-1) - 1).clamp(0, self.letters.shape[1] - 1)
        is_right = (counts == self.fed[number, place]).all(-1)
        following = self.letters[number, place].where(is_right, torch.tensor(1))
        return F.one_hot(following, VOCABULARY.size - 1).float()

    def free_run(self, z, tense, steps):
        """Returns scores (B, steps, V − 1)."""
        h0, _ = self.first_state(z, tense)
        letters = self.letters[h0[0, :, -1].long(), :steps]
        return F.one_hot(letters, VOCABULARY.size - 1).float()

    def forward(self, *arguments):
        """Refuses to be fed the right letters."""
        raise AssertionError("nobody knows the right letters here: free_run")


def decode(answer, words=("go", "understandingunderstandingunders"), tense=2):
    """Checks spelling from codes; the words that are spelled may be long."""
    codes = torch.randn(len(words), 32)
    tenses = (torch.arange(len(words)) + tense) % 4
    encoder = Untouchable("only z may be used, nothing of the encoder")
    decoder = Spelling(words, codes, tenses)
    with stand_ins(answer, decoder=decoder, encoder=encoder), kept(codes, tenses):
        found = answer(codes, tenses)
    assert isinstance(found, list | tuple), "return words, not tensors"
    assert len(found) == len(words), f"found {len(found)} words; expected {len(words)}"
    enough = "a word may have MAX_LETTERS letters and EOS, and nobody knows how many it has"
    pairs = list(zip(words, found, strict=True))
    assert not any(word != part and word.startswith(part) for word, part in pairs), enough
    assert list(found) == list(words), f"found {found}; expected {list(words)}"


# ---- 02: the objective ----
def kl_divergence(answer, mu=(0.5, -1.0), sigma=(0.5, 2.0)):
    """Checks KL against PyTorch's."""
    mu, sigma = torch.tensor([mu]), torch.tensor([sigma])
    zero = torch.zeros(3, 5)
    close(answer(zero, zero), torch.zeros(3), "KL of the prior itself is 0, one number a word (B,)")
    normal = torch.distributions.Normal
    mu, logvar = mu.requires_grad_(), (2 * sigma.log()).requires_grad_()
    sigma = (0.5 * logvar).exp()
    by_torch = torch.distributions.kl_divergence(normal(mu, sigma), normal(0.0, 1.0))
    with kept(mu, logvar):
        kl = answer(mu, logvar)
    assert kl.requires_grad, "no gradient reaches mu and logvar: nothing may be detached"
    found = kl.detach()
    assert found.item() >= 0, "KL is never negative: look at the signs"
    half = "the factor ½ is missing"
    assert not math.isclose(found.item(), 2 * by_torch.sum().item(), abs_tol=1e-3), half
    mean = "KL is summed over dimensions, not averaged"
    assert not math.isclose(found.item(), by_torch.mean().item(), abs_tol=1e-3), mean
    close(found, by_torch.sum(1), "other than PyTorch's; logvar is log σ², not σ and not log σ")
    for name, source in {"mu": mu, "logvar": logvar}.items():
        reaches(kl, {name: source})
        (slope,) = torch.autograd.grad(kl.sum(), source, retain_graph=True)
        (right,) = torch.autograd.grad(by_torch.sum(), source, retain_graph=True)
        close(slope, right, f"the gradient by {name} is another than PyTorch's")


def reparameterize(answer, mean=1.5, sigma=0.3):
    """Checks draws of z by their mean, their spread and their gradients."""
    mu = torch.full((4000, 5), mean, requires_grad=True)
    logvar = torch.full((4000, 5), 2 * math.log(sigma), requires_grad=True)
    with kept(mu, logvar):
        z = answer(mu, logvar)
    assert z.shape == mu.shape, "z has the shape of mu"
    assert not z.isnan().any(), "z is not a number: σ = exp(½ logvar), a positive number"
    differ(z, mu, "nothing is drawn")
    differ(z[0], z[1], "all words get the same noise")
    differ(z[:, 0], z[:, 1], "all dimensions get the same noise")
    close(z.mean(), mean, "the mean of the draws is not mu", tolerance=0.05)
    close(
        z.std(), sigma, "the spread of the draws is not σ = exp(½ logvar)", tolerance=0.02 * sigma
    )
    differ(z, answer(mu, logvar), "each call draws the same noise: set no seed in it")
    torch.manual_seed(1)
    once = answer(mu, logvar)
    torch.manual_seed(1)
    seeded = "the noise is not PyTorch's own, which torch.manual_seed makes repeatable"
    close(once, answer(mu, logvar), seeded)
    assert z.requires_grad, "no gradient passes: compute z from mu, σ and noise, do not sample it"
    z.sum().backward()
    stopped = "no gradient reaches mu or logvar: a draw lets none pass, so draw noise alone"
    assert mu.grad is not None and logvar.grad is not None, stopped
    assert mu.grad.abs().sum() > 0 and logvar.grad.abs().sum() > 0, stopped
    close(mu.grad, torch.ones_like(mu), "dz/dμ is 1")
    close(logvar.grad, (z - mu).detach() / 2, "dz/dlogvar is σ ε / 2")


def cross_entropy(answer, lengths=(7, 3)):
    """Checks CE where it is known: guessing, certainty, padding."""
    B, T, V = len(lengths), max(lengths) + 2, 27
    lengths = torch.tensor(lengths)
    letters = torch.randint(1, V, (B, T))
    letters[torch.arange(T) >= lengths[:, None] - 1] = lab.EOS  # at its end, and as padding
    guessed = answer(torch.zeros(B, T, V), letters.clone(), lengths)
    assert guessed.shape == (B,), (
        f"found the shape {tuple(guessed.shape)}; expected a number a word"
    )
    mean = "CE of a word is the sum over its characters, not their mean"
    assert not torch.allclose(guessed, torch.full((B,), math.log(V))), mean
    padding = "the padding is counted"
    assert not torch.allclose(guessed, torch.full((B,), T * math.log(V))), padding
    eos = "EOS belongs to the word, and is counted"
    assert not torch.allclose(guessed, (lengths - 1) * math.log(V)), eos
    close(guessed, lengths * math.log(V), "guessing costs ln 27 nats a character, EOS counted")
    scores = torch.zeros(B, T, V, requires_grad=True)
    reaches(answer(scores, letters.clone(), lengths), {"the scores": scores})
    certain = 100.0 * F.one_hot(letters, V)
    nothing = answer(certain, letters.clone(), lengths)
    close(nothing, torch.zeros(B), "a certain, right word costs nothing")
    scores = torch.randn(B, T, V)
    nats = answer(scores, letters.clone(), lengths)
    for n, length in enumerate(lengths):
        scores[n, length:] += torch.randn(T - length, V)
    changed = answer(scores, letters.clone(), lengths)
    close(changed, nats, "scores behind EOS change the CE of a word")


# ---- 02: the training ----
class Speller(nn.Module):
    """Stands for a decoder: its scores tell forced words from free ones, which end as it is told.

    A word's z is its number. The letters that it feeds itself are a's, with an EOS at each of its
    ends.
    """

    def __init__(self, words, ends):
        super().__init__()
        self.words = words
        letters = torch.ones(len(ends), words.letters.shape[1], dtype=torch.long)
        for n, places in enumerate(ends):
            letters[n, places] = lab.EOS
        own = F.one_hot(letters, VOCABULARY.size - 1).float()
        self.own = nn.Parameter(own)  # (B, T, V - 1)
        self.forced = nn.Parameter(torch.full_like(own, 2.0))

    def forward(self, z, tense, letters):
        """Returns the scores of words that are fed the right letters."""
        right = [letters is self.words.letters, tense is self.words.tense]
        assert all(right) or len(z) < len(self.words.letters), "forward(z, tense, letters)"
        return self.forced[z[:, 0].long()]

    def free_run(self, z, tense, steps):
        """Returns the scores of words that are fed their own letters."""
        width = self.words.letters.shape[1]
        assert steps == width, "in training a word runs free for as many steps as letters (B, T)"
        assert len(z) == len(tense), "give each word that runs free its own z and its own tense"
        return self.own[z[:, 0].long()]


def spell(answer, ratio=0.7):
    """Checks teacher forcing by its share, and what counts of words that run free."""
    B, T = 6, 5
    ends = [[4], [2], [2, 4], [0], [], [3, 1]]  # where a word that runs free says EOS
    lengths_of_words = torch.tensor([3, T, T, T, 4, T])
    own = torch.tensor([min(places, default=T) + 1 for places in ends])
    own = own.minimum(lengths_of_words)  # what counts then
    letters = 3 * (torch.arange(T) < lengths_of_words[:, None] - 1).long()  # (B, T)
    words = lab.Words(letters, lengths_of_words.clone(), torch.arange(B) % 4)
    z = torch.arange(B).float()[:, None].expand(B, 32)
    decoder = Speller(words, ends)

    def forced(tf_ratio):
        """Returns which words were fed the right letters, having looked at what counts."""
        found = answer(z, words, tf_ratio)
        both = "return scores (B, T, V − 1), and how many characters of each word count (B,)"
        assert isinstance(found, tuple) and len(found) == 2, both
        scores, lengths = found
        assert scores.shape == decoder.own.shape and lengths.shape == (B,), both
        is_forced = (scores == 2).all(2).all(1)  # (B,)
        wrong = "a word's scores are those of one way of spelling: fed the right letters, or free"
        close(scores, torch.where(is_forced[:, None, None], decoder.forced, decoder.own), wrong)
        assert scores.requires_grad, "gradients must pass through the scores"
        whole = "a word that is fed the right letters counts with its EOS: words.lengths"
        assert (lengths == lengths_of_words)[is_forced].all(), whole
        why = "a word that runs free counts up to its own first EOS, or to the right word's end"
        assert (lengths == own)[~is_forced].all(), why
        changed = "words.lengths were changed: copy them first"
        assert words.lengths.equal(lengths_of_words), changed
        return is_forced

    with stand_ins(answer, decoder=decoder):
        calls = {0.0: 20, ratio: 200, 1.0: 20}
        coins = {r: torch.stack([forced(r) for _ in range(n)]) for r, n in calls.items()}
        fed, free = answer(z, words, 1.0)[0], answer(z, words, 0.0)[0]
    assert coins[1.0].all(), "with a ratio of 1 all words are fed the right letters"
    assert not coins[0.0].any(), "with a ratio of 0 all words run free"
    together = coins[ratio].all(1) | ~coins[ratio].any(1)
    assert not together.all(), "a coin for each word: some of a batch run free, others do not"
    varied = (coins[ratio] != coins[ratio][0]).any()
    assert varied, "the same words run free in each call: set no seed, and throw new coins"
    share = coins[ratio].float().mean()
    why = f"with a ratio of {ratio} the share of forced words was {share:.2f}"
    close(share, ratio, why, tolerance=0.06)
    reaches(fed, {"the scores of words that are fed the right letters": decoder.forced})
    reaches(free, {"the scores of words that run free": decoder.own})


class Weight(nn.Module):
    """Stands for an encoder with one weight."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def forward(self, letters, lengths, tense):
        """Returns the weight as mu, and 0 as logvar, each (B, 1)."""
        return self.weight.expand(len(letters), 1), torch.zeros(len(letters), 1)


class SpellingWeight(Weight):
    """Stands for a decoder with one weight, which `spell` uses and nobody else."""

    def forward(self, *arguments):
        """Refuses to be called."""
        raise AssertionError("spell(z, words, tf_ratio) spells: it decides which words run free")


def check_move(moved, right, of_kl):
    """Asserts that a step moved two weights rightly (2,), and names the likely mistake.

    `of_kl` is how far the encoder moves if KL alone reaches it.
    """
    assert moved.norm() > 0, "the weights did not move: loss.backward(), and then the step"
    is_apart = not torch.allclose(moved, right, atol=1e-4)
    through_z = (
        "no gradient of CE reaches the encoder: it passes through z, as reparameterize gives it"
    )
    assert not (is_apart and math.isclose(moved[0], of_kl, abs_tol=1e-5)), through_z
    is_along = torch.cosine_similarity(moved, right, dim=0) > 0.9999
    clipped = "the step has the right direction and a wrong length: clip to the norm 5, no other"
    assert not (is_apart and is_along), clipped
    assert not is_apart, "the loss is CE + β KL"


def step(answer, beta=0.5, rate=0.1, slopes=(1.0, 0.5)):
    """Checks one step on L = a v (w + 1) + β b w, where w and v are the only weights there are."""
    a, b = slopes
    letters = torch.ones(4, 3, dtype=torch.long)
    words = lab.Words(letters, torch.full((4,), 3), torch.zeros(4, dtype=torch.long))
    encoder, decoder = Weight(2.0), SpellingWeight(1.0)
    weights = [encoder.weight, decoder.weight]
    optimizer = torch.optim.SGD(weights, lr=1000.0)

    counted = torch.full((4,), 2)

    def spell(z, given, tf_ratio):
        assert given is words and tf_ratio == 0.9, "spell(z, words, tf_ratio) is given its ratio"
        return decoder.weight * z, counted

    def cross_entropy(scores, letters, lengths):
        right = letters is words.letters and lengths is counted
        assert right, "cross_entropy(scores, words.letters, lengths), with the lengths of spell"
        return a * scores[:, 0]

    parts = {
        "encoder": encoder,
        "decoder": decoder,
        "reparameterize": lambda mu, logvar: mu + 1,
        "spell": spell,
        "cross_entropy": cross_entropy,
        "kl_divergence": lambda mu, logvar: b * mu[:, 0],
    }

    def move():
        """Returns CE and KL of a step, where it went from, and where to."""
        before = torch.stack(weights).detach()
        with patch.object(optimizer, "step", wraps=optimizer.step) as made, kept(*words):
            ce, kl = answer(optimizer, words, beta, 0.9, rate)
        given = "the optimizer that is given makes no step: call its step(), and make no other"
        assert made.called, given
        return ce, kl, before, torch.stack(weights).detach()

    def should_move(before):
        """Returns how far the weights should move (2,)."""
        w, v = before.tolist()
        return rate * torch.tensor([a * v + beta * b, a * (w + 1)])

    with stand_ins(answer, **parts):
        ce, kl, before, after = move()
        close(ce, 3 * a, "CE is the mean over words, in nats, of what z = reparameterize(…) gives")
        close(kl, 2 * b, "KL is the mean over words, in nats, without β")
        assert isinstance(ce, float) and isinstance(kl, float), "return numbers: item()"
        assert (after - before).norm() < 10, "set the learning rate before the optimizer's step"
        check_move(before - after, should_move(before), of_kl=rate * beta * b)
        _, _, before, after = move()
        not_zeroed = "gradients of earlier steps must be set to zero"
        close(before - after, should_move(before), not_zeroed)
        a = 1000.0
        _, _, before, after = move()
        clipped = "the gradient of all weights together is clipped to the norm 5"
        close((after - before).norm(), 5 * rate, clipped)


# ---- 03: scores ----
BLEU4 = (
    ("walking", "walked", 0.4111),
    ("sents", "sends", 0.2857),
    ("begin", "beginning", 0.4493),
    ("banana", "band", 0.2021),
    ("go", "going", 0.0706),
    ("hopped", "sink", 0.0),
)


def bleu4(answer, pairs=BLEU4):
    """Checks BLEU-4 by values that NLTK gives."""
    without = "count the runs yourself, without NLTK"
    modules = dict.fromkeys(("nltk", "nltk.translate", "nltk.translate.bleu_score"))
    with patch.dict(sys.modules, modules), stand_ins(answer, lab=Untouchable(without)):
        close(answer("walking", "walking"), 1.0, "an equal word scores 1")
        close(answer("", "walking"), 0.0, "an empty output scores 0")
        for output, target, expected in pairs:
            found = answer(output, target)
            if expected == 0:
                close(found, 0.0, "where no letter is shared the score is 0, without smoothing")
                continue
            assert found > 0, "no smoothing: where no run is right, 0.1 stands for their number"
            turned = math.isclose(answer(target, output), expected, abs_tol=1e-3)
            swapped = "output and target are swapped: precision is a share of the output's runs"
            assert not turned or math.isclose(found, expected, abs_tol=1e-3), swapped
            close(found, expected, f"{output} for {target}: {found:.4f}, not {expected}", 1e-3)


def gaussian_score(answer, repeats=10):
    """Checks the share and the number of rows."""
    go = ("go", "goes", "going", "went")
    see = ("see", "sees", "seeing", "saw")
    wrong = ("see", "sees", "seeing", "seed")
    share, distinct = answer([go, go, see, wrong], [go, see])
    close(share, 0.75, "a share is asked for, of verbs that are rows, all four forms in one row")
    table = [go] * repeats + [see]
    mixed = ("go", "sees", "going", "saw")
    share, distinct = answer([go, go, see, wrong], table)
    assert share <= 1, "a row that the table repeats still counts once"
    assert distinct == 2, "distinct: how many different rows came up"
    share, distinct = answer([mixed] * 4, table)
    close(share, 0.0, "the four forms must stand in one row")
    share, distinct = answer([go] * repeats, table)
    assert (share, distinct) == (1.0, 1), "one row, always: a share of 1, and one distinct row"


# ---- 02 and 04: schedules ----
def monotonic(answer, at=0.05):
    """Checks a rise in the first tenth; `at` is a place in it."""
    close(answer(at), 10 * at, "in the first tenth of the training the share rises evenly to 1")
    for progress in (0.1, 0.35, 1.0):
        close(answer(progress), 1.0, "from the first tenth on the share is 1")


def teacher_forcing(answer, at=0.4):
    """Checks an even fall from 1 to 0.95; `at` is a place on the way."""
    close(answer(1e-9), 1.0, "at first all words are fed the right letters: 1")
    close(answer(1.0), 0.95, "at the end 0.95 of the words are fed the right letters")
    close(answer(at), 1 - 0.05 * at, "the ratio falls evenly, in a straight line")


def four_cycles(answer, at=0.2):
    """Checks the shape of four cycles; `at` is a place in the rising half of each, 0..0.5."""
    for cycle in range(4):
        begins = cycle / 4
        low = f"the weight falls to 0 where a cycle begins, at {begins} of the training"
        close(answer(begins + 1e-6), 0.0, low, tolerance=1e-3)
        rising = answer(begins + at / 4)
        close(rising, 2 * at, "in the first half of a cycle the weight rises evenly to 1", 1e-3)
        close(answer(begins + 0.19), 1.0, "in the second half of a cycle the weight is 1", 1e-3)
        last = "the last step of a cycle still belongs to it: the weight falls with the next"
        close(answer(begins + 0.25), 1.0, last, 1e-3)


# ---- 05: the gate, and refining ----
def path_costs(answer, steps=6):
    """Checks what each path costs against sums over its parts."""
    parts = [torch.rand(2, steps, requires_grad=True) for _ in range(3)]
    blind, told, opens = parts
    with kept(*parts):
        found = answer(blind, told, opens)
    assert found.shape == (2, steps), "a cost for each word and each place to open: (B, T)"
    for k in range(steps):
        before, behind = blind[:, :k].sum(1), told[:, k:].sum(1)
        both = "a path that opens before letter k pays for opening there, once"
        assert not torch.allclose(found[:, k], before + behind, atol=1e-5), both
        letters = "letters 0 to k − 1 are spelled blind, and letter k and those behind it told"
        close(found[:, k], before + opens[:, k] + behind, letters)
    reaches(found, {"blind": blind, "told": told, "opens": opens})


def sum_paths(answer, tau=0.4, costs=(3.0, 1.0, 2.0)):
    """Checks the sum over paths by its definition, and where numbers are large."""
    T = len(costs)
    paths = torch.tensor([[*costs, 0.5], [*costs[::-1], 0.1]], requires_grad=True)
    mask = torch.tensor([[True] * T + [False]] * 2)  # the last character is padding
    with kept(paths, mask):
        found = answer(paths, mask)
    assert found.shape == (2,), "one cost a word: (B,)"
    chances = (-paths[:, :T]).exp()
    close(found, -chances.sum(1).log(), "with τ = 1: −log of the sum over p, without the padding")
    same = answer(torch.full((2, T + 1), 2.0), mask, tau)
    scale = "T equal paths cost the same whatever τ is; T is the number of characters of the word"
    close(same, torch.full((2,), 2.0 - math.log(T)), scale)
    flat = -(T ** (tau - 1) * (chances**tau).sum(1)).log() / tau
    close(answer(paths, mask, tau), flat, f"for τ = {tau} the cost is another")
    large = answer(1000 + paths, mask, tau)
    stable = "e^−1000 is 0 in a computer, and its logarithm −∞: use logsumexp"
    close(large, 1000 + flat, stable, tolerance=1e-3)
    reaches(found, {"the costs of the paths": paths})


def refine_step(answer, rate=0.1, slope=1.5):
    """Checks a step of the encoder on L = a v (w + 1), where w is the encoder's only weight."""
    a, v, letters = slope, 0.8, torch.ones(4, 3, dtype=torch.long)
    words = lab.Words(letters, torch.tensor([3, 2, 3, 1]), torch.zeros(4, dtype=torch.long))
    encoder = Weight(2.0)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1000.0)

    class Frozen(nn.Module):
        def forward(self, z, tense, letters):
            assert letters is words.letters, "all words are fed the right letters: words.letters"
            return v * z

    def cross_entropy(scores, letters, lengths):
        assert lengths.equal(words.lengths), "the padding does not count: words.lengths"
        return a * scores[:, 0]

    parts = {
        "encoder": encoder,
        "decoder": Frozen(),
        "reparameterize": lambda mu, logvar: mu + 1,
        "cross_entropy": cross_entropy,
    }
    with stand_ins(answer, **parts):
        for w in (2.0, 2.0 - rate * a * v):
            ce = answer(optimizer, words, rate)
            close(ce, a * v * (w + 1), "CE is the mean over words, of a draw of each code")
            assert isinstance(ce, float), "return a number: item()"
            moved = w - encoder.weight.item()
            assert moved != 0, "the encoder did not move: backward(), and then the optimizer's step"
            close(moved, rate * a * v, "the loss is CE alone, and gradients begin at zero", 1e-3)
        a = 1000.0
        before = encoder.weight.item()
        answer(optimizer, words, rate)
        clipped = "the gradient is clipped to the norm 5"
        close(abs(encoder.weight.item() - before), 5 * rate, clipped, 1e-3)
