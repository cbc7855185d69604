"""How the lab's model is trained: schedules, hyperparameters, the training step.

Read it top to bottom, after `lab5_utils`; shapes and units are the same. `lab5_runs` then has
`train`, `load_or_train` and `sweep`. `tests/README.md` shows how to add a schedule, a score, an
encoder or a decoder.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

import lab5_utils as lab
from lab5_gate import BackwardEncoder, GatedDecoder
from lab5_utils import CVAE, CodeInH0, Decoder, DirectDecoder, Encoder, TestPair, Verb, Words

# ---- Schedules ----
# A schedule is the shape of a KL weight: given progress, in (0, 1], it returns a number 0..1. The
# KL weight is `config.kl_weight` times that.
Schedule = Callable[[float], float]


def constant(progress):
    """Keeps the weight at its highest value."""
    return 1.0


def short_rise(progress):
    """Rises in the first tenth, as in the lab's recipe (after Bowman et al. 2016, 3.1)."""
    return min(1.0, 10 * progress)


def slow_rise(progress):
    """Rises in the first three tenths."""
    return min(1.0, progress / 0.3)


def even_rise(progress):
    """Rises evenly until the end."""
    return progress


def four_cycles(progress):
    """Rises in the first half of each of four cycles (*cyclical*; Fu et al. 2019, eq. 6)."""
    left = -4 * progress % 1  # what is left of the cycle: 0 at its end
    return min(1.0, 2 - 2 * left)


def backwards(progress):
    """Runs through the four cycles from the last step to the first."""
    return min(1.0, 2 * (4 * (1 - progress) % 1))


def two_trapezoids(progress):
    """Rises in the first four fifths of each of two cycles, as in the lab's recipe."""
    position = 2 * progress % 1
    return min(1.0, 1.25 * position)


def two_sigmoids(progress):
    """Rises along a sigmoid in each of two cycles, and is 0 at its end: the lab's recipe."""
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


# ---- Configuration ----
LARGEST = 2**31 - 1  # number that a configuration takes


@dataclass(frozen=True)
class Config:
    """The hyperparameters of a training; by default, those of our model.

    Raises TypeError for an unknown name, and ValueError for a value that is out of range. What a
    subclass adds isn't checked.
    """

    seed: int = 0  # of first weights, batches and draws
    epochs: int = 84
    batch_size: int = 64  # words per step
    hidden_size: int = 256  # H; the lab's: 256 or 512
    latent_size: int = 32  # Z; the lab's
    condition_size: int = 8  # C, of a tense; the lab's
    embedding_size: int = 32  # of a letter
    encoder: type[Encoder] = BackwardEncoder  # a class
    decoder: type[Decoder] = GatedDecoder  # a class
    optimizer: str = "adam"  # or "sgd"; see `learning_rate`
    learning_rate: float = 6e-3  # the highest
    ce_per: str = "word"  # or "character": what CE is averaged over in the loss; KL is per word
    schedule: Schedule = short_rise  # of the KL weight
    kl_weight: float = 0.6  # the highest
    tf_final: float = 0.95  # teacher-forcing ratio at the end, 0..1; it falls evenly from 1

    def __post_init__(self):
        self.check_number("seed", int, least=0)
        self.check_number("epochs", int, least=1)
        self.check_number("batch_size", int, least=1)
        self.check_number("hidden_size", int, least=1)
        self.check_number("latent_size", int, least=1)
        self.check_number("condition_size", int, least=1, most=self.hidden_size)
        self.check_number("embedding_size", int, least=1)
        self.check_number("learning_rate", float, least=0)
        self.check_number("kl_weight", float, least=0)
        self.check_number("tf_final", float, least=0, most=1)
        self.check_class("encoder", Encoder)
        self.check_class("decoder", Decoder)
        self.check("optimizer", self.optimizer in ("adam", "sgd"), "adam or sgd")
        self.check("ce_per", self.ce_per in ("word", "character"), "word or character")
        self.check("schedule", callable(self.schedule), "a function of progress")

    def __repr__(self):
        values = [f"{name}={short_name(value)}" for name, value in vars(self).items()]
        return f"{type(self).__name__}({', '.join(values)})"

    def check(self, name: str, is_right: bool, expected: str) -> None:
        """Raises a ValueError that names a value, unless it is right."""
        if not is_right:
            raise lab.wrong(name, f"{getattr(self, name)!r:.60}", expected)

    def check_number(self, name: str, kind: type, least: int, most: int = LARGEST) -> None:
        """Makes a number an int or a float, so that 1 and 1.0 are one run. Raises ValueError."""
        value = getattr(self, name)
        is_number = isinstance(value, Real) and not isinstance(value, bool)  # NumPy's is one, too
        is_right = is_number and least <= value <= most and kind(value) == value
        self.check(name, is_right, f"{kind.__name__} {least}..{most}")
        object.__setattr__(self, name, kind(value))

    def check_class(self, name: str, base: type) -> None:
        """Raises a ValueError unless a value is a subclass."""
        value = getattr(self, name)
        is_right = isinstance(value, type) and issubclass(value, base)
        self.check(name, is_right, f"a subclass of {base.__module__}.{base.__name__}")

    @classmethod
    def plain(cls, **changes) -> Config:
        """Returns the plain model, which has the lab's parts; keywords change it."""
        values = {"epochs": 16, "encoder": Encoder, "decoder": DirectDecoder, "kl_weight": 0.3}
        return cls(**(values | changes))

    @classmethod
    def lab(cls, **changes) -> Config:
        """Returns the lab's recipe, with which a model collapses; keywords change it.

        It is a typical solution by the course's rules, which leave weights, ratios and epochs open,
        much like https://github.com/chiha8888/NCTU_DLP/tree/master/lab5. Its other two schedules
        are `two_trapezoids`, and `short_rise` with a `kl_weight` of 1. What is ours: batches, and
        these of words of similar length; steps, not epochs, on which schedules follow; a forget
        bias of 1; clipping; an embedding of the tense in each part; no ReLU; and the table.
        """
        values = {
            "epochs": 500,
            "batch_size": 16,  # the recipe has 1,
            "learning_rate": 0.8,  # and a sixteenth of this (Goyal et al. 2017)
            "embedding_size": 256,
            "encoder": Encoder,
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
        return cls.plain(**(values | changes))


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


def keep_memory() -> None:
    """Lets glibc keep memory between steps, which saves a tenth of an epoch.

    Nothing is done where another allocator is used.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD, in bytes
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, the highest that it takes


# ---- Training ----
CLIP = 5.0  # the largest norm of a gradient; a longer one is scaled down to it
GAUSSIAN_SCORES_PER_RUN = 8  # or a few more


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

    By default the model is a new one, with the configuration's sizes and decoder. A model that
    is given is trained in place, so give each run its own.
    """

    def __init__(self, config: Config, verbs: list[Verb], model: CVAE | None = None):
        if model is None:
            model = lab.make_model(config, lab.vocabulary_of(verbs))
        self.config = config
        self.verbs = verbs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.words = lab.words_of(verbs, model.vocabulary)  # F N words
        self.rng = torch.Generator().manual_seed(config.seed)
        self.optimizer = self.make_optimizer()
        self.history = []

    def begin(self) -> None:
        """Is called before the first step, unless the training goes on from a kept epoch."""

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

    def rate(self, progress: float) -> float:
        """Returns the learning rate of a step, given its progress, in (0, 1]."""
        return learning_rate(self.config, progress)

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Returns the z (B, Z) that are decoded, drawn from the posteriors."""
        return lab.reparameterize(mu, logvar, self.rng)

    def loss(self, batch: Batch, progress: float):
        """Returns the loss of a batch, in nats per word, and what the history keeps of it."""
        config = self.config
        mu, logvar = self.model.encoder(batch.source)  # (B, Z)
        z = self.sample(mu, logvar)  # (B, Z)
        lengths = batch.target.lengths  # (B,)
        tf_ratio = teacher_forcing_ratio(config, progress)
        free_running = torch.rand(lengths.shape, generator=self.rng) >= tf_ratio  # (B,)
        free_running = free_running.to(self.device)
        nats = self.model.decoder.nats(z, batch.target, free_running, progress)  # (B,)
        kl = lab.kl_divergence(mu, logvar)  # (B,)
        weight = kl_weight_at(config, progress)
        per = lengths if config.ce_per == "character" else torch.ones_like(lengths)
        # L = CE + kl_weight · KL
        loss = (nats.minimized / per).mean() + weight * kl.mean()
        measured = {
            "ce": nats.ce.mean().item(),
            "kl": kl.mean().item(),
            "kl_weight": weight,
            "beta": weight * per.float().mean().item(),  # the weight beside a CE per word
            "tf_ratio": tf_ratio,
            "loss": loss.item(),
        }
        return loss, measured

    def descend(self, loss: Tensor, rate: float, where: str) -> None:
        """Takes one step down the loss. Raises FloatingPointError if it isn't finite."""
        self.optimizer.zero_grad()
        loss.backward()
        groups = self.optimizer.param_groups  # one, unless a subclass makes more
        parameters = [parameter for group in groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        if not loss.isfinite() or not norm.isfinite():
            raise FloatingPointError(f"loss {loss:g}, gradient norm {norm:g} in {where}")
        for group in groups:
            group["lr"] = rate
        self.optimizer.step()

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Trains on every word once; returns the epoch's row of the history, means over words."""
        self.model.train()
        batches = self.make_epoch(epoch)
        rows = []
        for step, batch in enumerate(batches, 1):
            progress = self.progress(epoch, step, len(batches))
            loss, measured = self.loss(batch, progress)
            rate = self.rate(progress)
            self.descend(loss, rate, f"epoch {epoch}, step {step}")
            rows.append(measured)
        sizes = [len(batch.source.lengths) for batch in batches]
        values = [[row[name] for name in rows[0]] for row in rows]
        means = np.average(values, axis=0, weights=sizes).tolist()
        row = dict(zip(rows[0], means, strict=True))
        return {"epoch": epoch, **row, "learning_rate": rate}

    def evaluate(self, epoch: int, task: Task) -> dict[str, float]:
        """Returns the scores of an epoch, by name.

        Where there are pairs, BLEU-4 is always among them; the Gaussian score is in some epochs,
        and every score in the last one.
        """
        self.model.eval()
        scores = {}
        if epoch == self.config.epochs:
            scores = lab.score(self.model, task.table, task.pairs, draws=1000)
        elif task.pairs:
            scores["bleu4"] = lab.mean_bleu4(self.model, task.pairs)
        every = max(1, self.config.epochs // GAUSSIAN_SCORES_PER_RUN)
        if "from_noise" not in scores and epoch % every == 0:
            scores |= lab.score_noise(self.model, task.table, draws=1000)
        return scores

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


class Task(NamedTuple):
    """A validated training request."""

    config: Config
    table: list[Verb]  # with repeats
    pairs: list[TestPair]
    scores: dict[str, Callable[[CVAE], float]]  # the user's own, by name
    make_training: Callable[[Config, list[Verb]], Training]

    @property
    def verbs(self) -> list[Verb]:
        """The verbs to train on, each once."""
        return list(dict.fromkeys(self.table))


COLUMNS = (  # of each run's history, whose names no score of your own may have
    "epoch ce kl kl_weight beta tf_ratio loss learning_rate bleu4 conversions from_noise "
    "inconsistent kl_table mutual_information marginal_kl"
).split()


def check_task(config, verbs=None, pairs=None, scores=None, make_training=Training) -> Task:
    """Returns the checked task of a run. Raises the errors of `lab5_runs.train`."""
    if not isinstance(config, Config):
        raise TypeError(f"config: found {config!r:.60}; expected a Config")
    table = lab.check_verbs(verbs)
    pairs = lab.test_pairs(table) if pairs is None else lab.check_pairs(pairs, table)
    scores = scores or {}
    check_names(scores, COLUMNS)
    return Task(config, table, pairs, scores, make_training)


def check_names(scores: dict, columns) -> None:
    """Raises a ValueError for a score of your own that has the name of a column."""
    for name in scores:
        if name in columns:
            raise ValueError(f"scores: found {name!r}, a column of the history; rename your score")


def show_progress(items, label: str, total: int, done=0, hidden=False) -> Iterator:
    """Yields items, and meanwhile shows a bar, which goes when it is done."""
    if hidden or done == total:
        return iter(items)  # no bar at all, since its lock would leak from a worker that is killed
    return iter(tqdm(items, label, total, initial=done, leave=False))


def own_scores(model: CVAE, task: Task) -> dict[str, float]:
    """Returns the user's own scores of a model, by name.

    All of them get the same random numbers of torch, and an error names the score.
    """
    scores = {}
    for name, score in task.scores.items():
        model.eval()  # whatever the score before left
        try:
            with reproducible(task.config.seed), torch.no_grad():
                scores[name] = float(score(model))
        except Exception as error:
            error.add_note(f"in the score {name!r}, which returns a number")
            raise
    return scores


def run_epochs(training: Training, task: Task, save: Callable, progress: bool) -> None:
    """Trains the epochs that are missing, and saves the state after each as soon as it is done."""
    keep_memory()
    done, total = len(training.history), task.config.epochs
    label = f"resumed at epoch {done + 1}" if done else "epochs"
    for epoch in show_progress(range(done + 1, total + 1), label, total, done, not progress):
        row = training.run_epoch(epoch) | training.evaluate(epoch, task)
        check_names(task.scores, row)  # a training may measure more than COLUMNS
        row |= own_scores(training.model, task)
        # a score may return NumPy's numbers, which a file that runs no code can't hold
        training.history.append({name: np.asarray(value).tolist() for name, value in row.items()})
        save(training.state())
