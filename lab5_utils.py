"""The lab: a conditional sequence-to-sequence VAE that converts verbs between their tenses.

Read it top to bottom: words, data, model, metrics. `lab5_train` has the hyperparameters and trains
it. Shapes: B words in a batch, T characters, C condition, H hidden, Z latent, V vocabulary,
N verbs, F forms of a verb, its tenses. Cross-entropy and KL are in nats per word: summed over
characters and dimensions, averaged over words. Bad input raises ValueError or TypeError, which name
what was found and expected.
"""

from __future__ import annotations

import ast
import hashlib
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

HERE = Path(__file__).resolve().parent


def hash_source(file: str) -> str:
    """Hashes what a module computes: its syntax tree, docstrings left out."""
    tree = ast.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


# by module, as it was imported: a part of what a run is
SOURCES = {__name__: hash_source(__file__)}

# ---- Words ----
TENSES = ("simple present", "third person", "present progressive", "simple past")
PRESENT, THIRD, PROGRESSIVE, PAST = range(4)
LEMMA = 0  # the first form of a verb, whatever the table
EOS = 0  # ends a word and pads it
MAX_LETTERS = 32  # of a word; decoding stops one later
CHUNK = 512  # words that go through the model at a time
LETTERS = ("Ll", "Lo", "Lm", "Mn", "Mc")  # Unicode: lower case, without case, modifiers, marks
CONTROLS = {"\t": "TAB", "\0": "NUL", "\r": "CARRIAGE RETURN"}  # Unicode gives these no name


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

    def to_tensor(self, words) -> tuple[Tensor, Tensor]:
        """Turns words into letters (B, T), padded with EOS, and lengths (B,), one EOS counted.

        Raises ValueError for a letter that is not in the alphabet.
        """
        number_of = {letter: number for number, letter in enumerate(self.alphabet, 1)}
        rows = [torch.tensor([EOS])]  # so that no words, too, make a tensor
        for word in words:
            unknown = sorted(set(word) - number_of.keys())
            if unknown:
                found = f"found {name_of(unknown[0])} in {word!r}"
                raise ValueError(f"words: {found}; expected letters {self.alphabet:.60}")
            rows.append(torch.tensor([number_of[letter] for letter in word] + [EOS]))
        letters = pad_sequence(rows, batch_first=True, padding_value=EOS)[1:]  # (B, T)
        lengths = torch.tensor([len(row) for row in rows[1:]], dtype=torch.int64)  # (B,)
        return letters, lengths

    def to_words(self, letters: Tensor) -> list[str]:
        """Turns letters (B, T) back into words; a word ends at its first EOS."""
        words = []
        for row in letters.tolist():
            end = row.index(EOS) if EOS in row else len(row)
            words.append("".join(self.alphabet[number - 1] for number in row[:end]))
        return words


class Words(NamedTuple):
    """Holds a batch of words as tensors."""

    letters: Tensor  # (B, T), padded with EOS
    lengths: Tensor  # (B,), EOS counted
    tense: Tensor  # (B,)

    def to(self, device) -> Words:
        """Returns the same words on a device."""
        return Words(*(part.to(device) for part in self))


def select_words(words: Words, numbers: Tensor) -> Words:
    """Returns the words of these numbers (B,), no wider than the longest of them."""
    lengths = words.lengths[numbers]
    letters = words.letters[numbers, : lengths.max()]
    return Words(letters, lengths, words.tense[numbers])


def name_of(character: str) -> str:
    """Returns a character so that it can be seen, with Unicode's name of it."""
    name = CONTROLS.get(character) or unicodedata.name(character, "no name")
    shown = character if character.isprintable() else ascii(character)[1:-1]
    return f"'{shown}' ({name})"


def is_letter(character: str) -> bool:
    """Tells whether this is a letter of any script, or a mark on one; no capital, no digit."""
    return unicodedata.category(character) in LETTERS


EXPECTED = f"expected 1 to {MAX_LETTERS} letters in lower case"  # of a word


def check_length(word: str, where: str) -> None:
    """Raises ValueError, naming `where`, for an empty word and for one that is too long."""
    if not 1 <= len(word) <= MAX_LETTERS:
        raise ValueError(f"{where}: found {word!r:.60}; {EXPECTED}")


def check_word(word, where: str) -> str:
    """Returns a word, composed (Unicode NFC); `where` is named in errors. Raises ValueError."""
    if not isinstance(word, str):
        raise ValueError(f"{where}: found {word!r:.60}; {EXPECTED}")
    word = unicodedata.normalize("NFC", str(word))  # NumPy's string, too, becomes Python's
    check_length(word, where)
    for character in word:
        if not is_letter(character):
            raise ValueError(f"{where}: found {name_of(character)} in {word!r}; {EXPECTED}")
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


# ---- Data ----
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


class Table(list):
    """Holds verbs that were checked, so that nothing behind the border checks them again."""


class TestPair(NamedTuple):
    """Holds one conversion to be tested; a tense is 0..F − 1."""

    __test__ = False  # pytest: no class of tests

    source: str
    target: str
    source_tense: int
    target_tense: int


def data_folder() -> Path:
    """Returns the data folder: $LAB5_DATA, or this module's own."""
    folder = Path(os.environ.get("LAB5_DATA") or HERE)
    # a relative name that is not in the working directory is beside this module
    return folder if folder.is_dir() else HERE / folder


def read_text(path: Path) -> str:
    """Reads a text in UTF-8, composed (Unicode NFC). Raises FileNotFoundError, ValueError."""
    if not os.path.isfile(path):
        folder = path.absolute().parent
        hint = " (LAB5_DATA sets another folder)" if folder == data_folder().absolute() else ""
        raise FileNotFoundError(f"no file {path.name} in {folder}{hint}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"found the byte {error.object[error.start]:#04x}"
        raise ValueError(f"{path}, line {line}: {found}; expected a text in UTF-8") from error
    return unicodedata.normalize("NFC", text)


def read_row(line: str, where: str) -> Verb:
    """Returns the words of a line. Raises ValueError that names the column."""
    expected = "expected words of lower-case letters with one space between them"
    for column, character in enumerate(line, 1):
        if character != " " and not is_letter(character):
            found = f"column {column}: found {name_of(character)} in {line!r:.60}"
            raise ValueError(f"{where}, {found}; {expected}")
    words = tuple(line.split(" "))
    if "" in words:
        found = "a space too many" if line else "an empty line"
        raise ValueError(f"{where}: found {found}; {expected}")
    for word in words:
        check_length(word, where)
    return words


def read_rows(path: Path, width: int | None) -> list[Verb]:
    """Reads a file of rows of words, as many in each as `width`, or as the first has: two or more.

    Raises FileNotFoundError, and ValueError with file, line, what was found and expected.
    """
    lines = read_text(path).removesuffix("\n").split("\n")
    rows = []
    for n, line in enumerate(lines, 1):
        where = f"{path}, line {n}"
        row = read_row(line, where)
        width = width or max(2, len(row))
        if len(row) != width:
            raise ValueError(f"{where}: found {len(row)} words; expected {width}, one space apart")
        rows.append(row)
    return rows


def load_verbs(path=None) -> list[Verb]:
    """Reads a verb table, a verb a row, repeats kept; None: train.txt in the data folder.

    The data folder is $LAB5_DATA or this module's own. Raises FileNotFoundError, and ValueError
    that names the file, the line, what was found and what was expected.
    """
    path = data_folder() / "train.txt" if path is None else Path(path)
    return read_rows(path, width=None)


def load_test_pairs(path=None) -> list[TestPair]:
    """Reads the ten conversions to be tested; None: test.txt in the data folder.

    A row has a source and a target; the order of the rows gives their tenses. Raises as
    `load_verbs`.
    """
    path = data_folder() / "test.txt" if path is None else Path(path)
    rows = read_rows(path, width=2)
    if len(rows) != len(TEST_TENSES):
        raise ValueError(f"{path}: found {len(rows)} rows; expected {len(TEST_TENSES)}")
    return [TestPair(*row, *tenses) for row, tenses in zip(rows, TEST_TENSES, strict=True)]


def known_pairs(verbs: list[Verb]) -> list[TestPair]:
    """Returns the pairs of test.txt whose source is a form of these verbs.

    None if there is no test.txt, or if a verb has not four forms. Raises as `load_test_pairs`.
    """
    if len(verbs[0]) != len(TENSES) or not (data_folder() / "test.txt").is_file():
        return []
    columns = list(zip(*verbs, strict=True))
    return [pair for pair in load_test_pairs() if pair.source in columns[pair.source_tense]]


def check_pairs(pairs, forms: int) -> list[TestPair]:
    """Returns test pairs of verbs with so many forms. Raises TypeError, ValueError."""
    checked = []
    for source, target, *tenses in pairs:
        words = check_words([source, target], "pairs")
        checked.append(TestPair(*words, *check_tense(tenses, 2, forms).tolist()))
    return checked


def check_verbs(verbs, forms: int | None = None) -> Table:
    """Returns verbs, of so many forms, as a table; None: `load_verbs()`.

    Raises ValueError, TypeError, which name the verb by its number.
    """
    verbs = load_verbs() if verbs is None else verbs
    if not isinstance(verbs, Table):
        verbs = Table(tuple(check_words(row, f"verb {n}")) for n, row in enumerate(verbs, 1))
    if not verbs:
        raise ValueError("verbs: found none; expected at least one")
    forms = forms or len(verbs[0])
    for n, verb in enumerate(verbs, 1):
        if len(verb) != forms or not verb:
            expected = forms or "at least one"
            raise ValueError(f"verb {n}: found {len(verb)} forms; expected {expected}")
    return verbs


def distinct_verbs(verbs) -> Table:
    """Returns the verbs in their order, each once; else as `check_verbs`."""
    return Table(dict.fromkeys(check_verbs(verbs)))


def vocabulary_of(verbs: list[Verb]) -> Vocabulary:
    """Returns the vocabulary of a table."""
    letters = set().union(*(form for verb in verbs for form in verb))
    return Vocabulary("".join(sorted(letters)), forms=len(verbs[0]))


def words_of(verbs: list[Verb], vocabulary: Vocabulary) -> Words:
    """Returns all forms of N verbs as words: number F n + t is verb n in tense t."""
    letters, lengths = vocabulary.to_tensor([form for verb in verbs for form in verb])
    tense = torch.arange(vocabulary.forms).repeat(len(verbs))
    return Words(letters, lengths, tense)


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
    return end_of(hidden, lengths)


def end_of(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Returns, of all states (B, T, H), those (B, H) in which words end; not after the padding."""
    return hidden[torch.arange(len(hidden)), lengths - 1]


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
    """Holds what words cost a decoder, in nats per word (B,)."""

    minimized: Tensor  # what training lowers: CE, or what stands for it while a gate is learned
    ce: Tensor  # cross-entropy of the letters that count, given those that were fed


def up_to(lengths: Tensor, width: int) -> Tensor:
    """Returns a mask (B, T) of the letters that belong to words of these lengths (B,)."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def letter_nats(scores: Tensor, letters: Tensor, mask: Tensor) -> Tensor:
    """Returns −log p of letters (B, T) by scores (B, T, V − 1), in nats; 0 outside the mask."""
    return F.cross_entropy(scores.mT, letters, reduction="none") * mask  # (B, T)


def keep_words(state, kept: Tensor):
    """Returns a decoder's state, a tensor (·, B, ·) or a tuple of such, of some of its words."""
    if isinstance(state, tuple):
        return tuple(keep_words(part, kept) for part in state)
    return state[:, kept]


class Decoder(nn.Module):
    """Spells words letter by letter from z; its kinds differ in where the tense comes in.

    A kind has `context(z, tense)` (B, H), all that the LSTM knows at its start, and
    `nats(z, target, free_running, progress)`.
    """

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.lstm = make_lstm(config.embedding_size, config.hidden_size)
        self.letter = nn.Linear(config.hidden_size, vocabulary.size - 1)  # SOS is no output
        self.condition = nn.Embedding(vocabulary.forms, config.condition_size)

    def initial_state(self, context: Tensor):
        """Returns the LSTM's first state, h0 and c0, each (1, B, H), of a context (B, H)."""
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
        own = self.greedy(context[free_running], target.tense[free_running], width)
        fed = target.letters.index_put((free_running,), own)  # (B, T)
        lengths = torch.minimum(target.lengths, (fed != EOS).sum(1) + 1)  # (B,)
        return fed, up_to(lengths, width)

    def start(self, context: Tensor):
        """Returns the state in which greedy decoding begins."""
        return self.initial_state(context)

    def step(self, letter: Tensor, state, tense: Tensor):
        """Reads a letter (b, 1) each; returns the scores (b, V − 1) of the next, and the state."""
        hidden, state = self.lstm(self.embedding(letter), state)  # (b, 1, H)
        return self.letter(hidden[:, 0]), state

    @torch.no_grad()
    def greedy(self, context: Tensor, tense: Tensor, steps=MAX_LETTERS + 1) -> Tensor:
        """Feeds back the likeliest letter until EOS or `steps`, from contexts (B, H).

        Returns letters (B, steps), padded with EOS.
        """
        letters = torch.full((len(context), steps), EOS, device=context.device)  # (B, steps)
        unfinished = torch.arange(len(context), device=context.device)  # numbers of b ≤ B words
        letter = torch.full_like(letters[:, 0], self.vocabulary.sos)  # (b,)
        state = self.start(context)
        for t in range(steps):
            scores, state = self.step(letter[:, None], state, tense)  # (b, V − 1)
            letter = scores.argmax(1)  # (b,)
            letters[unfinished, t] = letter
            goes_on = letter != EOS
            unfinished, letter, tense = unfinished[goes_on], letter[goes_on], tense[goes_on]
            if not len(unfinished):
                break
            state = keep_words(state, goes_on)
        return letters

    def spell(self, z: Tensor, tense: Tensor) -> Tensor:
        """Decodes each z (B, Z) in its tense (B,) greedily; returns letters (B, steps)."""
        return self.greedy(self.context(z, tense), tense)


class DirectDecoder(Decoder):
    """Is told the tense with z, before the first letter."""

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        self.from_z = nn.Linear(config.latent_size + config.condition_size, config.hidden_size)

    def context(self, z, tense) -> Tensor:
        """Returns the context (B, H) of z (B, Z) and tense (B,)."""
        return self.from_z(torch.cat([z, self.condition(tense)], 1))

    def nats(self, z, target: Words, free_running, progress) -> Nats:
        """Returns the nats of B words, each from its z (B, Z), whatever the progress."""
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

    price = 0.1  # nats a letter behind the gate: what can be spelled blind, is spelled blind
    flattest = 0.3  # the inverse temperature of the sum over openings at first; it rises to 1
    settles = 0.3  # share of progress in which it does, and the gate has no price yet

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

    def start(self, context: Tensor):
        """Returns the LSTM's first state, and gates that are shut (1, B, 1)."""
        shut = torch.zeros_like(context[None, :, :1], dtype=torch.bool)
        return self.initial_state(context), shut

    def step(self, letter: Tensor, state, tense: Tensor):
        """Reads a letter (b, 1) each; returns the scores (b, V − 1) of the next, and the state."""
        lstm_state, opened = state
        hidden, lstm_state = self.lstm(self.embedding(letter), lstm_state)  # (b, 1, H)
        blind = self.letter(hidden)  # (b, 1, V − 1)
        behind = self.scores_behind_gate(hidden, blind, tense)
        opened = opened | (blind.argmax(2) == EOS)  # (1, b, 1)
        scores = behind[:, 0].where(opened[0], blind[:, 0])
        return scores, (lstm_state, opened)

    def nats(self, z, target: Words, free_running, progress) -> Nats:
        """Returns the nats of B words, each from its z (B, Z).

        What is minimized changes with progress: at first all openings count alike (Ueda & Nakano
        1998), so that each is tried; then every letter behind the gate has a price.
        """
        context = self.context(z, target.tense)  # (B, H)
        fed, mask = self.choose_fed(context, target, free_running)
        before, behind, opens = self.letter_costs(self(fed, context), target, mask)
        inverse_temperature, price = self.pressure(progress)
        paths = path_nats(before, behind + price * mask, opens)
        minimized = sum_over_paths(paths, mask, inverse_temperature)
        with torch.no_grad():
            ce = sum_over_paths(path_nats(before, behind, opens), mask)
        return Nats(minimized, ce)

    def pressure(self, progress: float) -> tuple[float, float]:
        """Returns the inverse temperature of the sum over openings, and the price of a letter."""
        share = min(1.0, progress / self.settles)
        inverse_temperature = self.flattest + (1 - self.flattest) * share
        return inverse_temperature, self.price if share == 1 else 0.0

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


DECODERS: dict[str, type[Decoder]] = {"gated": GatedDecoder, "direct": DirectDecoder}


class CVAE(nn.Module):
    """Encodes a word, given its tense, into z, and decodes z in any tense.

    z is the only path from a source to an output.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.vocabulary = decoder.vocabulary
        self.latent_size = encoder.mu.out_features  # Z

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encode(self, words: list[str], tense) -> tuple[Tensor, Tensor]:
        """Encodes words, of one tense or of one each; returns mu and logvar, each (B, Z).

        Raises TypeError, ValueError for what is no word of 1 to 32 letters of the table that the
        model was made for, or no tense 0..F − 1.
        """
        words = check_words(words)
        tense = check_tense(tense, len(words), self.vocabulary.forms)
        return self.encode_words(Words(*self.vocabulary.to_tensor(words), tense))

    @torch.no_grad()
    def encode_words(self, words: Words) -> tuple[Tensor, Tensor]:
        """Encodes words that are tensors; returns mu and logvar, each (B, Z)."""
        mu = torch.empty(len(words.lengths), self.latent_size, device=self.device)  # (B, Z)
        logvar = torch.empty_like(mu)
        for start in range(0, len(mu), CHUNK):
            part = slice(start, start + CHUNK)
            chunk = Words(*(tensor[part] for tensor in words))
            mu[part], logvar[part] = self.encoder(chunk.to(self.device))
        return mu, logvar

    @torch.no_grad()
    def decode(self, z: Tensor, tense) -> list[str]:
        """Decodes z (B, Z) greedily, in one tense or in one each. Raises ValueError."""
        fits = isinstance(z, Tensor) and z.shape[1:] == (self.latent_size,)
        if not fits or not z.isfinite().all():
            expected = f"finite numbers of shape (B, {self.latent_size})"
            raise ValueError(f"z: found {z!r:.60}; expected {expected}")
        tense = check_tense(tense, len(z), self.vocabulary.forms).to(self.device)
        z = z.to(next(self.parameters()))
        words = []
        for start in range(0, len(z), CHUNK):
            part = slice(start, start + CHUNK)
            words += self.vocabulary.to_words(self.decoder.spell(z[part], tense[part]))
        return words

    def convert(self, words: list[str], source_tense, target_tense) -> list[str]:
        """Converts words by decoding their posterior mean; a tense is an int or one per word.

        Any number of words; raises as `encode`.
        """
        mu, _ = self.encode(words, source_tense)
        return self.decode(mu, target_tense)

    def generate(self, z: Tensor) -> list[Verb]:
        """Decodes all forms of each z (N, Z). Raises ValueError."""
        columns = [self.decode(z, tense) for tense in range(self.vocabulary.forms)]
        return list(zip(*columns, strict=True))


def make_model(config, vocabulary: Vocabulary) -> CVAE:
    """Makes a model, with new weights, of the parts that a configuration names."""
    encoder = Encoder(config, vocabulary)
    decoder = DECODERS[config.decoding](config, vocabulary)
    return CVAE(encoder, decoder)


# ---- Metrics ----
class GaussianScore(NamedTuple):
    """Holds what `gaussian_score` returns."""

    official: float
    exact: float
    distinct: int
    inconsistent: float


def bleu4(output: str, reference: str) -> float:
    """Returns the course's BLEU-4 of a word, 0..1: NLTK's, over characters, with method 1.

    A reference of three letters is scored by 1- to 3-grams, weighted 0.33. One of one or two
    letters has no 3-gram, so that even an equal output scores less than 1: .178 and .316.
    Papineni et al. 2002; Chen & Cherry 2014. Raises ValueError for an empty reference.
    """
    # imported where it is needed: it brings pandas and more along, which take longer than torch
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    if not reference:
        raise ValueError("the reference is empty; expected a word")
    weights = (0.33,) * 3 if len(reference) == 3 else (0.25,) * 4
    smoothing = SmoothingFunction().method1
    return float(sentence_bleu([reference], output, weights, smoothing))


def mean_bleu4(model: CVAE, pairs=None, draws=None) -> float:
    """Returns the mean BLEU-4 of test pairs, 0..1, decoded from the posterior mean.

    With `draws`, from so many samples of each posterior. By default the pairs are
    `load_test_pairs()`. Raises ValueError if there are none.
    """
    pairs = load_test_pairs() if pairs is None else check_pairs(pairs, model.vocabulary.forms)
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


def encode_verbs(model: CVAE, verbs) -> tuple[Tensor, Tensor]:
    """Encodes all forms of verbs; returns mu and logvar, each (N, F, Z), on the CPU.

    Raises as `check_verbs`, and ValueError for a letter that the model does not have.
    """
    verbs = check_verbs(verbs, model.vocabulary.forms)
    mu, logvar = model.encode_words(words_of(verbs, model.vocabulary))  # (N F, Z)
    by_verb = (len(verbs), -1, model.latent_size)
    return mu.cpu().view(by_verb), logvar.cpu().view(by_verb)


def convert_verbs(model: CVAE, verbs) -> np.ndarray:
    """Converts every form to every tense from the posterior mean.

    Returns words (N, F, F), by verb, source and target tense. Raises as `encode_verbs`.
    """
    mu, _ = encode_verbs(model, verbs)  # (N, F, Z)
    converted = np.array(model.generate(mu.flatten(0, 1)))  # (N F, F)
    return converted.reshape(*mu.shape[:2], -1)


def conversion_accuracy(model: CVAE, verbs) -> float:
    """Returns the share, 0..1, of exact conversions between two different forms of a verb.

    There are F (F − 1) a verb; NaN if verbs have one form. Raises as `encode_verbs`.
    """
    verbs = check_verbs(verbs)
    right = convert_verbs(model, verbs) == np.array(verbs)[:, None]  # (N, F, F)
    different = ~np.eye(right.shape[1], dtype=bool)  # (F, F)
    return float(right[:, different].mean()) if different.any() else math.nan


def gaussian_score(generated: list[Verb], verbs) -> GaussianScore:
    """Scores verbs that were decoded from noise against a table.

    `exact` is the share, 0..1, that are rows of the table; `official`, the course's, counts a row
    as often as the table repeats it, and may exceed 1; `distinct` is the number of different rows;
    `inconsistent` is the share, 0..1, whose forms all occur in the table, but not in one row.
    Raises ValueError.
    """
    rows = Counter(check_verbs(verbs))
    columns = [set(column) for column in zip(*rows, strict=True)]
    generated = [tuple(verb) for verb in generated]
    if not generated or any(len(verb) != len(columns) for verb in generated):
        expected = f"at least one, of {len(columns)} words"
        raise ValueError(f"generated: found {generated!r:.60}; expected {expected}")
    inconsistent = 0
    for verb in generated:
        known = all(form in column for form, column in zip(verb, columns, strict=True))
        inconsistent += known and verb not in rows
    right = [verb for verb in generated if verb in rows]
    return GaussianScore(
        official=sum(rows[verb] for verb in right) / len(generated),
        exact=len(right) / len(generated),
        distinct=len(set(right)),
        inconsistent=inconsistent / len(generated),
    )


def sample_prior(model: CVAE, draws: int, seed=0) -> list[Verb]:
    """Returns the verbs decoded from `draws` samples z ~ N(0, I); a bar shows if it takes long."""
    from tqdm.auto import tqdm  # here, as a model needs none

    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(draws, model.latent_size, generator=rng)  # (N, Z)
    verbs = []
    for part in tqdm(z.split(CHUNK), "draws decoded", delay=2, leave=False):
        verbs += model.generate(part)
    return verbs


def information(model: CVAE, verbs) -> dict[str, float]:
    """Splits the KL of all M forms, in nats per word (Hoffman & Johnson 2016).

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


def score_noise(model: CVAE, verbs, draws=10_000) -> dict[str, float]:
    """Returns the Gaussian scores of 100 `draws` or more by name.

    `gaussian_official` may exceed 1, the other shares are 0..1; `distinct` is the mean number of
    different rows in 100 draws. Raises ValueError.
    """
    if draws < 100:
        raise ValueError(f"draws: found {draws}; expected at least 100")
    verbs = check_verbs(verbs, model.vocabulary.forms)
    generated = sample_prior(model, draws)
    gaussian = gaussian_score(generated, verbs)
    rows = set(verbs)
    starts = range(0, draws - 99, 100)
    distinct = [len(rows.intersection(generated[start : start + 100])) for start in starts]
    return {
        "gaussian_official": gaussian.official,
        "gaussian_exact": gaussian.exact,
        "gaussian_inconsistent": gaussian.inconsistent,
        "distinct": float(np.mean(distinct)),
    }


def score(model: CVAE, verbs=None, pairs=None, draws=10_000) -> dict[str, float]:
    """Returns every score by name; those of `score_noise` are of so many draws.

    Shares are 0..1; `information` is of 2,000 verbs at most, in nats per word; `bleu4_drawn` is
    from 20 samples of each posterior. Verbs and pairs are those of the files by default; without
    pairs there is no BLEU-4. Raises ValueError.
    """
    verbs = check_verbs(verbs, model.vocabulary.forms)
    once = distinct_verbs(verbs)
    pairs = known_pairs(once) if pairs is None else list(pairs)
    found = score_noise(model, verbs, draws)
    if pairs:
        found["bleu4"] = mean_bleu4(model, pairs)
        found["bleu4_drawn"] = mean_bleu4(model, pairs, draws=20)
    found["conversion"] = conversion_accuracy(model, once)
    return found | information(model, Table(once[:2000]))
