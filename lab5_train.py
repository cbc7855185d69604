"""How the lab's model is trained: schedules, hyperparameters, the training step.

Read it top to bottom, after `lab5_utils`; shapes and units are the same. `lab5_runs` then has
`train`, `load_or_train` and `sweep`. `tests/README.md` shows how to add a schedule, a score or a
decoder. *The re-created recipe* is that of `Config.classic`. Much like it is a public solution:
https://github.com/chiha8888/NCTU_DLP/tree/master/lab5
"""

from __future__ import annotations

import copy
import ctypes
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from IPython import get_ipython
from IPython.display import clear_output
from torch import Tensor, nn
from tqdm.auto import tqdm

import lab5_gate  # noqa: F401, since it registers the decoder of `Config()`
import lab5_utils as lab
from lab5_utils import CVAE, TestPair, Verb, Words

# ---- Schedules ----
# A schedule is the shape of a KL weight: given progress, in (0, 1], and excess, the nats of KL
# above the target, it returns a number 0..1. The KL weight is `config.kl_weight` times that.
Schedule = Callable[[float, float], float]


def constant(progress, excess):
    """Keeps the weight at its highest value."""
    return 1.0


def monotonic(progress, excess):
    """Rises in the first tenth (after Bowman et al. 2016, 3.1)."""
    return min(1.0, 10 * progress)


def slow_monotonic(progress, excess):
    """Rises in the first three tenths and then stays."""
    return min(1.0, progress / 0.3)


def even_rise(progress, excess):
    """Rises evenly until the end."""
    return progress


def cyclical_linear(progress, excess):
    """Rises in the first half of each of four cycles (Fu et al. 2019, eq. 6)."""
    left = -4 * progress % 1  # what is left of the cycle: 0 at its end
    return min(1.0, 2 - 2 * left)


def backwards(progress, excess):
    """Runs through the four cycles from the last step to the first."""
    return min(1.0, 2 * (4 * (1 - progress) % 1))


def cyclical_trapezoid(progress, excess):
    """Rises in the first four fifths of each of two cycles."""
    position = 2 * progress % 1
    return min(1.0, 1.25 * position)


def cyclical_sigmoid(progress, excess):
    """Rises along a sigmoid in each of two cycles; 0 at its end (the re-created recipe)."""
    position = 2 * progress % 1
    if position > 0.994:
        return 0.0
    return 1 / (1 + math.exp(5 - 10 * position))


def target_rate(progress, excess):
    """Raises the weight with KL above the target, as a thermostat does.

    The target starts HEADROOM nats higher, so that the code can open. Sources: after Burgess et al.
    2018 and Shao et al. 2020.
    """
    headroom = HEADROOM * max(0.0, 1 - progress / FALL)
    return min(1.0, max(0.0, excess - headroom))


STRATEGIES: dict[str, Schedule] = {
    "constant": constant,
    "monotonic": monotonic,
    "slow-monotonic": slow_monotonic,
    "even-rise": even_rise,
    "cyclical-linear": cyclical_linear,
    "backwards": backwards,
    "cyclical-trapezoid": cyclical_trapezoid,
    "cyclical-sigmoid": cyclical_sigmoid,
    "target-rate": target_rate,
}
HEADROOM = 4.0  # nats above the target that are free at the start
FALL = 0.25  # progress at which these have fallen to 0
WARM_UP = 0.02  # share of a phase in which Adam's learning rate rises


def kl_weight(config: Config, progress: float, kl: float) -> float:
    """Returns the KL weight, given progress and the KL of a batch, in nats per word.

    Raises ValueError for a schedule that returns anything but a number 0..1.
    """
    share = STRATEGIES[config.strategy](progress, kl - config.target_kl)
    if not isinstance(share, Real) or not 0 <= share <= 1:
        where = f"strategy {config.strategy!r}, progress {progress:g}"
        raise ValueError(f"{where}: found {share!r:.60}; expected a number 0..1")
    return config.kl_weight * float(share)


def teacher_forcing_ratio(config: Config, progress: float) -> float:
    """Returns the share of words, 0..1, that are fed the right letters; it falls evenly from 1."""
    return 1 - (1 - config.tf_final) * progress


def learning_rate(config: Config, progress: float) -> float:
    """Returns the learning rate at a progress, in (0, 1], within one of the two phases.

    That of SGD is constant. That of Adam rises quickly, and then falls along a cosine to 0, which
    it reaches at the last step of the phase.
    """
    if config.optimizer == "sgd":
        return config.learning_rate
    # rate = highest · min(1, progress / warm_up) · ½ (1 + cos π progress)
    shape = min(1, progress / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate * shape


# ---- Configuration ----
CHOICES = {
    "strategy": STRATEGIES,
    "decoding": lab.DECODERS,
    "optimizer": ("adam", "sgd"),
    "ce_per": ("word", "character"),
}
LARGEST = 2**31 - 1
RANGES = {"seed": (0, LARGEST), "tf_final": (0, 1), "refine": (0, 0.9)}  # of these numbers
OTHERS = {int: (1, LARGEST), float: (0, LARGEST)}  # of all others, by their kind


@dataclass(frozen=True)
class Config:
    """The hyperparameters of a training; by default, those of our model.

    Raises TypeError for an unknown name, and ValueError for a value that is out of range. What a
    subclass adds isn't checked.
    """

    seed: int = 0  # of first weights, batches and draws
    epochs: int = 84  # those of refining included
    batch_size: int = 64  # words per step
    hidden_size: int = 256  # H; the lab's: 256 or 512
    latent_size: int = 32  # Z; the lab's
    condition_size: int = 8  # C, of a tense; the lab's
    embedding_size: int = 32  # of a letter
    decoding: str = "gated"  # one of DECODERS
    optimizer: str = "adam"  # or "sgd"; see `learning_rate`
    learning_rate: float = 6e-3  # the highest
    ce_per: str = "word"  # or "character": what CE is averaged over in the loss; KL is per word
    strategy: str = "target-rate"  # the schedule of the KL weight, one of STRATEGIES
    kl_weight: float = 1.0  # the highest
    target_kl: float = 4.0  # nats per word, for schedules that watch KL; 7.1 would name a verb
    tf_final: float = 0.95  # teacher-forcing ratio at the end, 0..1; it falls evenly from 1
    refine: float = 0.25  # share of epochs, 0..0.9, at the end: only the encoder learns, without KL

    def __post_init__(self):
        for field in fields(Config):
            value = getattr(self, field.name)
            if field.name in CHOICES and value not in list(CHOICES[field.name]):
                expected = f"expected one of {', '.join(CHOICES[field.name])}"
                raise ValueError(f"{field.name}: found {value!r:.60}; {expected}")
            if field.name not in CHOICES:
                self.check_number(field.name, type(field.default))
        if self.condition_size > self.hidden_size:
            found = f"found {self.condition_size}; expected at most hidden_size, {self.hidden_size}"
            raise ValueError(f"condition_size: {found}")

    def check_number(self, name: str, kind: type) -> None:
        """Makes a number an int or a float, so that 1 and 1.0 are one run. Raises ValueError."""
        value = getattr(self, name)
        low, high = RANGES.get(name, OTHERS[kind])
        is_number = isinstance(value, Real) and not isinstance(value, bool)  # NumPy's is one, too
        if not is_number or not low <= value <= high or kind(value) != value:
            expected = f"expected {kind.__name__} {low}..{high}"
            raise ValueError(f"{name}: found {value!r:.60}; {expected}")
        object.__setattr__(self, name, kind(value))

    @classmethod
    def classic(cls, **changes) -> Config:
        """Returns the re-created recipe, with which a model collapses; but its code is in c0, too.

        Keywords change it.
        """
        values = {
            "epochs": 500,
            "batch_size": 16,  # the public solution has 1, and a sixteenth of this learning rate
            "embedding_size": 256,
            "decoding": "direct",
            "optimizer": "sgd",
            "learning_rate": 0.8,
            "ce_per": "character",  # so that β is eight times what is printed
            "strategy": "monotonic",
            "tf_final": 0.1,
            "refine": 0.0,
        }
        return cls(**(values | changes))

    @classmethod
    def miniature(cls, **changes) -> Config:
        """Returns settings with which a model roughly learns a tenth of the verbs in ten seconds.

        Keywords change them; with epochs=120 most conversions are right.
        """
        values = {
            "epochs": 24,
            "batch_size": 16,
            "hidden_size": 64,
            "embedding_size": 16,
            "learning_rate": 0.01,
        }
        return cls(**(values | changes))

    @property
    def kl_epochs(self) -> int:
        """The number of epochs before refining, in which the loss has KL.

        The epochs of refining are rounded down.
        """
        return self.epochs - int(round(self.refine * self.epochs, 6))


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
GAUSSIAN_SCORES_PER_RUN = 8  # or a few more, and those where a phase ends


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

    In the first phase the loss has KL; in the second, refining, only the encoder is trained,
    without KL. By default the model is a new one, made of the parts that the configuration names.
    A model that is given is trained in place, so give each run its own.
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
        self.optimizer = self.make_optimizer(model, beta2=0.99)  # a short memory while z is noisy
        self.history = []
        self.before_refining = None  # will be the model as the first phase left it

    def begin(self) -> None:
        """Is called before the first step, unless the training goes on from a kept epoch."""

    def make_optimizer(self, module: nn.Module, beta2: float) -> torch.optim.Optimizer:
        """Returns a new optimizer of a module's parameters; each step sets its learning rate."""
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(module.parameters())
        return torch.optim.Adam(module.parameters(), betas=(0.9, beta2), fused=True)

    def start_second_phase(self) -> None:
        """Freezes the decoder's weights, so that from here on only the encoder learns."""
        self.before_refining = copy.deepcopy(self.model).eval()
        self.model.decoder.requires_grad_(False)
        self.optimizer = self.make_optimizer(self.model.encoder, beta2=0.999)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch, in which every form occurs once."""
        batches = []
        for n in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            words = lab.select_words(self.words, n).to(self.device)
            batches.append(Batch(source=words, target=words))
        return batches

    def progress(self, epoch: int, step: int, steps: int) -> float:
        """Returns the share of its phase, in (0, 1], that is done after a step (1..steps)."""
        first, last = 0, self.config.kl_epochs
        if epoch > self.config.kl_epochs:
            first, last = self.config.kl_epochs, self.config.epochs
        return (epoch - 1 + step / steps - first) / (last - first)

    def rate(self, progress: float) -> float:
        """Returns the learning rate of a step, given its phase's progress, in (0, 1]."""
        return learning_rate(self.config, progress)

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Returns the z (B, Z) that are decoded, drawn from the posteriors."""
        return lab.reparameterize(mu, logvar, self.rng)

    def loss(self, batch: Batch, progress: float, refining: bool):
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
        weight = 0.0 if refining else kl_weight(config, progress, kl.mean().item())
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
        refining = epoch > self.config.kl_epochs
        if epoch == self.config.kl_epochs + 1:
            self.start_second_phase()
        self.model.train()
        batches = self.make_epoch(epoch)
        rows = []
        for step, batch in enumerate(batches, 1):
            progress = self.progress(epoch, step, len(batches))
            # while refining, all schedules stay at their end, except that of the learning rate
            loss, measured = self.loss(batch, 1.0 if refining else progress, refining)
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
        and every score in the last epoch of a phase. The user's own scores always are, too. All of
        them get the same random numbers of torch, and an error names the score.
        """
        self.model.eval()
        scores = {}
        if epoch in (self.config.kl_epochs, self.config.epochs):
            scores = lab.score(self.model, task.table, task.pairs, draws=1000)
        elif task.pairs:
            scores["bleu4"] = lab.mean_bleu4(self.model, task.pairs)
        every = max(1, self.config.epochs // GAUSSIAN_SCORES_PER_RUN)
        if "gaussian_exact" not in scores and epoch % every == 0:
            scores |= lab.score_noise(self.model, task.table, draws=1000)
        for name, score in task.scores.items():
            self.model.eval()  # whatever the score before left
            try:
                with reproducible(self.config.seed), torch.no_grad():
                    scores[name] = float(score(self.model))
            except Exception as error:
                error.add_note(f"in the score {name!r}, which returns a number")
                raise
        return scores

    def state(self) -> dict:
        """Returns what is needed to resume a run or, if it is finished, to use it."""
        state = {
            "model": self.model.state_dict(),
            "rng": self.rng.get_state(),
            "torch_rng": torch.get_rng_state(),  # for a model that draws itself, as dropout does
            "history": self.history,
        }
        if self.before_refining is not None:
            state["before_refining"] = self.before_refining.state_dict()
        if len(self.history) < self.config.epochs:
            state["optimizer"] = self.optimizer.state_dict()
        return state

    def restore(self, state: dict) -> None:
        """Goes back to a state that `state` returned."""
        self.history = state["history"]
        if len(self.history) > self.config.kl_epochs:
            self.start_second_phase()  # which a subclass may do in another way
        if "before_refining" in state:
            self.before_refining.load_state_dict(state["before_refining"])
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


COLUMNS = (  # of a run's history, whose names no score of your own may have
    "epoch ce kl kl_weight beta tf_ratio loss learning_rate "
    "bleu4 conversions distinct gaussian_official gaussian_exact gaussian_inconsistent "
    "kl_table mutual_information marginal_kl"
)


def check_task(config, verbs=None, pairs=None, scores=None, make_training=Training) -> Task:
    """Returns the checked task of a run. Raises the errors of `lab5_runs.train`."""
    if not isinstance(config, Config):
        raise TypeError(f"config: found {config!r:.60}; expected a Config")
    table = lab.check_verbs(verbs)
    pairs = lab.test_pairs(table) if pairs is None else lab.check_pairs(pairs, table)
    scores = scores or {}
    if taken := sorted(scores.keys() & COLUMNS.split()):
        raise ValueError(f"scores: found {taken[0]!r}, a column of the history; rename your score")
    return Task(config, table, pairs, scores, make_training)


def show_progress(items, label: str, total: int, done=0, hidden=False) -> Iterator:
    """Yields items, and meanwhile shows a bar, with which a notebook's cell is cleared at last."""
    hidden = hidden or done == total
    yield from tqdm(items, label, total, initial=done, leave=False, disable=hidden)
    if get_ipython() and not hidden:
        clear_output()


def run_epochs(training: Training, task: Task, save: Callable | None, progress: bool) -> None:
    """Trains the epochs that are missing, and saves the state after each as soon as it is done."""
    keep_memory()
    done, total = len(training.history), task.config.epochs
    label = f"resumed at epoch {done + 1}" if done else "epochs"
    for epoch in show_progress(range(done + 1, total + 1), label, total, done, not progress):
        row = training.run_epoch(epoch) | training.evaluate(epoch, task)
        # a score may return NumPy's numbers, which a file that runs no code can't hold
        training.history.append({name: np.asarray(value).tolist() for name, value in row.items()})
        if save:
            save(training.state())
