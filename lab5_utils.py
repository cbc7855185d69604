"""The lab: a conditional sequence-to-sequence VAE that converts verbs between their tenses.

Read it top to bottom: words, data, model, metrics. `lab5_train` then has the hyperparameters and
the training loop. Comments give shapes: B words in a batch, T characters, C condition, H hidden,
Z latent, V vocabulary, N verbs, F forms of a verb (one per tense). Cross-entropy and KL are in nats
per word, because they are summed over characters or dimensions and averaged over words. A bad file
or table, and a bad word or tense given to a model, raise an error that says what was found and
expected. Behind these doors values are trusted.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent


def wrong(where, found, expected) -> ValueError:
    """Returns the error of bad input, to be raised."""
    return ValueError(f"{where}: found {found}; expected {expected}")


# ---- Words ----
TENSES = ("simple present", "third person", "present progressive", "simple past")
PRESENT, THIRD, PROGRESSIVE, PAST = range(4)
LEMMA = 0  # the first form of a verb, whatever the table
EOS = 0  # ends a word and pads it
MAX_LETTERS = 32  # in a word; decoding stops after one symbol more
CHUNK = 512  # words that a model reads or spells at once, so that memory suffices


class Vocabulary(NamedTuple):
    """A table's letters, numbered from 1, and how many forms its verbs have."""

    alphabet: str  # in the order of Unicode
    forms: int  # F

    @property
    def size(self) -> int:
        """V, the number of symbols: EOS (0), the letters, and SOS."""
        return len(self.alphabet) + 2

    @property
    def sos(self) -> int:
        """The number of SOS, the last one; decoding starts with it."""
        return len(self.alphabet) + 1

    def to_tensor(self, words) -> tuple[Tensor, Tensor]:
        """Turns words into letters (B, T), padded with EOS, and their lengths (B,), EOS included.

        Raises a ValueError that names a letter that is not in the alphabet.
        """
        number_of = {letter: number for number, letter in enumerate(self.alphabet, 1)}
        lengths = torch.tensor([len(word) + 1 for word in words], dtype=torch.int64)  # (B,)
        letters = torch.full((len(words), max(lengths.tolist(), default=0)), EOS)  # (B, T)
        for row, word in zip(letters, words, strict=True):
            if unknown := sorted(set(word) - number_of.keys()):
                found = f"{unknown[0]!r} in {word!r}"
                raise wrong("words", found, f"letters {self.alphabet:.60}")
            row[: len(word)] = torch.tensor([number_of[letter] for letter in word])
        return letters, lengths

    def to_words(self, letters: Tensor) -> list[str]:
        """Turns letters (B, T) back into words, each of which ends at its first EOS."""
        words = []
        for row in letters.tolist():
            end = row.index(EOS) if EOS in row else len(row)
            words.append("".join(self.alphabet[number - 1] for number in row[:end]))
        return words


class Words(NamedTuple):
    """A batch of words as tensors."""

    letters: Tensor  # (B, T), padded with EOS
    lengths: Tensor  # (B,), EOS included
    tense: Tensor  # (B,)

    def to(self, device) -> Words:
        """Returns the same words on a device."""
        return Words(*(part.to(device) for part in self))


def select(words: Words, numbers: Tensor) -> Words:
    """Returns the words with these indices (B,), padded only to the longest among them."""
    lengths = words.lengths[numbers]
    letters = words.letters[numbers, : lengths.max()]
    return Words(letters, lengths, words.tense[numbers])


def check_word(word, where: str) -> str:
    """Returns the word, or raises a ValueError that names `where`."""
    if not isinstance(word, str) or word != word.lower() or not 1 <= len(word) <= MAX_LETTERS:
        raise wrong(where, f"{word!r:.60}", f"1 to {MAX_LETTERS} letters in lower case")
    return word


def check_words(words, where="words") -> list[str]:
    """Returns a list of checked words. Raises ValueError, or TypeError for a string or a set."""
    if isinstance(words, str | set | frozenset):  # letters aren't words, and a set has no order
        raise TypeError(f"{where}: found {words!r:.60}; expected a list of words")
    return [check_word(word, where) for word in words]


def check_tense(tense, count: int, forms: int) -> Tensor:
    """Returns a tensor of `count` tenses, given one int for all words or one int per word.

    Raises a ValueError unless all are 0..`forms` − 1.
    """
    tense = torch.as_tensor(tense, dtype=torch.int64).expand(count)  # (B,)
    if unknown := tense[(tense < 0) | (tense >= forms)].tolist():
        raise wrong("tense", unknown[0], f"0..{forms - 1}")
    return tense


# ---- Data ----
TEST_TENSES = (  # source and target of the ten pairs, as the course's readme lists them
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


class Pair(NamedTuple):
    """A conversion that is tested; both tenses are 0..F − 1."""

    source: str
    target: str
    source_tense: int
    target_tense: int


def folder_named(variable: str, default="") -> Path:
    """Returns the folder that a variable names; a relative name starts at this file's folder."""
    return (HERE / Path(os.environ.get(variable) or default).expanduser()).resolve()


def data_folder() -> Path:
    """Returns the data folder, which is $LAB5_DATA or this file's."""
    return folder_named("LAB5_DATA")


def read_rows(path: Path, width: int | None = None) -> list[Verb]:
    """Returns rows of `width` words; by default, of as many as the first has (at least two).

    Raises OSError, or a ValueError that names the file, the line, what was found and what was
    expected.
    """
    rows = []
    for n, line in enumerate(path.read_text("utf-8-sig").removesuffix("\n").split("\n"), 1):
        row = tuple(line.split(" "))
        width = width or max(2, len(row))
        where = f"{path}, line {n} ({line!r:.60})"
        if len(row) != width:
            raise wrong(where, f"{len(row)} words", f"{width}, one space apart")
        rows.append(tuple(check_word(word, where) for word in row))
    return rows


def load_verbs(path=None) -> list[Verb]:
    """Returns the verbs of a table, one per row, in the file's order and with its repeats.

    By default the table is train.txt in the data folder, $LAB5_DATA or this file's. Raises OSError,
    or a ValueError that names the file, the line, what was found and what was expected.
    """
    return read_rows(data_folder() / "train.txt" if path is None else Path(path))


def load_test_pairs(path=None) -> list[Pair]:
    """Returns the ten conversions that are tested, by default those of test.txt.

    A row has a source and a target; which tenses they are in follows from its place in the file.
    Raises the errors of `load_verbs`.
    """
    path = data_folder() / "test.txt" if path is None else Path(path)
    rows = read_rows(path, width=2)
    if len(rows) != len(TEST_TENSES):
        raise wrong(path, f"{len(rows)} rows", len(TEST_TENSES))
    return [Pair(*row, *tenses) for row, tenses in zip(rows, TEST_TENSES, strict=True)]


def pairs_of(verbs: list[Verb]) -> list[Pair]:
    """Returns the ten pairs of test.txt if all their words are forms of these verbs.

    Otherwise, as for a table of your own or a part of ours, these are conversions of its first ten
    verbs. Raises the errors of `load_test_pairs`.
    """
    forms = {(form, tense) for verb in verbs for tense, form in enumerate(verb)}
    if (data_folder() / "test.txt").is_file():
        pairs = load_test_pairs()
        needed = {(source, tense) for source, _, tense, _ in pairs}
        if needed | {(target, tense) for _, target, _, tense in pairs} <= forms:
            return pairs
    pairs = []
    for n, verb in enumerate(verbs[:10]):
        source, target = n % len(verb), (n + 1) % len(verb)
        pairs.append(Pair(verb[source], verb[target], source, target))
    return pairs


def check_verbs(verbs=None) -> list[Verb]:
    """Returns checked verbs in their order, with repeats; by default, those of `load_verbs()`.

    Raises a ValueError or a TypeError that names the verb by its number.
    """
    rows = load_verbs() if verbs is None else verbs
    verbs = [tuple(check_words(row, f"verb {n}")) for n, row in enumerate(rows, 1)]
    if not verbs or not verbs[0]:
        raise wrong("verbs", "none", "at least one, with at least one form")
    for n, verb in enumerate(verbs, 1):
        if len(verb) != len(verbs[0]):
            raise wrong(f"verb {n}", f"{len(verb)} forms", len(verbs[0]))
    return verbs


def distinct_verbs(verbs=None) -> list[Verb]:
    """Returns what `check_verbs` returns, but each verb only once."""
    return list(dict.fromkeys(check_verbs(verbs)))


def vocabulary_of(verbs: list[Verb]) -> Vocabulary:
    """Returns the letters that occur in a table, and the number of its forms."""
    letters = set().union(*(form for verb in verbs for form in verb))
    return Vocabulary("".join(sorted(letters)), forms=len(verbs[0]))


def as_words(words: list[str], tense, vocabulary: Vocabulary) -> Words:
    """Returns words as tensors, in one tense for all or one per word. Raises ValueError."""
    tense = check_tense(tense, len(words), vocabulary.forms)
    return Words(*vocabulary.to_tensor(words), tense)


def words_of(verbs: list[Verb], vocabulary: Vocabulary) -> Words:
    """Returns the F N forms of N verbs as tensors; index F n + t is verb n in tense t."""
    forms = [form for verb in verbs for form in verb]
    return as_words(forms, np.tile(range(vocabulary.forms), len(verbs)), vocabulary)


# ---- Model ----
def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Returns KL(N(mu, e^logvar) ‖ N(0, I)) of each word in nats (B,), given mu and logvar (B, Z).

    Source: Kingma & Welling 2014, appendix B.
    """
    # KL = ½ Σ_j (μ² + σ² − 1 − log σ²)
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)  # (B,)


def reparameterize(mu: Tensor, logvar: Tensor, rng: torch.Generator) -> Tensor:
    """Draws z (B, Z) from N(mu, e^logvar), so that gradients reach mu and logvar (B, Z).

    Source: Kingma & Welling 2014, section 2.4.
    """
    noise = torch.randn(mu.shape, generator=rng).to(mu.device)  # the same on any device
    # z = μ + σ ε, ε ~ N(0, I)
    return mu + (0.5 * logvar).exp() * noise  # (B, Z)


def make_lstm(input_size: int, hidden_size: int) -> nn.LSTM:
    """Returns a new LSTM whose forget gate starts mostly open (Jozefowicz et al. 2015)."""
    lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
    biases = lstm.bias_ih_l0.data.chunk(4)  # of input, forget, cell and output gate
    biases[1].fill_(1.0)
    return lstm


class Encoder(nn.Module):
    """An LSTM that reads a word, given its tense, into the posterior q(z | word, tense)."""

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.condition = nn.Embedding(vocabulary.forms, config.condition_size)
        self.lstm = make_lstm(config.embedding_size, config.hidden_size)
        self.mu = nn.Linear(config.hidden_size, config.latent_size)
        self.logvar = nn.Linear(config.hidden_size, config.latent_size)

    def forward(self, words: Words) -> tuple[Tensor, Tensor]:
        """Returns mu and logvar of the posteriors of B words, each (B, Z)."""
        condition = self.condition(words.tense)  # (B, C)
        # h0 = 0 ‖ condition
        h0 = F.pad(condition, (self.lstm.hidden_size - condition.shape[1], 0))[None]  # (1, B, H)
        states = (h0, torch.zeros_like(h0))
        hidden, _ = self.lstm(self.embedding(words.letters), states)  # (B, T, H)
        # the state after each word's EOS, since the last one has read the padding, too
        last = hidden[torch.arange(len(hidden)), words.lengths - 1]  # (B, H)
        return self.mu(last), self.logvar(last)  # (B, Z) each


def up_to(lengths: Tensor, width: int) -> Tensor:
    """Returns a mask (B, T) that is true inside words of these lengths (B,)."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def letter_nats(logits: Tensor, letters: Tensor, mask: Tensor) -> Tensor:
    """Returns −log p (B, T) of letters (B, T), given logits (B, T, V − 1); 0 outside the mask."""
    return F.cross_entropy(logits.mT, letters, reduction="none") * mask  # (B, T)


def keep(state, kept: Tensor):
    """Returns the state of a decoder, a tensor (1, B, ·) or a tuple of them, for some words."""
    if isinstance(state, tuple):
        return tuple(part[:, kept] for part in state)
    return state[:, kept]


class Decoder(nn.Module):
    """An LSTM that spells words letter by letter from z; subclasses say where the tense enters.

    A subclass defines `first_state(z, tense)`, the LSTM's state before the first letter, and
    `nats(z, target, free_running)`, which returns the cross-entropy of B words in nats (B,).
    """

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.lstm = make_lstm(config.embedding_size, config.hidden_size)
        self.letter = nn.Linear(config.hidden_size, vocabulary.size - 1)  # SOS is no output
        self.condition = nn.Embedding(vocabulary.forms, config.condition_size)

    def embed(self, fed: Tensor) -> Tensor:
        """Returns what the LSTM reads (B, T, E): SOS, and the letters fed (B, T) but the last."""
        before = F.pad(fed[:, :-1], (1, 0), value=self.vocabulary.sos)  # (B, T)
        return self.embedding(before)  # (B, T, E)

    def choose_fed(self, z, target: Words, free_running) -> tuple[Tensor, Tensor]:
        """Returns the letters that are fed (B, T), and a mask (B, T) of those that count.

        Words are fed the target's letters (teacher forcing), except those in the mask
        `free_running` (B,), which are fed the decoder's own letters, up to its EOS (scheduled
        sampling, Bengio et al. 2015). A first pass, without gradients, finds the decoder's own
        letters. They can then be fed in a single second pass: no gradient flows through an argmax,
        so outputs and gradients are the same as those of decoding step by step.
        """
        width = target.letters.shape[1]
        if not free_running.any():
            return target.letters, up_to(target.lengths, width)
        own = self.greedy(z[free_running], target.tense[free_running], width)
        fed = target.letters.index_put((free_running,), own)  # (B, T)
        lengths = torch.minimum(target.lengths, (fed != EOS).sum(1) + 1)  # (B,)
        return fed, up_to(lengths, width)

    def step(self, letter: Tensor, state, tense: Tensor):
        """Reads a letter per word (b, 1); returns logits (b, V − 1) of the next, and the state."""
        hidden, state = self.lstm(self.embedding(letter), state)  # (b, 1, H)
        return self.letter(hidden[:, 0]), state

    @torch.no_grad()
    def greedy(self, z: Tensor, tense: Tensor, steps=MAX_LETTERS + 1) -> Tensor:
        """Returns letters (B, steps), padded with EOS, spelled from z (B, Z) in tenses (B,).

        At each step the likeliest letter is fed back, until it is EOS or `steps` are taken.
        """
        letters = torch.full((len(z), steps), EOS, device=z.device)  # (B, steps)
        unfinished = torch.arange(len(z), device=z.device)  # indices of b ≤ B words
        letter = torch.full_like(letters[:, 0], self.vocabulary.sos)  # (b,)
        state = self.first_state(z, tense)
        for t in range(steps):
            logits, state = self.step(letter[:, None], state, tense)  # (b, V − 1)
            letter = logits.argmax(1)  # (b,)
            letters[unfinished, t] = letter
            goes_on = letter != EOS
            unfinished, letter, tense = unfinished[goes_on], letter[goes_on], tense[goes_on]
            if not len(unfinished):
                break
            state = keep(state, goes_on)
        return letters


class DirectDecoder(Decoder):
    """The plain model's decoder, which is given the tense with z, before the first letter."""

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        self.from_z = nn.Linear(config.latent_size + config.condition_size, config.hidden_size)

    def first_state(self, z, tense):
        """Returns h0 and c0, each (1, B, H), given z (B, Z) and tense (B,)."""
        # into the cell, since h0 acts only on the gates of the first step
        c0 = self.from_z(torch.cat([z, self.condition(tense)], 1))[None]  # (1, B, H)
        return c0.tanh(), c0

    def forward(self, z, tense, fed) -> Tensor:
        """Returns the logits (B, T, V − 1) of each letter, given those fed before it (B, T)."""
        hidden, _ = self.lstm(self.embed(fed), self.first_state(z, tense))  # (B, T, H)
        return self.letter(hidden)  # (B, T, V − 1)

    def nats(self, z, target: Words, free_running) -> Tensor:
        """Returns the CE of B words in nats (B,), each decoded from its z (B, Z)."""
        fed, mask = self.choose_fed(z, target, free_running)
        logits = self(z, target.tense, fed)  # (B, T, V − 1)
        # CE = −Σ_t log p(x_t | letters fed, z, tense)
        return letter_nats(logits, target.letters, mask).sum(1)  # (B,)


class CodeInH0(DirectDecoder):
    """A decoder whose LSTM gets code and tense in h0 alone, as the original recipe's does."""

    def first_state(self, z, tense):
        """Returns h0 and c0 = 0, each (1, B, H), given z (B, Z) and tense (B,)."""
        h0 = self.from_z(torch.cat([z, self.condition(tense)], 1))[None]  # (1, B, H)
        return h0, torch.zeros_like(h0)


class CVAE(nn.Module):
    """A conditional VAE, which encodes a word, given its tense, into z, and decodes z in any tense.

    Nothing of a source reaches an output except through z.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.vocabulary = decoder.vocabulary
        self.latent_size = encoder.mu.out_features  # Z

    @property
    def device(self) -> torch.device:
        """The device on which the parameters are."""
        return next(self.parameters()).device

    def encode(self, words: list[str], tense) -> tuple[Tensor, Tensor]:
        """Returns mu and logvar (B, Z) of words in one tense for all, or one tense per word.

        Raises TypeError or ValueError unless words have 1 to 32 letters of the model's table and
        tenses are 0..F − 1.
        """
        return self.encode_words(as_words(check_words(words), tense, self.vocabulary))

    @torch.no_grad()
    def encode_words(self, words: Words) -> tuple[Tensor, Tensor]:
        """Returns mu and logvar, each (B, Z), of words that are tensors already."""
        mu = torch.empty(len(words.lengths), self.latent_size, device=self.device)  # (B, Z)
        logvar = torch.empty_like(mu)
        for start in range(0, len(mu), CHUNK):
            part = slice(start, start + CHUNK)
            chunk = Words(*(tensor[part] for tensor in words))
            mu[part], logvar[part] = self.encoder(chunk.to(self.device))
        return mu, logvar

    @torch.no_grad()
    def decode(self, z: Tensor, tense) -> list[str]:
        """Returns words decoded greedily from z (B, Z), in one tense for all or one per word.

        Raises ValueError unless tenses are 0..F − 1.
        """
        z = torch.as_tensor(z).to(next(self.parameters()))
        tense = check_tense(tense, len(z), self.vocabulary.forms).to(self.device)  # (B,)
        words = []
        for start in range(0, len(z), CHUNK):
            part = slice(start, start + CHUNK)
            words += self.vocabulary.to_words(self.decoder.greedy(z[part], tense[part]))
        return words

    def convert(self, words: list[str], source_tense, target_tense) -> list[str]:
        """Returns words, any number of them, in another tense, decoded from their posterior mean.

        A tense is one int for all words or one int per word. Raises the errors of `encode`.
        """
        mu, _ = self.encode(words, source_tense)
        return self.decode(mu, target_tense)

    def generate(self, z: Tensor) -> list[Verb]:
        """Returns one verb for each z (N, Z), with all forms decoded."""
        columns = [self.decode(z, tense) for tense in range(self.vocabulary.forms)]
        return list(zip(*columns, strict=True))


def make_model(config, vocabulary: Vocabulary) -> CVAE:
    """Returns a new model, with a configuration's sizes, and its classes of encoder and decoder."""
    encoder = config.encoder(config, vocabulary)
    decoder = config.decoder(config, vocabulary)
    return CVAE(encoder, decoder)


# ---- Metrics ----
class GaussianScore(NamedTuple):
    """The scores that `gaussian_score` returns."""

    official: float
    exact: float
    distinct: int
    inconsistent: float


def bleu4(output: str, reference: str) -> float:
    """Returns the course's BLEU-4 of a word, 0..1, which is NLTK's over characters (method 1).

    A reference of three letters is scored by 1- to 3-grams, weighted 0.33 each. A reference of one
    or two letters has no 3-gram, so that even an equal output scores less than 1 (.178 and .316).
    Sources: Papineni et al. 2002; Chen & Cherry 2014.
    """
    # imported here, since NLTK takes longer to import than torch
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    weights = (0.33,) * 3 if len(reference) == 3 else (0.25,) * 4
    smoothing = SmoothingFunction().method1
    return float(sentence_bleu([reference], output, weights, smoothing))


def mean_bleu4(model: CVAE, pairs=None) -> float:
    """Returns the mean BLEU-4, 0..1, of test pairs that are decoded from the posterior mean.

    By default the pairs are those of `load_test_pairs()`.
    """
    pairs = load_test_pairs() if pairs is None else pairs
    sources, targets, source_tenses, target_tenses = zip(*pairs, strict=True)
    outputs = model.convert(sources, source_tenses, target_tenses)
    return float(np.mean([bleu4(*pair) for pair in zip(outputs, targets, strict=True)]))


def encode_verbs(model: CVAE, verbs) -> tuple[Tensor, Tensor]:
    """Returns mu and logvar of all forms of verbs, each (N, F, Z), on the CPU."""
    mu, logvar = model.encode_words(words_of(verbs, model.vocabulary))  # (N F, Z)
    by_verb = (len(verbs), model.vocabulary.forms, model.latent_size)
    return mu.cpu().view(by_verb), logvar.cpu().view(by_verb)


def convert_verbs(model: CVAE, verbs) -> np.ndarray:
    """Returns what a model makes of every form in every tense, decoded from the posterior mean.

    These are words (N, F, F), by verb, source and target tense.
    """
    mu, _ = encode_verbs(model, verbs)  # (N, F, Z)
    converted = np.array(model.generate(mu.flatten(0, 1)), dtype=str)  # (N F, F)
    return converted.reshape(*mu.shape[:2], model.vocabulary.forms)


def shares(right: np.ndarray) -> tuple[float, float]:
    """Returns the shares, 0..1, of words repeated and converted, given what is right (N, F, F).

    A verb has F repeats and F (F − 1) conversions; with one form there are none of these: NaN.
    """
    same = np.eye(right.shape[1], dtype=bool)  # (F, F)
    converted = right[:, ~same]
    return float(right[:, same].mean()), float(converted.mean()) if converted.size else np.nan


def conversion_accuracy(model: CVAE, verbs) -> float:
    """Returns the share, 0..1, of conversions from a form to another that are exactly right."""
    right = convert_verbs(model, verbs) == np.array(verbs)[:, None]  # (N, F, F)
    return shares(right)[1]


def gaussian_score(generated: list[Verb], verbs) -> GaussianScore:
    """Returns how many of the verbs decoded from noise are rows of a table.

    `exact` is the share, 0..1, of draws that are rows. `official` is the course's score, which
    counts a draw as often as the table repeats its row, so that it may exceed 1. `distinct` is the
    number of different rows. `inconsistent` is the share, 0..1, of draws whose forms all occur in
    the table, each in its tense, but not in one row. Raises ValueError if nothing was generated.
    """
    rows = Counter(map(tuple, verbs))
    generated = list(map(tuple, generated))
    if not generated:
        raise wrong("generated", "no verb", "at least one")
    columns = [set(column) for column in zip(*rows, strict=True)]
    right = [verb for verb in generated if verb in rows]
    others = [verb for verb in generated if verb not in rows]
    inconsistent = sum(all(map(set.__contains__, columns, verb)) for verb in others)
    return GaussianScore(
        official=sum(rows[verb] for verb in right) / len(generated),
        exact=len(right) / len(generated),
        distinct=len(set(right)),
        inconsistent=inconsistent / len(generated),
    )


def draw_noise(model: CVAE, draws: int, seed=0) -> Tensor:
    """Returns `draws` codes z ~ N(0, I) (draws, Z)."""
    return torch.randn(draws, model.latent_size, generator=torch.Generator().manual_seed(seed))


def sample_prior(model: CVAE, draws: int, seed=0) -> list[Verb]:
    """Returns verbs from noise, the lab's way: all forms of a verb are decoded from one code."""
    return model.generate(draw_noise(model, draws, seed))


def sample_lemma_first(model: CVAE, draws: int, seed=0) -> list[Verb]:
    """Returns verbs from noise that keep the lemma of each code, and convert it to other forms.

    Source: decoding and encoding in turn, Rezende et al. 2014, section 4.
    """
    lemmas = model.decode(draw_noise(model, draws, seed), LEMMA)
    mu, _ = model.encode_words(as_words(lemmas, LEMMA, model.vocabulary))  # they may be empty
    return [(lemma, *verb[1:]) for lemma, verb in zip(lemmas, model.generate(mu), strict=True)]
