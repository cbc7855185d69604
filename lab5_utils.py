"""A conditional sequence-to-sequence VAE that converts English verbs between four tenses.

Shapes: B words in a batch, T characters, K targets of a source, C condition, H hidden, Z latent, N verbs.
Cross-entropy and KL are in nats per word: summed over characters and dimensions, averaged over words.
Bad input raises ValueError, or TypeError, naming what was found and expected.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os
import random
import re
from collections import Counter, defaultdict, namedtuple
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from filelock import FileLock
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

# ---- Words ----
TENSES = ("simple present", "third person", "present progressive", "simple past")
SP, TP, PG, P = range(4)
EOS, SOS, VOCABULARY = 0, 27, 28  # a to z are 1 to 26; EOS ends and pads a word, SOS starts decoding
MAX_LETTERS = 32  # of a word; decoding stops one later
CHUNK = 512  # words
Words = namedtuple("Words", "letters lengths tense")  # (B, T), padded with EOS; (B,), EOS counted; (B,)


def check_words(words, where="words", count=None):
    """Returns the words as a list."""
    if isinstance(words, str):
        raise TypeError(f"{where}: found {words!r:.60}; expected a list of words")
    for word in (words := list(words)):
        if not isinstance(word, str) or not re.fullmatch("[a-z]{1,%d}" % MAX_LETTERS, word):
            raise ValueError(f"{where}: found {word!r:.60}; expected 1 to {MAX_LETTERS} letters a-z")
    if count not in (None, len(words)):
        raise ValueError(f"{where}: found {len(words)} words; expected {count}")
    return words


def check_tense(tense, count):
    """Returns `count` tenses (B,) from an int or one int per word."""
    tenses = np.asarray(tense.tolist() if isinstance(tense, Tensor) else tense)
    if tenses.shape not in ((), (count,)) or not (np.isin(tenses, range(4)) & (tenses.dtype.kind in "iu")).all():
        raise ValueError(f"tense: found {tense!r:.60}; expected 0..3, one for all or {count}")
    return torch.from_numpy(np.full(count, tenses, dtype=np.int64))  # (B,)


def words_to_tensor(words):
    """Turns words into letters (B, T), padded with EOS, and lengths (B,), one EOS counted."""
    lengths = torch.tensor([len(word) + 1 for word in words], dtype=int)  # (B,)
    width = max(map(len, words), default=0) + 1
    codes = np.frombuffer("".join(word.ljust(width, "`") for word in words).encode(), np.uint8)  # "`" precedes "a"
    return torch.from_numpy(codes.astype(np.int64) - ord("`")).view(len(words), width), lengths  # (B, T), (B,)


def tensor_to_words(letters):
    """Turns letters (B, T) back into words; a word ends at its first EOS."""
    return [bytes(row).decode().split("`")[0] for row in letters.cpu().numpy().astype(np.uint8) + ord("`")]


# ---- Data ----
HERE = Path(__file__).resolve().parent
Verb = tuple[str, str, str, str]  # the four forms of a verb, in the order of TENSES
TestPair = namedtuple("TestPair", "source target source_tense target_tense")  # a tense is 0..3
TEST_TENSES = ((SP, P), (SP, PG), (SP, TP), (SP, TP), (P, TP), (SP, PG), (P, SP), (PG, SP), (PG, P), (PG, TP))


def load_verbs(path=None) -> list[Verb]:
    """Reads a verb table, repeats kept; None: train.txt in $LAB5_DATA or here. Raises FileNotFoundError, ValueError."""
    return _read_rows(path, "train.txt", 4)


def load_test_pairs(path=None) -> list[TestPair]:
    """Reads the ten conversions; the tenses are the course's. None: as `load_verbs`."""
    rows = _read_rows(path, "test.txt", 2)
    if len(rows) != len(TEST_TENSES):
        raise ValueError(f"{path or 'test.txt'}: found {len(rows)} rows; expected {len(TEST_TENSES)}")
    return [TestPair(*row, *tenses) for row, tenses in zip(rows, TEST_TENSES)]


def _read_rows(path, name, columns):
    folder = Path(os.environ.get("LAB5_DATA") or HERE)  # relative: to cwd or to this module
    path = Path(path or (folder if folder.is_dir() else HERE / folder) / name)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path.name} in {path.absolute().parent} (LAB5_DATA sets another folder)")
    lines = path.read_text("utf-8", "backslashreplace").removesuffix("\n").split("\n")
    return [tuple(check_words(line.split(" "), f"{path}, line {n}", columns)) for n, line in enumerate(lines, 1)]


def check_verbs(verbs):
    """Returns the verbs as tuples; None: `load_verbs()`."""
    verbs = load_verbs() if verbs is None else verbs
    if not (checked := [tuple(check_words(verb, f"verb {n}", 4)) for n, verb in enumerate(verbs, 1)]):
        raise ValueError("verbs: found none; expected at least one")
    return checked


def regular_rows(lemma):
    """Returns the rows that spelling rules give a lemma, plain and doubled."""
    check_words([lemma])
    third = lemma + ("es" if re.search("(s|x|z|ch|sh|(^|[^aeiou])o)$", lemma) else "s")
    stem, past = lemma, lemma + "ed"
    if re.search("(^|[^aeiou])y$", lemma):
        third, past = lemma[:-1] + "ies", lemma[:-1] + "ied"
    elif lemma.endswith("ie"):
        stem, past = lemma[:-2] + "y", lemma + "d"
    elif lemma.endswith("e"):
        stem, past = (lemma if lemma.endswith(("ee", "ye", "oe")) else lemma[:-1]), lemma + "d"
    doubled = lemma + lemma[-1]
    return (lemma, third, stem + "ing", past), (lemma, third, doubled + "ing", doubled + "ed")


# ---- Synthetic verbs ----
def segment(verb):
    """Segments a regular verb into kind, head (before the last syllable), vowels, coda, endings; None: no syllable.
    Kinds: "short", of one syllable; "stressed", of more, and the last consonant doubles; "long"."""
    lemma = verb[0]
    if not (syllable := re.fullmatch("(.*?)(?<!q)([aeiouy]+)([^aeiouy]*e?)", lemma)):
        return None
    head, vowels, coda = syllable.groups()
    plain, several = verb == regular_rows(lemma)[0], re.search("[aeiouy]", head.replace("qu", ""))
    kind = "short" if not several else "long" if plain else "stressed"
    if kind == "stressed":  # sub·mit: the last syllable stays
        head, vowels, coda = head[:-1], "", ""
    elif not coda:  # en·joy, try: the vowels belong to the ending
        vowels = ""
    elif lemma.endswith("h"):  # -ch and -sh take -es
        coda = ""
    else:  # the last consonant decides on -es and doubling, but for a silent e
        coda = os.path.commonprefix(verb)[len(head + vowels) : None if lemma.endswith("e") else -1]
    return kind, head, vowels, coda, tuple(form[len(head + vowels + coda) :] for form in verb)


def synthesize(verbs, count: int, seed: int) -> list[Verb]:
    """Returns `count` verbs (hallucinated data, Anastasopoulos & Neubig 2019): a regular one with the head of another
    of its kind, a fifth of the letters up to the endings resampled; or a compound, inflected as its last part."""
    verbs, rng = check_verbs(verbs), random.Random(seed)
    regular = [parts for verb in verbs if verb in regular_rows(verb[0]) and (parts := segment(verb))]
    if not regular:
        raise ValueError(f"verbs: found no regular one among {len(verbs)}; expected one")
    heads, alike = defaultdict(list), defaultdict(list)  # by kind; by endings: rare ones (fuzz, echo) get a share
    for parts in regular:
        heads[parts[0]].append(parts[1]), alike[parts[4]].append(parts)
    alike, kinds = list(alike.values()), ("aeiou", "bcdfghjklmnprstvwxz")  # y is both, q needs its u
    other = lambda letter: rng.choice(next((kind for kind in kinds if letter in kind), letter))
    replace = lambda word: "".join(other(letter) if rng.random() < 0.2 else letter for letter in word)
    synthetic = []
    while len(synthetic) < count:
        before = rng.choice(verbs)[0][: rng.randint(0, 6)]
        kind, _, middle, coda, endings = rng.choice(rng.choice(alike) if rng.random() < 0.25 else regular)
        head = before * (kind == "long") + rng.choice(heads[kind])
        stem = head if kind == "stressed" else replace(head + middle + coda)  # com·mit: the head stays
        if rng.random() < 0.15:  # over·run, side·step
            stem, endings = before, rng.choice(verbs)
        if len(stem) + len(max(endings, key=len)) <= MAX_LETTERS:
            synthetic.append(tuple(stem + ending for ending in endings))
    return synthetic


# ---- Configuration ----
@dataclass(frozen=True)
class Config:
    """Holds the hyperparameters."""

    seed: int = 0  # of weights, batches and noise
    epochs: int = 144  # refining included
    batch_size: int = 40  # verbs a step, or words (same-tense)
    hidden_size: int = 192  # H; the course's: 256 or 512
    latent_size: int = 64  # Z; the course's: 32
    condition_size: int = 8  # C, of a tense; the course's
    embedding_size: int = 32  # of a letter
    decoding: Literal["lemma-first", "gated", "direct"] = "lemma-first"  # see `CVAE`
    gate_price: float = 0.1  # nats a letter behind the gate
    context_in: Literal["cell", "hidden"] = "cell"  # c0; or h0, the original's
    training: Literal["rows", "same-tense"] = "rows"  # a form to lemma and another; or each to itself
    synthetic: int = 8  # per real verb, new in each refining epoch
    directions: int = 2  # of the encoder, sharing H; 1: forward
    optimizer: Literal["adam", "adam-constant", "sgd"] = "adam"  # warm-up, cosine decay; or a constant rate
    learning_rate: float = 6e-3  # its highest
    ce_per: Literal["word", "character"] = "word"  # CE in the loss; KL is always per word
    strategy: Literal[*STRATEGIES] = "target-rate"  # of the KL weight
    kl_weight: float = 0.5  # the shape's maximum
    rate_start: float = 16.0  # target KL in nats, at first
    rate_end: float = 4.5  # from .2 on; ln 1227 = 7.1 names a verb
    tf_final: float = 1.0  # teacher-forcing ratio at the end, linear from 1
    refine: float = 0.25  # share of epochs, the last: the encoder alone; with synthetic verbs, all
    evaluate_every: int = 32  # epochs between `score`s

    def __post_init__(self):
        for name, kind in get_type_hints(Config).items():
            value, choices = getattr(self, name), get_args(kind)
            low = 0 if kind is float or name in ("seed", "synthetic") else 1
            high = {"tf_final": 1, "refine": 0.9, "directions": 2}.get(name, 2**31 - 1)
            number = type(value) in (int, kind) and low <= value <= high  # no bool, no NaN
            if not (isinstance(value, str) and value in choices if choices else number):
                raise ValueError(f"{name}: found {value!r:.60}; expected {choices or f'{kind.__name__} {low}..{high}'}")
            if kind is float:  # 1 and 1.0 are one run
                object.__setattr__(self, name, float(value))
        H, odd = divmod(self.hidden_size, self.directions)
        if odd or self.condition_size >= H or (self.decoding, self.training) == ("lemma-first", "same-tense"):
            raise ValueError(f"hidden_size/directions: {H + odd / 2}; expected int > condition_size; lemma-first: rows")

    @classmethod
    def course(cls, **changes) -> Config:
        """Returns the recipe by the lab's rules; keywords change it."""
        recipe = dict(epochs=84, batch_size=64, hidden_size=256, latent_size=32, decoding="gated", synthetic=0)
        recipe |= dict(training="same-tense", directions=1, kl_weight=1.0, rate_start=8.0)
        return cls(**recipe | dict(rate_end=4.0, tf_final=0.95, evaluate_every=12) | changes)

    @classmethod
    def classic(cls, **changes) -> Config:
        """Returns the original's recipe, batched by 16, at 16 times its learning rate."""
        recipe = dict(epochs=500, batch_size=16, embedding_size=256, decoding="direct", context_in="hidden", refine=0.0)
        recipe |= dict(optimizer="sgd", learning_rate=0.8, ce_per="character", strategy="monotonic", tf_final=0.1)
        return cls.course(**recipe | dict(evaluate_every=32) | changes)

    @property
    def joint_epochs(self) -> int:
        return self.epochs - int(self.refine * self.epochs)


# ---- Schedules ----
# name: shape, 0..1, of progress p (epoch / epochs) and, if it asks, nats e of KL over the target rate
ramp = lambda p: min(1.0, 2 - 2 * (-4 * p % 1))  # four cycles, half of each rising (Fu et al. 2019)
STRATEGIES = {
    "constant": lambda p: 1.0,
    "monotonic": lambda p: min(1.0, 10 * p),  # Bowman et al. 2016; the original's slope
    "cyclical-linear": ramp,
    "cyclical-trapezoid": lambda p: min(1.0, 1.25 * (2 * p % 1)),  # the original's, as the next
    "cyclical-sigmoid": lambda p: 1 / (1 + math.exp(5 - 10 * (2 * p % 1))) if 2 * p % 1 <= 0.994 else 0.0,
    "cyclical-cosine": lambda p: (1 - math.cos(math.pi * ramp(p))) / 2,
    "free-bits": lambda p, e=0.0: float(e > 0),  # Kingma et al. 2016, all dimensions
    "target-rate": lambda p, e=0.0: min(1.0, max(0.0, e)),  # cf. Shao et al. 2020
}


def kl_weight(config, epoch, kl):
    """Returns the KL weight at `kl` nats per word; 0 in the `refine` epochs. Raises ValueError."""
    progress, shape = epoch / config.epochs, STRATEGIES[config.strategy]
    target = config.rate_start + (config.rate_end - config.rate_start) * min(1.0, progress / 0.2)  # until .2
    share = float(shape(*(progress, kl - target)[: len(signature(shape).parameters)]))
    if not 0 <= share <= 1:
        raise ValueError(f"strategy {config.strategy!r}, progress {progress:g}: found {share!r}; expected 0..1")
    return config.kl_weight * share if epoch <= config.joint_epochs else 0.0


def learning_rate(config, epoch, step, steps):
    """Returns the rate of step 1..steps: Adam's rises and falls, once jointly, once refining."""
    first, last = (0, config.joint_epochs) if epoch <= config.joint_epochs else (config.joint_epochs, config.epochs)
    done, total = (epoch - 1 - first) * steps + step, (last - first) * steps
    shape = min(1, done / 100) * (1 + math.cos(math.pi * done / total)) / 2 if config.optimizer == "adam" else 1.0
    return config.learning_rate * shape


# ---- Model ----
def kl_divergence(mu, logvar):
    """Returns KL(N(mu, e^logvar) ‖ N(0, I)), mu and logvar (B, Z), in nats per word (B,) (Kingma & Welling 2014, B)."""
    # KL = ½ Σ_j (μ² + σ² − 1 − log σ²)
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)  # (B,)


def reparameterize(mu, logvar, rng):
    """Samples z (B, Z) from N(mu, e^logvar), letting gradients pass (Kingma & Welling 2014, 2.4)."""
    noise = torch.randn(mu.shape, generator=rng).to(mu.device)  # the same on any device
    # z = μ + σ ε, ε ~ N(0, I)
    return mu + (0.5 * logvar).exp() * noise  # (B, Z)


def _lstm(config, share=1):
    lstm = nn.LSTM(config.embedding_size, config.hidden_size // share, batch_first=True)
    lstm.bias_ih_l0.data.view(4, -1)[1] = 1.0  # the forget gate starts open (Jozefowicz et al. 2015)
    return lstm


class Encoder(nn.Module):
    """Reads words, given their tense, into the posterior q(z | word, tense)."""

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, config.embedding_size)
        self.condition = nn.Embedding(4, config.condition_size)
        self.lstms = nn.ModuleList([_lstm(config, config.directions) for _ in range(config.directions)])
        self.mu, self.logvar = (nn.Linear(config.hidden_size, config.latent_size) for _ in range(2))

    def forward(self, words: Words):
        """Encodes B words; returns mu and logvar, each (B, Z)."""
        condition = self.condition(words.tense)  # (B, C)
        # h0 = 0 ‖ condition
        h0 = F.pad(condition, (self.lstms[0].hidden_size - condition.shape[1], 0))[None]  # (1, B, H / directions)
        position = words.lengths[:, None] - 2 - torch.arange(words.letters.shape[1], device=h0.device)  # (B, T)
        backward = words.letters.gather(1, position.clamp(min=0)).where(position >= 0, EOS)  # EOS last (B, T)
        outputs = [lstm(self.embedding(x), (h0, 0 * h0)) for lstm, x in zip(self.lstms, (words.letters, backward))]
        end = torch.cat([h[torch.arange(len(h)), words.lengths - 1] for h, _ in outputs], 1)  # at EOS (B, H)
        return self.mu(end), self.logvar(end)  # (B, Z)


class Decoder(nn.Module):
    """Decodes words; its initial state is all it knows of the source."""

    def __init__(self, config):
        super().__init__()
        C, H = config.condition_size, config.hidden_size
        self.embedding = nn.Embedding(VOCABULARY, config.embedding_size)
        self.lstm = _lstm(config)
        self.letter = nn.Linear(H, VOCABULARY - 1)  # SOS is no output
        self.condition = nn.Embedding(4, C)
        self.context_in, self.gated = config.context_in, config.decoding == "gated"
        self.temper, self.price = 1.0, 0.0  # of the paths, by epoch
        if self.gated:
            self.tensed = nn.Sequential(nn.Linear(H + C, H // 2), nn.Tanh(), nn.Linear(H // 2, VOCABULARY - 1))

    def behind_gate(self, hidden, scores, tense):
        """Returns scores (B, T, V − 1) behind the gate."""
        condition = self.condition(tense)[:, None].expand(-1, hidden.shape[1], -1)  # (B, T, C)
        # W h without EOS, which opened the gate, + MLP(h ‖ condition)
        return F.pad(scores[..., 1:], (1, 0)) + self.tensed(torch.cat([hidden, condition], 2))  # (B, T, V − 1)

    def initial_state(self, context):
        """Returns h0, c0 (1, B, H) of a context (B, H), which lasts in the cell, fades in the hidden state."""
        context = context[None]  # (1, B, H)
        return (context.tanh(), context) if self.context_in == "cell" else (context, 0 * context)

    @torch.no_grad()
    def greedy(self, context, tense, steps=MAX_LETTERS + 1):
        """Feeds back the likeliest letter until EOS or `steps`; returns letters (B, T), end states (B, H)."""
        letters = torch.full((len(context), steps), EOS, device=context.device)  # (B, T)
        end = torch.empty_like(context)  # (B, H)
        letter, state = torch.full_like(letters[:, :1], SOS), self.initial_state(context)
        going = torch.arange(len(context), device=context.device)  # the b unfinished words
        opened = torch.zeros_like(letter, dtype=bool)  # (B, 1)
        for t in range(steps):
            hidden, state = self.lstm(self.embedding(letter), state)  # (b, 1, H)
            letter = (scores := self.letter(hidden)).argmax(2)  # (b, 1)
            if self.gated:
                opened[going] |= letter == EOS
                letter = self.behind_gate(hidden, scores, tense[going]).argmax(2).where(opened[going], letter)
            letters[going, t], end[going] = letter[:, 0], hidden[:, 0]
            on = letter[:, 0] != EOS
            going, letter, state = going[on], letter[on], tuple(s[:, on] for s in state)
            if not len(going):
                break
        return letters, end

    def loss(self, context, target: Words, free_running, teacher=None):
        """Returns the cross-entropy (B,) of B target words, or against a teacher's scores (soft targets, Hinton et al.
        2015; not gated), in nats per word, the state (B, H) each ends in, and scores (B, T, V − 1). Words are
        teacher-forced; those of the mask `free_running` (B,) are fed their own letters, up to their own EOS: a first
        pass finds these, and as argmax passes no gradient, the fused second equals step-by-step decoding."""
        fed, lengths, width = target.letters, target.lengths, target.letters.shape[1]
        if free_running.any():
            own, _ = self.greedy(context[free_running], target.tense[free_running], width)
            fed = fed.index_put((free_running,), own)
            lengths = torch.minimum(lengths, (fed != EOS).sum(1) + 1)
        inputs = F.pad(fed[:, :-1], (1, 0), value=SOS)  # (B, T)
        hidden, _ = self.lstm(self.embedding(inputs), self.initial_state(context))  # (B, T, H)
        mask = torch.arange(width, device=hidden.device) < lengths[:, None]  # (B, T)
        right = target.letters if teacher is None or self.gated else teacher.softmax(2).mT  # (B, T) or (B, V − 1, T)
        surprise = lambda scores: F.cross_entropy(scores.mT, right, reduction="none") * mask
        ce = surprise(scores := self.letter(hidden))  # (B, T)
        if self.gated:
            # −log p(path k) = −Σ_{t<k} log p(x_t) − log p(EOS at k) − Σ_{t≥k} log p(x_t | tense)
            behind = surprise(self.behind_gate(hidden, scores, target.tense)) + self.price * mask  # (B, T)
            paths = ce.cumsum(1) - ce - scores.log_softmax(2)[..., EOS] + behind.flip(1).cumsum(1).flip(1)  # (B, T)
            paths = (-self.temper * paths).masked_fill(~mask, -torch.inf).logsumexp(1)  # (B,)
            # CE = −1/τ log [T^(τ − 1) Σ_k p(path k)^τ], and τ = 1 but early in training
            ce = ((1 - self.temper) * lengths.log() - paths)[:, None] / self.temper  # (B, 1)
        # CE = −Σ_t log p(x_t | x_<t, z)
        return ce.sum(1), hidden[torch.arange(len(lengths)), lengths - 1], scores  # (B,), (B, H), (B, T, V − 1)


class CVAE(nn.Module):
    """Encodes a word given its tense into z, and decodes z given any tense; z is the only path between them.
    Decoding is direct, the form from f(z, tense); lemma-first, the lemma (the simple present) from f(z), then the form
    from the state it ended in, z and the tense; or gated, from f(z), and once a gate has opened, the tense."""

    def __init__(self, config):
        super().__init__()
        self.config, self.encoder, self.decoder = config, Encoder(config), Decoder(config)
        self.lemma_first, self.tense_in_context = (config.decoding == name for name in ("lemma-first", "direct"))
        C, H, Z = config.condition_size, config.hidden_size, config.latent_size
        self.from_z = nn.Linear(Z + self.tense_in_context * C, H)
        self.from_lemma = nn.Linear(H + Z + C, H)
        self.generator = None  # while noise is rehearsed: this model as it was

    def context(self, z, tense, end=None):
        """Returns the context (B, H) of z (B, Z) or, for a form, of z and its lemma's end state (B, H)."""
        condition = self.decoder.condition(tense)  # (B, C)
        if end is not None:
            return self.from_lemma(torch.cat([end, z, condition], 1))
        return self.from_z(torch.cat([z, condition], 1) if self.tense_in_context else z)

    def cross_entropy(self, z, targets: list[Words], free_running, teacher=(None, None)):
        """Returns nats per word (B, K) of K targets of each z (B, Z), and their scores; as `Decoder.loss`."""
        done = []
        for t, mask, soft in zip(targets, free_running.T, teacher):
            context = self.context(z, t.tense, done[0][1] if done and self.lemma_first else None)
            done.append(self.decoder.loss(context, t, mask, soft))
        return torch.stack([ce for ce, *_ in done], 1), [scores for *_, scores in done]  # (B, K), K of (B, T, V − 1)

    @torch.no_grad()
    def encode(self, words: list[str], tense) -> tuple[Tensor, Tensor]:
        """Encodes words, of one tense or one each; returns mu, logvar, each (B, Z)."""
        tense = check_tense(tense, len(words := check_words(words)))
        chunks = zip(*(x.to(self.from_z.weight.device).split(CHUNK) for x in (*words_to_tensor(words), tense)))
        return tuple(torch.cat(x) for x in zip(*(self.encoder(Words(*chunk)) for chunk in chunks)))  # (B, Z) each

    def decode(self, z: Tensor, tense) -> list[str]:
        """Decodes z (B, Z) greedily, in one tense or one each."""
        return self._decode(z, check_tense(tense, len(z))[:, None])

    def convert(self, words: list[str], source_tense, target_tense) -> list[str]:
        """Converts words by decoding the posterior mean; a tense is an int or one per word."""
        return self.decode(self.encode(words, source_tense)[0], target_tense)

    def generate(self, z: Tensor) -> list[Verb]:
        """Decodes the four forms of each z (N, Z)."""
        words = self._decode(z, torch.arange(4).expand(len(z), 4))
        return list(zip(*[iter(words)] * 4))

    @torch.no_grad()
    def _decode(self, z, tense):
        """Decodes each z (B, Z) in K tenses (B, K) into B K words."""
        if not isinstance(z, Tensor) or z.shape[1:] != (self.config.latent_size,) or not z.isfinite().all():
            raise ValueError(f"z: found {z!r:.60}; expected finite numbers of shape (B, {self.config.latent_size})")
        words, K, weight = [], tense.shape[1], self.from_z.weight
        for z, tense in zip(z.to(weight).split(CHUNK), tense.to(weight.device).split(CHUNK)):
            tense = tense.flatten()  # (B K,)
            z = z if self.lemma_first else z.repeat_interleave(K, 0)
            letters, end = self.decoder.greedy(self.context(z, tense), tense)
            if self.lemma_first:  # these are lemmas: now the forms
                letters, others = letters.repeat_interleave(K, 0), (tense != SP).nonzero()[:, 0]  # (B K, T), (b,)
                context = self.context(z[others // K], tense[others], end[others // K])
                letters[others], _ = self.decoder.greedy(context, tense[others])
            words += tensor_to_words(letters)
        return words


# ---- Metrics ----
GaussianScore = namedtuple("GaussianScore", "official exact distinct inconsistent")


def bleu4(output: str, reference: str) -> float:
    """Returns the course's BLEU-4 of a word, 0..1: NLTK's over characters (Papineni et al. 2002), method 1; references
    of three letters are scored with 1- to 3-grams, weighted 0.33."""
    if not reference:
        raise ValueError("the reference is empty; expected a word")
    weights = (0.33,) * 3 if len(reference) == 3 else (0.25,) * 4
    return float(sentence_bleu([reference], output, weights, SmoothingFunction().method1))


def mean_bleu4(model, pairs=None, draws=0) -> float:
    """Returns the mean BLEU-4 of pairs, 0..1, at the posterior mean or over `draws` samples of z."""
    sources, targets, source_tenses, target_tenses = zip(*(pairs or load_test_pairs()))
    mu, logvar = (x.repeat(draws or 1, 1).cpu() for x in model.encode(sources, source_tenses))
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(0)) if draws else mu
    outputs = model.decode(z, target_tenses * (draws or 1))
    return float(np.mean([bleu4(*pair) for pair in zip(outputs, targets * (draws or 1))]))


def encode_verbs(model, verbs):
    """Encodes all forms of verbs; returns mu and logvar, each (N, 4, Z), on the CPU."""
    forms = [form for verb in check_verbs(verbs) for form in verb]
    return tuple(x.cpu().view(-1, 4, x.shape[1]) for x in model.encode(forms, [0, 1, 2, 3] * (len(forms) // 4)))


def convert_verbs(model, verbs):
    """Converts every form to every tense at the posterior mean: words (N, 4, 4), by verb, source, target."""
    return np.array(model.generate(encode_verbs(model, verbs)[0].flatten(0, 1))).reshape(-1, 4, 4)


def gaussian_score(generated, verbs) -> GaussianScore:
    """Scores verbs from noise: `exact`, the share, 0..1, that are rows of the table; `official`, the course's, counts
    repeats in it, and may exceed 1; `distinct` rows; `inconsistent`, the share of four known words, but no row."""
    rows = Counter(check_verbs(verbs))
    words = [*map(set, zip(*rows))]
    if not generated or any(len(verb) != 4 for verb in generated):
        raise ValueError(f"generated: found {generated!r:.60}; expected at least one, of four words")
    n, exact = len(generated), sum(verb in rows for verb in generated)
    known = sum(all(map(set.__contains__, words, verb)) for verb in generated)
    official, distinct = sum(rows[verb] for verb in generated) / n, len(rows.keys() & set(generated))
    return GaussianScore(official, exact / n, distinct, (known - exact) / n)


def sample_prior(model, draws: int, seed=0) -> list[Verb]:
    """Returns the verbs decoded from samples z ~ N(0, I)."""
    return model.generate(torch.randn(draws, model.config.latent_size, generator=torch.Generator().manual_seed(seed)))


def information(model, verbs):
    """Splits KL over all 4 N words, in nats per word (Hoffman & Johnson 2016): `kl_table` = `mutual_information`,
    I(x; z) ≤ ln 4N, + `marginal_kl`, KL(q(z) ‖ p(z)). `active_units`: Burda et al. 2016."""
    mu, logvar = (x.flatten(0, 1).double() for x in encode_verbs(model, verbs))  # (M, Z), M = 4 N
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(0))  # (M, Z)
    # log q(z_i | x_j) = −½ Σ [(z_i − μ_j)² / σ_j² + log σ_j² + log 2π]: multiplied out, one matrix product
    precision = (-logvar).exp()
    constant = (mu**2 * precision + logvar + math.log(2 * math.pi)).sum(1, keepdim=True)  # (M, 1)
    of_x = torch.cat([-0.5 * precision, mu * precision, -0.5 * constant], 1)  # (M, 2 Z + 1)
    of_z = torch.cat([z**2, z, torch.ones(len(z), 1)], 1)  # (M, 2 Z + 1)
    # log q(z) = log 1/M Σ_j q(z | x_j)
    mixture = torch.cat([(chunk @ of_x.T).logsumexp(1) for chunk in of_z.split(CHUNK)]) - math.log(len(z))  # (M,)
    # I(x; z) = E[log q(z | x) − log q(z)]
    kl, shared = kl_divergence(mu, logvar).mean().item(), ((of_z * of_x).sum(1) - mixture).mean().item()
    active = int((mu.var(0) > 0.01).sum())  # AU = #{j : Var_x(E[z_j | x]) > 0.01}
    return dict(kl_table=kl, mutual_information=shared, marginal_kl=kl - shared, active_units=active)


def score(model, verbs=None, pairs=None, draws=10_000):
    """Returns every score by name; `distinct`: mean over blocks of 100 draws; `information` of 2,000 verbs."""
    drawn, once = sample_prior(model, draws), list(dict.fromkeys(verbs := check_verbs(verbs)))
    gaussian, right = gaussian_score(drawn, verbs), convert_verbs(model, once) == np.array(once)[:, None]  # (N, 4, 4)
    return dict(
        bleu4=mean_bleu4(model, pairs),
        bleu4_drawn=mean_bleu4(model, pairs, draws=20),
        conversion=float(right[:, ~np.eye(4, dtype=bool)].mean()),
        **{f"gaussian_{name}": getattr(gaussian, name) for name in ("official", "exact", "inconsistent")},
        distinct=float(np.mean([len(set(drawn[i : i + 100]) & set(verbs)) for i in range(0, draws - 99, 100)])),
        **information(model, once[:2000]),
    )


# ---- Training ----
def choose(verbs, config, rng):
    """Returns words, pairs of these to train on, source and targets (N, 1 + K), and their size (N,)."""
    form = torch.arange(4 * len(verbs))  # 4 n + t is verb n in tense t
    words = Words(*words_to_tensor([word for verb in verbs for word in verb]), form % 4)
    if config.training == "same-tense":
        return words, form[:, None].expand(-1, 2), words.lengths
    source, other = (form[::4] + torch.randint(low, 4, (len(verbs),), generator=rng) for low in (0, 1))
    pairs = torch.stack([source, form[::4], other], 1)  # (N, 3)
    return words, pairs, (words.lengths[pairs] ** 2).sum(1)


def make_batches(words, pairs, size, count, rng, device):
    """Returns batches of `count`, alike in size, in random order: which pairs, and the words of each column."""
    letters, lengths, tense = (x.to(device) for x in words)
    take = lambda i: Words(letters[i, : lengths[i].max()], lengths[i], tense[i])
    order = (size + torch.rand(len(size), generator=rng)).argsort().split(count)
    order = [order[i] for i in torch.randperm(len(order), generator=rng)]
    return [(n, [take(column) for column in pairs[n].T]) for n in order]


def rehearse(generator, steps, rng, device):
    """Yields for each step noise, the lemma and a form it decodes to, and scores (pseudorehearsal, Robins 1995)."""
    config, count = generator.config, -(-generator.config.batch_size // 2)
    pairs = torch.arange(2 * steps * count).view(-1, 2)  # (N, 2)
    z = torch.randn(len(pairs), config.latent_size, generator=rng)  # (N, Z)
    tense = F.pad(torch.randint(1, 4, (len(z), 1), generator=rng), (1, 0))  # (N, 2)
    words = Words(*words_to_tensor(generator._decode(z, tense)), tense.flatten())
    for n, targets in make_batches(words, pairs, (words.lengths[pairs] ** 2).sum(1), count, rng, device):
        known = z[n].to(device), targets, torch.zeros(1, 2, dtype=bool)
        yield *known, generator.cross_entropy(*known)[1]


def train_epoch(model, optimizer, verbs, epoch, rng):
    """Passes over the verbs; returns its row of the history. Raises FloatingPointError."""
    config, device, steps, sizes = model.config, next(model.parameters()).device, [], []
    tf_ratio = 1 - (1 - config.tf_final) * (epoch / config.epochs)
    if model.generator:
        verbs = 3 * verbs + synthesize(verbs, config.synthetic * len(verbs), 1000 * config.seed + epoch)
    opening = min(1.0, epoch / (0.3 * config.joint_epochs))  # all paths at first; then a price
    model.decoder.temper, model.decoder.price = 0.3 + 0.7 * opening, config.gate_price * (opening == 1)
    batches = make_batches(*choose(verbs, config, rng), config.batch_size, rng, device)
    rehearsed = rehearse(model.generator, len(batches), rng, device) if model.generator else [None] * len(batches)
    for step, ((_, (source, *targets)), known) in enumerate(zip(batches, rehearsed), 1):
        mu, logvar = model.encoder(source)  # (B, Z)
        z = reparameterize(mu, logvar, rng)  # (B, Z)
        lengths = torch.stack([words.lengths for words in targets], 1)  # (B, K)
        free_running = torch.rand(lengths.shape, generator=rng) >= tf_ratio  # scheduled sampling (B, K)
        ce, _ = model.cross_entropy(z, targets, free_running.to(device))  # nats per word (B, K)
        kl = kl_divergence(mu, logvar)  # nats per word (B,)
        weight = kl_weight(config, epoch, kl.mean().item())
        unit = lengths ** (config.ce_per == "character")  # or 1
        # L = CE + kl_weight · KL (+ CE of rehearsal)
        loss = (ce / unit).mean() + weight * kl.mean()
        loss = loss + model.cross_entropy(*known)[0].mean() if known else loss
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 5.0)
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(f"loss {loss:g}, gradient norm {norm:g} in epoch {epoch}, step {step}")
        optimizer.param_groups[0]["lr"] = rate = learning_rate(config, epoch, step, len(batches))
        optimizer.step()
        steps.append((ce.mean().item(), kl.mean().item(), weight, weight * unit.float().mean().item()))
        sizes.append(len(ce))
    row = dict(zip(("ce", "kl", "kl_weight", "beta"), np.average(steps, 0, sizes).tolist()))
    return dict(epoch=epoch, **row, tf_ratio=tf_ratio, learning_rate=rate)


def make_optimizer(model, refining):
    """Returns an optimizer of all; refining, of the encoder, or with synthetic verbs all but a frozen copy."""
    config, alone = model.config, refining and not model.config.synthetic
    model.requires_grad_(not alone).encoder.requires_grad_(True)
    model.generator = copy.deepcopy(model).requires_grad_(False) if refining and not alone else None
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=config.learning_rate)
    betas = (0.9, 0.999 if refining else 0.99)  # short while z is noisy
    return torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, fused=True)


def train(config: Config, verbs=None, *, run_dir=None, progress=True) -> Run:
    """Trains on verbs (None: `load_verbs()`; repeats count once); returns the run at its last epoch. Epochs are saved
    in `run_dir`, if any, and resumed, bit-exactly on a CPU. History: `CURVES` (CE with the gate's price) and `score`;
    `progress`: a bar, or called with history. Raises as `kl_weight`, `synthesize`, OSError, FloatingPointError."""
    verbs, folder, threads = list(dict.fromkeys(check_verbs(verbs))), run_dir and Path(run_dir), torch.get_num_threads()
    key, pairs = digest(config, verbs), load_test_pairs()
    config.refine and config.synthetic and synthesize(verbs, 0, 0)  # or it raises
    try:
        torch.set_num_threads(1)  # same bits on any number of cores
        folder and folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock") if folder else nullcontext(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            model = CVAE(config).to("cuda" if torch.cuda.is_available() else "cpu")
            rng = torch.Generator().manual_seed(config.seed)
            history, optimizer = resume(folder, key, model, rng)
            for epoch in tqdm(range(len(history) + 1, config.epochs + 1), "epochs", disable=not progress):
                if epoch == config.joint_epochs + 1:
                    optimizer = make_optimizer(model, refining=True)
                history.append(train_epoch(model, optimizer, verbs, epoch, rng) | {"bleu4": mean_bleu4(model, pairs)})
                if epoch % config.evaluate_every == 0 or epoch in (config.joint_epochs, config.epochs):
                    history[-1] |= score(model, verbs, pairs, draws=1000)
                model.generator = model.generator if epoch < config.epochs else None
                folder and save_checkpoint(folder / CHECKPOINT, key, model, rng, history, optimizer)
                callable(progress) and progress(history)
            model.requires_grad_(True).decoder.price = 0.0  # as when loaded
    finally:
        torch.set_num_threads(threads)
    return Run(model, pd.DataFrame(history).set_index("epoch"), config)


# ---- Runs ----
RUNS, CHECKPOINT = HERE / "runs", "run.pt"  # a folder per run; its last epoch
VERSION = 8  # raise it when training's arithmetic changes
Run = namedtuple("Run", "model history config")  # CVAE; DataFrame, a row per epoch; Config


def digest(config, verbs):
    """Hashes all that determines a run. Raises as `kl_weight`."""
    weights = [kl_weight(config, n, kl) for n in range(1, config.epochs + 1) for kl in (0, config.rate_end + 0.3, 99)]
    return hashlib.sha256(repr((config, weights, verbs, load_test_pairs(), VERSION)).encode()).hexdigest()


def atomic_write(path, content: bytes):
    """Writes a file whole, or raises OSError and the old one stays."""
    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def save_checkpoint(path, key, model, rng, history, optimizer):
    """Saves the last epoch, and the SHA-256 of it and the key."""
    state = dict(model=model.state_dict(), rng=rng.get_state(), history=history)
    if len(history) < model.config.epochs:
        state["optimizer"] = optimizer.state_dict()
    torch.save(state, buffer := io.BytesIO())
    atomic_write(path, buffer.getvalue() + hashlib.sha256(buffer.getvalue() + key.encode()).digest())


def resume(folder, key, model, rng):
    """Restores model and rng if saved; returns history and optimizer."""
    if not folder or not (path := folder / CHECKPOINT).exists():
        return [], make_optimizer(model, refining=False)
    content = path.read_bytes()
    if hashlib.sha256(content[:-32] + key.encode()).digest() != content[-32:]:
        raise ValueError(f"{path}: damaged, or of another configuration, data or version: delete it or change run_dir")
    state = torch.load(io.BytesIO(content[:-32]), map_location="cpu", weights_only=True)  # runs no code
    optimizer = make_optimizer(model, len(state["history"]) > model.config.joint_epochs and "optimizer" in state)
    model.load_state_dict(state["model"])
    rng.set_state(state["rng"])
    optimizer.load_state_dict(state.get("optimizer", optimizer.state_dict()))
    return state["history"], optimizer


def load_or_train(config: Config, verbs=None, *, runs=None, progress=True) -> Run:
    """Returns the run of this configuration and data, trained or from runs/. Raises as `train`."""
    verbs = list(dict.fromkeys(check_verbs(verbs)))
    name = f"{config.strategy}-{config.decoding}-{config.seed}-{digest(config, verbs)[:16]}"
    return train(config, verbs, run_dir=Path(runs or RUNS) / name, progress=progress)


def _task(strategies, config, **options):
    STRATEGIES.update(strategies)  # yours, too
    return load_or_train(config, **options)


def sweep(configs: list[Config], verbs=None, jobs=-1) -> list[Run]:
    """Loads or trains runs, in order, a core each, or on a cluster (`joblib.parallel_config`). Raises as `train`."""
    shared = dict(verbs=check_verbs(verbs), runs=RUNS, progress=False)
    tasks = [joblib.delayed(_task)(STRATEGIES, c, **shared) for c in configs if digest(c, [])]  # or raises
    return list(tqdm(joblib.Parallel(jobs, return_as="generator")(tasks), total=len(tasks)))


# ---- Figures ----
FIGURES = HERE / "figures"
WIDTH = 5.0  # inches: letters of 6 points or more in a column of 85 mm
CURVES = {"ce": "cross-entropy, nats per word", "kl": "KL, nats per word", "beta": "KL weight β"}
CURVES |= dict(tf_ratio="teacher-forcing ratio", bleu4="BLEU-4, test pairs", gaussian_exact="Gaussian score, exact")


def set_style() -> None:
    """Sets the figures' look."""
    rc = {"image.cmap": "viridis", "lines.linewidth": 1.5, "figure.dpi": 120, "figure.figsize": (WIDTH, 3.2)}
    rc |= {"figure.constrained_layout.use": True, "pdf.fonttype": 42, "axes.formatter.min_exponent": 5}
    sns.set_theme("paper", "whitegrid", "colorblind", font_scale=1.05, rc=rc)


def draw_curves(runs: dict, curves=CURVES):
    """Draws a panel per quantity, a line per run, by name; returns the figure."""
    table = pd.concat({name: run.history for name, run in runs.items()}, names=["run"]).reset_index()
    fig, axes = plt.subplots(len(curves) // 2, 2, figsize=(WIDTH, 0.95 * len(curves)), sharex=True)
    for ax, (column, title) in zip(axes.flat, curves.items()):
        sns.lineplot(table.dropna(subset=column), x="epoch", y=column, hue="run", style="run", estimator=None, ax=ax)
        ax.set(title=title, ylabel=None, yscale="log" if column in ("ce", "kl") else "linear")
        ax.get_legend().remove()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def save_fig(fig, name: str) -> None:
    """Exports a figure as PDF and PNG into figures/. Raises OSError."""
    FIGURES.mkdir(exist_ok=True)
    for suffix, options in {"pdf": dict(metadata={"CreationDate": None}), "png": dict(dpi=200)}.items():
        fig.savefig(drawn := io.BytesIO(), format=suffix, **options)
        atomic_write(FIGURES / f"{name}.{suffix}", drawn.getvalue())
