"""Self-taught: our model finds out which words belong together, and a conjugator learns them.

Lists of words go in, one per tense, in any order, so that nothing says which words are forms of one
verb. Our model, trained on single words, tells what each word costs from the code of each other
one, and words that choose each other belong together. A conjugator learns these rows, along with
synthetic verbs made from them, decides on the remaining words, and goes on to learn all rows.
Erdmann et al. 2020 have the same outline: they cluster words into paradigms, and then train a
network on these. Read `lab5_utils`, `lab5_train` and `lab5_runs` first; shapes and units are the
same.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from os.path import commonprefix
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import lab5_utils as lab
from lab5_runs import load_or_train
from lab5_train import Batch, Config, Training, make_batches, reproducible
from lab5_utils import CVAE, LEMMA, Verb, Words

# ---- Lists ----
FEWEST = 20  # words in a list
Lists = list[list[str]]  # F lists of N words, one per tense, sorted


def check_lists(lists) -> Lists:
    """Returns checked lists of words, one per tense, sorted, so that their order says nothing.

    Raises a ValueError or a TypeError that names the list and the word.
    """
    checked = [sorted(lab.check_words(words, f"list {n}")) for n, words in enumerate(lists, 1)]
    if len(checked) < 2:
        raise lab.wrong("lists", len(checked), "one per tense, at least 2")
    for n, words in enumerate(checked, 1):
        if len(words) != max(FEWEST, len(checked[0])):
            expected = f"at least {FEWEST}, as many in each list"
            raise lab.wrong(f"list {n}", f"{len(words)} words", expected)
        word, count = Counter(words).most_common(1)[0]
        if count > 1:
            raise lab.wrong(f"list {n}", f"{word!r} {count} times", "each word once")
    return checked


def table_of(lists: Lists) -> list[Verb]:
    """Returns the lists as the columns of a table, whose rows mean nothing."""
    return list(zip(*lists, strict=True))


# ---- What a word costs from another's code ----
@torch.no_grad()
def nats_of(model: CVAE, codes: Tensor, words: Words) -> Tensor:
    """Returns −log p(word | code, tense) of B words in nats (B,), each from its code (B, Z)."""
    nats = torch.zeros(len(codes))
    by_length = words.lengths.argsort()  # so that a batch has little padding
    for start in range(0, len(nats), lab.CHUNK):
        numbers = by_length[start : start + lab.CHUNK]
        target = lab.select(words, numbers).to(model.device)
        is_free = torch.zeros(len(numbers), dtype=torch.bool, device=model.device)
        nats[numbers] = model.decoder.nats(codes[numbers], target, is_free, 1.0).ce.cpu()
    return nats


def costs_between(model: CVAE, one: Words, other: Words, wanted, limit=np.inf) -> np.ndarray:
    """Returns what N words and M others cost from each other's codes, in nats (N, M).

    That is the cost of one given the code of the other, plus the reverse. Only the pairs in the
    mask `wanted` (N, M) are computed; the others, and those that reach the limit, cost infinity.
    """
    codes, other_codes = model.encode_words(one)[0], model.encode_words(other)[0]
    costs = np.full(wanted.shape, np.inf, dtype=np.float32)
    i, j = wanted.nonzero()  # (P,) each
    costs[i, j] = nats_of(model, codes[i], Words(*(part[j] for part in other))).numpy()
    i, j = (costs < limit).nonzero()  # what reaches it one way needs no other way
    costs[i, j] += nats_of(model, other_codes[j], Words(*(part[i] for part in one))).numpy()
    return np.where(costs < limit, costs, np.inf)


NEAREST = 30  # words around a code whose costs are computed at first


def are_near(one: Tensor, other: Tensor) -> np.ndarray:
    """Returns a mask (N, M) of codes (N, Z) and (M, Z), one among the NEAREST of the other."""
    distance = torch.cdist(one, other)  # (N, M)
    near = np.zeros(distance.shape, dtype=bool)
    for rows, flags in ((distance, near), (distance.T, near.T)):
        count = min(NEAREST, rows.shape[1])
        nearest = rows.topk(count, largest=False).indices.cpu().numpy()
        np.put_along_axis(flags, nearest, True, axis=1)
    return near


# ---- Which words belong together ----
SURE = 3.0  # nats, both ways together; a pair that costs less may be joined at first
Choose = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def mutual(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows (P,) and columns (P,) that choose each other, unless they cost infinity."""
    if not costs.size:
        return np.array([], dtype=int), np.array([], dtype=int)
    columns = costs.argmin(1)
    rows = np.arange(len(costs))
    chosen = (costs.argmin(0)[columns] == rows) & np.isfinite(costs[rows, columns])
    return rows[chosen], columns[chosen]


def nothing_joined(lists: Lists) -> np.ndarray:
    """Returns joins (N, F), the indices of words in their lists, with −1 for all but lemmas."""
    joins = np.full((len(lists[LEMMA]), len(lists)), -1)
    joins[:, LEMMA] = np.arange(len(joins))
    return joins


@reproducible(seed=0)  # so that sums are the same on any number of cores
def join(model: CVAE, lists: Lists, joins, choose: Choose, near=None, limit=np.inf) -> np.ndarray:
    """Returns joins (N, F), extended by the pairs that `choose` picks among unjoined words.

    `near` has, for each tense, a mask of the pairs whose costs are computed; by default, all are.
    Pairs that reach the limit cost infinity.
    """
    joined = joins.copy()
    for tense in range(1, len(lists)):
        lemmas = np.flatnonzero(joins[:, tense] < 0)
        others = np.setdiff1d(np.arange(len(joins)), joins[:, tense])
        one = lab.as_words([lists[LEMMA][n] for n in lemmas], LEMMA, model.vocabulary)
        other = lab.as_words([lists[tense][n] for n in others], tense, model.vocabulary)
        candidates = np.ones((len(joins), len(joins)), dtype=bool) if near is None else near[tense]
        wanted = candidates[np.ix_(lemmas, others)]
        i, j = choose(costs_between(model, one, other, wanted, limit))
        joined[lemmas[i], tense] = others[j]
    return joined


@reproducible(seed=0)
def sure_joins(model: CVAE, lists: Lists) -> np.ndarray:
    """Returns the joins (N, F) of words that choose each other cheaply, by our model's costs.

    Only pairs whose codes are near each other are computed. Raises ValueError for a letter that the
    model lacks.
    """
    codes = [model.encode(words, tense)[0] for tense, words in enumerate(lists)]
    near = [are_near(codes[LEMMA], other) for other in codes]
    return join(model, lists, nothing_joined(lists), mutual, near, SURE)


def rows_of(lists: Lists, joins: np.ndarray) -> list[Verb]:
    """Returns the complete rows, in which every form was joined."""
    whole = joins[(joins >= 0).all(1)]
    return [tuple(lists[t][n] for t, n in enumerate(row)) for row in whole]


# ---- Cuts and classes ----
PRODUCTIVE = 20  # verbs that make a class productive; *cut, cuts, cutting, cut* has only 10
DOUBLED = "2"  # in an ending: the stem's last letter again
Endings = tuple[str, ...]  # one per form


class Cut(NamedTuple):
    """A verb cut into a stem and an ending for each form."""

    stem: str
    endings: Endings


def cut(verb: Verb) -> Cut:
    """Returns a verb cut after the beginning that its forms share: stop + –, s, 2ing, 2ed.

    If forms begin differently (*go*, *went*), the stem is empty.
    """
    stem = commonprefix(verb)
    endings = []
    for form in verb:
        ending = form[len(stem) :]
        if stem and ending.startswith(stem[-1]):
            ending = DOUBLED + ending[1:]
        endings.append(ending)
    return Cut(stem, tuple(endings))


def inflect(stem: str, endings: Endings) -> Verb:
    """Returns the forms that a stem has with these endings."""
    return tuple(stem + ending.replace(DOUBLED, stem[-1:]) for ending in endings)


def productive_classes(verbs) -> set[Endings]:
    """Returns the endings of the productive classes, that is, those that enough verbs have.

    Here a verb counts as regular if its endings are among them. Raises ValueError if there are
    none.
    """
    counts = Counter(endings for stem, endings in map(cut, verbs) if stem)
    classes = {endings for endings, count in counts.items() if count >= PRODUCTIVE}
    if not classes:
        found = f"at most {max(counts.values(), default=0)} verbs with the same endings"
        raise lab.wrong("rows", found, PRODUCTIVE)
    return classes


def count_places(lemmas: list[str]):
    """Returns the contexts of each letter, its two neighbours, and the letters of each context."""
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
RARE = 0.5  # share of models drawn by class and last letter first, so that rare ones occur
TRIES = 20  # per verb at most, until one is new and not too long


class Synthesizer:
    """A maker of synthetic verbs, which look like the table's verbs and are inflected like them.

    Each is a verb of a productive class, its model, in disguise. Half of them get the beginning of
    another stem as a prefix, and some letters of the stem are drawn again from those that occur
    between the same neighbours. The endings stay. No lemma that is in the table or held out is
    made. Raises ValueError if no class is productive. Source: hallucinated data, Anastasopoulos &
    Neubig 2019.
    """

    def __init__(self, verbs: list[Verb], held_out: Iterable[str] = ()):
        lemmas = [verb[LEMMA] for verb in verbs]
        cuts = [parts for parts in map(cut, verbs) if parts.stem]
        self.taken = {*lemmas, *held_out}
        self.classes = productive_classes(verbs)
        self.stems = [parts.stem for parts in cuts]
        self.regular = [parts for parts in cuts if parts.endings in self.classes]
        self.groups = list(by_class_and_letter(self.regular).values())
        self.places, self.letters = count_places(lemmas)

    def model(self, rng: random.Random) -> Cut:
        """Returns a cut verb of a productive class, drawn at random."""
        group = rng.choice(self.groups) if rng.random() < RARE else self.regular
        return rng.choice(group)

    def prefix(self, rng: random.Random) -> str:
        """Returns the beginning of a stem, drawn at random, of at most LONGEST_PREFIX letters."""
        stem = rng.choice(self.stems)
        length = rng.randint(1, LONGEST_PREFIX)
        return stem[:length]

    def resample(self, stem: str, rng: random.Random) -> str:
        """Returns a stem with some letters replaced by others that share one of their contexts."""
        letters = []
        for letter in stem:
            if rng.random() < RESAMPLED:
                place = rng.choice(self.places[letter])
                letter = rng.choice(self.letters[place])
            letters.append(letter)
        return "".join(letters)

    def make_verb(self, rng: random.Random) -> Verb:
        """Returns a synthetic verb, which may be known or too long."""
        stem, endings = self.model(rng)
        if rng.random() < PREFIXED:
            stem = self.prefix(rng) + stem
        return inflect(self.resample(stem, rng), endings)

    def draw(self, count: int, seed: int) -> list[Verb]:
        """Returns `count` synthetic verbs for a seed. Raises ValueError if too few are new."""
        rng = random.Random(seed)
        drawn = []
        for _ in range(TRIES * count):
            if len(drawn) == count:
                break
            verb = self.make_verb(rng)
            if verb[LEMMA] not in self.taken and max(map(len, verb)) <= lab.MAX_LETTERS:
                drawn.append(verb)
        if len(drawn) < count:
            raise lab.wrong("rows", f"{len(drawn)} new verbs in {TRIES * count} tries", count)
        return drawn


def by_class_and_letter(cuts: list[Cut]) -> dict[tuple[Endings, str], list[Cut]]:
    """Returns cut verbs by their endings and their stem's last letter."""
    groups = defaultdict(list)
    for parts in cuts:
        groups[parts.endings, parts.stem[-1]].append(parts)
    return groups


# ---- The conjugator ----
CONJUGATOR = {  # the lab's encoder and direct decoder, without KL; tuned on our table, one seed
    "batch_size": 40,  # pairs of forms per step
    "hidden_size": 192,
    "latent_size": 64,  # room for unseen verbs
    "encoder": lab.Encoder,
    "decoder": lab.DirectDecoder,
    "kl_weight": 0.0,
    "tf_final": 1.0,
}
LESSONS = (24, 8, 12)  # epochs; the last lesson has all rows
SYNTHETIC = 9  # synthetic verbs per row, new in each epoch of a lesson
REGULAR = 2  # times that an epoch shows a row of a productive class
IRREGULAR = 8  # times that it shows any other row


class Conjugation(Training):
    """A training of a conjugator, from any form of a row to any other, by the mean, without KL.

    The conjugator reads words of this alphabet. It starts as the one that has had the earlier
    lessons, which are lists of rows. No synthetic verb has a lemma that is held out.
    """

    def __init__(self, config: Config, verbs: list[Verb], alphabet, held_out=(), earlier=()):
        model = lab.make_model(config, lab.Vocabulary(alphabet, len(verbs[0])))
        super().__init__(config, verbs, model)
        self.synthesizer = Synthesizer(verbs, held_out)
        self.held_out = held_out
        self.earlier = earlier

    def begin(self) -> None:
        """Goes on from the lesson before, which is trained unless it is kept."""
        if self.earlier:
            *earlier, last = self.earlier
            alphabet = self.model.vocabulary.alphabet
            known = learn(last, alphabet, self.config.seed, self.held_out, earlier)
            self.model.load_state_dict(known.state_dict())

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Returns the mean mu (B, Z), since without KL nothing has to be drawn."""
        return mu

    def shown(self, epoch: int) -> list[Verb]:
        """Returns the verbs of an epoch: rows, as often as each is shown, and synthetic verbs."""
        shown = []
        for verb in self.verbs:
            is_regular = cut(verb).endings in self.synthesizer.classes
            shown += (REGULAR if is_regular else IRREGULAR) * [verb]
        seed = 1000 * self.config.seed + epoch
        return shown + self.synthesizer.draw(SYNTHETIC * len(self.verbs), seed)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch, made of one form of each verb shown and another form."""
        words = lab.words_of(self.shown(epoch), self.model.vocabulary)  # F N words
        F = self.model.vocabulary.forms
        N = len(words.lengths) // F
        tense = torch.randint(0, F, (N,), generator=self.rng)
        other = (tense + torch.randint(1, F, (N,), generator=self.rng)) % F
        first = F * torch.arange(N)  # the indices of the lemmas
        size = words.lengths[first + tense] ** 2 + words.lengths[first + other] ** 2
        words = words.to(self.device)
        batches = []
        for n in make_batches(size, self.config.batch_size, self.rng):
            source = lab.select(words, first[n] + tense[n])
            batches.append(Batch(source, lab.select(words, first[n] + other[n])))
        return batches

    def evaluate(self, epoch: int, task) -> dict[str, float]:
        """Returns no scores, because the rows may be wrong, and noise means nothing here."""
        return {}


def learn(rows: list[Verb], alphabet: str, seed: int, held_out=(), earlier=()) -> CVAE:
    """Returns a conjugator after a lesson, from runs/ if it had the same lessons before.

    A lesson is a list of rows; `earlier` has those before, of which there may be two. They are
    trained, too, if they aren't in runs/. Raises the errors of `Synthesizer`.
    """
    productive_classes(rows)  # which raises if there are too few of them
    lessons = tuple(tuple(lesson) for lesson in earlier)
    arguments = {"alphabet": alphabet, "held_out": tuple(sorted(held_out)), "earlier": lessons}
    training = partial(Conjugation, **arguments)
    config = Config(seed=seed, epochs=LESSONS[len(lessons)], **CONJUGATOR)
    return load_or_train(config, rows, pairs=[], make_training=training).model


# ---- All of it ----
class SelfTaught(NamedTuple):
    """The rows that were found, and a model that learned them and conjugates unseen verbs, too."""

    rows: list[Verb]
    model: CVAE


def teach(lists: Lists, sure: np.ndarray, seed: int, held_out=()) -> SelfTaught:
    """Returns all rows that follow from sure joins (N, F), and a conjugator that learned them."""
    alphabet = lab.vocabulary_of(table_of(lists)).alphabet
    joins, lessons = sure, []
    for _ in LESSONS[:-1]:
        rows = rows_of(lists, joins)
        model = learn(rows, alphabet, seed, held_out, lessons)
        lessons.append(rows)
        joins = join(model, lists, sure, mutual)  # what an earlier lesson joined may change
    rows = rows_of(lists, join(model, lists, joins, linear_sum_assignment))
    return SelfTaught(rows, learn(rows, alphabet, seed, held_out, lessons))


def self_taught(lists, seed=0, held_out=(), model=None) -> SelfTaught:
    """Returns the rows found in lists of words, one per tense, and a model that learned them.

    A `model` of ours that has read these words tells what they cost; by default one is trained. All
    trainings are kept in runs/. No synthetic verb has a lemma in `held_out`. Raises the errors of
    `check_lists` and `check_words` before any training, and later those of `productive_classes`,
    and ValueError for a letter that the model lacks.
    """
    lists = check_lists(lists)
    held_out = lab.check_words(held_out, "held_out")
    model = model or load_or_train(Config(seed=seed), table_of(lists), pairs=[]).model
    return teach(lists, sure_joins(model, lists), seed, held_out)
