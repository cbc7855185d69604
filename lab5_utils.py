"""The lab: a conditional sequence-to-sequence VAE that converts verbs between their tenses.

Read it top to bottom: words, data, schedules, configuration, model, metrics, runs, training,
figures. Shapes: B words in a batch, T characters, C condition, H hidden, Z latent, V vocabulary,
N verbs, F forms of a verb, its tenses. Cross-entropy and KL are in nats per word: summed over
characters and dimensions, averaged over words. Bad input raises ValueError or TypeError, which name
what was found and expected.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
import threading
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sized
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
LEMMA = 0  # the first form of a verb, whatever the table
HOLE = "-"  # stands in a table for a form that is not known
EOS = 0  # ends a word and pads it
MAX_LETTERS = 32  # of a word; decoding stops one later
CHUNK = 512  # words that go through the model at a time
LETTERS = ("Ll", "Lo", "Lm")  # Unicode's categories: lower case, without case, modifiers


class Vocabulary(NamedTuple):
    """Holds what a table decides: its letters, numbered from 1, and how many forms a verb has."""

    alphabet: str  # in the order of Unicode
    forms: int  # F

    @property
    def size(self) -> int:
        """V: EOS, which is 0, the letters, and SOS."""
        return len(self.alphabet) + 2

    @property
    def sos(self) -> int:
        """The number that starts decoding, the last."""
        return len(self.alphabet) + 1

    def check(self, words: list[str], where: str) -> None:
        """Raises ValueError for a word with a letter that the table has not, naming both."""
        known = set(self.alphabet)
        for word in words:
            unknown = sorted(set(word) - known)
            if unknown:
                found = f"{describe(unknown[0])} in {word!r}"
                raise ValueError(f"{where}: found {found}; expected letters {self.alphabet:.60}")

    def to_tensor(self, words: list[str]) -> tuple[Tensor, Tensor]:
        """Turns words into letters (B, T), padded with EOS, and lengths (B,), one EOS counted."""
        lengths = torch.tensor([len(word) + 1 for word in words], dtype=torch.int64)  # (B,)
        width = int(lengths.max()) if words else 1
        padded = np.array(words, dtype=f"U{width}")
        code_points = padded.view(np.uint32)  # padded with 0
        letters = np.searchsorted(self.code_points(), code_points)
        letters = torch.from_numpy(letters).view(-1, width)  # (B, T)
        return letters, lengths

    def to_words(self, letters: Tensor) -> list[str]:
        """Turns letters (B, T) back into words; a word ends at its first EOS."""
        width = letters.shape[1]
        code_points = self.code_points()[letters.cpu().numpy()]
        padded = code_points.view(f"U{width}").flatten()  # (B,)
        return [word.split("\0")[0] for word in padded.tolist()]

    def code_points(self) -> np.ndarray:
        """Returns Unicode's number of each of ours, EOS first."""
        letters = [ord(letter) for letter in self.alphabet]
        return np.array([0, *letters], dtype=np.uint32)


class Words(NamedTuple):
    """Holds a batch of words as tensors."""

    letters: Tensor  # (B, T), padded with EOS
    lengths: Tensor  # (B,), EOS counted
    tense: Tensor  # (B,)

    def to(self, device) -> Words:
        """Returns the same words on a device."""
        return Words(*(part.to(device) for part in self))


def describe(character: str) -> str:
    """Returns a character so that it can be seen, with Unicode's name of it."""
    return f"{character!a} ({unicodedata.name(character, 'no name')})"


def is_letter(character: str) -> bool:
    """Tells whether this is a letter of any script; not a capital, a mark or a digit."""
    return unicodedata.category(character) in LETTERS


def check_word(word, where: str) -> str:
    """Returns a word, composed (Unicode NFC); `where` is named in errors. Raises ValueError."""
    expected = f"expected 1 to {MAX_LETTERS} letters in lower case"
    if not isinstance(word, str):
        raise ValueError(f"{where}: found {word!r:.60}; {expected}")
    word = unicodedata.normalize("NFC", str(word))  # NumPy's string, too, becomes Python's
    if not 1 <= len(word) <= MAX_LETTERS:
        raise ValueError(f"{where}: found {word!r:.60}; {expected}")
    for character in word:
        if not is_letter(character):
            raise ValueError(f"{where}: found {describe(character)} in {word!r}; {expected}")
    return word


def check_words(words, where="words") -> list[str]:
    """Returns the words as a list of `check_word`. Raises TypeError, ValueError."""
    if isinstance(words, str) or not isinstance(words, Iterable):
        raise TypeError(f"{where}: found {words!r:.60}; expected a list of words")
    return [check_word(word, where) for word in words]


def check_tense(tense, count: int, forms: int) -> Tensor:
    """Returns `count` tenses (B,) from one int, or from one int per word. Raises ValueError."""
    values = tense.tolist() if isinstance(tense, Tensor) else tense
    tenses = np.asarray(values)
    fits = tenses.shape in ((), (count,))
    are_ints = tenses.size == 0 or tenses.dtype.kind in "iu"
    known = set(range(forms))
    if not fits or not are_ints or not set(tenses.flat) <= known:
        expected = f"0..{forms - 1}, one for all or {count}"
        raise ValueError(f"tense: found {tense!r:.60}; expected {expected}")
    return torch.from_numpy(np.full(count, tenses, dtype=np.int64))  # (B,)


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
Verb = tuple[str, ...]  # the F forms of a verb, in the order of the table's columns


class TestPair(NamedTuple):
    """Holds one conversion to be tested; a tense is 0..F − 1."""

    __test__ = False  # pytest: no class of tests

    source: str
    target: str
    source_tense: int
    target_tense: int


def data_file(name: str) -> Path:
    """Returns the path of a file in the data folder: $LAB5_DATA, or this module's own."""
    folder = Path(os.environ.get("LAB5_DATA") or HERE)
    if not folder.is_dir():  # a relative name: not in the working directory, so beside this module
        folder = HERE / folder
    return folder / name


def read_lines(path) -> list[str]:
    """Returns the lines of a text, composed (Unicode NFC). Raises FileNotFoundError."""
    path = Path(path)
    if not os.path.isfile(path):
        where = f"{path.absolute().parent} (LAB5_DATA sets another folder)"
        raise FileNotFoundError(f"no file {path.name} in {where}")
    text = path.read_text("utf-8-sig", "backslashreplace")  # invalid UTF-8 is shown in the error
    text = unicodedata.normalize("NFC", text)
    return text.removesuffix("\n").split("\n")


def check_characters(line: str, allowed: str, where: str) -> None:
    """Raises ValueError for a character that is neither a letter nor allowed, with its column."""
    for column, character in enumerate(line, 1):
        if character not in allowed and not is_letter(character):
            found = f"column {column}: found {describe(character)} in {line!r:.60}"
            raise ValueError(f"{where}, {found}; expected letters in lower case")


def check_form(form, where: str) -> str:
    """Returns a form of a verb, a word or a hole. Raises ValueError."""
    if isinstance(form, str) and form == HOLE:
        return HOLE
    return check_word(form, where)


def check_row(forms, width: int, where: str) -> Verb:
    """Returns a row of `width` forms, one of them no hole at least. Raises as `check_words`."""
    if isinstance(forms, str) or not isinstance(forms, Iterable):
        raise TypeError(f"{where}: found {forms!r:.60}; expected a list of words")
    row = [check_form(form, where) for form in forms]
    if len(row) != width:
        raise ValueError(f"{where}: found {len(row)} words; expected {width}")
    if set(row) == {HOLE}:
        raise ValueError(f"{where}: found no word; expected one form at least")
    return tuple(row)


def read_names(line: str, where: str) -> tuple[str, ...]:
    """Returns the names of a table's forms, from its line of them. Raises ValueError."""
    names = [name.strip() for name in line.removeprefix("#").split(",")]
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"{where}: found {line!r:.60}; expected different names, with commas")
    return tuple(names)


def default_names(width: int) -> tuple[str, ...]:
    """Returns the names of so many forms in a table without names."""
    if width == len(TENSES):
        return TENSES
    return tuple(f"form {n}" for n in range(1, width + 1))


def read_table(path) -> tuple[tuple[str, ...], list[Verb]]:
    """Reads a table: the names of its forms, and its rows. Raises as `load_verbs`."""
    path = data_file("train.txt") if path is None else Path(path)
    lines = dict(enumerate(read_lines(path), 1))
    names = ()
    if lines[1].startswith("#"):
        names = read_names(lines.pop(1), f"{path}, line 1")
    if not lines:
        raise ValueError(f"{path}: found no row; expected a verb a row")
    first = next(iter(lines.values()))
    width = len(names) or len(first.split(" "))
    if width < 2:
        raise ValueError(f"{path}, line 1: found {width} form a verb; expected 2 or more")
    rows = []
    for n, line in lines.items():
        where = f"{path}, line {n}"
        check_characters(line, " " + HOLE, where)
        rows.append(check_row(line.split(" "), width, where))
    return names or default_names(width), rows


def load_verbs(path=None) -> list[Verb]:
    """Reads a verb table, a verb a row, repeats kept; None: train.txt in the data folder.

    The data folder is $LAB5_DATA or this module's own. Raises FileNotFoundError, and ValueError
    that names the file, the line, what was found and what was expected.
    """
    return read_table(path)[1]


def load_tenses(path=None) -> tuple[str, ...]:
    """Reads the names of a table's forms: those in its first line, else the course's four.

    Another number of forms without names is called form 1, form 2 … Raises as `load_verbs`.
    """
    return read_table(path)[0]


def read_conversion(text: str, tenses, where: str) -> tuple[int, int]:
    """Returns the two tenses of which a text has the names or the numbers. Raises ValueError."""
    numbers = [str(n) for n in range(1, len(tenses) + 1)]
    found = set()
    for names in (tenses, numbers):
        for source, target in itertools.product(range(len(names)), repeat=2):
            if text == f"{names[source]} {names[target]}":
                found.add((source, target))
    if len(found) != 1:
        expected = f"two of {', '.join(tenses)}, or their numbers from 1"
        raise ValueError(f"{where}: found tenses {text!r:.60}; expected {expected}")
    return found.pop()


def load_test_pairs(path=None) -> list[TestPair]:
    """Reads the conversions to be tested; None: test.txt in the data folder.

    A row has two words and their tenses, names or numbers of the table beside it; or, if a verb has
    four forms, two words in ten rows in the course's order of tenses. If the data folder has no
    test.txt, `choose_pairs` takes ten from its table. Raises as `load_verbs`.
    """
    if path is None:
        path = data_file("test.txt")
        if not path.is_file():
            return choose_pairs(load_verbs())
    path = Path(path)
    rows = [line.split(" ", 2) for line in read_lines(path)]
    table = path.with_name("train.txt")
    tenses = load_tenses(table) if table.is_file() else TENSES
    courses = len(rows[0]) < 3 and len(tenses) == len(TENSES)
    pairs = []
    for n, row in enumerate(rows, 1):
        where = f"{path}, line {n}"
        check_characters(" ".join(row[:2]), " ", where)
        if len(row) != (2 if courses else 3):
            expected = "2" if courses else "2 and their tenses"
            raise ValueError(f"{where}: found {len(row)} words; expected {expected}")
        words = check_words(row[:2], where)
        if courses:
            conversion = TEST_TENSES[(n - 1) % len(TEST_TENSES)]
        else:
            conversion = read_conversion(row[2], tenses, where)
        pairs.append(TestPair(*words, *conversion))
    if courses and len(pairs) != len(TEST_TENSES):
        raise ValueError(f"{path}: found {len(pairs)} rows; expected {len(TEST_TENSES)}")
    return pairs


def choose_pairs(verbs: list[Verb]) -> list[TestPair]:
    """Chooses ten conversions: verbs from all over the table, and its conversions in turn.

    Raises ValueError if no verb has two known forms.
    """
    conversions = list(itertools.permutations(range(len(verbs[0])), 2))
    pairs = []
    for n in range(10):
        start = n * len(verbs) // 10
        spread = n * max(len(conversions), 10) // 10
        source, target = conversions[spread % len(conversions)]
        for verb in verbs[start:] + verbs[:start]:
            if HOLE not in (verb[source], verb[target]):
                pairs.append(TestPair(verb[source], verb[target], source, target))
                break
    if not pairs:
        raise ValueError("verbs: found no two forms of a verb; expected a conversion to be tested")
    return pairs


def check_verbs(verbs) -> list[Verb]:
    """Returns the verbs as a list of tuples; None: `load_verbs()`. Raises ValueError, TypeError."""
    if verbs is None:
        return load_verbs()
    verbs = list(verbs)
    if not verbs:
        raise ValueError("verbs: found none; expected at least one")
    width = len(verbs[0]) if isinstance(verbs[0], Sized) else 0
    if width < 2:
        raise ValueError(f"verb 1: found {verbs[0]!r:.60}; expected 2 forms or more")
    return [check_row(verb, width, f"verb {n}") for n, verb in enumerate(verbs, 1)]


def distinct_verbs(verbs) -> list[Verb]:
    """Returns the verbs in their order, each once; else as `check_verbs`."""
    return list(dict.fromkeys(check_verbs(verbs)))


def known_forms(verbs: list[Verb]) -> np.ndarray:
    """Returns a mask (N, F) of the forms that are no holes."""
    return np.array(verbs) != HOLE


def vocabulary_of(verbs: list[Verb]) -> Vocabulary:
    """Returns the vocabulary of a table."""
    letters = set()
    for verb in verbs:
        letters.update(*(form for form in verb if form != HOLE))
    alphabet = "".join(sorted(letters))
    return Vocabulary(alphabet, forms=len(verbs[0]))


def words_of(verbs: list[Verb], vocabulary: Vocabulary) -> Words:
    """Returns all known forms of N verbs as words; number F n + t is verb n in tense t, if all are.

    Raises ValueError for a letter that is not in the vocabulary.
    """
    known = known_forms(verbs)
    forms = np.array(verbs)[known].tolist()
    vocabulary.check(forms, "verbs")
    letters, lengths = vocabulary.to_tensor(forms)
    return Words(letters, lengths, torch.from_numpy(known.nonzero()[1]))


# ---- Schedules ----
# The shape of a KL weight is a function of progress, epoch / epochs in (0, 1], of the first phase,
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
    """Rises in four cycles, each time in the first half (Fu et al. 2019, eq. 6)."""
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


def target_nats(config, epoch: int) -> float:
    """Returns the target rate of an epoch, in nats per word."""
    share = min(1.0, epoch / config.epochs / TARGET_FALL)
    return config.rate_start + (config.rate_end - config.rate_start) * share


def kl_weight(config, epoch: int, kl: float) -> float:
    """Returns the KL weight of an epoch at `kl` nats per word; in the second phase it is 0.

    Raises ValueError if the schedule leaves 0..1, and whatever the schedule itself raises.
    """
    if epoch > config.first_phase:
        return 0.0
    progress = epoch / config.first_phase
    shape = STRATEGIES[config.strategy]
    share = float(shape(progress, kl - target_nats(config, epoch)))
    if not 0 <= share <= 1:
        where = f"strategy {config.strategy!r}, progress {progress:g}"
        raise ValueError(f"{where}: found {share!r}; expected 0..1")
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
    # rate = highest · min(1, step / warm_up) · ½ (1 + cos π step / total)
    shape = min(1, done / config.warm_up) * (1 + math.cos(math.pi * done / total)) / 2
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
LOWEST_INT = {"seed": 0, "prefix_letters": 0}  # else 1
HIGHEST = {"tf_final": 1.0, "refine": 0.9, "prefix_letters": MAX_LETTERS}


def check_choice(name: str, value, choices) -> None:
    """Raises ValueError if the value is not one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: found {value!r:.60}; expected one of {', '.join(choices)}")


def check_number(name: str, value, kind: type, high=LARGEST) -> None:
    """Raises ValueError if the value is no int, or no float, of its range."""
    low = LOWEST_INT.get(name, 1) if kind is int else 0.0
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
    prefix_letters: int = 0  # at most, told the tense before a gated word: ge·lockert
    optimizer: Literal["adam", "sgd"] = "adam"  # see `learning_rate`
    learning_rate: float = 6e-3  # the highest
    warm_up: int = 100  # steps in which Adam's rises
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
                check_number(name, value, kind, HIGHEST.get(name, LARGEST))
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
            self.check_unused("prefix_letters", "decoding")
        if self.strategy in IGNORE_KL:
            self.check_unused("rate_start", "strategy")
            self.check_unused("rate_end", "strategy")
        if self.optimizer == "sgd":
            self.check_unused("warm_up", "optimizer")

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

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.condition = nn.Embedding(vocabulary.forms, config.condition_size)
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

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.lstm = make_lstm(config.embedding_size, config.hidden_size)
        self.letter = nn.Linear(config.hidden_size, vocabulary.size - 1)  # SOS is no output
        self.condition = nn.Embedding(vocabulary.forms, config.condition_size)

    def initial_state(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns h0 and c0, each (1, B, H), of a context (B, H)."""
        c0 = context[None]  # in the cell it lasts
        return c0.tanh(), c0

    def forward(self, fed: Tensor, context: Tensor) -> Tensor:
        """Returns the hidden states (B, T, H) that score each letter, if letters (B, T) are fed."""
        before = F.pad(fed[:, :-1], (1, 0), value=self.vocabulary.sos)  # (B, T): a letter earlier
        hidden, _ = self.lstm(self.embedding(before), self.initial_state(context))
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
        letter = torch.full_like(letters[:, :1], self.vocabulary.sos)  # (b, 1)
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

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
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

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        H = config.hidden_size
        self.gate_mlp = nn.Sequential(
            nn.Linear(H + config.condition_size, H // 2),
            nn.Tanh(),
            nn.Linear(H // 2, vocabulary.size - 1),
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


PREFIX_UNITS = 64  # of the network that spells a prefix
LEAVES = 4.0  # its bias for EOS at first, so that most words have no prefix
NEGLIGIBLE = 7.0  # nats by which a path costs more than another: a thousandth of its weight


class PrefixedDecoder(GatedDecoder):
    """Spells a prefix that is told the tense, and then a gated word as if nothing stood before.

    After the prefix the state starts anew from z, so that the choice of verb is made alike with a
    prefix and without. Nothing says how long it is, 0 to P letters, so a word's likelihood is the
    sum over these lengths, too.
    """

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        self.prefix_letters = config.prefix_letters  # P
        self.place = nn.Embedding(self.prefix_letters, config.embedding_size)
        inputs = config.hidden_size + config.condition_size + config.embedding_size
        self.prefix_mlp = nn.Sequential(
            nn.Linear(inputs, PREFIX_UNITS),
            nn.Tanh(),
            nn.Linear(PREFIX_UNITS, vocabulary.size - 1),
        )
        self.prefix_mlp[-1].bias.data[EOS] += LEAVES

    def prefix_scores(self, context, tense, before, first=0) -> Tensor:
        """Returns scores (B, P, V − 1) of a prefix's letters from number `first` on; EOS ends it.

        Each knows the letter before, of (B, P), and its own number.
        """
        length = before.shape[1]
        told = torch.cat([context, self.condition(tense)], 1)  # (B, H + C)
        told = told[:, None].expand(-1, length, -1)  # (B, P, H + C)
        place = self.place.weight[first : first + length]  # (P, E)
        inputs = torch.cat([told, self.embedding(before) + place], 2)
        return self.prefix_mlp(inputs)

    def prefix_nats(self, context, target: Words, fed) -> Tensor:
        """Returns the nats (B, P + 1) of a prefix of 0 to P letters, and of its end."""
        P = min(self.prefix_letters, fed.shape[1])
        before = F.pad(fed, (1, 0), value=self.vocabulary.sos)
        before = before[:, :P]
        letters = target.letters[:, :P]
        scores = self.prefix_scores(context, target.tense, before)  # (B, P, V − 1)
        nats = letter_nats(scores, letters, mask=torch.ones_like(letters))
        spelled = F.pad(nats.cumsum(1), (1, 0))  # (B, P + 1)
        ends = -scores.log_softmax(2)[..., EOS]
        ends = F.pad(ends, (0, 1))  # (B, P + 1): after P letters it ends for nothing
        return spelled + ends

    def all_paths(self, context, target: Words, fed, mask, gate: Gate) -> tuple[Tensor, Tensor]:
        """Returns −log p of all paths (B, (P + 1) T), and the letters told the tense in each.

        A path is a length of the prefix and an opening of the gate behind it. What follows a
        prefix that by itself costs too much to matter is not computed: infinite.
        """
        T = fed.shape[1]
        prefix = self.prefix_nats(context, target, fed)  # (B, P + 1)
        paths = prefix.new_full((*prefix.shape, T), torch.inf)  # (B, P + 1, T)
        told = torch.zeros_like(paths)
        for i in range(prefix.shape[1]):
            cheapest = paths.detach().amin((1, 2))  # (B,): of shorter prefixes
            matters = prefix[:, i] < cheapest + NEGLIGIBLE / gate.inverse_temperature
            longer = mask.sum(1) > i
            n = (matters & longer).nonzero()[:, 0]  # numbers of b words
            if len(n) == 0:
                continue
            letters = target.letters[n, i:]  # (b, T − i)
            rest = Words(letters, target.lengths[n] - i, target.tense[n])
            left = mask[n, i:]  # (b, T − i)
            hidden = self(fed[n, i:], context[n])  # (b, T − i, H)
            before, behind, opens = self.letter_costs(hidden, rest, left)
            nats = path_nats(before, behind, opens)  # (b, T − i)
            nats = nats.masked_fill(~left, torch.inf)
            paths[n, i, : T - i] = prefix[n, i, None] + nats
            behind_gate = left.flip(1).cumsum(1).flip(1)
            told[n, i, : T - i] = i + behind_gate.float()
        return paths.flatten(1), told.flatten(1)

    def nats(self, z, target: Words, free_running, gate: Gate) -> Nats:
        """Returns the nats of B words, each from its z (B, Z); `gate` changes what is minimized."""
        context = self.context(z, target.tense)  # (B, H)
        fed, mask = self.choose_fed(context, target, free_running)
        paths, told = self.all_paths(context, target, fed, mask, gate)  # (B, (P + 1) T)
        known = paths.isfinite()
        minimized = sum_over_paths(paths + gate.price * told, known, gate.inverse_temperature)
        with torch.no_grad():
            ce = sum_over_paths(paths, known)
        return Nats(minimized, ce)

    @torch.no_grad()
    def greedy(self, context, tense, steps=MAX_LETTERS + 1) -> tuple[Tensor, Tensor]:
        """Feeds back the likeliest letter: a prefix, until its EOS, and then the word behind it."""
        prefix = torch.full((len(context), steps), EOS, device=context.device)  # (B, steps)
        before = torch.full_like(prefix[:, :1], self.vocabulary.sos)  # (B, 1)
        for i in range(min(self.prefix_letters, steps)):
            letter = self.prefix_scores(context, tense, before, first=i).argmax(2)  # (B, 1)
            letter = letter.where(before != EOS, EOS)
            prefix[:, i] = letter[:, 0]
            before = letter
        rest, end = super().greedy(context, tense, steps)
        lengths = (prefix != EOS).sum(1, keepdim=True)  # (B, 1)
        place = torch.arange(steps, device=context.device) - lengths  # (B, steps)
        rest = rest.gather(1, place.clamp(min=0))
        return rest.where(place >= 0, prefix), end


DECODERS = {"gated": GatedDecoder, "direct": DirectDecoder}


class CVAE(nn.Module):
    """Encodes a word, given its tense, into z, and decodes z in any tense.

    z is the only path from a source to an output.
    """

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.encoder = self.make_encoder()
        self.decoder = self.make_decoder()

    def make_encoder(self) -> nn.Module:
        """Returns a new encoder of words."""
        return Encoder(self.config, self.vocabulary)

    def make_decoder(self) -> Decoder:
        """Returns a new decoder of the kind that the configuration names."""
        kind = PrefixedDecoder if self.config.prefix_letters else DECODERS[self.config.decoding]
        return kind(self.config, self.vocabulary)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.letter.weight.device

    @torch.no_grad()
    def encode(self, words: list[str], tense) -> tuple[Tensor, Tensor]:
        """Encodes words, of one tense or of one each; returns mu and logvar, each (B, Z).

        Raises TypeError, ValueError for what is no word of 1 to 32 letters of the table that the
        model was made for, or no tense 0..F − 1.
        """
        words = check_words(words)
        self.vocabulary.check(words, "words")
        tense = check_tense(tense, len(words), self.vocabulary.forms)
        letters, lengths = self.vocabulary.to_tensor(words)
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
        tense = check_tense(tense, len(z), self.vocabulary.forms)
        return self.spell(z, tense[:, None])

    def convert(self, words: list[str], source_tense, target_tense) -> list[str]:
        """Converts words by decoding their posterior mean; a tense is an int or one per word.

        Any number of words; raises as `encode`.
        """
        mu, _ = self.encode(words, source_tense)
        return self.decode(mu, target_tense)

    def generate(self, z: Tensor) -> list[Verb]:
        """Decodes all forms of each z (N, Z). Raises ValueError."""
        self.check_z(z)
        forms = self.vocabulary.forms
        words = self.spell(z, torch.arange(forms).expand(len(z), forms))
        starts = range(0, len(words), forms)
        return [tuple(words[n : n + forms]) for n in starts]

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
            words += self.vocabulary.to_words(self.decoder.spell(z[part], tense[part]))
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
    """Encodes all forms of verbs; returns mu and logvar, each (N, F, Z), on the CPU; NaN at holes.

    Raises as `CVAE.encode`.
    """
    verbs = check_verbs(verbs)
    known = known_forms(verbs)  # (N, F)
    forms = np.array(verbs)[known]
    tenses = known.nonzero()[1]
    codes = model.encode(forms, tenses)  # mu, logvar
    shape = *known.shape, model.config.latent_size
    mu, logvar = (torch.full(shape, math.nan) for _ in codes)
    mu[known], logvar[known] = (code.cpu() for code in codes)
    return mu, logvar


def convert_verbs(model, verbs) -> np.ndarray:
    """Converts every known form to every tense from the posterior mean.

    Returns words (N, F, F), by verb, source and target tense; at sources that are holes, holes.
    """
    verbs = check_verbs(verbs)
    known = known_forms(verbs)  # (N, F)
    mu, _ = encode_verbs(model, verbs)
    shape = *known.shape, model.vocabulary.forms
    converted = np.full(shape, HOLE, dtype=f"U{MAX_LETTERS + 1}")
    converted[known] = model.generate(mu[known])
    return converted


def count_rows(generated: list[Verb], verbs: list[Verb]) -> list[int]:
    """Returns how often each generated verb is a row of a table: all forms agree but for holes."""
    tables = defaultdict(Counter)  # of the known forms of rows, by the tenses that are known
    for verb in verbs:
        tenses = tuple(t for t, form in enumerate(verb) if form != HOLE)
        tables[tenses][tuple(verb[t] for t in tenses)] += 1
    counts = []
    for verb in generated:
        count = 0
        for tenses, rows in tables.items():
            count += rows[tuple(verb[t] for t in tenses)]
        counts.append(count)
    return counts


def gaussian_score(generated: list[Verb], verbs) -> GaussianScore:
    """Scores verbs that were decoded from noise against a table.

    `exact` is the share, 0..1, that are rows of the table, whatever may stand in its holes;
    `official`, the course's, counts a row as often as the table repeats it, and may exceed 1;
    `distinct` is the number of different rows; `inconsistent` is the share, 0..1, whose forms all
    occur in the table, but not in one row. Raises ValueError.
    """
    verbs = check_verbs(verbs)
    generated = [tuple(verb) for verb in generated]
    forms = len(verbs[0])
    if not generated or any(len(verb) != forms for verb in generated):
        expected = f"at least one, of {forms} words"
        raise ValueError(f"generated: found {generated!r:.60}; expected {expected}")
    counts = count_rows(generated, verbs)
    columns = [set(column) for column in zip(*verbs, strict=True)]
    inconsistent = 0
    for verb, count in zip(generated, counts, strict=True):
        known = all(form in column for form, column in zip(verb, columns, strict=True))
        inconsistent += known and not count
    right = [verb for verb, count in zip(generated, counts, strict=True) if count]
    return GaussianScore(
        official=sum(counts) / len(generated),
        exact=len(right) / len(generated),
        distinct=len(set(right)),
        inconsistent=inconsistent / len(generated),
    )


def sample_prior(model, draws: int, seed=0) -> list[Verb]:
    """Returns the verbs decoded from `draws` samples z ~ N(0, I)."""
    rng = torch.Generator().manual_seed(seed)
    return model.generate(torch.randn(draws, model.config.latent_size, generator=rng))


def information(model, verbs) -> dict[str, float]:
    """Splits the KL of all M known forms, in nats per word (Hoffman & Johnson 2016).

    `kl_table` = `mutual_information`, I(x; z) ≤ ln M, + `marginal_kl`, KL(q(z) ‖ p(z)), estimated
    from one sample of each posterior. `active_units`: dimensions in use (Burda et al. 2016).
    """
    verbs = check_verbs(verbs)
    known = known_forms(verbs)  # (N, F)
    mu, logvar = (x[known].double() for x in encode_verbs(model, verbs))  # (M, Z)
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
    """Returns the share, 0..1, of exact conversions between two different known forms of a verb.

    There are F (F − 1) a verb without holes; NaN if there is none at all.
    """
    verbs = check_verbs(verbs)
    known = known_forms(verbs)  # (N, F)
    right = convert_verbs(model, verbs) == np.array(verbs)[:, None]  # (N, F, F)
    different = ~np.eye(known.shape[1], dtype=bool)  # (F, F)
    counted = known[:, :, None] & known[:, None, :] & different  # (N, F, F)
    return float(right[counted].mean()) if counted.any() else math.nan


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
    counts = dict(zip(generated, count_rows(generated, verbs), strict=True))
    distinct = []
    for start in range(0, draws - 99, 100):
        hundred = set(generated[start : start + 100])
        distinct.append(sum(counts[verb] > 0 for verb in hundred))
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
VERSION = 11  # to be raised when the arithmetic of training or of a score changes
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
        target = target_nats(config, epoch)
        weights += [kl_weight(config, epoch, target + excess) for excess in EXCESSES]
    return weights


def digest(config, verbs: list[Verb], pairs: list[TestPair]) -> str:
    """Hashes what a run depends on: configuration, KL weights, verbs, test pairs, `VERSION`.

    Raises as `kl_weight`.
    """
    module = type(config).__module__
    content = (module, config, schedule_values(config), verbs, pairs, VERSION)
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


def make_batches(size: Tensor, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    """Groups N items of similar size (N,) into batches; returns their numbers, in random order."""
    noisy = size + torch.rand(len(size), generator=rng)
    batches = noisy.argsort().split(batch_size)
    order = torch.randperm(len(batches), generator=rng)
    return [batches[i] for i in order]


class Training:
    """Trains a model by the lab's rules: each word to itself, told its tense."""

    def __init__(self, config, verbs: list[Verb]):
        self.config = config
        self.verbs = verbs
        self.vocabulary = vocabulary_of(verbs)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = self.make_model().to(self.device)
        self.rng = torch.Generator().manual_seed(config.seed)
        self.optimizer = self.make_optimizer(self.model, beta2=0.99)  # short while z is noisy
        self.history = []

    def make_model(self) -> CVAE:
        """Returns a new model."""
        return CVAE(self.config, self.vocabulary)

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
        """Returns the batches of an epoch: every known form once."""
        table = words_of(self.verbs, self.vocabulary)
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
            "vocabulary": tuple(self.vocabulary),
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


def training_pairs(verbs) -> list[TestPair]:
    """Returns the pairs for the history's BLEU-4 of a training on verbs; None: `load_test_pairs()`.

    Of those, for verbs that are given, the ones whose source is a form of theirs; if there is none,
    ten conversions of their own. Raises as `load_verbs`, and ValueError for a letter that no verb
    has.
    """
    pairs = load_test_pairs()
    table = distinct_verbs(verbs)
    if verbs is not None:
        columns = list(zip(*table, strict=True))
        asked = []
        for pair in pairs:
            fits = max(pair.source_tense, pair.target_tense) < len(columns)
            if fits and pair.source in columns[pair.source_tense]:
                asked.append(pair)
        pairs = asked or choose_pairs(table)
    vocabulary_of(table).check([pair.source for pair in pairs], "test pairs")
    return pairs


def train(config: Config, verbs=None, *, run_dir=None, progress=True, on_epoch=None) -> Run:
    """Trains on verbs, repeats counted once; None: `load_verbs()`. Returns the last epoch's run.

    Every epoch is saved in `run_dir`, if any, and the same call resumes there, bit-exactly on a
    CPU. `progress` shows a bar; `on_epoch` is called with the history so far. The history's columns
    are those of `CURVES`, the loss, the learning rate of the last step and, in some rows, those of
    `score`; its BLEU-4 is of `training_pairs`. Raises before any work as `load_verbs`,
    `check_verbs`, `training_pairs` and `kl_weight`, and ValueError for a checkpoint that is damaged
    or another's; then OSError and FloatingPointError.
    """
    pairs = training_pairs(verbs)
    verbs = distinct_verbs(verbs)
    folder = None if run_dir is None else Path(run_dir)
    key = digest(config, verbs, pairs)
    return _train(config, verbs, pairs, key, folder, progress, on_epoch)


def _train(config, verbs, pairs, key, folder, progress, on_epoch) -> Run:
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
    pairs = training_pairs(verbs)
    verbs = distinct_verbs(verbs)
    key = digest(config, verbs, pairs)
    name = f"{config.strategy}-{config.decoding}-{config.seed}-{key[:16]}"
    return _train(config, verbs, pairs, key, Path(runs or RUNS) / name, progress, on_epoch)


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
        training_pairs(own_verbs)  # raises if it is no table
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
