"""Self-taught: the lab's model finds out which words belong together, and a conjugator learns it.

Lists of words go in, one a tense, in any order: nothing says which are forms of one verb. The
lab's model, trained on single words, says what each word costs from the code of each other; words
that choose each other belong together. A conjugator learns these rows, and synthetic verbs made of
them, and decides on the rest. That words are first clustered into paradigms and a network is then
trained on these is the outline of Erdmann et al. 2020. Read `lab5_utils` and `lab5_train` first;
shapes and units are the same.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import lab5_utils as lab
from lab5_train import (
    Batch,
    Config,
    Run,
    Training,
    load_or_train,
    make_batches,
    reproducible,
)
from lab5_utils import CVAE, LEMMA, Table, Verb, Words

lab.SOURCES[__name__] = lab.hash_source(__file__)

# ---- Lists ----
FEWEST = 20  # words of a list
Lists = list[list[str]]  # F lists of N words, a tense each, sorted


def check_lists(lists) -> Lists:
    """Returns lists of words, a tense each, sorted, for their order says nothing.

    Raises ValueError and TypeError, which name the list and the word.
    """
    if isinstance(lists, str) or not isinstance(lists, Iterable):
        raise TypeError(f"lists: found {lists!r:.60}; expected lists of words, one a tense")
    checked = [sorted(lab.check_words(words, f"list {n}")) for n, words in enumerate(lists, 1)]
    if len(checked) < 2:
        raise ValueError(f"lists: found {len(checked)}; expected one a tense, at least 2")
    for n, words in enumerate(checked, 1):
        expected = max(FEWEST, len(checked[0]))
        if len(words) != expected:
            found = f"list {n}: found {len(words)} words"
            raise ValueError(f"{found}; expected at least {FEWEST}, as many in each list")
        word, count = Counter(words).most_common(1)[0]
        if count > 1:
            raise ValueError(f"list {n}: found {word!r} {count} times; expected each word once")
    return checked


def table_of(lists: Lists) -> Table:
    """Returns the lists as a table of which only the columns mean anything."""
    return Table(zip(*lists, strict=True))


# ---- What a word costs from another's code ----
def words_of(model: CVAE, words: list[str], tense: int) -> Words:
    """Returns words of one tense as tensors. Raises ValueError for a letter that is unknown."""
    letters, lengths = model.vocabulary.to_tensor(words)
    return Words(letters, lengths, torch.full_like(lengths, tense))


@torch.no_grad()
def nats_of(model: CVAE, codes: Tensor, words: Words) -> Tensor:
    """Returns −log p(word | code, tense) of B words, each from its code (B, Z), in nats (B,)."""
    nats = torch.zeros(len(codes))
    by_length = words.lengths.argsort()  # so that a batch has little padding
    for start in range(0, len(nats), lab.CHUNK):
        numbers = by_length[start : start + lab.CHUNK]
        target = lab.select_words(words, numbers).to(model.device)
        is_free = torch.zeros(len(numbers), dtype=torch.bool, device=model.device)
        nats[numbers] = model.decoder.nats(codes[numbers], target, is_free, 1.0).ce.cpu()
    return nats


def costs_between(model: CVAE, one: Words, other: Words, asked: np.ndarray) -> np.ndarray:
    """Returns what words cost from each other's codes, both ways, in nats (N, M).

    Only pairs that are `asked` for (N, M) are computed; others cost infinity.
    """
    codes, other_codes = model.encode_words(one)[0], model.encode_words(other)[0]
    i, j = map(torch.from_numpy, asked.nonzero())  # (P,) each
    there = nats_of(model, codes[i], Words(*(part[j] for part in other)))
    back = nats_of(model, other_codes[j], Words(*(part[i] for part in one)))
    costs = np.full(asked.shape, np.inf)
    costs[asked] = (there + back).numpy()
    return costs


NEAREST = 30  # words whose costs are asked for at first


def are_near(one: Tensor, other: Tensor) -> np.ndarray:
    """Tells which codes (N, Z) and (M, Z) are among the NEAREST of each other, either way."""
    distance = torch.cdist(one, other)  # (N, M)
    near = np.zeros(distance.shape, dtype=bool)
    for rows, flags in ((distance, near), (distance.T, near.T)):
        count = min(NEAREST, rows.shape[1])
        nearest = rows.topk(count, largest=False).indices.cpu().numpy()
        np.put_along_axis(flags, nearest, True, axis=1)
    return near


# ---- Which words belong together ----
SURE = 3.0  # nats, both ways together: what is joined at first
Choose = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def mutual(costs: np.ndarray, limit=np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pairs that choose each other, rows (P,) and columns (P,), below a limit."""
    if not costs.size:
        return np.array([], dtype=int), np.array([], dtype=int)
    columns = costs.argmin(1)
    rows = np.arange(len(costs))
    chosen = (costs.argmin(0)[columns] == rows) & (costs[rows, columns] < limit)
    return rows[chosen], columns[chosen]


def nothing_joined(lists: Lists) -> np.ndarray:
    """Returns joins (N, F) of lemmas with nothing: numbers in the lists, −1 where none is known."""
    joins = np.full((len(lists[LEMMA]), len(lists)), -1)
    joins[:, LEMMA] = np.arange(len(joins))
    return joins


@reproducible(seed=0)  # sums, too, are the same on any number of cores
def join(model: CVAE, lists: Lists, joins: np.ndarray, choose: Choose, near=None) -> np.ndarray:
    """Returns joins (N, F) with more of them: of words that are not joined, `choose` says which.

    `near` has by tense which pairs are asked for; without it, all are.
    """
    joined = joins.copy()
    for tense in range(1, len(lists)):
        lemmas = np.flatnonzero(joins[:, tense] < 0)
        others = np.setdiff1d(np.arange(len(joins)), joins[:, tense])
        one = words_of(model, [lists[LEMMA][n] for n in lemmas], LEMMA)
        other = words_of(model, [lists[tense][n] for n in others], tense)
        asked = np.ones((len(lemmas), len(others)), dtype=bool) if near is None else near[tense]
        i, j = choose(costs_between(model, one, other, asked))
        joined[lemmas[i], tense] = others[j]
    return joined


@reproducible(seed=0)
def sure_joins(run: Run, lists: Lists) -> np.ndarray:
    """Returns the joins (N, F) of words that choose each other cheaply, by the lab's model.

    Pairs whose codes were near before refining are asked for: there the codes lie as the prior has
    them. Raises ValueError for a run that was not refined, or a letter that it does not have.
    """
    if run.before is None:
        raise ValueError("run: found no model before refining; expected a run that was refined")
    codes = [run.before.encode(words, tense)[0] for tense, words in enumerate(lists)]
    near = [are_near(codes[LEMMA], other) for other in codes]
    return join(run.model, lists, nothing_joined(lists), lambda costs: mutual(costs, SURE), near)


def rows_of(lists: Lists, joins: np.ndarray) -> Table:
    """Returns the rows of words that are joined in full."""
    whole = joins[(joins >= 0).all(1)]
    return Table(tuple(lists[t][n] for t, n in enumerate(row)) for row in whole)


def find_rows(run: Run, lists) -> Table:
    """Returns the rows that the lab's model finds in lists of words: each word is in one row.

    Raises as `check_lists` and `sure_joins`.
    """
    lists = check_lists(lists)
    joins = sure_joins(run, lists)
    return rows_of(lists, join(run.model, lists, joins, linear_sum_assignment))


# ---- Cuts and classes ----
PRODUCTIVE = 20  # verbs that make a class productive; that of *cut, cuts, cutting, cut* has 10
AGAIN = "2"  # in an ending: the stem's last letter again
Endings = tuple[str, ...]  # one a form


class Cut(NamedTuple):
    """Holds a verb that was cut: stem + ending is a form."""

    stem: str
    endings: Endings


def common_prefix(words) -> str:
    """Returns the letters with which all of the words begin."""
    prefix = ""
    for letters in zip(*words, strict=False):
        if len(set(letters)) > 1:
            break
        prefix += letters[0]
    return prefix


def cut(verb: Verb) -> Cut:
    """Cuts a verb behind what its forms have in common: stop + –, s, 2ing, 2ed.

    Forms that begin unlike (*go*, *went*) have an empty stem.
    """
    stem = common_prefix(verb)
    endings = []
    for form in verb:
        ending = form[len(stem) :]
        if stem and ending.startswith(stem[-1]):
            ending = AGAIN + ending[1:]
        endings.append(ending)
    return Cut(stem, tuple(endings))


def inflect(stem: str, endings: Endings) -> Verb:
    """Returns the forms that endings make of a stem."""
    return tuple(stem + ending.replace(AGAIN, stem[-1:]) for ending in endings)


def productive_classes(verbs) -> dict[Endings, list[str]]:
    """Returns the stems of each productive class: verbs with the same endings, enough of them.

    In any language of suffixes, a verb is regular if its class is one of these. Raises ValueError.
    """
    classes = defaultdict(list)
    for verb in verbs:
        stem, endings = cut(verb)
        if stem:
            classes[endings].append(stem)
    large = {endings: stems for endings, stems in classes.items() if len(stems) >= PRODUCTIVE}
    if not large:
        most = max(map(len, classes.values()), default=0)
        found = f"{most} verbs at most with the same endings"
        raise ValueError(f"rows: found {found}; expected {PRODUCTIVE}")
    return large


def count_places(lemmas: list[str]):
    """Returns, by letter, its neighbours wherever it stands, and by neighbours, their letters."""
    places = defaultdict(list)
    letters = defaultdict(list)
    for lemma in lemmas:
        around = f" {lemma} "
        for before, letter, after in zip(around, lemma, around[2:], strict=False):
            places[letter].append((before, after))
            if letter not in letters[before, after]:
                letters[before, after].append(letter)
    return places, letters


# ---- Synthetic verbs ----
PREFIXED = 0.5  # share of synthetic verbs that have a prefix
LONGEST_PREFIX = 9  # letters
RESAMPLED = 0.2  # share of the letters of their stems that are drawn again
RARE = 0.5  # share of models whose class and last letter are chosen first, so that all come up
TRIES = 20  # to make a verb that is new and not too long


class Synthesizer:
    """Makes synthetic verbs (hallucinated data, Anastasopoulos & Neubig 2019) from a table's.

    Each is made of a verb of a productive class, its model, and inflected like it: half of them
    stand behind a prefix, the beginning of another stem, and some of their letters are resampled.
    Lemmas of the table, or held out, are not made. All that this knows is counted in the table.
    Raises ValueError.
    """

    def __init__(self, verbs: Table, held_out: Iterable[str] = ()):
        lemmas = [verb[LEMMA] for verb in verbs]
        cuts = [cut(verb) for verb in verbs]
        self.taken = {*lemmas, *held_out}
        self.classes = productive_classes(verbs)
        self.stems = [parts.stem for parts in cuts if parts.stem]
        self.regular = [parts for parts in cuts if parts.endings in self.classes]
        self.groups = list(by_class_and_letter(self.regular).values())
        self.places, self.letters = count_places(lemmas)

    def model(self, rng: random.Random) -> Cut:
        """Returns a verb of a productive class."""
        group = rng.choice(self.groups) if rng.random() < RARE else self.regular
        return rng.choice(group)

    def prefix(self, rng: random.Random) -> str:
        """Returns the beginning of a stem, up to LONGEST_PREFIX letters."""
        stem = rng.choice(self.stems)
        length = rng.randint(1, LONGEST_PREFIX)
        return stem[:length]

    def resample(self, stem: str, rng: random.Random) -> str:
        """Replaces some letters by ones with the neighbours that such a letter has somewhere."""
        letters = []
        for letter in stem:
            if rng.random() < RESAMPLED:
                place = rng.choice(self.places[letter])
                letter = rng.choice(self.letters[place])
            letters.append(letter)
        return "".join(letters)

    def make_verb(self, rng: random.Random) -> Verb:
        """Returns a verb that may be known, or too long."""
        stem, endings = self.model(rng)
        if rng.random() < PREFIXED:
            stem = self.prefix(rng) + stem
        return inflect(self.resample(stem, rng), endings)

    def draw(self, count: int, seed: int) -> list[Verb]:
        """Returns synthetic verbs of a seed. Raises ValueError if hardly any is new."""
        rng = random.Random(seed)
        drawn = []
        for _ in range(TRIES * count):
            if len(drawn) == count:
                break
            verb = self.make_verb(rng)
            if verb[LEMMA] not in self.taken and max(map(len, verb)) <= lab.MAX_LETTERS:
                drawn.append(verb)
        if len(drawn) < count:
            found = f"{len(drawn)} new ones in {TRIES * count} tries"
            raise ValueError(f"rows: found {found}; expected {count} synthetic verbs")
        return drawn


def by_class_and_letter(cuts: list[Cut]) -> dict[tuple[Endings, str], list[Cut]]:
    """Returns verbs that were cut, by their endings and their stem's last letter."""
    groups = defaultdict(list)
    for parts in cuts:
        groups[parts.endings, parts.stem[-1]].append(parts)
    return groups


# ---- The conjugator ----
CONJUGATOR = {  # the lab's encoder and direct decoder, without KL; chosen on our table, one seed
    "epochs": 24,
    "batch_size": 40,  # pairs of forms a step
    "hidden_size": 192,
    "latent_size": 64,  # room for verbs that are in no list
    "decoding": "direct",
    "strategy": "constant",
    "kl_weight": 0.0,
    "tf_final": 1.0,
    "refine": 0.0,
}
SYNTHETIC = 9  # synthetic verbs to a row, new in each epoch
REGULAR = 2  # times that a row of a productive class is shown in an epoch
IRREGULAR = 8  # times that any other row is


class Conjugation(Training):
    """Trains any form of a row to any other, from the mean of its posterior, without KL.

    What noise decodes to means nothing to it. Lemmas that are held out are never made up.
    """

    def __init__(self, config: Config, model: CVAE, verbs: Table, held_out: Iterable[str]):
        super().__init__(config, model, verbs)
        self.synthesizer = Synthesizer(verbs, held_out)

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Returns the mean: without KL nothing asks for noise."""
        return mu

    def shown(self, epoch: int) -> list[Verb]:
        """Returns the verbs of an epoch: rows, as often as each is shown, and synthetic ones."""
        shown = []
        for verb in self.verbs:
            is_regular = cut(verb).endings in self.synthesizer.classes
            shown += (REGULAR if is_regular else IRREGULAR) * [verb]
        seed = 1000 * self.config.seed + epoch
        return shown + self.synthesizer.draw(SYNTHETIC * len(self.verbs), seed)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch: of each verb that is shown, a form and another."""
        words = lab.words_of(self.shown(epoch), self.model.vocabulary)  # F N words
        F = self.model.vocabulary.forms
        N = len(words.lengths) // F
        tense = torch.randint(0, F, (N,), generator=self.rng)
        other = (tense + torch.randint(1, F, (N,), generator=self.rng)) % F
        first = F * torch.arange(N)  # the numbers of the lemmas
        size = words.lengths[first + tense] ** 2 + words.lengths[first + other] ** 2
        words = words.to(self.device)
        batches = []
        for n in make_batches(size, self.config.batch_size, self.rng):
            source = lab.select_words(words, first[n] + tense[n])
            batches.append(Batch(source, lab.select_words(words, first[n] + other[n])))
        return batches

    def evaluate(self, epoch: int, task) -> dict[str, float]:
        """Returns nothing: the rows may be wrong, and noise means nothing here."""
        return {}


def learn(rows: Table, lists: Lists, seed: int, held_out=()) -> CVAE:
    """Returns a model that has learned to conjugate from rows, kept in runs/.

    It reads any word with the letters of the lists. Raises as `Synthesizer`.
    """
    alphabet = lab.vocabulary_of(table_of(lists)).alphabet
    held_out = tuple(sorted(held_out))

    def make_training(config, verbs):
        model = lab.make_model(config, lab.Vocabulary(alphabet, len(verbs[0])))
        return Conjugation(config, model, verbs, held_out)

    config = Config(seed=seed, **CONJUGATOR)
    return load_or_train(config, rows, pairs=[], make_training=make_training).model


# ---- All of it ----
ROUNDS = 2  # conjugators, each of the rows that were joined by then


class SelfTaught(NamedTuple):
    """Holds the rows that were found, and a model that conjugates verbs it has never met."""

    rows: Table
    model: CVAE


def teach(lists: Lists, sure: np.ndarray, seed: int, held_out=()) -> SelfTaught:
    """Goes on from joins (N, F) that are sure: teaches conjugators, and joins the other words."""
    joins = sure
    for _ in range(ROUNDS):
        model = learn(rows_of(lists, joins), lists, seed, held_out)
        joins = join(model, lists, sure, mutual)  # what the last one joined is asked anew
    joins = join(model, lists, joins, linear_sum_assignment)
    return SelfTaught(rows_of(lists, joins), model)


def self_taught(lists, seed=0, held_out=()) -> SelfTaught:
    """Finds rows in lists of words, a tense each, and learns to conjugate; kept in runs/.

    No synthetic verb has a lemma that is held out. Raises as `check_lists` before any training;
    ValueError if the rows that are found have too few verbs with the same endings.
    """
    lists = check_lists(lists)
    run = load_or_train(Config(seed=seed), table_of(lists), pairs=[])
    return teach(lists, sure_joins(run, lists), seed, held_out)
