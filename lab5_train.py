"""How the lab's model is trained: schedules, hyperparameters, the training step.

Read it top to bottom, after `lab5_utils`; shapes and units are the same. `lab5_runs` then has
`train`, `load_or_train` and `sweep`. README shows how to add a schedule, a score, an encoder or a
decoder.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import lab5_utils as lab
from lab5_utils import CodeInH0, Decoder, DirectDecoder, Encoder, Verb, Words

# ---- Schedules ----
# A schedule is the shape of a KL weight: given progress, in (0, 1], it returns a number 0..1. The
# KL weight is `config.kl_weight` times that.
Schedule = Callable[[float], float]


def constant(progress):
    """Keeps the weight at its highest value."""
    return 1.0


def short_rise(progress):
    """Rises in the first tenth, as in the original recipe (after Bowman et al. 2016, 3.1)."""
    return min(1.0, 10 * progress)


def slow_rise(progress):
    """Rises in the first three tenths."""
    return min(1.0, progress / 0.3)


def four_cycles(progress):
    """Rises in the first half of each of four cycles (*cyclical*; Fu et al. 2019, eq. 6)."""
    left = -4 * progress % 1  # what is left of the cycle: 0 at its end
    return min(1.0, 2 - 2 * left)


def two_trapezoids(progress):
    """Rises in the first four fifths of each of two cycles, as in the original recipe."""
    position = 2 * progress % 1
    return min(1.0, 1.25 * position)


def two_sigmoids(progress):
    """Rises along a sigmoid in each of two cycles, and is 0 at its end: the original recipe's."""
    position = 2 * progress % 1
    if position > 0.994:
        return 0.0
    return 1 / (1 + math.exp(5 - 10 * position))


WARM_UP = 0.02  # share of a training in which Adam's learning rate rises


def short_name(value) -> str:
    """Returns the name of a function or a class, or what any other value looks like."""
    return getattr(value, "__name__", repr(value))


def kl_weight_at(config: Config, progress: float) -> float:
    """Returns the KL weight at a progress, in (0, 1].

    Raises ValueError for a schedule that returns anything but a number 0..1.
    """
    share = config.schedule(progress)
    if not isinstance(share, Real) or not 0 <= share <= 1:
        where = f"schedule {short_name(config.schedule)}, progress {progress:g}"
        raise lab.wrong(where, f"{share!r:.60}", "a number 0..1")
    return config.kl_weight * float(share)


def teacher_forcing_ratio(config: Config, progress: float) -> float:
    """Returns the share of words, 0..1, that are fed the right letters; it falls evenly from 1."""
    return 1 - (1 - config.tf_final) * progress


def learning_rate(config: Config, progress: float) -> float:
    """Returns the learning rate at a progress, in (0, 1].

    That of SGD is constant. That of Adam rises quickly, and then falls along a cosine to 0, which
    it reaches at the last step.
    """
    if config.optimizer == "sgd":
        return config.learning_rate
    # rate = highest · min(1, progress / warm_up) · ½ (1 + cos π progress)
    shape = min(1, progress / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate * shape


# ---- The same bits each time ----
TURN = threading.RLock()  # a process has one random state and one number of threads


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Makes what runs inside give the same bits on any number of cores, and then restores all.

    That is, torch's random state and its number of threads. Trainings in threads of one process
    take turns.
    """
    with TURN, torch.random.fork_rng(devices=[]):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


# ---- Training ----
CLIP = 5.0  # the largest norm of a gradient; a longer one is scaled down to it


class Batch(NamedTuple):
    """B words that are encoded, and what should be decoded from their codes."""

    source: Words
    target: Words


def make_batches(size: Tensor, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    """Returns batches, as indices of items of similar size (N,), in random order."""
    noisy = size + torch.rand(len(size), generator=rng)
    batches = noisy.argsort().split(batch_size)
    order = torch.randperm(len(batches), generator=rng)
    return [batches[i] for i in order]


class Training:
    """A training by the lab's rules, in which each word is learned from itself and its tense.

    It trains a new model on verbs, each of them once.
    """

    def __init__(self, config: Config, verbs: list[Verb]):
        self.config = config
        self.table = verbs  # with repeats
        self.verbs = list(dict.fromkeys(verbs))
        self.pairs = lab.pairs_of(self.verbs)  # for BLEU-4
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = lab.make_model(config, lab.vocabulary_of(verbs)).to(self.device)
        self.words = lab.words_of(self.verbs, self.model.vocabulary)  # F N words
        self.rng = torch.Generator().manual_seed(config.seed)
        self.optimizer = self.make_optimizer()
        self.history = []

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Returns a new optimizer of the model's parameters; each step sets its learning rate."""
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(self.model.parameters())
        betas = (0.9, 0.99)  # the second is low, for a short memory, since z is noisy
        return torch.optim.Adam(self.model.parameters(), betas=betas, fused=True)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch, in which every form occurs once."""
        batches = []
        for n in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            words = lab.select(self.words, n).to(self.device)
            batches.append(Batch(source=words, target=words))
        return batches

    def progress(self, epoch: int, step: int, steps: int) -> float:
        """Returns the share of the training, in (0, 1], that is done after a step (1..steps)."""
        return (epoch - 1 + step / steps) / self.config.epochs

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Returns the z (B, Z) that are decoded, drawn from the posteriors."""
        return lab.reparameterize(mu, logvar, self.rng)

    def nats(self, z, target: Words, free_running, progress: float) -> tuple[Tensor, Tensor]:
        """Returns what is minimized beside KL, and the CE of B words, both in nats (B,)."""
        ce = self.model.decoder.nats(z, target, free_running)  # (B,)
        return ce, ce

    def loss(self, batch: Batch, progress: float):
        """Returns the loss of a batch, in nats per word, and what the history keeps of it."""
        config = self.config
        mu, logvar = self.model.encoder(batch.source)  # (B, Z)
        z = self.sample(mu, logvar)  # (B, Z)
        lengths = batch.target.lengths  # (B,)
        tf_ratio = teacher_forcing_ratio(config, progress)
        free_running = torch.rand(lengths.shape, generator=self.rng) >= tf_ratio  # (B,)
        nats = self.nats(z, batch.target, free_running.to(self.device), progress)
        minimized, ce = nats  # (B,) each
        kl = lab.kl_divergence(mu, logvar)  # (B,)
        weight = kl_weight_at(config, progress)
        per = lengths if config.ce_per == "character" else torch.ones_like(lengths)
        # L = CE + kl_weight · KL
        loss = (minimized / per).mean() + weight * kl.mean()
        measured = {
            "ce": ce.mean().item(),
            "kl": kl.mean().item(),
            "kl_weight": weight,
            "beta": weight * per.float().mean().item(),  # the weight beside a CE per word
            "tf_ratio": tf_ratio,
            "loss": loss.item(),
        }
        return loss, measured

    def descend(self, loss: Tensor, rate: float) -> None:
        """Takes one step down the loss. Raises FloatingPointError if it isn't finite."""
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        if not loss.isfinite() or not norm.isfinite():
            raise FloatingPointError(f"loss {loss:g}, gradient norm {norm:g}")
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Trains on every word once; returns what was measured, as means over words."""
        batches = self.make_epoch(epoch)
        rows = []
        for step, batch in enumerate(batches, 1):
            progress = self.progress(epoch, step, len(batches))
            loss, measured = self.loss(batch, progress)
            rate = learning_rate(self.config, progress)
            self.descend(loss, rate)
            rows.append(measured)
        sizes = [len(batch.source.lengths) for batch in batches]
        values = [list(row.values()) for row in rows]
        means = np.average(values, axis=0, weights=sizes)
        return dict(zip(rows[0], means, strict=True)) | {"learning_rate": rate}

    def evaluate(self, epoch: int) -> dict[str, float]:
        """Returns the scores of an epoch by name: BLEU-4 and, in the last one, conversions."""
        scores = {"bleu4": lab.mean_bleu4(self.model, self.pairs)}
        if epoch == self.config.epochs:
            scores["conversions"] = lab.conversion_accuracy(self.model, self.verbs)
        return scores

    def run_epoch(self, epoch: int) -> None:
        """Trains and evaluates an epoch, and adds its row to the history."""
        self.model.train()
        row = {"epoch": epoch} | self.train_epoch(epoch)
        self.model.eval()
        row |= self.evaluate(epoch)
        # a score may be a number of NumPy's, which a file that runs no code can't hold
        self.history.append({name: np.asarray(value).tolist() for name, value in row.items()})

    def state(self) -> dict:
        """Returns what is needed to resume a run or, if it is finished, to use it."""
        state = {
            "model": self.model.state_dict(),
            "rng": self.rng.get_state(),
            "torch_rng": torch.get_rng_state(),  # for a model that draws itself, as dropout does
            "history": self.history,
        }
        if len(self.history) < self.config.epochs:
            state["optimizer"] = self.optimizer.state_dict()
        return state

    def restore(self, state: dict) -> None:
        """Goes back to a state that `state` returned."""
        self.history = state["history"]
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
        self.model.load_state_dict(state["model"])
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])


# ---- Configuration ----
@dataclass(frozen=True)
class Config:
    """All that decides a training; by default, that of the plain model.

    Raises TypeError for an unknown name, and ValueError for a value that no training could have.
    """

    seed: int = 0  # of first weights, batches and draws
    epochs: int = 16
    batch_size: int = 64  # words per step
    hidden_size: int = 256  # H; the course's: 256 or 512
    latent_size: int = 32  # Z; the course's
    condition_size: int = 8  # C, of a tense; the course's
    embedding_size: int = 32  # of a letter
    encoder: type[Encoder] = Encoder  # a class
    decoder: type[Decoder] = DirectDecoder  # a class
    training: type[Training] = Training  # a class
    optimizer: str = "adam"  # or "sgd"; see `learning_rate`
    learning_rate: float = 6e-3  # the highest
    ce_per: str = "word"  # or "character": what CE is averaged over in the loss; KL is per word
    schedule: Schedule = short_rise  # of the KL weight
    kl_weight: float = 0.3  # the highest
    tf_final: float = 0.95  # teacher-forcing ratio at the end, 0..1; it falls evenly from 1

    def __post_init__(self):
        sizes = f"at most hidden_size, {self.hidden_size}"
        self.check("condition_size", self.condition_size <= self.hidden_size, sizes)
        for name, base in (("encoder", Encoder), ("decoder", Decoder), ("training", Training)):
            value = getattr(self, name)
            is_right = isinstance(value, type) and issubclass(value, base)
            self.check(name, is_right, f"a subclass of {base.__name__}")
        self.check("optimizer", self.optimizer in ("adam", "sgd"), "adam or sgd")
        self.check("ce_per", self.ce_per in ("word", "character"), "word or character")
        self.check("schedule", callable(self.schedule), "a function of progress")
        self.check("epochs", self.epochs >= 1, "at least 1")
        self.check("kl_weight", self.kl_weight >= 0, "at least 0")
        self.check("tf_final", 0 <= self.tf_final <= 1, "0..1")

    def __repr__(self):
        values = [f"{name}={short_name(value)}" for name, value in vars(self).items()]
        return f"{type(self).__name__}({', '.join(values)})"

    def check(self, name: str, is_right: bool, expected: str) -> None:
        """Raises a ValueError that names a value, unless it is right."""
        if not is_right:
            raise lab.wrong(name, f"{getattr(self, name)!r:.60}", expected)

    @classmethod
    def original(cls, **changes) -> Config:
        """Returns one public solution's recipe, with which a model collapses; keywords change it.

        It follows the course's rules, which leave weights, ratios and epochs open, much like
        https://github.com/chiha8888/NCTU_DLP/tree/master/lab5. Its other two schedules are
        `two_trapezoids`, and `short_rise` with a `kl_weight` of 1. What is ours: batches, and these
        of words of similar length; steps, not epochs, on which schedules follow; a forget bias
        of 1; clipping; an embedding of the tense in each part; no ReLU; and the table.
        """
        values = {
            "epochs": 500,
            "batch_size": 16,  # the solution has 1,
            "learning_rate": 0.8,  # and a sixteenth of this (Goyal et al. 2017)
            "embedding_size": 256,
            "decoder": CodeInH0,
            "optimizer": "sgd",
            "ce_per": "character",  # so that β is eight times what is printed
            "schedule": two_sigmoids,
            "kl_weight": 0.5,
            "tf_final": 0.1,
        }
        return cls(**(values | changes))

    @classmethod
    def miniature(cls, **changes) -> Config:
        """Returns the plain model in small, which learns every tenth verb in six seconds.

        Keywords change it.
        """
        values = {
            "epochs": 80,
            "batch_size": 32,
            "hidden_size": 96,
            "learning_rate": 0.012,
            "kl_weight": 0.1,  # at the constant 0.5 so small a model's code stays empty
            "tf_final": 1.0,
        }
        return cls(**(values | changes))
