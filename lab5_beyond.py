"""Beyond the lab's rules: one model that converts its table, draws verbs from noise, spells others.

It is trained on rows, forms of a verb to others of it: the very conversions that are scored.
Read `lab5_utils` first; shapes and units are the same.
"""

from __future__ import annotations

import copy
import math
import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lab5_train
import lab5_utils as lab
from lab5_train import Amount, Count, Share
from lab5_utils import Verb, Vocabulary, Words

SOURCE = lab.hash_source(__file__)  # as it was imported: a part of what names a run


# ---- Configuration ----
@dataclass(frozen=True)
class Config(lab5_train.Config):
    """Holds the hyperparameters of the recipe beyond the rules. Raises as the lab's."""

    epochs: Count = 144  # spelling included
    batch_size: Count = 40  # verbs a step
    hidden_size: Count = 192  # H; half of it for each direction of the encoder
    latent_size: Count = 64  # Z: room for verbs that are in no table
    decoding: Literal["lemma-first"] = "lemma-first"  # see `LemmaFirstDecoder`
    optimizer: Literal["adam"] = "adam"  # see `learning_rate` of the training
    ce_per: Literal["word"] = "word"  # the mean of lemma and form
    kl_weight: Amount = 0.5  # beside the mean CE of two words that share a z
    target_kl: Amount = 4.5  # nats per verb
    tf_final: Share = 1.0  # teacher forcing throughout
    synthetic: Count = 9  # synthetic verbs to a real one, new in each epoch of spelling
    resampled: Share = 0.2  # share of the letters of their stems that are drawn again
    regular: Count = 2  # times that a verb of a productive class is shown in such an epoch
    irregular: Count = 8  # times that any other verb is

    def __post_init__(self):
        super().__post_init__()
        if self.hidden_size % 2 or self.condition_size >= self.hidden_size // 2:
            found = f"{self.hidden_size} beside condition_size {self.condition_size}"
            raise ValueError(f"hidden_size: found {found}; expected even, its half more than that")


# ---- Cuts and classes ----
PRODUCTIVE = 20  # verbs that make a class productive; that of *cut, cuts, cutting, cut* has 10
AGAIN = "2"  # in an affix: the stem's last letter again
Affixes = tuple[tuple[str, str], ...]  # what stands before and after the stem, a pair a form
Classes = dict[Affixes, list[str]]  # the stems of the verbs with the same affixes


class Cut(NamedTuple):
    """Holds a verb that was cut: before + stem + after is a form."""

    stem: str
    affixes: Affixes


def common_part(words) -> str:
    """Returns the longest string that is in all of the words; of several, the first."""
    first = words[0]
    for length in range(len(first), 0, -1):
        for start in range(len(first) - length + 1):
            part = first[start : start + length]
            if all(part in word for word in words):
                return part
    return ""


def cut(verb: Verb) -> Cut:
    """Cuts a verb into the longest stem that its forms share, and affixes: stop + –, s, 2ing, 2ed.

    Forms that share no letter (*go*, *went*) have an empty stem.
    """
    stem = common_part(verb)
    affixes = []
    for form in verb:
        start = form.index(stem)
        before = form[:start]
        after = form[start + len(stem) :]
        if stem and after.startswith(stem[-1]):
            after = AGAIN + after[1:]
        affixes.append((before, after))
    return Cut(stem, tuple(affixes))


def inflect(stem: str, affixes: Affixes) -> Verb:
    """Returns the forms that affixes make of a stem."""
    last = stem[-1:]
    forms = []
    for before, after in affixes:
        forms.append(before + stem + after.replace(AGAIN, last))
    return tuple(forms)


def productive_classes(verbs) -> Classes:
    """Returns the stems of each productive class: verbs with the same affixes, enough of them.

    In any language, a verb is regular if its class is one of these. Raises ValueError.
    """
    classes = defaultdict(list)
    for verb in verbs:
        stem, affixes = cut(verb)
        if stem:
            classes[affixes].append(stem)
    large = [affixes for affixes, stems in classes.items() if len(stems) >= PRODUCTIVE]
    if not large:
        found = f"{len(verbs)} verbs, {largest(classes)}"
        raise ValueError(f"verbs: found {found}; expected {PRODUCTIVE} with the same affixes")
    return {affixes: classes[affixes] for affixes in large}


def largest(classes: Classes) -> str:
    """Describes the five largest classes: how many verbs are like which lemma."""
    by_size = sorted(classes, key=lambda affixes: -len(classes[affixes]))
    like = []
    for affixes in by_size[:5]:
        stems = classes[affixes]
        lemma = inflect(stems[0], affixes)[lab.LEMMA]
        like.append(f"{len(stems)} like {lemma}")
    return ", ".join(like)


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
RARE = 0.5  # share of models whose class and last letter are chosen first, so that all come up
TRIES = 20  # to make a verb that is new and not too long


class Synthesizer:
    """Makes synthetic verbs (hallucinated data, Anastasopoulos & Neubig 2019) from a table's.

    Each is made of a verb of a productive class, its model, and inflected like it: half of them
    stand behind a prefix, the beginning of another stem, and some of their letters are resampled.
    Lemmas of the table, or held out, are not made. All that this knows is counted in the table.
    Raises ValueError.
    """

    def __init__(self, config, verbs: list[Verb], held_out=()):
        verbs = lab.distinct_verbs(verbs)
        lemmas = [verb[lab.LEMMA] for verb in verbs]
        cuts = [cut(verb) for verb in verbs]
        self.resampled = config.resampled
        self.taken = {*lemmas, *held_out}
        self.classes = productive_classes(verbs)
        self.stems = [parts.stem for parts in cuts if parts.stem]
        self.regular = [parts for parts in cuts if parts.affixes in self.classes]
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
            if rng.random() < self.resampled:
                place = rng.choice(self.places[letter])
                letter = rng.choice(self.letters[place])
            letters.append(letter)
        return "".join(letters)

    def make_verb(self, rng: random.Random) -> Verb:
        """Returns a verb that may be known, or too long."""
        stem, affixes = self.model(rng)
        if rng.random() < PREFIXED:
            stem = self.prefix(rng) + stem
        return inflect(self.resample(stem, rng), affixes)

    def draw(self, count: int, seed: int) -> list[Verb]:
        """Returns synthetic verbs of a seed. Raises ValueError if hardly any is new."""
        rng = random.Random(seed)
        drawn = []
        for _ in range(TRIES * count):
            verb = self.make_verb(rng)
            if verb[lab.LEMMA] not in self.taken and max(map(len, verb)) <= lab.MAX_LETTERS:
                drawn.append(verb)
            if len(drawn) == count:
                return drawn
        found = f"{len(drawn)} new ones in {TRIES * count} tries"
        raise ValueError(f"verbs: found {found}; expected {count} synthetic verbs")


def by_class_and_letter(cuts: list[Cut]) -> dict[tuple[Affixes, str], list[Cut]]:
    """Returns verbs that were cut, by their affixes and their stem's last letter."""
    groups = defaultdict(list)
    for parts in cuts:
        groups[parts.affixes, parts.stem[-1]].append(parts)
    return groups


# ---- Model ----
class BidirectionalEncoder(nn.Module):
    """Reads words from both ends into the posterior, with H / 2 units each."""

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__()
        half = config.hidden_size // 2
        self.embedding = nn.Embedding(vocabulary.size, config.embedding_size)
        self.condition = nn.Embedding(vocabulary.forms, config.condition_size)
        self.forward_lstm = lab.make_lstm(config.embedding_size, half)
        self.backward_lstm = lab.make_lstm(config.embedding_size, half)
        self.mu = nn.Linear(config.hidden_size, config.latent_size)
        self.logvar = nn.Linear(config.hidden_size, config.latent_size)

    def forward(self, words: Words) -> tuple[Tensor, Tensor]:
        """Returns mu and logvar of B words, each (B, Z)."""
        condition = self.condition(words.tense)  # (B, C)
        # h0 = 0 ‖ condition
        h0 = F.pad(condition, (self.forward_lstm.hidden_size - condition.shape[1], 0))  # (B, H / 2)
        read = self.embedding(words.letters)
        last = lab.state_at_eos(self.forward_lstm, read, h0, words.lengths)
        read = self.embedding(reverse(words))
        first = lab.state_at_eos(self.backward_lstm, read, h0, words.lengths)
        end = torch.cat([last, first], 1)  # (B, H)
        return self.mu(end), self.logvar(end)  # (B, Z) each


def reverse(words: Words) -> Tensor:
    """Returns the letters (B, T) of words read backwards; EOS stays last."""
    width = words.letters.shape[1]
    steps = torch.arange(width, device=words.letters.device)  # (T,)
    position = words.lengths[:, None] - 2 - steps  # (B, T): negative from EOS on
    letters = words.letters.gather(1, position.clamp(min=0))
    return letters.where(position >= 0, lab.EOS)  # (B, T)


class LemmaFirstDecoder(lab.Decoder):
    """Spells a verb's lemma from z, and then a form from the state it ended in, z and the tense.

    What verb it is, is decided once, so that four forms from one z are forms of one verb.
    """

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        Z, C, H = config.latent_size, config.condition_size, config.hidden_size
        self.from_z = nn.Linear(Z, H)
        self.from_lemma = nn.Linear(H + Z + C, H)

    def form_context(self, end, z, tense) -> Tensor:
        """Returns the context (B, H) of a form, from the state (B, H) its lemma ended in."""
        return self.from_lemma(torch.cat([end, z, self.condition(tense)], 1))

    def scores(self, z, lemma: Words, form: Words) -> tuple[Tensor, Tensor]:
        """Returns scores (B, T, V − 1) of the letters of lemmas and of forms that are fed."""
        hidden = self(lemma.letters, self.from_z(z))  # (B, T, H)
        context = self.form_context(lab.end_of(hidden, lemma.lengths), z, form.tense)  # (B, H)
        return self.letter(hidden), self.letter(self(form.letters, context))

    def spell(self, z: Tensor, tense: Tensor) -> Tensor:
        """Decodes each z (B, Z) in its tense (B,) greedily; returns letters (B, steps)."""
        context = self.from_z(z)  # (B, H)
        lemmas = self.greedy(context, tense)  # (B, steps)
        is_lemma = tense == lab.LEMMA  # (B,)
        if is_lemma.all():
            return lemmas
        hidden = self(lemmas, context)  # (B, steps, H)
        lengths = (lemmas != lab.EOS).sum(1) + 1
        end = lab.end_of(hidden, lengths.clamp(max=lemmas.shape[1]))  # (B, H)
        forms = self.greedy(self.form_context(end, z, tense), tense)  # (B, steps)
        return lemmas.where(is_lemma[:, None], forms)


# ---- Training ----
class Row(NamedTuple):
    """Holds B lemmas and a form of each, to be decoded from one z."""

    lemma: Words
    form: Words


class Noise(NamedTuple):
    """Holds noise and what the teacher decodes it to."""

    z: Tensor  # (b, Z)
    row: Row


class Batch(NamedTuple):
    """Holds B forms, the lemma and form to be decoded of each, and noise to be rehearsed."""

    source: Words
    target: Row
    noise: Noise | None


class RowTraining(lab5_train.Training):
    """Trains any form of a verb to its lemma and one other form, then the spelling of any verb.

    One z pays its KL once for two words, and the loss has the mean of their CE. So the history's
    `beta` stands beside the CE of one word; beside the CE of both, which the ELBO of the pair has,
    it is twice that.

    In the second phase, spelling, all of the model learns from synthetic verbs too. A frozen copy,
    the teacher, says what noise decoded to before, and that is rehearsed (Robins 1995): as soft
    targets (Hinton et al. 2015), not the letters but how likely the teacher found each.

    Lemmas that are held out are not among the synthetic verbs.
    """

    def __init__(self, config, model, verbs: list[Verb], held_out=()):
        super().__init__(config, model, verbs)
        self.held_out = held_out
        self.synthesizer = None

    def start_second_phase(self) -> None:
        """Freezes a copy, the teacher: from here on, spelling is learned and noise rehearsed."""
        self.before = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.synthesizer = Synthesizer(self.config, self.verbs, self.held_out)
        self.optimizer = self.make_optimizer(self.model, beta2=0.999)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns an epoch's batches: each verb once; of spelling, what is shown, and noise."""
        if self.before is None:
            pairs = self.make_pairs(self.verbs)
            return [Batch(source, target, None) for source, target in pairs]
        count = self.config.synthetic * len(self.verbs)
        synthetic = self.synthesizer.draw(count, seed=1000 * self.config.seed + epoch)
        pairs = self.make_pairs(self.shown() + synthetic)
        noise = self.make_noise(len(pairs))
        return [Batch(*pair, part) for pair, part in zip(pairs, noise, strict=True)]

    def shown(self) -> list[Verb]:
        """Returns the table's verbs, each as often as an epoch of spelling shows it."""
        shown = []
        for verb in self.verbs:
            productive = cut(verb).affixes in self.synthesizer.classes
            times = self.config.regular if productive else self.config.irregular
            shown += times * [verb]
        return shown

    def make_pairs(self, verbs: list[Verb]) -> list[tuple[Words, Row]]:
        """Returns batches of sources, a form of each verb, and of what is decoded of them."""
        N = len(verbs)
        forms = self.model.vocabulary.forms
        table = lab.words_of(verbs, self.model.vocabulary)
        lemma = forms * torch.arange(N)  # numbers of words: t more is the form of tense t
        source = lemma + torch.randint(0, forms, (N,), generator=self.rng)
        form = lemma + torch.randint(1, forms, (N,), generator=self.rng)
        lengths = table.lengths[torch.stack([source, lemma, form], 1)]  # (N, 3)
        size = (lengths**2).sum(1)
        table = table.to(self.device)
        pairs = []
        for n in lab5_train.make_batches(size, self.config.batch_size, self.rng):
            words = [lab.select_words(table, numbers[n]) for numbers in (source, lemma, form)]
            pairs.append((words[0], Row(*words[1:])))
        return pairs

    def make_noise(self, count: int) -> list[Noise]:
        """Returns `count` batches of noise, half as many draws in each as verbs in a batch."""
        half = math.ceil(self.config.batch_size / 2)
        N = count * half
        z = torch.randn(N, self.config.latent_size, generator=self.rng)  # (N, Z)
        tense = torch.randint(1, self.model.vocabulary.forms, (N, 1), generator=self.rng)[:, 0]
        lemmas = self.teach(z, torch.full_like(tense, lab.LEMMA))
        forms = self.teach(z, tense)
        size = lemmas.lengths**2 + forms.lengths**2  # (N,)
        lemmas, forms = lemmas.to(self.device), forms.to(self.device)
        noise = []
        for n in lab5_train.make_batches(size, half, self.rng):
            row = Row(lab.select_words(lemmas, n), lab.select_words(forms, n))
            noise.append(Noise(z[n].to(self.device), row))
        return noise

    def teach(self, z: Tensor, tense: Tensor) -> Words:
        """Returns what the teacher decodes noise (N, Z) to in tenses (N,)."""
        letters, lengths = self.model.vocabulary.to_tensor(self.before.decode(z, tense))
        return Words(letters, lengths, tense)

    def loss(self, batch: Batch, progress: float, refining: bool):
        """Returns the loss of a batch, rehearsal included, and what the history keeps of it."""
        mu, logvar = self.model.encoder(batch.source)  # (B, Z)
        z = lab.reparameterize(mu, logvar, self.rng)  # (B, Z)
        scores = self.model.decoder.scores(z, *batch.target)
        ce = self.cross_entropy(scores, batch.target, [word.letters for word in batch.target])
        kl = lab.kl_divergence(mu, logvar)  # (B,)
        weight = 0.0 if refining else lab5_train.kl_weight(self.config, progress, kl.mean().item())
        # L = CE + kl_weight · KL + CE of rehearsal
        loss = ce + weight * kl.mean()
        if batch.noise is not None:
            loss = loss + self.rehearsal(batch.noise)
        measured = {
            "ce": ce.item(),
            "kl": kl.mean().item(),
            "kl_weight": weight,
            "beta": weight,
            "loss": loss.item(),
        }
        return loss, measured

    def cross_entropy(self, scores, row: Row, letters) -> Tensor:
        """Returns the mean CE of lemmas and forms, in nats per word.

        `letters` are those of each (B, T), or probabilities of letters (B, V − 1, T).
        """
        ce = []
        for word, found, expected in zip(row, scores, letters, strict=True):
            mask = lab.up_to(word.lengths, found.shape[1])  # (B, T)
            ce.append(lab.letter_nats(found, expected, mask).sum(1))
        return torch.stack(ce, 1).mean()

    def rehearsal(self, noise: Noise) -> Tensor:
        """Returns the mean CE of noise against the teacher's probabilities, in nats per word."""
        scores = self.model.decoder.scores(noise.z, *noise.row)
        soft = [found.softmax(2).mT for found in self.before.decoder.scores(noise.z, *noise.row)]
        return self.cross_entropy(scores, noise.row, soft)


def make_model(config: Config, vocabulary: Vocabulary) -> lab.CVAE:
    """Makes a model, with new weights: it encodes from both ends, and decodes lemma first."""
    encoder = BidirectionalEncoder(config, vocabulary)
    return lab.CVAE(encoder, LemmaFirstDecoder(config, vocabulary))


def new_training(config: Config, verbs: list[Verb]) -> RowTraining:
    """Returns a training that has not begun. Raises ValueError."""
    if len(verbs[0]) < 2:
        raise ValueError("verb 1: found 1 form; expected 2 or more, a lemma and others")
    if config.kl_epochs < config.epochs:
        Synthesizer(config, verbs).draw(100, config.seed)  # raises if they cannot be made
    return RowTraining(config, make_model(config, lab.vocabulary_of(verbs)), verbs)


lab.DECODERS["lemma-first"] = LemmaFirstDecoder
