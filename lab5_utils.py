"""The lab: a conditional sequence-to-sequence VAE that converts verbs between four tenses.

Read it top to bottom: words, data, schedules, configuration, model, metrics, runs, training,
figures. Shapes: B words in a batch, T characters, C condition, H hidden, Z latent, V vocabulary,
N verbs. Cross-entropy and KL are in nats per word: summed over characters and dimensions, averaged
over words. Bad input raises ValueError or TypeError, which name what was found and expected.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_type_hints

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
PRESENT, THIRD, PROGRESSIVE, PAST = range(4)
EOS = 0  # ends a word and pads it
SOS = 27  # starts decoding; a to z are 1 to 26
VOCABULARY = 28
MAX_LETTERS = 32  # of a word; decoding stops one later
CHUNK = 512  # words that go through the model at a time
BEFORE_A = ord("a") - 1  # the character "`", which stands for EOS


class Words(NamedTuple):
    """Holds a batch of words as tensors."""

    letters: Tensor  # (B, T), padded with EOS
    lengths: Tensor  # (B,), EOS counted
    tense: Tensor  # (B,)

    def to(self, device) -> Words:
        """Returns the same words on a device."""
        return Words(*(part.to(device) for part in self))


def check_words(words, where="words") -> list[str]:
    """Returns the words as a list; `where` is named in errors. Raises TypeError, ValueError."""
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise TypeError(f"{where}: found {words!r:.60}; expected a list of words")
    words = list(words)
    for word in words:
        is_word = isinstance(word, str) and re.fullmatch(f"[a-z]{{1,{MAX_LETTERS}}}", word)
        if not is_word:
            raise ValueError(
                f"{where}: found {word!r:.60}; expected 1 to {MAX_LETTERS} letters a-z"
            )
    return [str(word) for word in words]  # NumPy's strings, too, as Python's


def check_row(words, width: int, where: str) -> tuple[str, ...]:
    """Returns a row of a table as a tuple of `width` words. Raises as `check_words`."""
    words = check_words(words, where)
    if len(words) != width:
        raise ValueError(f"{where}: found {len(words)} words; expected {width}")
    return tuple(words)


def check_tense(tense, count: int) -> Tensor:
    """Returns `count` tenses (B,) from one int, or from one int per word. Raises ValueError."""
    values = tense.tolist() if isinstance(tense, Tensor) else tense
    tenses = np.asarray(values)
    fits = tenses.shape in ((), (count,))
    are_ints = tenses.size == 0 or tenses.dtype.kind in "iu"
    if not fits or not are_ints or not set(tenses.flat) <= set(range(len(TENSES))):
        raise ValueError(f"tense: found {tense!r:.60}; expected 0..3, one for all or {count}")
    return torch.from_numpy(np.full(count, tenses, dtype=np.int64))  # (B,)


def words_to_tensor(words: list[str]) -> tuple[Tensor, Tensor]:
    """Turns words into letters (B, T), padded with EOS, and lengths (B,), one EOS counted."""
    lengths = torch.tensor([len(word) + 1 for word in words], dtype=torch.int64)  # (B,)
    width = max((len(word) for word in words), default=0) + 1
    padded = "".join(word.ljust(width, chr(BEFORE_A)) for word in words)
    codes = np.frombuffer(padded.encode(), np.uint8).astype(np.int64) - BEFORE_A
    return torch.from_numpy(codes).view(len(words), width), lengths  # (B, T), (B,)


def tensor_to_words(letters: Tensor) -> list[str]:
    """Turns letters (B, T) back into words; a word ends at its first EOS."""
    codes = letters.cpu().numpy().astype(np.uint8) + BEFORE_A
    padded = [bytes(row).decode() for row in codes]
    return [word.split(chr(BEFORE_A))[0] for word in padded]


def select_words(words: Words, numbers: Tensor) -> Words:
    """Returns the words of these numbers, (B,) or (B, K), no wider than the longest of them."""
    lengths = words.lengths[numbers]
    letters = words.letters[numbers, : lengths.max()]
    return Words(letters, lengths, words.tense[numbers])


# ---- Data ----
HERE = Path(__file__).resolve().parent
TEST_TENSES = (  # source and target of the ten pairs, in the order of the course's readme
    (PRESENT, PAST),
    (PRESENT, PROGRESSIVE),
    (PRESENT, THIRD),
    (PRESENT, THIRD),
    (PAST, THIRD),
    (PRESENT, PROGRESSIVE),
    (PAST, PRESENT),
    (PROGRESSIVE, PRESENT),
    (PROGRESSIVE, PAST),
    (PROGRESSIVE, THIRD),
)
Verb = tuple[str, str, str, str]  # the four forms of a verb, in the order of TENSES


class TestPair(NamedTuple):
    """Holds one conversion to be tested; a tense is 0..3."""

    __test__ = False  # pytest: no class of tests

    source: str
    target: str
    source_tense: int
    target_tense: int


def load_verbs(path=None) -> list[Verb]:
    """Reads a verb table, a verb a row, repeats kept; None: train.txt in the data folder.

    The data folder is $LAB5_DATA or this module's own. Raises FileNotFoundError, and ValueError
    that names the file, the line, what was found and what was expected.
    """
    path = find_file(path, "train.txt")
    return read_rows(path, width=4)


def load_test_pairs(path=None) -> list[TestPair]:
    """Reads the ten conversions; None: test.txt in the data folder. Raises as `load_verbs`."""
    path = find_file(path, "test.txt")
    rows = read_rows(path, width=2)
    if len(rows) != len(TEST_TENSES):
        raise ValueError(f"{path}: found {len(rows)} rows; expected {len(TEST_TENSES)}")
    return [TestPair(*row, *tenses) for row, tenses in zip(rows, TEST_TENSES, strict=True)]


def find_file(path, name: str) -> Path:
    """Returns the path, or that of a file of the data folder. Raises FileNotFoundError."""
    folder = Path(os.environ.get("LAB5_DATA") or HERE)
    if not folder.is_dir():  # a relative name: not in the working directory, so beside this module
        folder = HERE / folder
    path = Path(path or folder / name)
    if not os.path.isfile(path):
        where = f"{path.absolute().parent} (LAB5_DATA sets another folder)"
        raise FileNotFoundError(f"no file {path.name} in {where}")
    return path


def read_rows(path: Path, width: int) -> list[tuple[str, ...]]:
    """Reads rows of `width` words, one space between two. Raises ValueError."""
    text = path.read_text("utf-8", "backslashreplace")  # invalid UTF-8 is shown in the error
    rows = []
    for n, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        rows.append(check_row(line.split(" "), width, f"{path}, line {n}"))
    return rows


def check_verbs(verbs) -> list[Verb]:
    """Returns the verbs as a list of tuples; None: `load_verbs()`. Raises ValueError, TypeError."""
    if verbs is None:
        return load_verbs()
    checked = [check_row(verb, 4, f"verb {n}") for n, verb in enumerate(verbs, 1)]
    if not checked:
        raise ValueError("verbs: found none; expected at least one")
    return checked


def distinct_verbs(verbs) -> list[Verb]:
    """Returns the verbs in their order, each once; else as `check_verbs`."""
    return list(dict.fromkeys(check_verbs(verbs)))


# ---- Schedules ----
# The shape of a KL weight is a function of progress, epoch / epochs in (0, 1], refining included,
# and of excess, the nats of KL above the target rate. It returns 0..1; the KL weight is
# `config.kl_weight` times that.
Schedule = Callable[[float, float], float]


def constant(progress, excess):
    """Does not anneal."""
    return 1.0


def monotonic(progress, excess):
    """Rises in the first tenth (Bowman et al. 2016, 3.1; the slope is the original's)."""
    return min(1.0, 10 * progress)


def cyclical_linear(progress, excess):
    """Rises in four cycles, each time in the first half (Fu et al. 2019, eq. 6).

    If the last quarter of the epochs refines the encoder, three of the four are seen.
    """
    left = -4 * progress % 1  # of the cycle: 0 at its end
    return min(1.0, 2 - 2 * left)


def cyclical_cosine(progress, excess):
    """Rises in the same four cycles, along a cosine (Fu et al. 2019)."""
    return (1 - math.cos(math.pi * cyclical_linear(progress, excess))) / 2


def cyclical_trapezoid(progress, excess):
    """Rises in the first four fifths of each of two cycles (the original's)."""
    position = 2 * progress % 1
    return min(1.0, 1.25 * position)


def cyclical_sigmoid(progress, excess):
    """Rises along a sigmoid in each of two cycles, to fall at its end (the original's)."""
    position = 2 * progress % 1
    if position > 0.994:
        return 0.0
    return 1 / (1 + math.exp(5 - 10 * position))


def free_bits(progress, excess):
    """Charges in full what exceeds the target, all dimensions together (Kingma et al. 2016)."""
    return 1.0 if excess > 0 else 0.0


def target_rate(progress, excess):
    """Charges in proportion to the excess (cf. Burgess et al. 2018; Shao et al. 2020)."""
    return min(1.0, max(0.0, excess))


STRATEGIES: dict[str, Schedule] = {
    "constant": constant,
    "monotonic": monotonic,
    "cyclical-linear": cyclical_linear,
    "cyclical-cosine": cyclical_cosine,
    "cyclical-trapezoid": cyclical_trapezoid,
    "cyclical-sigmoid": cyclical_sigmoid,
    "free-bits": free_bits,
    "target-rate": target_rate,
}
WATCH_KL = ("free-bits", "target-rate")
IGNORE_KL = tuple(name for name in STRATEGIES if name not in WATCH_KL)  # need no target rate

TARGET_FALL = 0.2  # share of the epochs in which the target rate moves to its end
GATE_SCHEDULE = 0.3  # share of the first phase in which the gate's temperature falls to 1
GATE_FLATTEST = 0.3  # its inverse temperature at first
WARM_UP = 100  # steps in which Adam's learning rate rises


def target_nats(config, progress: float) -> float:
    """Returns the target rate at this progress, in nats per word."""
    share = min(1.0, progress / TARGET_FALL)
    return config.rate_start + (config.rate_end - config.rate_start) * share


def kl_weight(config, epoch: int, kl: float) -> float:
    """Returns the KL weight of an epoch at `kl` nats per word; in the second phase it is 0.

    Raises ValueError if the schedule leaves 0..1, and whatever the schedule itself raises.
    """
    progress = epoch / config.epochs
    shape = STRATEGIES[config.strategy]
    share = float(shape(progress, kl - target_nats(config, progress)))
    if not 0 <= share <= 1:
        where = f"strategy {config.strategy!r}, progress {progress:g}"
        raise ValueError(f"{where}: found {share!r}; expected 0..1")
    if epoch > config.first_phase:
        return 0.0
    return config.kl_weight * share


def teacher_forcing_ratio(config, epoch: int) -> float:
    """Returns the share of words that are fed the right letters: it falls linearly from 1."""
    return 1 - (1 - config.tf_final) * (epoch / config.epochs)


def learning_rate(config, epoch: int, step: int, steps: int) -> float:
    """Returns the learning rate of step 1..steps of an epoch.

    SGD's is constant. Adam's warms up and falls along a cosine, in each of the two phases, to 0 at
    its last step.
    """
    if config.optimizer == "sgd":
        return config.learning_rate
    if epoch <= config.first_phase:
        done = (epoch - 1) * steps + step
        total = config.first_phase * steps
    else:
        done = (epoch - 1 - config.first_phase) * steps + step
        total = (config.epochs - config.first_phase) * steps
    # rate = highest · min(1, step / 100) · ½ (1 + cos π step / total)
    shape = min(1, done / WARM_UP) * (1 + math.cos(math.pi * done / total)) / 2
    return config.learning_rate * shape


class Gate(NamedTuple):
    """Says how the sum over the gate's openings is taken in training."""

    inverse_temperature: float  # τ: each path's probability to the power τ
    price: float  # nats a letter behind the gate


def gate_schedule(config, epoch: int) -> Gate:
    """Returns the gate of an epoch: openings alike at first (Ueda & Nakano 1994), later a price."""
    share = min(1.0, epoch / (GATE_SCHEDULE * config.first_phase))
    inverse_temperature = GATE_FLATTEST + (1 - GATE_FLATTEST) * share
    return Gate(inverse_temperature, config.gate_price if share == 1 else 0.0)


# ---- Configuration ----
LARGEST = 2**31 - 1
LOWEST_INT = {"seed": 0}  # of integers: else 1
HIGHEST = {"tf_final": 1.0, "refine": 0.9}


def check_choice(name: str, value, choices) -> None:
    """Raises ValueError if the value is not one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: found {value!r:.60}; expected one of {', '.join(choices)}")


def check_number(name: str, value, kind: type) -> None:
    """Raises ValueError if the value is no int, or no float, of its range."""
    low = LOWEST_INT.get(name, 1) if kind is int else 0.0
    high = HIGHEST.get(name, LARGEST)
    is_number = type(value) in (int, kind)  # and so no bool
    if not is_number or not low <= value <= high:  # and so no NaN
        raise ValueError(f"{name}: found {value!r:.60}; expected {kind.__name__} {low}..{high}")


@dataclass(frozen=True)
class Config:
    """Holds the hyperparameters; by default, the lab by its own rules.

    Raises TypeError for an unknown name, ValueError for a value that is out of range or has no
    meaning beside another.
    """

    seed: int = 0  # of weights, batches and noise
    epochs: int = 84  # refining included
    batch_size: int = 64  # words a step
    hidden_size: int = 256  # H; the lab's: 256 or 512
    latent_size: int = 32  # Z; the lab's
    condition_size: int = 8  # C, of a tense; the lab's
    embedding_size: int = 32  # of a letter
    decoding: Literal["gated", "direct"] = "gated"  # see the decoders
    gate_price: float = 0.1  # nats a letter behind the gate: blind what can be spelled blind
    optimizer: Literal["adam", "sgd"] = "adam"  # see `learning_rate`
    learning_rate: float = 6e-3  # the highest
    ce_per: Literal["word", "character"] = "word"  # CE in the loss; KL is always per word
    strategy: str = "target-rate"  # of the KL weight: one of STRATEGIES
    kl_weight: float = 1.0  # the schedule's maximum
    rate_start: float = 8.0  # target KL in nats per word, at first
    rate_end: float = 4.0  # and then; ln 1227 = 7.1 name a verb
    tf_final: float = 0.95  # teacher-forcing ratio in the last epoch, linear from 1
    refine: float = 0.25  # share of epochs, the last: KL weight 0, only the encoder is trained
    evaluate_every: int = 12  # epochs between two rows of `score` in the history

    def __post_init__(self):
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if name == "strategy":
                check_choice(name, value, STRATEGIES)
            elif get_args(kind):
                check_choice(name, value, get_args(kind))
            else:
                check_number(name, value, kind)
            if kind is float:
                object.__setattr__(self, name, float(value))  # 1 and 1.0 are one run
        self.check_together()

    def check_together(self) -> None:
        """Raises ValueError if two values do not go together, naming both."""
        if self.condition_size >= self.hidden_size:
            found = f"{self.condition_size} beside hidden_size {self.hidden_size}"
            raise ValueError(f"condition_size: found {found}; expected less")
        if self.decoding != "gated":
            self.check_unused("gate_price", "decoding")
        if self.strategy in IGNORE_KL:
            self.check_unused("rate_start", "strategy")
            self.check_unused("rate_end", "strategy")

    def check_unused(self, name: str, because: str) -> None:
        """Raises ValueError if a value was changed that another one leaves without a meaning."""
        value = getattr(self, name)
        if value != getattr(type(self), name):
            found = f"{value!r} beside {because} {getattr(self, because)!r}"
            raise ValueError(f"{name}: found {found}; expected none, for it has no meaning there")

    @staticmethod
    def classic(**changes) -> Config:
        """Returns the original's values, as its author published them; keywords change them."""
        values = {
            "epochs": 500,
            "batch_size": 16,  # the original's 1, and 16 times its learning rate
            "hidden_size": 256,
            "latent_size": 32,
            "condition_size": 8,
            "embedding_size": 256,
            "decoding": "direct",
            "optimizer": "sgd",
            "learning_rate": 0.8,
            "ce_per": "character",  # so that β is 8.5 times what is printed
            "strategy": "monotonic",
            "kl_weight": 1.0,
            "tf_final": 0.1,
            "refine": 0.0,
            "evaluate_every": 32,
        }
        return Config(**(values | changes))

    @property
    def first_phase(self) -> int:
        """The epochs of the first phase, in which KL is weighed; `refine` is rounded down."""
        return self.epochs - int(self.refine * self.epochs)

    def new_training(self, verbs: list[Verb]) -> Training:
        """Returns a training of this recipe that has not begun."""
        return Training(self, verbs)


# ---- Model ----
def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Returns KL(N(mu, e^logvar) ‖ N(0, I)) in nats per word (B,), of mu and logvar (B, Z).

    Kingma & Welling 2014, appendix B.
    """
    # KL = ½ Σ_j (μ² + σ² − 1 − log σ²)
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)  # (B,)


def reparameterize(mu: Tensor, logvar: Tensor, rng: torch.Generator) -> Tensor:
    """Samples z (B, Z) from N(mu, e^logvar); gradients pass (Kingma & Welling 2014, 2.4)."""
    noise = torch.randn(mu.shape, generator=rng).to(mu.device)  # the same on any device
    # z = μ + σ ε, ε ~ N(0, I)
    return mu + (0.5 * logvar).exp() * noise  # (B, Z)


def make_lstm(input_size: int, hidden_size: int) -> nn.LSTM:
    """Makes an LSTM whose forget gate starts open (Jozefowicz et al. 2015)."""
    lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
    biases = lstm.bias_ih_l0.data.chunk(4)  # of input, forget, cell and output gate
    biases[1].fill_(1.0)
    return lstm


def state_at_eos(lstm: nn.LSTM, inputs: Tensor, h0: Tensor, lengths: Tensor) -> Tensor:
    """Reads inputs (B, T, E) from a hidden state (B, H); returns the one after each EOS (B, H)."""
    h0 = h0[None]  # (1, B, H)
    hidden, _ = lstm(inputs, (h0, torch.zeros_like(h0)))  # (B, T, H)
    return hidden[torch.arange(len(hidden)), lengths - 1]  # not after the padding


class Encoder(nn.Module):
    """Reads words, given their tense, into the posterior q(z | word, tense)."""

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, config.embedding_size)
        self.condition = nn.Embedding(len(TENSES), config.condition_size)
        self.lstm = make_lstm(config.embedding_size, config.hidden_size)
        self.mu = nn.Linear(config.hidden_size, config.latent_size)
        self.logvar = nn.Linear(config.hidden_size, config.latent_size)

    def forward(self, words: Words) -> tuple[Tensor, Tensor]:
        """Returns mu and logvar of B words, each (B, Z)."""
        condition = self.condition(words.tense)  # (B, C)
        # h0 = 0 ‖ condition
        h0 = F.pad(condition, (self.lstm.hidden_size - condition.shape[1], 0))  # (B, H)
        end = state_at_eos(self.lstm, self.embedding(words.letters), h0, words.lengths)  # (B, H)
        return self.mu(end), self.logvar(end)  # (B, Z) each


class Nats(NamedTuple):
    """Holds what words cost a decoder, in nats per word (B,), or (B, K) if each z has K words."""

    minimized: Tensor  # what training lowers: CE, or what stands for it while a gate is learned
    ce: Tensor  # cross-entropy of the letters that count, given those that were fed


def up_to(lengths: Tensor, width: int) -> Tensor:
    """Returns a mask (B, T) of the letters that belong to words of these lengths (B,)."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def letter_nats(scores: Tensor, letters: Tensor, mask: Tensor) -> Tensor:
    """Returns −log p of letters (B, T) by scores (B, T, V − 1), in nats (B, T); 0 outside the mask.

    For probabilities (B, V − 1, T) in place of letters, their cross-entropy.
    """
    return F.cross_entropy(scores.mT, letters, reduction="none") * mask  # (B, T)


class Decoder(nn.Module):
    """Spells words letter by letter from z; its kinds differ in where the tense comes in.

    A kind has `nats(z, target, free_running, gate)`, and `context(z, tense)` (B, H), all that the
    LSTM knows at its start, or a `spell` of its own.
    """

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, config.embedding_size)
        self.lstm = make_lstm(config.embedding_size, config.hidden_size)
        self.letter = nn.Linear(config.hidden_size, VOCABULARY - 1)  # SOS is no output
        self.condition = nn.Embedding(len(TENSES), config.condition_size)

    def initial_state(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns h0 and c0, each (1, B, H), of a context (B, H)."""
        c0 = context[None]  # in the cell it lasts
        return c0.tanh(), c0

    def forward(self, fed: Tensor, context: Tensor) -> Tensor:
        """Returns the hidden states (B, T, H) that score each letter, if letters (B, T) are fed."""
        inputs = F.pad(fed[:, :-1], (1, 0), value=SOS)  # (B, T): each letter after the one before
        hidden, _ = self.lstm(self.embedding(inputs), self.initial_state(context))
        return hidden  # (B, T, H)

    def choose_fed(self, context, target: Words, free_running) -> tuple[Tensor, Tensor]:
        """Returns the letters that are fed (B, T), and which of them count (B, T).

        Words are fed the target's letters (teacher forcing); those of the mask `free_running` (B,)
        the decoder's own, up to their own EOS (scheduled sampling, Bengio et al. 2015). A first
        pass finds these. As argmax passes no gradient, the fused second pass over them has the
        same outputs and gradients as decoding step by step.
        """
        width = target.letters.shape[1]
        if not free_running.any():
            return target.letters, up_to(target.lengths, width)
        own, _ = self.greedy(context[free_running], target.tense[free_running], width)
        fed = target.letters.index_put((free_running,), own)  # (B, T)
        lengths = torch.minimum(target.lengths, (fed != EOS).sum(1) + 1)  # (B,)
        return fed, up_to(lengths, width)

    @torch.no_grad()
    def greedy(self, context, tense, steps=MAX_LETTERS + 1) -> tuple[Tensor, Tensor]:
        """Feeds back the likeliest letter until EOS or `steps`, from contexts (B, H).

        Returns letters (B, steps), padded with EOS, and the hidden state (B, H) each word ends in.
        """
        letters = torch.full((len(context), steps), EOS, device=context.device)  # (B, steps)
        end = torch.empty_like(context)  # (B, H)
        unfinished = torch.arange(len(context), device=context.device)  # numbers of b ≤ B words
        letter = torch.full_like(letters[:, :1], SOS)  # (b, 1)
        opened = torch.zeros_like(letter, dtype=torch.bool)  # (b, 1): the gate, if there is one
        state = self.initial_state(context)
        for t in range(steps):
            hidden, state = self.lstm(self.embedding(letter), state)  # (b, 1, H)
            letter, opened = self.next_letter(hidden, tense, opened)
            letters[unfinished, t] = letter[:, 0]
            end[unfinished] = hidden[:, 0]
            goes_on = letter[:, 0] != EOS
            unfinished = unfinished[goes_on]
            if not len(unfinished):
                break
            letter, opened, tense = letter[goes_on], opened[goes_on], tense[goes_on]
            state = tuple(s[:, goes_on] for s in state)
        return letters, end

    def next_letter(self, hidden, tense, opened) -> tuple[Tensor, Tensor]:
        """Returns the likeliest letter (b, 1) at hidden states (b, 1, H), and the gate as it is."""
        return self.letter(hidden).argmax(2), opened

    def spell(self, z: Tensor, tense: Tensor) -> Tensor:
        """Decodes each z (B, Z) in K tenses (B, K) greedily; returns letters (B K, steps)."""
        z = z.repeat_interleave(tense.shape[1], 0)  # (B K, Z)
        tense = tense.flatten()  # (B K,)
        letters, _ = self.greedy(self.context(z, tense), tense)
        return letters


class DirectDecoder(Decoder):
    """Is told the tense with z, before the first letter."""

    def __init__(self, config):
        super().__init__(config)
        self.from_z = nn.Linear(config.latent_size + config.condition_size, config.hidden_size)

    def context(self, z, tense) -> Tensor:
        """Returns the context (B, H) of z (B, Z) and tense (B,)."""
        return self.from_z(torch.cat([z, self.condition(tense)], 1))

    def nats(self, z, target: Words, free_running, gate=None) -> Nats:
        """Returns the nats of B words, each from its z (B, Z); there is no gate."""
        context = self.context(z, target.tense)  # (B, H)
        fed, mask = self.choose_fed(context, target, free_running)
        scores = self.letter(self(fed, context))  # (B, T, V − 1)
        # CE = −Σ_t log p(x_t | x_<t, z, tense)
        ce = letter_nats(scores, target.letters, mask).sum(1)  # (B,)
        return Nats(minimized=ce, ce=ce)


class GatedDecoder(Decoder):
    """Spells blind to the tense until a gate opens, once; from there on it is told the tense.

    Before the gate EOS means: open. Nothing says where it should open, so a word's likelihood is
    the sum over all places.
    """

    def __init__(self, config):
        super().__init__(config)
        H = config.hidden_size
        self.gate_mlp = nn.Sequential(
            nn.Linear(H + config.condition_size, H // 2),
            nn.Tanh(),
            nn.Linear(H // 2, VOCABULARY - 1),
        )
        self.from_z = nn.Linear(config.latent_size, H)

    def context(self, z, tense) -> Tensor:
        """Returns the context (B, H) of z (B, Z), whatever the tense."""
        return self.from_z(z)

    def scores_behind_gate(self, hidden, scores, tense) -> Tensor:
        """Returns scores (B, T, V − 1) behind the gate, of hidden states and the scores before."""
        condition = self.condition(tense)[:, None]  # (B, 1, C)
        condition = condition.expand(-1, hidden.shape[1], -1)  # (B, T, C)
        # W h, but for EOS, which opened the gate, + MLP(h ‖ condition)
        blind = F.pad(scores[..., 1:], (1, 0))
        return blind + self.gate_mlp(torch.cat([hidden, condition], 2))

    def next_letter(self, hidden, tense, opened) -> tuple[Tensor, Tensor]:
        """Returns the likeliest letter (b, 1), and which gates are open now (b, 1)."""
        scores = self.letter(hidden)  # (b, 1, V − 1)
        blind = scores.argmax(2)  # (b, 1)
        opened = opened | (blind == EOS)
        behind = self.scores_behind_gate(hidden, scores, tense).argmax(2)  # (b, 1)
        return behind.where(opened, blind), opened

    def nats(self, z, target: Words, free_running, gate: Gate) -> Nats:
        """Returns the nats of B words, each from its z (B, Z); `gate` changes what is minimized."""
        context = self.context(z, target.tense)  # (B, H)
        fed, mask = self.choose_fed(context, target, free_running)
        before, behind, opens = self.letter_costs(self(fed, context), target, mask)
        priced = behind + gate.price * mask
        paths = path_nats(before, priced, opens)
        minimized = sum_over_paths(paths, mask, gate.inverse_temperature)
        with torch.no_grad():
            ce = sum_over_paths(path_nats(before, behind, opens), mask)
        return Nats(minimized, ce)

    def letter_costs(self, hidden, target: Words, mask):
        """Returns the nats (B, T) of letters before and behind the gate, and of opening it."""
        scores = self.letter(hidden)  # (B, T, V − 1)
        before = letter_nats(scores, target.letters, mask)
        behind_scores = self.scores_behind_gate(hidden, scores, target.tense)
        behind = letter_nats(behind_scores, target.letters, mask)
        opens = -scores.log_softmax(2)[..., EOS]
        return before, behind, opens


def path_nats(before, behind, opens) -> Tensor:
    """Returns −log p of each path (B, T): the gate opens before letter k; all T paths at once."""
    # −log p(path k) = Σ_{t<k} before_t + opens_k + Σ_{t≥k} behind_t
    return before.cumsum(1) - before + opens + behind.flip(1).cumsum(1).flip(1)


def sum_over_paths(paths, mask, inverse_temperature=1.0) -> Tensor:
    """Returns −log p(word | z, tense) (B,), summed over paths (B, T) of the mask."""
    # CE = −1/τ log [T^(τ − 1) Σ_k p(path k)^τ]; with τ = 1 that is −log Σ_k p(path k)
    tau = inverse_temperature
    log_sum = (-tau * paths).masked_fill(~mask, -torch.inf).logsumexp(1)  # (B,)
    return ((1 - tau) * mask.sum(1).log() - log_sum) / tau


DECODERS = {"gated": GatedDecoder, "direct": DirectDecoder}


class CVAE(nn.Module):
    """Encodes a word, given its tense, into z, and decodes z in any tense.

    z is the only path from a source to an output.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = self.make_encoder(config)
        self.decoder = self.make_decoder(config)

    def make_encoder(self, config) -> nn.Module:
        """Returns a new encoder of words."""
        return Encoder(config)

    def make_decoder(self, config) -> Decoder:
        """Returns a new decoder of the kind that the configuration names."""
        return DECODERS[config.decoding](config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.letter.weight.device

    @torch.no_grad()
    def encode(self, words: list[str], tense) -> tuple[Tensor, Tensor]:
        """Encodes words, of one tense or of one each; returns mu and logvar, each (B, Z).

        Raises TypeError, ValueError for what is no word of 1 to 32 letters a-z or no tense 0..3.
        """
        words = check_words(words)
        tense = check_tense(tense, len(words))
        letters, lengths = words_to_tensor(words)
        mu = torch.empty(len(words), self.config.latent_size, device=self.device)  # (B, Z)
        logvar = torch.empty_like(mu)
        for start in range(0, len(words), CHUNK):
            part = slice(start, start + CHUNK)
            chunk = Words(letters[part], lengths[part], tense[part])
            mu[part], logvar[part] = self.encoder(chunk.to(self.device))
        return mu, logvar

    def decode(self, z: Tensor, tense) -> list[str]:
        """Decodes z (B, Z) greedily, in one tense or in one each. Raises ValueError."""
        self.check_z(z)
        tense = check_tense(tense, len(z))
        return self.spell(z, tense[:, None])

    def convert(self, words: list[str], source_tense, target_tense) -> list[str]:
        """Converts words by decoding their posterior mean; a tense is an int or one per word.

        Any number of words; raises as `encode`.
        """
        mu, _ = self.encode(words, source_tense)
        return self.decode(mu, target_tense)

    def generate(self, z: Tensor) -> list[Verb]:
        """Decodes the four forms of each z (N, Z). Raises ValueError."""
        self.check_z(z)
        forms = len(TENSES)
        words = self.spell(z, torch.arange(forms).expand(len(z), forms))
        return [tuple(words[n : n + forms]) for n in range(0, len(words), forms)]

    def check_z(self, z) -> None:
        """Raises ValueError if z is not (B, Z) or not finite."""
        size = self.config.latent_size
        fits = isinstance(z, Tensor) and z.shape[1:] == (size,)
        if not fits or not z.isfinite().all():
            expected = f"finite numbers of shape (B, {size})"
            raise ValueError(f"z: found {z!r:.60}; expected {expected}")

    @torch.no_grad()
    def spell(self, z: Tensor, tense: Tensor) -> list[str]:
        """Decodes each z (B, Z) in K tenses (B, K) into B K words."""
        z = z.to(self.decoder.letter.weight)
        tense = tense.to(self.device)
        words = []
        for start in range(0, len(z), CHUNK):
            part = slice(start, start + CHUNK)
            words += tensor_to_words(self.decoder.spell(z[part], tense[part]))
        return words


# ---- Metrics ----
class GaussianScore(NamedTuple):
    """Holds what `gaussian_score` returns."""

    official: float
    exact: float
    distinct: int
    inconsistent: float


def bleu4(output: str, reference: str) -> float:
    """Returns the course's BLEU-4 of a word, 0..1: NLTK's, over characters, with method 1.

    A reference of three letters is scored by 1- to 3-grams, weighted 0.33. Papineni et al. 2002;
    Chen & Cherry 2014. Raises ValueError for an empty reference.
    """
    if not reference:
        raise ValueError("the reference is empty; expected a word")
    weights = (0.33,) * 3 if len(reference) == 3 else (0.25,) * 4
    smoothing = SmoothingFunction().method1
    return float(sentence_bleu([reference], output, weights, smoothing))


def mean_bleu4(model, pairs=None, draws=None) -> float:
    """Returns the mean BLEU-4 of test pairs, 0..1, decoded from the posterior mean.

    With `draws`, from so many samples of each posterior. By default the pairs are
    `load_test_pairs()`. Raises ValueError if there are none.
    """
    if pairs is None:
        pairs = load_test_pairs()
    if not pairs:
        raise ValueError("pairs: found none; expected at least one")
    sources, targets, source_tenses, target_tenses = zip(*pairs, strict=True)
    mu, logvar = model.encode(sources, source_tenses)
    if draws is None:
        outputs = model.decode(mu, target_tenses)
    else:
        mu, logvar = (x.cpu().repeat(draws, 1) for x in (mu, logvar))
        z = reparameterize(mu, logvar, torch.Generator().manual_seed(0))
        outputs = model.decode(z, target_tenses * draws)
        targets = targets * draws
    scores = [bleu4(*pair) for pair in zip(outputs, targets, strict=True)]
    return float(np.mean(scores))


def encode_verbs(model, verbs) -> tuple[Tensor, Tensor]:
    """Encodes all forms of verbs; returns mu and logvar, each (N, 4, Z), on the CPU."""
    verbs = check_verbs(verbs)
    forms = [form for verb in verbs for form in verb]
    mu, logvar = model.encode(forms, list(range(len(TENSES))) * len(verbs))
    shape = len(verbs), len(TENSES), -1
    return mu.cpu().view(shape), logvar.cpu().view(shape)


def convert_verbs(model, verbs) -> np.ndarray:
    """Converts every form to every tense from the posterior mean.

    Returns words (N, 4, 4), by verb, source and target tense.
    """
    mu, _ = encode_verbs(model, verbs)
    converted = model.generate(mu.flatten(0, 1))  # 4 N verbs, one of each form
    return np.array(converted).reshape(-1, len(TENSES), len(TENSES))


def gaussian_score(generated: list[Verb], verbs) -> GaussianScore:
    """Scores verbs that were decoded from noise against a table.

    `exact` is the share, 0..1, that are rows of the table; `official`, the course's, counts a row
    as often as the table repeats it, and may exceed 1; `distinct` is the number of different rows;
    `inconsistent` is the share, 0..1, whose four forms all occur in the table, but not in one row.
    Raises ValueError.
    """
    rows = Counter(check_verbs(verbs))
    generated = [tuple(verb) for verb in generated]
    if not generated or any(len(verb) != len(TENSES) for verb in generated):
        raise ValueError(
            f"generated: found {generated!r:.60}; expected at least one, of four words"
        )
    columns = [set(forms) for forms in zip(*rows, strict=True)]
    known = 0
    for verb in generated:
        known += all(form in forms for form, forms in zip(verb, columns, strict=True))
    exact = sum(verb in rows for verb in generated)
    return GaussianScore(
        official=sum(rows[verb] for verb in generated) / len(generated),
        exact=exact / len(generated),
        distinct=len(rows.keys() & set(generated)),
        inconsistent=(known - exact) / len(generated),
    )


def sample_prior(model, draws: int, seed=0) -> list[Verb]:
    """Returns the verbs decoded from `draws` samples z ~ N(0, I)."""
    rng = torch.Generator().manual_seed(seed)
    return model.generate(torch.randn(draws, model.config.latent_size, generator=rng))


def information(model, verbs) -> dict[str, float]:
    """Splits the KL of all M = 4 N forms, in nats per word (Hoffman & Johnson 2016).

    `kl_table` = `mutual_information`, I(x; z) ≤ ln M, + `marginal_kl`, KL(q(z) ‖ p(z)), estimated
    from one sample of each posterior. `active_units`: dimensions in use (Burda et al. 2016).
    """
    mu, logvar = (x.flatten(0, 1).double() for x in encode_verbs(model, verbs))  # (M, Z)
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(0))  # (M, Z)
    # log q(z_i | x_j) = −½ Σ [(z_i − μ_j)² / σ_j² + log σ_j² + log 2π]; multiplied out, a product
    # of two matrices: z², z and 1 of a code, and what they are multiplied by of a word
    precision = (-logvar).exp()  # (M, Z)
    offset = mu**2 * precision + logvar + math.log(2 * math.pi)  # (M, Z)
    offset = offset.sum(1, keepdim=True)  # (M, 1)
    of_word = torch.cat([-0.5 * precision, mu * precision, -0.5 * offset], 1)  # (M, 2 Z + 1)
    of_code = torch.cat([z**2, z, torch.ones(len(z), 1)], 1)  # (M, 2 Z + 1)
    # log q(z) = log 1/M Σ_j q(z | x_j)
    sums = [(chunk @ of_word.T).logsumexp(1) for chunk in of_code.split(CHUNK)]
    log_marginal = torch.cat(sums) - math.log(len(z))  # (M,)
    # I(x; z) = E[log q(z | x) − log q(z)]
    mutual_information = ((of_code * of_word).sum(1) - log_marginal).mean().item()
    kl = kl_divergence(mu, logvar).mean().item()
    return {
        "kl_table": kl,
        "mutual_information": mutual_information,
        "marginal_kl": kl - mutual_information,
        # AU = #{j : Var_x(E[z_j | x]) > 0.01}
        "active_units": int((mu.var(0) > 0.01).sum()),
    }


def conversion_accuracy(model, verbs) -> float:
    """Returns the share, 0..1, of exact conversions between two different tenses: 12 a verb."""
    verbs = check_verbs(verbs)
    right = convert_verbs(model, verbs) == np.array(verbs)[:, None]  # (N, 4, 4)
    different = ~np.eye(len(TENSES), dtype=bool)
    return float(right[:, different].mean())


def score(model, verbs=None, pairs=None, draws=10_000) -> dict[str, float]:
    """Returns every score by name, of 100 `draws` of noise or more.

    Shares are 0..1 (`gaussian_official` may exceed 1); `information` is of 2,000 verbs at most, in
    nats per word; `distinct` is the mean number of different rows in 100 draws; `bleu4_drawn` is
    from 20 samples of each posterior. By default, verbs and pairs are read from the files.
    Raises ValueError.
    """
    if draws < 100:
        raise ValueError(f"draws: found {draws}; expected at least 100")
    verbs = check_verbs(verbs)
    once = distinct_verbs(verbs)
    generated = sample_prior(model, draws)
    gaussian = gaussian_score(generated, verbs)
    hundreds = [generated[n : n + 100] for n in range(0, draws - 99, 100)]
    distinct = [len(set(hundred) & set(verbs)) for hundred in hundreds]
    return {
        "bleu4": mean_bleu4(model, pairs),
        "bleu4_drawn": mean_bleu4(model, pairs, draws=20),
        "conversion": conversion_accuracy(model, once),
        "gaussian_official": gaussian.official,
        "gaussian_exact": gaussian.exact,
        "gaussian_inconsistent": gaussian.inconsistent,
        "distinct": float(np.mean(distinct)),
        **information(model, once[:2000]),
    }


# ---- Runs ----
RUNS = HERE / "runs"  # a folder a run
CHECKPOINT = "run.pt"  # its last epoch
VERSION = 9  # to be raised when the arithmetic of training or of a score changes
# a schedule is told from another by its values at these nats of excess
NEAR = np.arange(-40, 20, 0.1)
FAR = np.geomspace(20, 1000, 40)
EXCESSES = [*NEAR.tolist(), *FAR.tolist()]


class Run(NamedTuple):
    """Holds a finished training."""

    model: CVAE
    history: pd.DataFrame  # a row an epoch
    config: Config


def schedule_values(config) -> list[float]:
    """Returns the KL weights of all epochs at many values of KL. Raises as `kl_weight`."""
    weights = []
    for epoch in range(1, config.epochs + 1):
        target = target_nats(config, epoch / config.epochs)
        weights += [kl_weight(config, epoch, target + excess) for excess in EXCESSES]
    return weights


def digest(config, verbs: list[Verb]) -> str:
    """Hashes what a run depends on: configuration, KL weights, data, `VERSION`.

    Raises as `kl_weight`.
    """
    module = type(config).__module__
    content = (module, config, schedule_values(config), verbs, load_test_pairs(), VERSION)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file whole, or raises OSError and leaves the old one."""
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


def save_checkpoint(path: Path, key: str, state: dict) -> None:
    """Saves a state, and the SHA-256 of it and the run's digest. Raises OSError."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    atomic_write(path, content + hashlib.sha256(content + key.encode()).digest())


def load_checkpoint(path: Path, key: str) -> dict:
    """Loads a state that was saved with this digest; it runs no code. Raises ValueError."""
    content = path.read_bytes()
    state, signature = content[:-32], content[-32:]
    if hashlib.sha256(state + key.encode()).digest() != signature:
        reason = "damaged, or of another configuration, data or version"
        raise ValueError(f"{path}: {reason}: delete it or use another folder")
    return torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)


# ---- Training ----
CLIP = 5.0  # the largest norm of a gradient
TURN = threading.RLock()  # a process has one random state and one number of threads


class Batch(NamedTuple):
    """Holds B words to be encoded and what is to be decoded of them."""

    source: Words
    target: Words


def words_of(verbs: list[Verb]) -> Words:
    """Returns all forms of N verbs as words (4 N, T); number 4 n + t is verb n in tense t."""
    forms = [form for verb in verbs for form in verb]
    letters, lengths = words_to_tensor(forms)
    return Words(letters, lengths, torch.arange(len(forms)) % len(TENSES))


def make_batches(size: Tensor, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    """Groups N items of similar size (N,) into batches; returns their numbers, in random order."""
    order = (size + torch.rand(len(size), generator=rng)).argsort().split(batch_size)
    return [order[i] for i in torch.randperm(len(order), generator=rng)]


class Training:
    """Trains a model by the lab's rules: each word to itself, told its tense."""

    def __init__(self, config, verbs: list[Verb]):
        self.config = config
        self.verbs = verbs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = self.make_model().to(self.device)
        self.rng = torch.Generator().manual_seed(config.seed)
        self.optimizer = self.make_optimizer(self.model, beta2=0.99)  # short while z is noisy
        self.history = []

    def make_model(self) -> CVAE:
        """Returns a new model."""
        return CVAE(self.config)

    def make_optimizer(self, module, beta2: float) -> torch.optim.Optimizer:
        """Returns a new optimizer of a module's weights."""
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(module.parameters(), lr=self.config.learning_rate)
        rate = self.config.learning_rate
        return torch.optim.Adam(module.parameters(), lr=rate, betas=(0.9, beta2), fused=True)

    def start_second_phase(self) -> None:
        """Freezes the decoder: from here on, the encoder alone is refined."""
        self.model.decoder.requires_grad_(False)
        self.optimizer = self.make_optimizer(self.model.encoder, beta2=0.999)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch: every form once."""
        table = words_of(self.verbs)
        numbers = make_batches(table.lengths, self.config.batch_size, self.rng)
        table = table.to(self.device)
        batches = []
        for n in numbers:
            same = select_words(table, n)
            batches.append(Batch(source=same, target=same))
        return batches

    def loss(self, batch: Batch, epoch: int):
        """Returns the loss of a batch, and what the history keeps of it."""
        config = self.config
        mu, logvar = self.model.encoder(batch.source)  # (B, Z)
        z = reparameterize(mu, logvar, self.rng)  # (B, Z)
        lengths = batch.target.lengths  # (B,)
        tf_ratio = teacher_forcing_ratio(config, epoch)
        free_running = torch.rand(lengths.shape, generator=self.rng) >= tf_ratio  # (B,)
        free_running = free_running.to(self.device)
        gate = gate_schedule(config, epoch)
        nats = self.model.decoder.nats(z, batch.target, free_running, gate)  # (B,)
        kl = kl_divergence(mu, logvar)  # (B,)
        weight = kl_weight(config, epoch, kl.mean().item())
        per = lengths if config.ce_per == "character" else torch.ones_like(lengths)
        # L = CE + kl_weight · KL
        loss = (nats.minimized / per).mean() + weight * kl.mean()
        measured = {
            "ce": nats.ce.mean().item(),
            "kl": kl.mean().item(),
            "kl_weight": weight,
            "beta": weight * per.float().mean().item(),  # the weight beside CE per word
            "loss": loss.item(),
        }
        return loss, measured

    def step(self, loss: Tensor, rate: float, where: str) -> None:
        """Descends the loss by one step. Raises FloatingPointError."""
        self.optimizer.zero_grad()
        loss.backward()
        (group,) = self.optimizer.param_groups
        norm = nn.utils.clip_grad_norm_(group["params"], CLIP)
        if not loss.isfinite() or not norm.isfinite():
            raise FloatingPointError(f"loss {loss:g}, gradient norm {norm:g} in {where}")
        group["lr"] = rate
        self.optimizer.step()

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Trains on every word once; returns the epoch's row of the history: means over words."""
        if epoch == self.config.first_phase + 1:
            self.start_second_phase()
        batches = self.make_epoch(epoch)
        rows = []
        for step, batch in enumerate(batches, 1):
            rate = learning_rate(self.config, epoch, step, len(batches))
            loss, measured = self.loss(batch, epoch)
            self.step(loss, rate, f"epoch {epoch}, step {step}")
            rows.append(measured)
        sizes = [len(batch.target.lengths) for batch in batches]
        values = [list(row.values()) for row in rows]
        means = np.average(values, axis=0, weights=sizes).tolist()
        row = dict(zip(rows[0], means, strict=True))
        tf_ratio = teacher_forcing_ratio(self.config, epoch)
        return {"epoch": epoch, **row, "tf_ratio": tf_ratio, "learning_rate": rate}

    def evaluate(self, epoch: int, pairs) -> dict[str, float]:
        """Returns BLEU-4 or, every `evaluate_every` epochs and where a phase ends, `score`."""
        phase_ends = epoch in (self.config.first_phase, self.config.epochs)
        if phase_ends or epoch % self.config.evaluate_every == 0:
            return score(self.model, self.verbs, pairs, draws=1000)
        return {"bleu4": mean_bleu4(self.model, pairs)}

    def state(self) -> dict:
        """Returns all that a checkpoint must hold to go on, or of a finished run to be used."""
        state = {
            "model": self.model.state_dict(),
            "rng": self.rng.get_state(),
            "history": self.history,
        }
        if len(self.history) < self.config.epochs:
            state["optimizer"] = self.optimizer.state_dict()
        return state

    def restore(self, state: dict) -> None:
        """Goes back to a state that `state` returned."""
        self.history = state["history"]
        if "optimizer" in state:
            if len(self.history) > self.config.first_phase:
                self.start_second_phase()
            self.optimizer.load_state_dict(state["optimizer"])
        self.model.load_state_dict(state["model"])
        self.rng.set_state(state["rng"])


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Gives the same bits on any number of cores; leaves threads and random state as found.

    Trainings in threads of one process take turns.
    """
    with TURN, torch.random.fork_rng(devices=[]):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def history_table(history: list[dict]) -> pd.DataFrame:
    """Returns the rows of a history as a table, by epoch."""
    return pd.DataFrame(history).set_index("epoch")


def train(config: Config, verbs=None, *, run_dir=None, progress=True, on_epoch=None) -> Run:
    """Trains on verbs, repeats counted once; None: `load_verbs()`. Returns the last epoch's run.

    Every epoch is saved in `run_dir`, if any, and the same call resumes there, bit-exactly on a
    CPU. `progress` shows a bar; `on_epoch` is called with the history so far. The history's columns
    are those of `CURVES`, the loss, the learning rate of the last step and, in some rows, those of
    `score`. Raises before any work as `load_verbs`, `check_verbs` and `kl_weight`, and ValueError
    for a checkpoint that is damaged or another's; then OSError and FloatingPointError.
    """
    verbs = distinct_verbs(verbs)
    folder = None if run_dir is None else Path(run_dir)
    return _train(config, verbs, digest(config, verbs), folder, progress, on_epoch)


def _train(config, verbs, key, folder, progress, on_epoch) -> Run:
    pairs = load_test_pairs()
    with reproducible(config.seed):
        training = config.new_training(verbs)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        lock = nullcontext() if folder is None else FileLock(folder / "lock")
        with lock:
            if folder is not None and (folder / CHECKPOINT).exists():
                training.restore(load_checkpoint(folder / CHECKPOINT, key))
            epochs = range(len(training.history) + 1, config.epochs + 1)
            for epoch in tqdm(epochs, "epochs", disable=not progress):
                row = training.run_epoch(epoch)
                training.history.append(row | training.evaluate(epoch, pairs))
                if folder is not None:
                    save_checkpoint(folder / CHECKPOINT, key, training.state())
                if on_epoch is not None:
                    on_epoch(history_table(training.history))
    training.model.requires_grad_(True)  # as when it is loaded
    return Run(training.model, history_table(training.history), config)


def load_or_train(config: Config, verbs=None, *, runs=None, progress=True, on_epoch=None) -> Run:
    """Returns the run of this configuration and data from runs/, else trains it there.

    `runs` is another folder of runs. Raises as `train`.
    """
    verbs = distinct_verbs(verbs)
    key = digest(config, verbs)
    name = f"{config.strategy}-{config.decoding}-{config.seed}-{key[:16]}"
    return _train(config, verbs, key, Path(runs or RUNS) / name, progress, on_epoch)


def _load_or_train_elsewhere(strategies, config, verbs, runs) -> Run:
    STRATEGIES.update(strategies)  # a schedule of your own is known in this process, too
    return load_or_train(config, verbs, runs=runs, progress=False)


def sweep(tasks, verbs=None, jobs=-1) -> list[Run]:
    """Loads or trains runs, in order: a core each, or on a cluster (`joblib.parallel_config`).

    A task is a configuration, or a pair of a configuration and verbs of its own. Raises as `train`;
    what is finished by then is kept.
    """
    pairs = [task if isinstance(task, tuple) else (task, verbs) for task in tasks]
    calls = []
    for config, own_verbs in pairs:
        schedule_values(config)  # raises if it is no schedule
        own_verbs = check_verbs(own_verbs)
        call = joblib.delayed(_load_or_train_elsewhere)
        calls.append(call(STRATEGIES, config, own_verbs, RUNS))
    results = joblib.Parallel(jobs, return_as="generator")(calls)
    return list(tqdm(results, total=len(calls)))


# ---- Figures ----
FIGURES = HERE / "figures"
WIDTH = 5.0  # inches: letters of 6 points or more in a column of 85 mm
CURVES = {
    "ce": "cross-entropy, nats per word",
    "kl": "KL, nats per word",
    "beta": "KL weight β",
    "tf_ratio": "teacher-forcing ratio",
    "bleu4": "BLEU-4, test pairs",
    "gaussian_exact": "Gaussian score, exact",
}


def set_style() -> None:
    """Sets the look of all figures."""
    rc = {
        "image.cmap": "viridis",
        "lines.linewidth": 1.5,
        "figure.dpi": 120,
        "figure.figsize": (WIDTH, 3.2),
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,
        "axes.formatter.min_exponent": 5,
    }
    sns.set_theme("paper", "whitegrid", "colorblind", font_scale=1.05, rc=rc)


def draw_curves(runs: dict[str, Run], curves=CURVES, palette=None) -> plt.Figure:
    """Draws a panel a curve, by column and title, in it a line a run; returns the figure.

    `palette` gives each run's colour by name.
    """
    histories = {name: run.history for name, run in runs.items()}
    table = pd.concat(histories, names=["run"]).reset_index()
    rows = math.ceil(len(curves) / 2)
    size = (WIDTH, 1.9 * rows)
    fig, axes = plt.subplots(rows, 2, figsize=size, sharex=True, squeeze=False)
    for ax in axes.flat[len(curves) :]:
        ax.remove()
    for ax, (column, title) in zip(axes.flat, curves.items(), strict=False):
        known = table.dropna(subset=column)
        by_run = {"hue": "run", "style": "run", "palette": palette, "estimator": None}
        sns.lineplot(known, x="epoch", y=column, **by_run, ax=ax)
        ax.set(title=title, ylabel=None)
        if column in ("ce", "kl"):
            ax.set_yscale("log")
        ax.get_legend().remove()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def save_fig(fig, name: str) -> None:
    """Exports a figure as PDF and PNG into figures/, the same bytes each time. Raises OSError."""
    FIGURES.mkdir(exist_ok=True)
    formats = {"pdf": {"metadata": {"CreationDate": None}}, "png": {"dpi": 200}}
    for suffix, options in formats.items():
        drawn = io.BytesIO()
        fig.savefig(drawn, format=suffix, **options)
        atomic_write(FIGURES / f"{name}.{suffix}", drawn.getvalue())
