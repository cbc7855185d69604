"""A conditional sequence-to-sequence VAE that converts English verbs between four tenses.

In reading order: words → data → unseen verbs → configuration → schedules → model → metrics → files → training → runs →
figures.

Shapes: B words in a batch, T characters, H hidden, Z latent, V vocabulary, N verbs.
Cross-entropy and KL are in nats per word: summed over characters, summed over dimensions, averaged over words.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import math
import os
import pickle
import random
import re
import sys
import threading
import time
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Callable, NamedTuple

HERE = Path(__file__).resolve().parent


def check_packages(requirements: Path) -> None:
    """Raises ImportError naming every package that this module needs and that is missing or too old."""
    text = requirements.read_text(encoding="utf-8") if requirements.exists() else ""
    numbers = lambda version: [int(number) for number in re.findall(r"\d+", version)[:2]]
    wrong = [] if sys.version_info >= (3, 11) else [f"Python 3.11 or newer (this is {sys.version.split()[0]})"]
    for name, least in re.findall(r"^([\w-]+)>=([\d.]+)", text.split("# notebooks")[0], re.M):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = ""
        if not found or numbers(found) < numbers(least):
            wrong.append(f"{name} {least} or newer ({f'this is {found}' if found else 'not installed'})")
    if wrong:
        raise ImportError(
            f"lab5_utils needs {', '.join(wrong)}. Install it with `python -m pip install -r {requirements.name}` in "
            f"{requirements.parent}, in a notebook with `%pip`, and restart the kernel."
        )


check_packages(HERE / "requirements.txt")

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from filelock import FileLock, Timeout
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

# ------------------------------------------------------------------------------------------------------------------
# Words: letters to numbers and back
# ------------------------------------------------------------------------------------------------------------------

TENSES = ("simple present", "third person", "present progressive", "simple past")

LETTERS = "abcdefghijklmnopqrstuvwxyz"
EOS = 0  # ends every word, and pads it: what follows the first EOS is masked
SOS = len(LETTERS) + 1  # starts the decoder's input; it is never an output
VOCABULARY = len(LETTERS) + 2  # V: EOS, a-z, SOS
MAX_LETTERS = 32  # greedy decoding stops here if it has not said EOS
CHUNK = 512  # words encoded or decoded at a time, which bounds the memory


def words_to_tensor(words: list[str]) -> tuple[Tensor, Tensor]:
    """Turns words into numbers: letters (B, T), padded with EOS, and lengths (B,), which count one EOS.

    Raises TypeError or ValueError for no words and for other letters than a-z; any length will do, 0 too.
    """
    words = _list_of(words, "words")
    if not words:
        raise ValueError("there are no words; expected at least one")
    for word in words:
        if not isinstance(word, str) or re.search("[^a-z]", word):
            raise ValueError(f"cannot take the word {_quote(word)}: expected letters a-z, lower-case")
    lengths = torch.tensor([len(word) + 1 for word in words])  # (B,)
    width = max(map(len, words)) + 1
    codes = np.frombuffer("".join(word.ljust(width, "`") for word in words).encode(), np.uint8)
    letters = torch.from_numpy(codes.astype(np.int64)) - ord("`")  # "`" stands right before "a": it becomes EOS
    return letters.view(len(words), width), lengths  # (B, T)


def tensor_to_words(letters: Tensor) -> list[str]:
    """Turns numbers (B, T) back into words; a word ends at its first EOS. Raises ValueError for what is no letter."""
    if not isinstance(letters, Tensor) or letters.dim() != 2 or letters.is_floating_point() or letters.is_complex():
        raise ValueError(f"expected letters, a tensor of integers of shape (B, T); found {_quote(letters)}")
    numbers = letters.cpu().numpy()
    if strange := numbers[(numbers < EOS) | (numbers >= SOS)].tolist():
        raise ValueError(f"found the letter {strange[0]}; expected {EOS} to {SOS - 1}")
    codes = numbers.astype(np.uint8) + ord("`")
    return [bytes(row).decode().split("`")[0] for row in codes]


def _quote(value) -> str:
    """Returns a value as error messages quote it: its first 60 characters, whatever it is."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no int of 5,000 digits
        text = object.__repr__(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _list_of(values, what: str) -> list:
    """Returns the values as a list, or raises TypeError for a lone string and for what cannot be gone through."""
    if isinstance(values, str):
        quoted = _quote(values)
        raise TypeError(f"expected a list of {what}, found the string {quoted}: write [{quoted}]")
    try:
        return list(values)
    except TypeError as error:
        raise TypeError(f"expected a list of {what}, found {_quote(values)}") from error


def check_words(words) -> list[str]:
    """Returns the words as a list, or raises: TypeError for a lone string, ValueError naming a word it cannot take."""
    words = _list_of(words, "words")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"expected words, found {_quote(word)}")
        if not re.fullmatch("[a-z]+", word) or len(word) > MAX_LETTERS:
            raise ValueError(f"cannot take the word {word[:60]!r}: expected 1 to {MAX_LETTERS} letters a-z, lower-case")
    return words


def check_tense(tense, count: int) -> Tensor:
    """Returns `count` tenses (B,) from an int or one int per word, or raises ValueError."""
    tenses = tense.tolist() if isinstance(tense, (Tensor, np.ndarray, np.generic)) else tense
    if isinstance(tenses, int):
        tenses = [tenses] * count
    if not isinstance(tenses, (list, tuple)) or not all(map(_is_tense, tenses)):
        raise ValueError(f"cannot take the tense {_quote(tense)}: expected 0..3, in the order of TENSES")
    if len(tenses) != count:
        raise ValueError(f"expected one tense, or {count}, one per word; found {len(tenses)}")
    return torch.tensor(tenses, dtype=torch.long)  # (B,)


def _is_tense(tense) -> bool:
    return isinstance(tense, (int, np.integer)) and 0 <= tense < len(TENSES)


# ------------------------------------------------------------------------------------------------------------------
# Data
# ------------------------------------------------------------------------------------------------------------------

Verb = tuple[str, str, str, str]  # the four forms of a verb, in the order of TENSES
SP, TP, PG, P = range(4)
TEST_TENSES = ((SP, P), (SP, PG), (SP, TP), (SP, TP), (P, TP), (SP, PG), (P, SP), (PG, SP), (PG, P), (PG, TP))


class TestPair(NamedTuple):
    """Holds one conversion of test.txt: words as str, tenses as 0..3."""

    __test__ = False  # not a test of pytest's

    source: str
    target: str
    source_tense: int
    target_tense: int


def load_verbs(path=None) -> list[Verb]:
    """Reads a verb table, one verb of four forms a row, in file order with repeats kept.

    `path` None means train.txt in the data folder: $LAB5_DATA if set, else this module's folder.
    Raises FileNotFoundError naming file and folder, ValueError naming file, line, what was found and expected.
    """
    return [tuple(row) for row in _read_rows(path, "train.txt", len(TENSES))]


def load_test_pairs(path=None) -> list[TestPair]:
    """Reads the ten conversions `source target`; the file carries no tenses, the course's readme gives them in order.

    `path` None means test.txt in the data folder, as in `load_verbs`. Raises as `load_verbs` does.
    """
    rows = _read_rows(path, "test.txt", 2)
    if len(rows) != len(TEST_TENSES):
        name = _data_file(path, "test.txt")
        raise ValueError(
            f"{name}: found {len(rows)} rows; expected {len(TEST_TENSES)}, for the tense order is known for just these"
        )
    return [TestPair(*row, *tenses) for row, tenses in zip(rows, TEST_TENSES)]


def check_verbs(verbs) -> list[Verb]:
    """Returns the verbs as tuples, repeats kept, or raises ValueError or TypeError naming what it cannot take."""
    verbs = _rows_of(verbs)
    if not verbs:
        raise ValueError("there are no verbs; expected at least one")
    for number, verb in enumerate(verbs, 1):
        if len(verb) != len(TENSES):
            raise ValueError(f"verb {number}: found {len(verb)} forms; expected {len(TENSES)}, in the order of TENSES")
        check_words(verb)
    return verbs


def _rows_of(verbs) -> list[tuple]:
    """Returns the verbs as tuples, a lone string as a verb of one form."""
    verbs = _list_of(verbs, "verbs")
    return [(verb,) if isinstance(verb, str) else tuple(_list_of(verb, "four forms")) for verb in verbs]


def _data_file(path, name: str) -> Path:
    if path is not None:
        return Path(path)
    folder = Path(os.environ.get("LAB5_DATA") or HERE)
    # a notebook runs in its own folder: what is not below that is looked for beside this module
    return (folder if folder.is_dir() else HERE / folder) / name


def _read_rows(path, name: str, columns: int) -> list[list[str]]:
    path = _data_file(path, name)
    if not os.path.isfile(path):  # unlike Path.is_file, it takes a name of any length
        raise FileNotFoundError(
            f"no file {path.name} in {path.absolute().parent} (the environment variable LAB5_DATA names another folder)"
        )
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError(f"{path}: the file is empty; expected rows of {columns} words")
    good = re.compile(rb"[a-z]{1,%d}( [a-z]{1,%d}){%d}" % (MAX_LETTERS, MAX_LETTERS, columns - 1))
    for number, line in enumerate(lines, 1):
        if not good.fullmatch(line):
            raise ValueError(f"{path}, line {number}: {_what_is_wrong(line, columns)}")
    return [line.decode().split(" ") for line in lines]


def _what_is_wrong(line: bytes, columns: int) -> str:
    expected = f"expected {columns} words of lower-case a-z with single spaces between them"
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"found the byte 0x{line[error.start]:02x}, which is not UTF-8; {expected}"
    if stranger := re.search("[^a-z ]", text):
        return f"found the character {stranger.group()!r} (U+{ord(stranger.group()):04X}); {expected}"
    words = text.split()
    if len(words) != columns:
        return f"found {len(words)} words; {expected}"
    if text != " ".join(words):
        return f"found a space too many; {expected}"
    return f"found a word of {max(map(len, words))} letters; {expected}, each of at most {MAX_LETTERS}"


# ------------------------------------------------------------------------------------------------------------------
# Unseen verbs: which are regular, which are held out, and made-up ones to learn spelling from
# ------------------------------------------------------------------------------------------------------------------

VOWELS = "aeiou"
PREFIXES = (
    "a be broad co counter de dis en for fore in inter mis off out over pre re sub trans un under up with".split()
)


def regular_rows(lemma: str) -> tuple[Verb, Verb]:
    """Returns the rows that the spelling rules give a lemma, as it is and with its last consonant doubled.

    A verb is irregular if its row is neither of them. Raises ValueError for what is no word.
    """
    check_words([lemma])
    third, stem, past = lemma + "s", lemma, lemma + "ed"
    after_consonant = lemma[-2:-1] not in tuple(VOWELS)
    if lemma.endswith(("s", "x", "z", "ch", "sh")) or (lemma.endswith("o") and after_consonant):
        third = lemma + "es"
    elif lemma.endswith("y") and after_consonant:
        third, past = lemma[:-1] + "ies", lemma[:-1] + "ied"
    elif lemma.endswith("ie"):
        stem, past = lemma[:-2] + "y", lemma + "d"
    elif lemma.endswith("e"):
        stem, past = (lemma if lemma.endswith(("ee", "ye", "oe")) else lemma[:-1]), lemma + "d"
    doubled = lemma + lemma[-1]
    return (lemma, third, stem + "ing", past), (lemma, third, doubled + "ing", doubled + "ed")


def split_verbs(verbs: list[Verb], split: int = 0, splits: int = 10) -> tuple[list[Verb], list[Verb]]:
    """Splits verbs into a training side and the held-out part `split`, one of `splits` disjoint parts of about a size.

    A verb and what a prefix makes of it (stand, understand, withstand) stay on one side. The parts are always the same.
    Raises ValueError with the numbers where a side would be empty or there is no such part, and ValueError or TypeError
    for verbs it cannot take.
    """
    verbs = _list_of(verbs, "verbs")
    verbs = list(dict.fromkeys(check_verbs(verbs) if verbs else []))
    lemmas, families = {verb[0] for verb in verbs}, {}
    for verb in verbs:
        families.setdefault(_root(verb[0], lemmas), []).append(verb)
    whole = isinstance(split, int) and isinstance(splits, int)
    if not whole or not 2 <= splits <= len(families) or not 0 <= split < splits:
        raise ValueError(
            f"cannot hold out part {_quote(split)} of {_quote(splits)} of {len(verbs)} verbs in {len(families)} families: "
            f"expected 2 to {len(families)} parts, counted from 0"
        )
    parts: list[list[Verb]] = [[] for _ in range(splits)]
    for family in random.Random(0).sample(list(families.values()), len(families)):
        min(parts, key=len).extend(family)
    held_out = set(parts[split])
    return [verb for verb in verbs if verb not in held_out], [verb for verb in verbs if verb in held_out]


def _root(lemma: str, lemmas: set[str]) -> str:
    """Takes prefixes off a lemma for as long as a lemma is left."""
    for prefix in PREFIXES:
        rest = lemma.removeprefix(prefix)
        if rest != lemma and rest in lemmas:
            return _root(rest, lemmas)
    return lemma


class Pieces(NamedTuple):
    """Holds a regular verb taken apart: each of its forms is head + vowels + coda + an ending of its own."""

    kind: str  # "short": of one syllable; "stressed": of more, and the last doubles its consonant; "long": the others
    head: str  # what stands before the last syllable
    vowels: str
    coda: str  # consonants after them that no spelling rule looks at
    endings: tuple[str, ...]


def take_apart(verb: Verb) -> Pieces | None:
    """Takes a regular verb apart, or returns None if it has no syllable to take apart.

    Raises ValueError or TypeError for a verb it cannot take.
    """
    (verb,) = check_verbs([verb])
    lemma, (plain, _) = verb[0], regular_rows(verb[0])
    syllable = re.fullmatch("(.*?)(?<!q)([aeiouy]+)([^aeiouy]*e?)", lemma)
    if not syllable:
        return None
    head, vowels, coda = syllable.groups()
    several = re.search("[aeiouy]", head.replace("qu", ""))
    kind = "short" if not several else "long" if verb == plain else "stressed"
    if kind == "stressed":  # sub·mit: the last syllable stays as it is
        head, vowels, coda = head[:-1], "", ""
    elif not coda:  # en·joy, ag·ree, try: the vowels are a part of the ending
        vowels = ""
    elif lemma.endswith("h"):  # -ch and -sh take -es
        coda = ""
    else:  # without a silent e, the last consonant decides on -es and on doubling
        coda = os.path.commonprefix(verb)[len(head + vowels) :]
        coda = coda if lemma.endswith("e") else coda[:-1]
    cut = len(head + vowels + coda)
    return Pieces(kind, head, vowels, coda, tuple(form[cut:] for form in verb))


def make_up(verbs: list[Verb], count: int, seed: int) -> list[Verb]:
    """Makes up `count` verbs that inflect as the regular ones of a table do.

    Each is a verb of the table with the head of another of its kind and, every second time, the vowels of a third;
    some letters are exchanged by lot. Nothing but the table goes in (hallucinated data, Anastasopoulos & Neubig 2019).
    Raises ValueError where the table has no regular verb or `count` is no whole number from 0, ValueError or TypeError
    for verbs it cannot take.
    """
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"count: found {_quote(count)}; expected a whole number from 0")
    verbs, lot = check_verbs(verbs), random.Random(seed)  # checked: of forms too long, none would ever fit
    pieces = [parts for verb in verbs if verb in regular_rows(verb[0]) and (parts := take_apart(verb))]
    if not pieces:
        raise ValueError(f"cannot make up verbs: expected a regular one among {len(verbs)}, found none")
    heads: dict[str, list[str]] = {}  # by kind
    vowels: dict[int, list[str]] = {}  # by their number: a consonant doubles after one, not after two
    for parts in pieces:
        heads.setdefault(parts.kind, []).append(parts.head)
        vowels.setdefault(len(parts.vowels), []).append(parts.vowels)
    made: list[Verb] = []
    while len(made) < count:
        parts = lot.choice(pieces)
        middle = lot.choice(vowels[len(parts.vowels)]) if lot.random() < 0.5 else parts.vowels
        stem = _new_head(parts.kind, heads, verbs, lot) + middle + _exchange_letters(parts.coda, lot)
        if len(stem) + len(max(parts.endings, key=len)) <= MAX_LETTERS:
            made.append(tuple(stem + ending for ending in parts.endings))
    return made


def _new_head(kind: str, heads: dict[str, list[str]], verbs: list[Verb], lot: random.Random) -> str:
    head = lot.choice(heads[kind])
    if kind == "stressed":  # com·mit, per·mit, sub·mit: it is these heads that stress the last syllable
        return head
    start = lot.choice(verbs)[0][: lot.randint(0, 4)] if kind == "long" else ""
    return _exchange_letters(start + head, lot)


def _exchange_letters(word: str, lot: random.Random) -> str:
    """Exchanges a fifth of the letters, a vowel for a vowel, a consonant for a consonant, so that they must be read."""
    return "".join(lot.choice(_like(letter)) if lot.random() < 0.2 else letter for letter in word)


def _like(letter: str) -> str:
    kinds = (VOWELS, "bcdfghjklmnprstvwxz")  # y is both and q needs its u: they stay
    return next((kind for kind in kinds if letter in kind), letter)


# ------------------------------------------------------------------------------------------------------------------
# Configuration
# ------------------------------------------------------------------------------------------------------------------


def _number(default, low, high, why):
    return field(default=default, metadata={"low": low, "high": high, "why": why})


def _choice(default, choices, why):
    return field(default=default, metadata={"choices": choices, "why": why})


@dataclass(frozen=True, repr=False)
class Config:
    """Holds every hyperparameter.

    `Config()` is the recommended recipe, `Config.classic()` the course's, `Config.unseen()` that for unseen verbs.
    Raises TypeError for an unknown name, ValueError for a value out of its range; `Config.describe()` lists both.
    """

    seed: int = _number(0, 0, 2**31 - 1, "weights, batches, coins and noise all follow from it")
    epochs: int = _number(220, 1, 100_000, "passes through the table, finishing included")
    batch_size: int = _number(32, 1, 65_536, "verbs (or words, for same-tense training) a step")
    hidden_size: int = _number(256, 9, 4096, "H of both LSTMs; the course allows 256 or 512")
    latent_size: int = _number(32, 1, 1024, "Z; the course's is 32")
    condition_size: int = _number(8, 1, 1024, "width of the tense embedding; the course's is 8")
    embedding_size: int = _number(64, 1, 4096, "width of the letter embeddings")
    decoding: str = _choice("lemma-first", ("lemma-first", "direct"), "spell the lemma, then the form; or the form")
    starts_in: str = _choice("cell", ("cell", "hidden"), "the decoder is told z in c0 (and h0 = tanh c0); or in h0")
    training: str = _choice(
        "rows", ("rows", "same-tense"), "one form in, several of its verb out; or each word to itself"
    )
    targets: int = _number(2, 2, 4, "forms that a verb spells a step, if training='rows': the lemma, and others by lot")
    made_up: int = _number(0, 0, 100, "made-up verbs for each real one in an epoch, new ones in every epoch")
    reads: str = _choice("forward", ("forward", "both ways"), "the encoder reads a word once, or backward as well")
    form_from: str = _choice(
        "lemma", ("lemma", "lemma and z"), "what a form is spelled from, if decoding='lemma-first'"
    )
    optimizer: str = _choice("adam", ("adam", "sgd"), "adam: warm-up and cosine decay; sgd: constant learning rate")
    learning_rate: float = _number(4e-3, 0.0, 10.0, "the highest of the schedule")
    gradient_norm: float = _number(5.0, 1e-6, 1e6, "longer gradients are shortened to it")
    ce_per: str = _choice("word", ("word", "character"), "unit of the cross-entropy in the loss; KL is per word always")
    strategy: str = _choice("target-rate", None, "shape of the KL weight over the epochs, a name of STRATEGIES")
    kl_weight: float = _number(0.5, 0.0, 100.0, "the shape's maximum: β as it stands in the loss")
    rate_start: float = _number(16.0, 0.0, 1e3, "nats that target-rate allows at first, to learn the letters with")
    rate_end: float = _number(4.5, 0.0, 1e3, "nats that target-rate allows later; ln 1227 = 7.1 would name a verb")
    hold_from: float = _number(
        0.3, 0.01, 1.0, "progress from which rate_end is held; until then it comes down in a line"
    )
    tf_final: float = _number(1.0, 0.0, 1.0, "teacher-forcing ratio at the last epoch; it starts at 1, in a line")
    finish: float = _number(0.25, 0.0, 0.9, "share of the epochs, the last, that train the encoder alone, KL weight 0")
    evaluate_every: int = _number(20, 1, 100_000, "epochs between the costlier columns of the history")

    def __post_init__(self):
        for f in dataclasses.fields(self):
            _check_field(f, getattr(self, f.name))
            if f.type == "float":  # 1 and 1.0 are one configuration, and so one run
                object.__setattr__(self, f.name, float(getattr(self, f.name)))
        if self.condition_size >= self.hidden_size:
            raise ValueError("condition_size: must be smaller than hidden_size, as a part of the encoder's first state")
        if self.decoding == "lemma-first" and self.training != "rows":
            raise ValueError("decoding: lemma-first needs training='rows', where the lemma of every word is known")

    @classmethod
    def classic(cls, **changes) -> Config:
        """Returns the course's recipe, batched; keyword arguments change single values.

        Batch 16 in place of 1 makes a sixteenth of the updates an epoch; the learning rate is 16 × 0.05 for it.
        Its cross-entropy is per character while KL is per word, so its β is `kl_weight` × 8.5 or so: see `beta`.
        """
        recipe = dict(
            epochs=500, batch_size=16, embedding_size=256, decoding="direct", starts_in="hidden", training="same-tense", optimizer="sgd",
            learning_rate=0.8, ce_per="character", strategy="monotonic", kl_weight=1.0, tf_final=0.1, finish=0.0,
        )  # fmt: skip
        return cls(**recipe | changes)

    @classmethod
    def unseen(cls, **changes) -> Config:
        """Returns the recipe for verbs never seen; keyword arguments change single values.

        It learns to spell, not to remember: eight made-up verbs for each real one, and a KL weight so low that z has
        room for every letter. Noise lands on no verb then: see notebook 05. Convert at the posterior mean, as always.
        """
        recipe = dict(
            epochs=60, hidden_size=128, latent_size=64, made_up=8, reads="both ways", form_from="lemma and z",
            strategy="constant", kl_weight=0.002, finish=0.0,
        )  # fmt: skip
        return cls(**recipe | changes)

    @classmethod
    def describe(cls) -> pd.DataFrame:
        """Returns a table of every hyperparameter: default, range and reason."""
        rows = [(f.name, f.default, _range_text(f), f.metadata["why"]) for f in dataclasses.fields(cls)]
        return pd.DataFrame(rows, columns=["name", "default", "range", "why"]).set_index("name")

    def __repr__(self) -> str:
        """Names what differs from the recommended recipe."""
        changed = [
            f"{f.name}={value!r}" for f in dataclasses.fields(self) if (value := getattr(self, f.name)) != f.default
        ]
        return f"Config({', '.join(changed)})"

    @property
    def joint_epochs(self) -> int:
        """Counts the epochs that train encoder and decoder together; the others finish the encoder alone."""
        return self.epochs - int(self.finish * self.epochs)

    def tf_ratio(self, progress: float) -> float:
        """Returns the share of words that are teacher-forced, 0..1, at progress in (0, 1]."""
        return 1 - (1 - self.tf_final) * progress

    def target_rate(self, progress: float) -> float:
        """Returns the KL in nats per word that target-rate allows: down in a line until `hold_from`, then held."""
        return self.rate_start + (self.rate_end - self.rate_start) * min(1.0, progress / self.hold_from)


def _check_field(f: dataclasses.Field, value) -> None:
    choices = tuple(STRATEGIES) if f.name == "strategy" else f.metadata.get("choices")
    if choices:
        good = isinstance(value, str) and value in choices
    else:
        number = type(value) is int or (f.type == "float" and type(value) is float)  # a bool is neither
        good = number and f.metadata["low"] <= value <= f.metadata["high"]
    if not good:
        raise ValueError(f"{f.name}: found {_quote(value)}; expected {_range_text(f)}")


def _range_text(f: dataclasses.Field) -> str:
    choices = tuple(STRATEGIES) if f.name == "strategy" else f.metadata.get("choices")
    if choices:
        return " | ".join(choices)
    return f"{f.type} {f.metadata['low']:g} to {f.metadata['high']:g}"


# ------------------------------------------------------------------------------------------------------------------
# Schedules: the KL weight over the epochs
# ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """Shapes the KL weight: progress in (0, 1] (epoch / epochs, epochs from 1) → 0..1.

    `needs_kl` marks a shape that also takes by how many nats per word KL stands above the rate it holds.
    Raises ValueError for a progress outside (0, 1].
    """

    shape: Callable[..., float]
    needs_kl: bool = False

    def __call__(self, progress: float, kl_excess: float = 0.0) -> float:
        if not 0 < progress <= 1:
            raise ValueError(f"progress: found {progress!r}; expected epoch / epochs, in (0, 1]")
        return self.shape(progress, kl_excess) if self.needs_kl else self.shape(progress)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _classic_sigmoid(progress: float) -> float:
    place = math.fmod(2 * progress, 1.0)  # two periods, each from 0
    return 0.0 if place > 0.994 else _sigmoid(10 * (place - 0.5))  # the course's falls to 0 an epoch early


def _ramp(progress: float) -> float:
    """Returns 0..1 over the first half of each of four cycles, then 1 (Fu et al. 2019: M = 4, R = 0.5)."""
    place = 4 * progress - math.ceil(4 * progress) + 1  # in (0, 1]: a cycle, and so the training, ends at full weight
    return min(1.0, 2 * place)


STRATEGIES: dict[str, Schedule] = {
    "constant": Schedule(lambda progress: 1.0),
    "monotonic": Schedule(lambda progress: min(1.0, 10 * progress)),  # Bowman et al. 2016; the course's slope
    "cyclical-linear": Schedule(_ramp),
    "cyclical-trapezoid": Schedule(lambda progress: min(1.0, 1.25 * math.fmod(2 * progress, 1.0))),  # the course's
    "cyclical-sigmoid": Schedule(_classic_sigmoid),  # the course's
    "cyclical-cosine": Schedule(lambda progress: (1 - math.cos(math.pi * _ramp(progress))) / 2),
    # in proportion to the excess, full at 1 nat: no memory, so nothing to tune or to restore (cf. Shao et al. 2020)
    "target-rate": Schedule(lambda progress, kl_excess: min(1.0, max(0.0, kl_excess)), needs_kl=True),
}

# ------------------------------------------------------------------------------------------------------------------
# Model
# ------------------------------------------------------------------------------------------------------------------


def _lstm(config: Config) -> nn.LSTM:
    """Makes a one-layer LSTM that starts out remembering: forget-gate bias 1 (Jozefowicz et al. 2015)."""
    lstm = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True)
    gates = lstm.bias_ih_l0.data.view(4, -1)  # input, forget, cell, output (4, H)
    gates[1] = 1.0
    return lstm


def backward(letters: Tensor, lengths: Tensor) -> Tensor:
    """Turns each word of letters (B, T) around; its EOS, counted in lengths (B,), stays at its end."""
    place = lengths[:, None] - 2 - torch.arange(letters.shape[1], device=letters.device)  # (B, T)
    return letters.gather(1, place.clamp(min=0)).where(place >= 0, EOS)


class Encoder(nn.Module):
    """Reads a word, given its tense, into the mean and log-variance of q(z | word, tense)."""

    def __init__(self, config: Config):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, config.embedding_size)
        self.condition = nn.Embedding(len(TENSES), config.condition_size)
        self.lstm = _lstm(config)
        self.lstm_back = _lstm(config) if config.reads == "both ways" else None
        read = config.hidden_size * (2 if self.lstm_back else 1)
        self.mu = nn.Linear(read, config.latent_size)
        self.logvar = nn.Linear(read, config.latent_size)

    def forward(self, letters: Tensor, lengths: Tensor, tense: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes letters (B, T), lengths (B,), tense (B,); returns mu and logvar, each (B, Z)."""
        condition = self.condition(tense)  # (B, C)
        # h0 = 0 ‖ condition
        h0 = F.pad(condition, (self.lstm.hidden_size - condition.shape[1], 0))  # (B, H)
        end = self._read(self.lstm, letters, lengths, h0)  # (B, H)
        if self.lstm_back:
            end = torch.cat([end, self._read(self.lstm_back, backward(letters, lengths), lengths, h0)], 1)  # (B, 2 H)
        return self.mu(end), self.logvar(end)  # (B, Z)

    def _read(self, lstm: nn.LSTM, letters: Tensor, lengths: Tensor, h0: Tensor) -> Tensor:
        hidden, _ = lstm(self.embedding(letters), (h0[None], torch.zeros_like(h0)[None]))  # (B, T, H)
        return hidden[torch.arange(len(lengths)), lengths - 1]  # the state after EOS, not after padding (B, H)


class Decoder(nn.Module):
    """Spells words; what it is told before the first letter is all that it knows of the source."""

    def __init__(self, config: Config):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, config.embedding_size)
        self.lstm = _lstm(config)
        self.letter = nn.Linear(config.hidden_size, VOCABULARY - 1)  # SOS is never an output
        self.starts_in = config.starts_in

    def start(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the LSTM's first (h0, c0), each (1, B, H), from what the decoder is told (B, H)."""
        told = told[None]  # (1, B, H)
        # in the cell what is told lasts to the last letter; the course puts it in the hidden state, which fades
        return (told.tanh(), told) if self.starts_in == "cell" else (told, torch.zeros_like(told))

    def forward(self, inputs: Tensor, told: Tensor) -> Tensor:
        """Feeds inputs (B, T) to a decoder told (B, H) in one fused pass; returns hidden states (B, T, H)."""
        hidden, _ = self.lstm(self.embedding(inputs), self.start(told))
        return hidden

    @torch.no_grad()
    def greedy(self, told: Tensor, steps: int = MAX_LETTERS + 1) -> tuple[Tensor, Tensor]:
        """Spells what it is told (B, H) by feeding back the likeliest letter until EOS, or for `steps`.

        Returns letters (B, T), padded with EOS, and the state (B, H) in which each word said EOS, or its last.
        """
        letters = torch.full((len(told), steps), EOS, device=told.device)  # (B, T)
        end = torch.empty_like(told)  # (B, H)
        letter, state = torch.full_like(letters[:, :1], SOS), self.start(told)
        spelling = torch.arange(len(told), device=told.device)  # the b words that have not said EOS: only they go on
        for t in range(steps):
            hidden, state = self.lstm(self.embedding(letter), state)  # (b, 1, H)
            letter = self.letter(hidden).argmax(2)  # (b, 1)
            letters[spelling, t], end[spelling] = letter[:, 0], hidden[:, 0]
            going = letter[:, 0] != EOS
            spelling, letter, state = spelling[going], letter[going], tuple(s[:, going] for s in state)
            if not len(spelling):
                break
        return letters[:, : t + 1], end

    def spell(self, told: Tensor, target: Tensor, lengths: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """Spells target (B, T), lengths (B,), and counts what it costs; `free` (B,) words get their own letters fed back.

        Returns the cross-entropy (B,) in nats per word and the state (B, H) in which each word ends.
        The letters of free words are found by a first pass without gradients; the second pass runs over the whole
        sequence at once and equals decoding step by step, for an argmax passes no gradient. A free word that says
        EOS is over, whatever was left of its target.
        """
        fed = target  # (B, T)
        if free.any():
            own, _ = self.greedy(told[free], target.shape[1])
            own = F.pad(own, (0, target.shape[1] - own.shape[1]))
            fed = target.index_put((free,), own)
            ended = (own != EOS).sum(1) + 1
            lengths = lengths.index_put((free,), torch.minimum(lengths[free], ended))
        inputs = F.pad(fed[:, :-1], (1, 0), value=SOS)  # SOS, then all letters but the last (B, T)
        hidden = self(inputs, told)  # (B, T, H)
        ce = F.cross_entropy(self.letter(hidden).transpose(1, 2), target, reduction="none")  # (B, T)
        mask = torch.arange(target.shape[1], device=target.device) < lengths[:, None]  # (B, T)
        # CE = −Σ_t log p(x_t | x_<t, z)
        return (ce * mask).sum(1), hidden[torch.arange(len(lengths)), lengths - 1]


class CVAE(nn.Module):
    """Encodes a word given its tense into z, and decodes z given any tense; z is the only way from one to the other.

    Direct decoding spells the form from f(z, tense). Lemma-first decoding spells the lemma, the simple present,
    from f(z), and then the form from the state it ended in, given the tense: which verb it is, is decided once.
    A form may be told z once more (`form_from`): that helps to spell verbs never seen, letter by letter.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.condition = nn.Embedding(len(TENSES), config.condition_size)
        seen = config.condition_size if config.decoding == "direct" else 0
        self.from_z = nn.Linear(config.latent_size + seen, config.hidden_size)
        known = config.hidden_size + (config.latent_size if config.form_from == "lemma and z" else 0)
        self.from_lemma = nn.Linear(known + config.condition_size, config.hidden_size)

    # -- tensors in, tensors out ------------------------------------------------------------------------------------

    def tell_first(self, z: Tensor, tense: Tensor) -> Tensor:
        """Returns what the decoder is told (B, H): f(z) or, when it decodes directly, f(z ‖ condition)."""
        if self.config.decoding == "direct":
            z = torch.cat([z, self.condition(tense)], 1)  # (B, Z + C)
        return self.from_z(z)  # (B, H)

    def known_after_lemma(self, end: Tensor, z: Tensor) -> Tensor:
        """Returns what is known once the lemma is spelled: the state (B, H) it ended in and, by `form_from`, z (B, Z)."""
        return torch.cat([end, z], 1) if self.config.form_from == "lemma and z" else end

    def tell_form(self, known: Tensor, tense: Tensor) -> Tensor:
        """Returns what the decoder is told (B, H) to spell a form, from what is known after its lemma."""
        return self.from_lemma(torch.cat([known, self.condition(tense)], 1))

    def cross_entropy(self, z: Tensor, batch: Batch, free: Tensor) -> Tensor:
        """Returns nats per word (B, K) of the K targets of each z (B, Z); `free` (B, K) words are not teacher-forced."""
        if self.config.decoding == "direct":
            return self._spell_targets(z, self.tell_first, batch, free)[0]
        lemma, forms = batch.targets(slice(0, 1)), batch.targets(slice(1, None))
        lemma_ce, end = self._spell_targets(z, self.tell_first, lemma, free[:, :1])
        forms_ce, _ = self._spell_targets(self.known_after_lemma(end, z), self.tell_form, forms, free[:, 1:])
        return torch.cat([lemma_ce, forms_ce], 1)  # (B, K)

    def _spell_targets(self, known: Tensor, tell, batch: Batch, free: Tensor) -> tuple[Tensor, Tensor]:
        """Spells all targets (B, K) in one pass of B K words, each told of what is known (B, …) and of its tense."""
        K = free.shape[1]
        told = tell(known.repeat_interleave(K, 0), batch.target_tense.flatten())  # (B K, H)
        ce, end = self.decoder.spell(told, batch.target.flatten(0, 1), batch.target_lengths.flatten(), free.flatten())
        return ce.view(-1, K), end  # (B, K), (B K, H)

    # -- words in, words out ----------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.encoder.mu.weight.device

    @torch.no_grad()
    def encode(self, words, tense) -> tuple[Tensor, Tensor]:
        """Encodes any number of words, of one tense or one each; returns mu and logvar, each (B, Z).

        Raises ValueError or TypeError naming a word or tense it cannot take.
        """
        words = check_words(words)
        tense = check_tense(tense, len(words))
        if not words:
            return torch.empty(2, 0, self.config.latent_size).unbind()
        letters, lengths = words_to_tensor(words)
        parts = [
            self.encoder(*(x.to(self.device) for x in part))
            for part in zip(letters.split(CHUNK), lengths.split(CHUNK), tense.split(CHUNK))
        ]
        return tuple(torch.cat(part) for part in zip(*parts))

    @torch.no_grad()
    def decode(self, z: Tensor, tense) -> list[str]:
        """Spells z (B, Z) greedily in one tense or one each; raises ValueError for a z or tense it cannot take."""
        z = self._check_z(z)
        tense = check_tense(tense, len(z)).to(self.device)
        return [word for part in zip(z.split(CHUNK), tense.split(CHUNK)) for word in self._spell(*part)]

    def convert(self, words, source_tense, target_tense) -> list[str]:
        """Converts words from one tense to another by decoding the posterior mean; a tense is an int or one per word."""
        mu, _ = self.encode(words, source_tense)
        return self.decode(mu, target_tense)

    @torch.no_grad()
    def generate(self, z: Tensor) -> list[Verb]:
        """Spells the four forms of each z (N, Z); raises ValueError for a z it cannot take."""
        return [verb for part in self._check_z(z).split(CHUNK) for verb in self._spell_verbs(part)]

    def _check_z(self, z) -> Tensor:
        expected = f"expected z of shape (B, {self.config.latent_size})"
        try:
            z = torch.as_tensor(z)
        except (TypeError, ValueError, RuntimeError) as error:  # torch has all three for what it makes no tensor of
            raise ValueError(f"{expected}, found {_quote(z)}: {error}") from error
        if z.dim() != 2 or z.shape[1] != self.config.latent_size:
            raise ValueError(f"{expected}, found {tuple(z.shape)}")
        if z.is_complex() or not z.isfinite().all():
            raise ValueError(f"{expected} of finite real numbers, found {_quote(z)}")
        return z.to(self.device, torch.float32)

    def _spell(self, z: Tensor, tense: Tensor) -> list[str]:
        letters, end = self.decoder.greedy(self.tell_first(z, tense))
        words = tensor_to_words(letters)
        if self.config.decoding == "lemma-first":
            known = self.known_after_lemma(end, z)
            forms = tensor_to_words(self.decoder.greedy(self.tell_form(known, tense))[0])
            words = [form if t else lemma for t, lemma, form in zip(tense.tolist(), words, forms)]
        return words

    def _spell_verbs(self, z: Tensor) -> list[Verb]:
        tenses = [torch.full((len(z),), tense, device=z.device) for tense in range(len(TENSES))]
        if self.config.decoding == "direct":
            return list(zip(*(self._spell(z, tense) for tense in tenses)))
        lemmas, end = self.decoder.greedy(self.tell_first(z, tenses[0]))
        known = self.known_after_lemma(end, z)
        forms = (self.decoder.greedy(self.tell_form(known, tense))[0] for tense in tenses[1:])
        return list(zip(tensor_to_words(lemmas), *map(tensor_to_words, forms)))


# ------------------------------------------------------------------------------------------------------------------
# Metrics
# ------------------------------------------------------------------------------------------------------------------


def bleu4(output: str, reference: str) -> float:
    """Returns the course's BLEU-4 of one word, 0..1: NLTK's over characters, smoothed by method 1.

    References of three letters are scored with 1- to 3-grams, each weighted 0.33, as in the course.
    Raises TypeError for what is no text, ValueError for an empty reference. Source: Papineni et al. 2002;
    Chen & Cherry 2014 for the smoothing.
    """
    for text in (output, reference):
        if not isinstance(text, str):
            raise TypeError(f"expected two words, found {_quote(text)}")
    if not reference:
        raise ValueError("the reference is empty; expected a word")
    weights = (0.33,) * 3 if len(reference) == 3 else (0.25,) * 4
    smooth = SmoothingFunction().method1
    return float(sentence_bleu([reference], output, weights=weights, smoothing_function=smooth))


class GaussianScore(NamedTuple):
    """Holds what a list of generated verbs is worth; shares are 0..1 of the draws."""

    official: float  # the course's: a draw counts once for every equal row of the table, so repeats can exceed 1
    exact: float  # share of draws whose four words are a row
    distinct: int  # how many different rows were drawn: 1 when the model has collapsed
    mixed: float  # share whose four words are all in the table, but of different rows


def gaussian_score(generated: list[Verb], verbs: list[Verb]) -> GaussianScore:
    """Scores verbs generated from Gaussian noise against the table.

    Raises ValueError when there are none on either side, or where one has not four forms, TypeError for what is no verb.
    """
    generated, rows = _rows_of(generated), Counter(check_verbs(verbs))
    if not generated:
        raise ValueError("no generated verbs; expected at least one")
    if strange := [verb for verb in generated if len(verb) != len(TENSES)]:
        raise ValueError(f"a generated verb has {len(strange[0])} forms; expected {len(TENSES)}")
    if strange := [form for verb in generated for form in verb if not isinstance(form, str)]:
        raise TypeError(f"expected generated words, found {_quote(strange[0])}")
    words = [set(forms) for forms in zip(*rows)]
    correct = [verb for verb in generated if verb in rows]
    known = sum(all(form in words[tense] for tense, form in enumerate(verb)) for verb in generated)
    n = len(generated)
    return GaussianScore(
        sum(rows[verb] for verb in correct) / n, len(correct) / n, len(set(correct)), (known - len(correct)) / n
    )


def mean_bleu4(model: CVAE, pairs: list[TestPair] | None = None, draws: int = 0, seed: int = 0) -> float:
    """Returns the mean BLEU-4 of the test pairs, 0..1, at the posterior mean or, with `draws`, over so many draws of z.

    Raises ValueError when there are no pairs.
    """
    pairs = load_test_pairs() if pairs is None else pairs
    if not pairs:
        raise ValueError("no test pairs; expected at least one")
    sources, targets, source_tenses, target_tenses = zip(*pairs)
    times = max(draws, 1)
    mu, logvar = (x.repeat(times, 1).cpu() for x in model.encode(sources, source_tenses))
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(seed)) if draws else mu
    outputs = model.decode(z, target_tenses * times)
    return float(np.mean([bleu4(*pair) for pair in zip(outputs, targets * times)]))


def conversion_accuracy(model: CVAE, verbs: list[Verb]) -> float:
    """Returns the share of the 12 × N conversions between different tenses that are exactly right, 0..1.

    Raises ValueError or TypeError for verbs that it cannot take.
    """
    verbs, right = check_verbs(verbs), []
    for source in range(len(TENSES)):
        mu, _ = model.encode([verb[source] for verb in verbs], source)
        outputs = model.generate(mu)  # all four forms of the posterior mean
        right += [out[t] == verb[t] for out, verb in zip(outputs, verbs) for t in range(len(TENSES)) if t != source]
    return float(np.mean(right))


def sample_prior(model: CVAE, draws: int, seed: int = 0) -> list[Verb]:
    """Returns the verbs spelled from draws z ~ N(0, I)."""
    z = torch.randn(draws, model.config.latent_size, generator=torch.Generator().manual_seed(seed))
    return model.generate(z)


class Information(NamedTuple):
    """Holds what z carries of the table's words; KL = mutual information + marginal KL, in nats per word."""

    kl_table: float  # mean over the table of KL(q(z | x) ‖ p(z))
    mutual_information: float  # I(x; z), at most ln 4N
    marginal_kl: float  # KL(q(z) ‖ p(z)): how far what the decoder was trained on is from where noise lands
    active_units: int  # dimensions that move with the word


MOST_WORDS = 8192  # that `information` compares each with each


def information(model: CVAE, verbs: list[Verb], seed: int = 0) -> Information:
    """Splits KL as Hoffman & Johnson 2016 do, over all 4 N words with one draw of z each; active units: Burda 2016.

    Of more than `MOST_WORDS` words, so many are taken by lot. Raises ValueError or TypeError for verbs it cannot take.
    """
    pairs = [(form, tense) for verb in check_verbs(verbs) for tense, form in enumerate(verb)]
    words, tenses = zip(*random.Random(seed).sample(pairs, MOST_WORDS) if len(pairs) > MOST_WORDS else pairs)
    mu, logvar = (x.cpu().double() for x in model.encode(words, tenses))  # (M, Z), M = 4 N
    z = reparameterize(mu, logvar, torch.Generator().manual_seed(seed)).double()
    precision = (-logvar).exp()
    # log q(z_i | x_j) = −½ Σ (z_i − μ_j)² / σ_j² + log σ_j² + log 2π: with its square multiplied out, one product of matrices
    constant = (mu**2 * precision + logvar + math.log(2 * math.pi)).sum(1, keepdim=True)  # (M, 1)
    of_x = torch.cat([-0.5 * precision, mu * precision, -0.5 * constant], 1)  # (M, 2 Z + 1)
    of_z = torch.cat([z**2, z, torch.ones_like(constant)], 1)  # (M, 2 Z + 1)
    own = (of_z * of_x).sum(1)  # log q(z_i | x_i) (M,)
    mixture = [(part @ of_x.T).logsumexp(1) for part in of_z.split(CHUNK)]
    mixture = torch.cat(mixture) - math.log(len(words))  # log q(z) = log 1/M Σ_j q(z | x_j) (M,)
    kl = kl_divergence(mu, logvar).mean().item()
    # I(x; z) = E[log q(z | x) − log q(z)]
    shared = (own - mixture).mean().item()
    # AU = #{j : Var_x(E[z_j | x]) > 0.01}
    return Information(kl, shared, kl - shared, int((mu.var(0) > 0.01).sum()))


def score(
    model: CVAE, verbs: list[Verb] | None = None, pairs: list[TestPair] | None = None, draws: int = 10_000
) -> dict[str, float]:
    """Returns every score of a model by name; `distinct` is the mean over blocks of 100 draws, as in the course.

    Raises ValueError for fewer than 100 draws, and for verbs or pairs that it cannot take.
    """
    if draws < 100:
        raise ValueError(f"draws: found {draws}; expected at least 100, for a block of `distinct`")
    verbs = load_verbs() if verbs is None else verbs
    drawn = sample_prior(model, draws)
    gaussian = gaussian_score(drawn, verbs)
    blocks = [gaussian_score(drawn[i : i + 100], verbs).distinct for i in range(0, draws - 99, 100)]
    return {
        "bleu4": mean_bleu4(model, pairs),
        "bleu4_drawn": mean_bleu4(model, pairs, draws=20),
        "conversion": conversion_accuracy(model, list(dict.fromkeys(verbs))),
        "gaussian_official": gaussian.official,
        "gaussian_exact": gaussian.exact,
        "gaussian_mixed": gaussian.mixed,
        "distinct": float(np.mean(blocks)),
        **information(model, list(dict.fromkeys(verbs)))._asdict(),
    }


# ------------------------------------------------------------------------------------------------------------------
# Files: written whole or not at all, read without running what they hold
# ------------------------------------------------------------------------------------------------------------------

CHECKPOINT, FINISHED = "checkpoint.pt", "run.pt"  # the last epoch of a run that goes on, and a run that is done
FORMAT = "run of lab5_utils, format 2"  # stands in every file, so that a damaged one is told from a foreign one


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside and renames it in: whoever looks finds the old one or the new one, even after a power cut.

    Raises OSError naming the file when the disk is full, or the folder is read-only or gone; the old file stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:  # and closed before it is renamed: Windows renames no open file
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync_folder(path.parent)


def _replace(beside: Path, path: Path, tries: int = 20) -> None:
    """Renames over a file; on Windows a virus scanner may hold it open for a moment, so a refusal is tried again."""
    for left in reversed(range(tries)):
        try:
            return os.replace(beside, path)
        except PermissionError:
            if not left:
                raise
            time.sleep(0.05)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some mounted folders know no fsync
            raise
    finally:
        os.close(folder)


def seal(state: dict) -> bytes:
    """Returns a state as torch.save writes it, a zip file, with the SHA-256 of its bytes as the zip's comment."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    content = buffer.getvalue()
    return content[:-2] + _comment(content)


def _comment(content: bytes) -> bytes:
    """Returns the end of a zip file whose comment is its SHA-256: length and text, in place of the two bytes of length 0."""
    digest = hashlib.sha256(content).hexdigest().encode()
    return len(digest).to_bytes(2, "little") + digest


def unseal(path: Path) -> dict:
    """Reads what `seal` wrote; raises ValueError naming the file, what is wrong with it and what to do.

    A file of another origin is not opened at all, and of a sealed one nothing is taken but tensors, numbers and text.
    """
    content = path.read_bytes()
    if content[-66:] != _comment(content[:-66] + bytes(2)):
        what = (
            "is truncated or damaged"
            if FORMAT.encode() in content
            else "is no file of this version: empty, cut, older or foreign"
        )
        raise ValueError(f"{path}: {what}; delete it to train anew")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: refused, for reading it could run foreign code; delete it ({error})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path}: was written by another version; delete it to train anew")
    return state


# ------------------------------------------------------------------------------------------------------------------
# Training
# ------------------------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Holds B source words and the K target words of each."""

    source: Tensor  # (B, T)
    source_lengths: Tensor  # (B,)
    source_tense: Tensor  # (B,)
    target: Tensor  # (B, K, T)
    target_lengths: Tensor  # (B, K)
    target_tense: Tensor  # (B, K)

    def targets(self, chosen: slice) -> Batch:
        """Returns the batch with some of its K targets only, cut to their width."""
        lengths = self.target_lengths[:, chosen]
        return self._replace(
            target=self.target[:, chosen, : int(lengths.max())],
            target_lengths=lengths,
            target_tense=self.target_tense[:, chosen],
        )


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Returns KL(N(mu, e^logvar) ‖ N(0, I)) in nats per word (B,), of mu and logvar (B, Z) (Kingma & Welling 2014, B)."""
    # KL = ½ Σ_j (μ² + σ² − 1 − log σ²)
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)  # (B,)


def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator) -> Tensor:
    """Draws z (B, Z) from N(mu, e^logvar) so that gradients reach mu and logvar (Kingma & Welling 2014, 2.4)."""
    noise = torch.randn(mu.shape, generator=generator).to(mu.device)
    # z = μ + σ ε, ε ~ N(0, I)
    return mu + (0.5 * logvar).exp() * noise  # (B, Z)


class Table:
    """Holds the verbs as tensors and deals them out in batches of about equal length."""

    def __init__(self, verbs: list[Verb], config: Config):
        letters, lengths = words_to_tensor([form for verb in verbs for form in verb])
        self.letters = letters.view(len(verbs), len(TENSES), -1)  # (N, 4, T)
        self.lengths = lengths.view(len(verbs), len(TENSES))  # (N, 4)
        self.rows, self.targets = config.training == "rows", config.targets
        self.batch_size = config.batch_size
        self.size = len(verbs) * (1 if self.rows else len(TENSES))  # what an epoch deals out

    def batches(self, generator: torch.Generator):
        """Yields an epoch: every verb once, from one form of it to several or, for same-tense, every form to itself."""
        N, K = self.lengths.shape
        verb = torch.arange(N) if self.rows else torch.arange(N).repeat_interleave(K)
        tense = torch.randint(K, (N,), generator=generator) if self.rows else torch.arange(K).repeat(N)
        target_tense = self._lots(N, generator) if self.rows else tense[:, None]  # (N, K)
        length = self.lengths[verb, 0 if self.rows else tense]
        # in order of length, ties by lot, so that a batch is not made of the same words in every epoch
        order = (length + torch.rand(len(verb), generator=generator)).argsort()
        batches = order.split(self.batch_size)
        for i in torch.randperm(len(batches), generator=generator):
            yield self._batch(verb[batches[i]], tense[batches[i]], target_tense[batches[i]])

    def _lots(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws K tenses each (count, K): the simple present, then others without repeats."""
        others = torch.rand(count, len(TENSES) - 1, generator=generator).argsort(1) + 1  # (count, 3)
        return F.pad(others[:, : self.targets - 1], (1, 0), value=SP)

    def _batch(self, verb: Tensor, tense: Tensor, target_tense: Tensor) -> Batch:
        source_lengths = self.lengths[verb, tense]
        target_lengths = self.lengths[verb[:, None], target_tense]
        source = self.letters[verb, tense, : source_lengths.max()]
        target = self.letters[verb[:, None], target_tense, : target_lengths.max()]
        return Batch(source, source_lengths, tense, target, target_lengths, target_tense)


@dataclass
class Run:
    """Holds one training: the model of the last epoch, its history (a row an epoch) and its configuration."""

    model: CVAE
    history: pd.DataFrame
    config: Config


def train(config: Config, verbs: list[Verb] | None = None, *, run_dir=None, progress: bool = True) -> Run:
    """Trains a model on verbs (None: `load_verbs()`; repeated rows count once) and returns the last epoch's run.

    With a `run_dir`, every finished epoch is kept there; called again, it goes on from the last one or, when all are
    done, returns the finished run. The same configuration and data give the same bits on one machine, interrupted or
    not, wherever they are trained. The history's columns, means over an epoch's words or steps: `ce` and `kl` in nats
    per word; `kl_weight` as it stands in the loss, and `beta`, the same against a cross-entropy in nats per word;
    `tf_ratio`, `learning_rate`, `bleu4` of the test pairs at the posterior mean and, every `evaluate_every` epochs,
    those of `score`, with 1,000 draws.
    Raises ValueError or TypeError for verbs it cannot take and for a `run_dir` that holds another run or a damaged file,
    OSError when an epoch cannot be kept, FloatingPointError when the loss is not finite, KeyboardInterrupt when it is
    stopped; their messages name the last epoch kept, which stays.
    """
    return _train_or_resume(config, load_verbs() if verbs is None else verbs, load_test_pairs(), run_dir, progress)


_ONE_AT_A_TIME = threading.Lock()  # in one process: trainings share torch's number of threads and its random state


def _train_or_resume(config: Config, verbs: list[Verb], pairs: list[TestPair], run_dir, progress: bool) -> Run:
    """Trains as `train` does, with nothing read but what `run_dir` holds; one training at a time in a process."""
    with _ONE_AT_A_TIME, _one_thread():
        trainer = _Trainer(config, verbs, pairs)
        if run_dir is None:
            return trainer.train(progress)
        trainer.folder = Path(run_dir)
        if trainer.restore(FINISHED):
            return trainer.run()
        with _alone_in(trainer.folder, progress):
            if not trainer.restore(FINISHED):  # another process may have trained it while this one waited
                trainer.restore(CHECKPOINT)
            return trainer.train(progress)


@contextmanager
def _one_thread():
    """Runs torch on one thread: the same bits in a notebook, a script and a sweep's worker, on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _alone_in(folder: Path, progress: bool):
    """Lets one process at a time into a run's folder. The lock is the system's own and ends with whoever holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            tqdm.write(f"another process trains {folder.name}: waiting for it")
        try:
            lock.acquire()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped while another process trains {folder}") from None
    try:
        for part in (part for name in (CHECKPOINT, FINISHED) for part in folder.glob(f"{name}.*.part")):
            part.unlink()  # of a process that was killed while it wrote
        yield
    finally:
        lock.release()


class _Trainer:
    """Carries what one training changes: weights, optimizer, random state, history."""

    def __init__(self, config: Config, verbs: list[Verb], pairs: list[TestPair]):
        self.config, self.verbs, self.pairs = config, list(dict.fromkeys(check_verbs(verbs))), pairs
        self.table = Table(self.verbs, config)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            self.model = CVAE(config).to(self.device)
        self.generator = torch.Generator().manual_seed(config.seed)  # on the CPU: the same noise on every device
        self.steps_per_epoch = math.ceil((1 + config.made_up) * self.table.size / config.batch_size)
        self.epoch, self.history = 0, []
        self.folder: Path | None = None  # where every epoch is kept
        self.kept = 0  # the last epoch that is there
        self.identity = identity(config, self.verbs, pairs)
        self._start_phase(1)

    def train(self, progress: bool) -> Run:
        """Trains the epochs that are left, keeps each, and returns the run."""
        left = range(self.epoch + 1, self.config.epochs + 1)
        try:
            for epoch in tqdm(left, initial=self.epoch, total=self.config.epochs, unit="epoch", disable=not progress):
                self.train_epoch(epoch)
                if self.folder:
                    self.keep()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; {self._kept()}") from None
        return self.run()

    def run(self) -> Run:
        return Run(self.model, pd.DataFrame(self.history).set_index("epoch"), self.config)

    def train_epoch(self, epoch: int) -> None:
        if epoch == self.config.joint_epochs + 1:
            self._start_phase(epoch)
        batches = self._table_with_made_up().batches(self.generator)
        steps = [self._step(batch, epoch, i) for i, batch in enumerate(batches, 1)]
        means = pd.DataFrame(steps)
        words = means.pop("words")
        row = {"epoch": epoch, **(means.mul(words, axis=0).sum() / words.sum()).to_dict()}
        row["tf_ratio"] = self.config.tf_ratio(self._progress(epoch))
        row["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        row["bleu4"] = mean_bleu4(self.model, self.pairs)
        if epoch % self.config.evaluate_every == 0 or epoch in (self.config.joint_epochs, self.config.epochs):
            row |= score(self.model, self.verbs, self.pairs, draws=1000)
        self.history.append(row)
        self.epoch = epoch

    def _table_with_made_up(self) -> Table:
        count = self.config.made_up * len(self.verbs)
        if not count:
            return self.table
        seed = int(torch.randint(2**31, (), generator=self.generator))  # other verbs in every epoch
        return Table(self.verbs + make_up(self.verbs, count, seed), self.config)

    def _step(self, batch: Batch, epoch: int, step: int) -> dict[str, float]:
        batch = Batch(*(x.to(self.device) for x in batch))
        mu, logvar = self.model.encoder(batch.source, batch.source_lengths, batch.source_tense)
        z = reparameterize(mu, logvar, self.generator)
        coins = torch.rand(batch.target_lengths.shape, generator=self.generator)
        free = coins.to(self.device) >= self.config.tf_ratio(self._progress(epoch))  # a coin a word (B, K)
        ce = self.model.cross_entropy(z, batch, free)  # (B, K)
        kl = kl_divergence(mu, logvar)  # (B,)
        weight = self._kl_weight(epoch, kl.mean().item())
        per_word = 1.0 if self.config.ce_per == "word" else batch.target_lengths
        # L = CE + β KL
        loss = (ce / per_word).mean() + weight * kl.mean()
        self._check_finite("loss", loss, epoch, step)
        self._update(loss, epoch, step)
        beta = weight * (per_word if self.config.ce_per == "word" else per_word.float().mean().item())
        return {"ce": ce.mean().item(), "kl": kl.mean().item(), "kl_weight": weight, "beta": beta, "words": len(ce)}

    def _progress(self, epoch: int) -> float:
        return epoch / self.config.epochs

    def _kl_weight(self, epoch: int, kl: float) -> float:
        if epoch > self.config.joint_epochs:
            return 0.0
        progress = self._progress(epoch)
        excess = kl - self.config.target_rate(progress)
        return self.config.kl_weight * STRATEGIES[self.config.strategy](progress, excess)

    def _update(self, loss: Tensor, epoch: int, step: int) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_norm)
        self._check_finite("gradient", norm, epoch, step)  # one step with it would spoil every weight
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(epoch, step)
        self.optimizer.step()

    def _check_finite(self, what: str, value: Tensor, epoch: int, step: int) -> None:
        if not value.isfinite():
            raise FloatingPointError(f"the {what} is {value.item()} in epoch {epoch}, step {step}; {self._kept()}")

    def _learning_rate(self, epoch: int, step: int) -> float:
        if self.config.optimizer == "sgd":
            return self.config.learning_rate
        joint = self.config.joint_epochs
        first, last = (0, joint) if epoch <= joint else (joint, self.config.epochs)
        done = (epoch - 1 - first) * self.steps_per_epoch + step
        steps = (last - first) * self.steps_per_epoch
        # warm-up over 100 steps, then half a cosine down to 0, in each of the two phases
        return self.config.learning_rate * min(1, done / 100) * (1 + math.cos(math.pi * done / steps)) / 2

    def _start_phase(self, epoch: int) -> None:
        """Chooses what is trained: everything or, once the joint epochs are over, the encoder alone."""
        joint = epoch <= self.config.joint_epochs
        self.model.requires_grad_(joint).encoder.requires_grad_(True)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = (
            torch.optim.SGD(self.parameters, lr=self.config.learning_rate)
            if self.config.optimizer == "sgd"
            else torch.optim.Adam(self.parameters, lr=self.config.learning_rate, fused=True)
        )

    def keep(self) -> None:
        """Keeps the epoch in the run's folder; raises OSError naming the last one kept, which stays."""
        done = self.epoch == self.config.epochs
        state = {
            "identity": self.identity,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": None if done else self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history,
        }
        path = self.folder / (FINISHED if done else CHECKPOINT)
        try:
            write_whole(path, seal(state))
        except OSError as error:
            said = f"{error.strerror}: epoch {self.epoch} is lost; {self._kept()}"
            raise OSError(error.errno, said, str(path)) from error
        self.kept = self.epoch
        if done:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def restore(self, name: str) -> bool:
        """Takes over what a file of the run's folder holds, if there is one; raises ValueError if it is not this run's."""
        path = self.folder / name
        if not path.exists():
            return False
        state = unseal(path)
        if others := _differences(state["identity"], self.identity):
            raise ValueError(f"{path}: belongs to {others}; give an empty run_dir, or delete this one to train anew")
        self.epoch, self.history = state["epoch"], state["history"]
        self.kept = self.epoch
        self._start_phase(self.epoch)
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:  # torch's word for weights of other names or shapes
            raise ValueError(f"{path}: its weights are of another architecture; delete it to train anew") from error
        if state["optimizer"]:
            self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        return True

    def _kept(self) -> str:
        """Says what is kept of this run."""
        if not self.folder:
            return "nothing is kept, for train was given no run_dir"
        if not self.kept or not self.folder.exists():
            return f"no epoch is kept in {self.folder}"
        return (
            f"epoch {self.kept} of {self.config.epochs} is kept in {self.folder}, and the same call goes on from there"
        )


# ------------------------------------------------------------------------------------------------------------------
# Runs: trained once, kept in runs/
# ------------------------------------------------------------------------------------------------------------------

RUNS = HERE / "runs"
# What trains: this file as imported, down to here. A change to what stands below trains nothing anew.
CODE = Path(__file__).read_text(encoding="utf-8").split("\n# Runs: ")[0]


def identity(config: Config, verbs: list[Verb], pairs: list[TestPair]) -> dict:
    """Returns all that a run's result follows from, data and code as digests (the pairs' BLEU-4 is in the history)."""
    return {
        "configuration": dataclasses.asdict(config),
        "data": hashlib.sha256(json.dumps([verbs, pairs]).encode()).hexdigest(),
        "code": hashlib.sha256(CODE.encode()).hexdigest(),
    }


def _differences(theirs: dict, ours: dict) -> str:
    """Says in which of its parts one identity is another's; returns nothing when they are equal."""
    said = {"data": "other verbs or test pairs", "code": "another version of lab5_utils.py"}
    found = [text for part, text in said.items() if theirs[part] != ours[part]]
    there, here = theirs["configuration"], ours["configuration"]
    changed = [
        f"{name} {there.get(name)!r}, here {here.get(name)!r}"
        for name in here | there
        if there.get(name) != here.get(name)
    ]
    return " and ".join(found + ([f"another configuration ({'; '.join(changed)})"] if changed else []))


def run_folder(config: Config, verbs: list[Verb], pairs: list[TestPair]) -> Path:
    """Names the folder of a run in runs/ by a digest of its identity."""
    digest = hashlib.sha256(json.dumps(identity(config, verbs, pairs)).encode()).hexdigest()
    return RUNS / f"{config.strategy}-{config.decoding}-{config.seed}-{digest[:16]}"


def load_or_train(config: Config, verbs: list[Verb] | None = None, *, progress: bool = True) -> Run:
    """Returns the run of exactly this configuration, data and code from runs/, or trains it and keeps it there.

    A process that asks for a run which another one trains waits for it. Raises as `train` does.
    """
    verbs, pairs = _distinct(verbs), load_test_pairs()
    return _train_or_resume(config, verbs, pairs, run_folder(config, verbs, pairs), progress)


def sweep(configs: list[Config], verbs: list[Verb] | None = None, jobs: int = -1) -> list[Run]:
    """Loads or trains many runs in parallel processes, one core each, and returns them in order.

    Every run is kept in runs/ as it goes; called again, the same sweep trains what is missing. The work goes through
    joblib: its `parallel_config(backend="dask")` sends it to a cluster whose workers see this folder.
    Raises RuntimeError naming each run that failed, once all others are done and kept; a worker that the system kills
    is a failure of its run.
    """
    configs, verbs, pairs = _list_of(configs, "configurations"), _distinct(verbs), load_test_pairs()
    tasks = {i: (config, verbs, pairs, run_folder(config, verbs, pairs), CODE) for i, config in enumerate(configs)}
    done: dict[int, Run] = {}
    failed: dict[int, Exception] = {}
    try:
        for i, result in tqdm(_results(tasks, jobs), total=len(tasks), unit="run"):
            (failed if isinstance(result, Exception) else done)[i] = result
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {len(done)} of {len(tasks)} runs are done; the same call goes on") from None
    if failed:
        names = "".join(f"\n{configs[i]}: {type(error).__name__}: {error}" for i, error in sorted(failed.items()))
        raise RuntimeError(f"{len(failed)} of {len(tasks)} runs failed; the others are kept in {RUNS}{names}")
    return [done[i] for i in range(len(tasks))]


def _results(tasks: dict[int, tuple], jobs: int):
    """Yields (i, run or exception) as they come. Where the system kills a worker, what is left goes one by one."""
    left = dict(tasks)
    try:
        for i, result in joblib.Parallel(jobs, return_as="generator_unordered")(
            joblib.delayed(_member)(i, *task) for i, task in tasks.items()
        ):
            del left[i]
            yield i, result
    except BrokenProcessPool as error:
        if len(tasks) == 1:
            yield from ((i, error) for i in tasks)
        else:
            for i, task in left.items():
                yield from _results({i: task}, 2)  # two: a process of its own, which may be killed as well


def _member(i: int, config: Config, verbs: list[Verb], pairs: list[TestPair], folder: Path, code: str):
    """Trains one of a sweep, and returns what went wrong instead of raising it, so that the others go on."""
    if code != CODE:  # workers outlive a change of this file
        return i, RuntimeError("the worker has another version of lab5_utils.py loaded: restart it, or the kernel")
    try:
        return i, _train_or_resume(config, verbs, pairs, folder, progress=False)
    except Exception as error:  # whatever it is: `sweep` raises it by name
        return i, error


def _distinct(verbs: list[Verb] | None) -> list[Verb]:
    return list(dict.fromkeys(check_verbs(load_verbs() if verbs is None else verbs)))


# ------------------------------------------------------------------------------------------------------------------
# Figures
# ------------------------------------------------------------------------------------------------------------------

FIGURES = HERE / "figures"
WIDTH = 5.0  # inches of every figure: printed in a column of 85 mm, its smallest letters are 6 points high
STRATEGY_LOOKS = {  # colour of the palette, line and marker; a recipe looks as its strategy does
    "constant": ("C2", "-.", "P"),
    "monotonic": ("C3", "--", "s"),
    "cyclical-linear": ("C4", (0, (3, 1, 1, 1, 1, 1)), "D"),
    "cyclical-trapezoid": ("C1", ":", "^"),
    "cyclical-sigmoid": ("C9", (0, (5, 1)), "v"),
    "cyclical-cosine": ("C5", (0, (8, 2, 1, 2)), "X"),
    "target-rate": ("C0", "-", "o"),
}
TENSE_LINES = ("-", "--", "-.", ":")


def set_style() -> None:
    """Sets the one look of all figures."""
    sns.set_theme(context="paper", style="whitegrid", palette="colorblind")
    sizes = dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "legend.title_fontsize"), 10)
    sizes |= dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 9)
    plt.rcParams.update(sizes | {"image.cmap": "viridis", "lines.linewidth": 1.5, "figure.dpi": 120})
    plt.rcParams.update({"figure.constrained_layout.use": True, "pdf.fonttype": 42, "figure.figsize": (WIDTH, 3.2)})


def save_fig(fig, name: str) -> None:
    """Exports a figure as PDF and PNG into figures/, without a date: the same figure is the same bytes.

    Raises OSError naming the file that cannot be written; the old one stays.
    """
    FIGURES.mkdir(exist_ok=True)
    for suffix, options in {"pdf": dict(metadata={"CreationDate": None}), "png": dict(dpi=200)}.items():
        drawn = io.BytesIO()
        fig.savefig(drawn, format=suffix, **options)
        write_whole(FIGURES / f"{name}.{suffix}", drawn.getvalue())


def strategy_style(name: str, marker: bool = False) -> dict:
    """Returns colour and line of a strategy, and its marker if wanted: the same in every figure, told apart in grey."""
    colour, line, mark = STRATEGY_LOOKS[name]
    return {"color": colour, "linestyle": line} | ({"marker": mark} if marker else {})


def tense_style(tense: int) -> dict:
    """Returns colour and line of a tense: the darker, the later in the order of TENSES."""
    return {"color": sns.color_palette("crest", len(TENSES))[tense], "linestyle": TENSE_LINES[tense]}
