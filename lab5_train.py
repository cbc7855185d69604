"""Training of the lab's model: its hyperparameters, the loop, runs that survive, and many at once.

Read it top to bottom: schedules, configuration, training, what a run is, runs, sweeps. Read
`lab5_utils` first; shapes and units are the same. `tests/README.md` shows how to add a schedule, a
score or a decoder.
"""

from __future__ import annotations

import copy
import dis
import hashlib
import importlib
import inspect
import io
import itertools
import json
import math
import numbers
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import CodeType, EllipsisType, FunctionType, ModuleType, NoneType
from typing import Annotated, Literal, NamedTuple, get_args, get_origin, get_type_hints

import joblib
import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm.auto import tqdm

import lab5_utils as lab
from lab5_utils import CVAE, Table, TestPair, Verb, Words

lab.SOURCES[__name__] = lab.hash_source(__file__)

# ---- Schedules ----
# The shape of a KL weight is a function of progress, in (0, 1], and of excess, the nats of KL above
# the target. It returns 0..1; the KL weight is `config.kl_weight` times that.
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


def target_rate(progress, excess):
    """Charges in proportion to the excess (cf. Burgess et al. 2018; Shao et al. 2020).

    At first HEADROOM nats more are free, so that there is something to press.
    """
    headroom = HEADROOM * max(0.0, 1 - progress / FALL)
    return min(1.0, max(0.0, excess - headroom))


STRATEGIES: dict[str, Schedule] = {
    "constant": constant,
    "monotonic": monotonic,
    "cyclical-linear": cyclical_linear,
    "cyclical-cosine": cyclical_cosine,
    "cyclical-trapezoid": cyclical_trapezoid,
    "cyclical-sigmoid": cyclical_sigmoid,
    "target-rate": target_rate,
}
HEADROOM = 4.0  # nats above the target that are free at first
FALL = 0.25  # share of progress in which they go
WARM_UP = 0.02  # share of a phase in which Adam's learning rate rises


def as_float(value) -> float:
    """Returns a number, NumPy's and torch's too, as a float. Raises TypeError for anything else."""
    try:
        return float(value * 1.0)  # a text is no number
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"found {value!r:.60}; expected a number") from error


def kl_weight(config: Config, progress: float, kl: float) -> float:
    """Returns the KL weight at a progress and `kl` nats per word.

    Raises ValueError, which names the strategy, if its shape raises or does not return 0..1.
    """
    shape = STRATEGIES[config.strategy]
    where = f"strategy {config.strategy!r}, progress {progress:g}"
    expected = "expected a function of progress and excess that returns 0..1"
    try:
        share = as_float(shape(progress, kl - config.target_kl))
    except Exception as error:
        raise ValueError(f"{where}: {type(error).__name__}: {error}; {expected}") from error
    if not 0 <= share <= 1:
        raise ValueError(f"{where}: found {share!r}; {expected}")
    return config.kl_weight * share


def teacher_forcing_ratio(config: Config, progress: float) -> float:
    """Returns the share of words that are fed the right letters: it falls linearly from 1."""
    return 1 - (1 - config.tf_final) * progress


def learning_rate(config: Config, progress: float) -> float:
    """Returns the learning rate at a progress, in (0, 1], of one of the two phases.

    SGD's is constant. Adam's warms up and falls along a cosine, to 0 at the phase's last step.
    """
    if config.optimizer == "sgd":
        return config.learning_rate
    # rate = highest · min(1, progress / warm_up) · ½ (1 + cos π progress)
    shape = min(1, progress / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate * shape


# ---- Configuration ----
LARGEST = 2**31 - 1
Count = Annotated[int, 1, LARGEST]
Share = Annotated[float, 0, 1]
Amount = Annotated[float, 0, LARGEST]


def check_field(name: str, value, kind):
    """Returns the value of a hyperparameter as its kind says. Raises ValueError."""
    registries = {"strategy": STRATEGIES, "decoding": lab.DECODERS}
    choices = get_args(kind) if get_origin(kind) is Literal else registries.get(name)
    if choices is not None:
        if not isinstance(value, str) or value not in choices:
            known = ", ".join(map(str, choices))
            raise ValueError(f"{name}: found {value!r:.60}; expected one of {known}")
        return str(value)
    if get_origin(kind) is not Annotated:  # a field without a range, of a class of one's own
        return value
    number, low, high = get_args(kind)
    abstract = numbers.Integral if number is int else numbers.Real  # NumPy's, too
    is_number = isinstance(value, abstract) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # and so no NaN
        raise ValueError(f"{name}: found {value!r:.60}; expected {number.__name__} {low}..{high}")
    return number(value)


@dataclass(frozen=True)
class Config:
    """Holds the hyperparameters; by default, the lab by its own rules.

    Raises TypeError for an unknown name, ValueError for a value that is out of range.
    """

    seed: Annotated[int, 0, LARGEST] = 0  # of weights, batches and noise
    epochs: Count = 84  # refining included
    batch_size: Count = 64  # words a step
    hidden_size: Count = 256  # H; the lab's: 256 or 512
    latent_size: Count = 32  # Z; the lab's
    condition_size: Count = 8  # C, of a tense; the lab's
    embedding_size: Count = 32  # of a letter
    decoding: str = "gated"  # one of DECODERS
    optimizer: Literal["adam", "sgd"] = "adam"  # see `learning_rate`
    learning_rate: Amount = 6e-3  # the highest
    ce_per: Literal["word", "character"] = "word"  # CE in the loss; KL is always per word
    strategy: str = "target-rate"  # of the KL weight: one of STRATEGIES
    kl_weight: Amount = 1.0  # the schedule's maximum
    target_kl: Amount = 4.0  # nats per word, for schedules that watch KL; ln 1227 = 7.1 name a verb
    tf_final: Share = 0.95  # teacher-forcing ratio at the end, linear from 1
    refine: Annotated[float, 0, 0.9] = 0.25  # share of epochs, the last: only the encoder, KL free

    def __post_init__(self):
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            value = check_field(name, getattr(self, name), kind)
            object.__setattr__(self, name, value)  # 1 and 1.0 are one run
        if self.condition_size >= self.hidden_size:
            found = f"{self.condition_size} beside hidden_size {self.hidden_size}"
            raise ValueError(f"condition_size: found {found}; expected less")

    @classmethod
    def classic(cls, **changes) -> Config:
        """Returns the original's values, as its author published them; keywords change them."""
        values = {
            "epochs": 500,
            "batch_size": 16,  # the original's 1, and 16 times its learning rate
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
        """Returns values that learn a tenth of the verbs, roughly, in ten seconds.

        Keywords change them: with epochs=120 most conversions come right.
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
        """The epochs in which KL is weighed, all but those of refining; these are rounded down."""
        return self.epochs - int(round(self.refine * self.epochs, 6))


# ---- Training ----
CLIP = 5.0  # the largest norm of a gradient
SCORED = 8  # of the epochs of a run so many have a Gaussian score
HISTORY = """epoch ce kl kl_weight beta tf_ratio loss learning_rate bleu4 bleu4_drawn conversion
gaussian_official gaussian_exact gaussian_inconsistent distinct kl_table mutual_information
marginal_kl active_units"""  # columns


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
    """Trains a model by the lab's rules: each word to itself, told its tense.

    In the first phase KL is weighed; in the second, the encoder alone is refined.
    """

    def __init__(self, config: Config, model: CVAE, verbs: list[Verb]):
        self.config = config
        self.verbs = verbs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.words = lab.words_of(verbs, model.vocabulary)  # F N words
        self.rng = torch.Generator().manual_seed(config.seed)
        self.optimizer = self.make_optimizer(model, beta2=0.99)  # short while z is noisy
        self.history = []
        self.before = None  # a copy of the model as the first phase left it

    def make_optimizer(self, module: nn.Module, beta2: float) -> torch.optim.Optimizer:
        """Returns a new optimizer of a module's weights."""
        rate = self.config.learning_rate
        if self.config.optimizer == "sgd":
            return torch.optim.SGD(module.parameters(), lr=rate)
        return torch.optim.Adam(module.parameters(), lr=rate, betas=(0.9, beta2), fused=True)

    def start_second_phase(self) -> None:
        """Freezes the decoder: from here on, the encoder alone is refined."""
        self.before = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.model.decoder.requires_grad_(False)
        self.optimizer = self.make_optimizer(self.model.encoder, beta2=0.999)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch: every form once."""
        batches = []
        for n in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            words = lab.select_words(self.words, n).to(self.device)
            batches.append(Batch(source=words, target=words))
        return batches

    def progress(self, epoch: int, step: int, steps: int) -> float:
        """Returns how much of its phase is done with step 1..steps of an epoch, in (0, 1]."""
        first, last = 0, self.config.kl_epochs
        if epoch > self.config.kl_epochs:
            first, last = self.config.kl_epochs, self.config.epochs
        return (epoch - 1 + step / steps - first) / (last - first)

    def sample(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Returns the z (B, Z) that is decoded."""
        return lab.reparameterize(mu, logvar, self.rng)

    def loss(self, batch: Batch, progress: float, refining: bool):
        """Returns the loss of a batch, and what the history keeps of it."""
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
            "beta": weight * per.float().mean().item(),  # the weight beside CE per word
            "tf_ratio": tf_ratio,
            "loss": loss.item(),
        }
        return loss, measured

    def descend(self, loss: Tensor, rate: float, where: str) -> None:
        """Takes one step down the loss. Raises FloatingPointError."""
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
        refining = epoch > self.config.kl_epochs
        if epoch == self.config.kl_epochs + 1:
            self.start_second_phase()
        self.model.train()
        batches = self.make_epoch(epoch)
        rows = []
        for step, batch in enumerate(batches, 1):
            progress = self.progress(epoch, step, len(batches))
            # refining is the end of all schedules but the learning rate's
            loss, measured = self.loss(batch, 1.0 if refining else progress, refining)
            rate = learning_rate(self.config, progress)
            self.descend(loss, rate, f"epoch {epoch}, step {step}")
            rows.append(measured)
        sizes = [len(batch.source.lengths) for batch in batches]
        values = [list(row.values()) for row in rows]
        means = np.average(values, axis=0, weights=sizes).tolist()
        row = dict(zip(rows[0], means, strict=True))
        return {"epoch": epoch, **row, "learning_rate": rate}

    def evaluate(self, epoch: int, task: Task) -> dict[str, float]:
        """Returns BLEU-4, now and then the Gaussian score, where a phase ends all scores.

        And one's own scores, each in a random state of its own. Raises TypeError for one that
        returns no number.
        """
        self.model.eval()
        found = {}
        if epoch in (self.config.kl_epochs, self.config.epochs):
            found |= lab.score(self.model, self.verbs, task.pairs, draws=1000)
        elif task.pairs:
            found["bleu4"] = lab.mean_bleu4(self.model, task.pairs)
        if "gaussian_exact" not in found and epoch % max(1, self.config.epochs // SCORED) == 0:
            found |= lab.score_noise(self.model, self.verbs, draws=1000)
        for name, score in task.scores.items():
            with reproducible(self.config.seed), torch.no_grad():
                value = score(self.model)
                try:
                    found[name] = as_float(value)
                except TypeError as error:
                    raise TypeError(f"score {name!r}, epoch {epoch}: {error}") from error
        return found

    def state(self) -> dict:
        """Returns all that a checkpoint must hold to go on, or of a finished run to be used."""
        state = {
            "model": self.model.state_dict(),
            "rng": self.rng.get_state(),
            "torch_rng": torch.get_rng_state(),  # of a model's own, as for dropout
            "history": self.history,
        }
        if self.before is not None:
            state["before"] = self.before.state_dict()
        if len(self.history) < self.config.epochs:
            state["optimizer"] = self.optimizer.state_dict()
        return state

    def restore(self, state: dict) -> None:
        """Goes back to a state that `state` returned."""
        self.history = state["history"]
        if "before" in state:
            self.start_second_phase()
            self.before.load_state_dict(state["before"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
        self.model.load_state_dict(state["model"])
        self.rng.set_state(state["rng"])
        torch.set_rng_state(state["torch_rng"])


Score = Callable[[CVAE], float]


class Task(NamedTuple):
    """Holds what a training is asked for, checked."""

    config: Config
    verbs: Table  # each once
    pairs: list[TestPair]
    scores: dict[str, Score]  # of one's own, by name
    make_training: Callable[[Config, Table], Training]


def new_training(config: Config, verbs: Table) -> Training:
    """Returns a training that has not begun, of the model that a configuration names."""
    return Training(config, lab.make_model(config, lab.vocabulary_of(verbs)), verbs)


def check_task(config, verbs, pairs, scores, make_training) -> Task:
    """Returns the task of a run that may begin; raises as `train`."""
    if not isinstance(config, Config):
        raise TypeError(f"config: found {config!r:.60}; expected a Config")
    verbs = lab.distinct_verbs(verbs)
    pairs = lab.known_pairs(verbs) if pairs is None else lab.check_pairs(pairs, len(verbs[0]))
    lab.vocabulary_of(verbs).to_tensor([pair.source for pair in pairs])
    scores = {} if scores is None else scores
    if not isinstance(scores, dict):
        raise TypeError(f"scores: found {scores!r:.60}; expected functions by name")
    for name, score in scores.items():
        if not isinstance(name, str) or name in HISTORY.split() or not callable(score):
            expected = f"a function of the model, under a name that is none of {HISTORY}"
            raise ValueError(f"scores: found {name!r:.60}, {score!r:.60}; expected {expected}")
    check_schedule(config)
    return Task(config, verbs, pairs, dict(scores), make_training)


REMEMBERS = "found what changes from call to call; expected a function of progress and excess alone"


def check_schedule(config: Config) -> None:
    """Raises ValueError for a schedule that leaves 0..1 or does not give the same twice."""
    points = list(itertools.product(range(1, 21), (-1.0, 0.0, 1.0, 100.0)))
    twice = [(n / 20, max(0.0, config.target_kl + excess)) for n, excess in [*points, *points]]
    weights = [kl_weight(config, *point) for point in twice]
    if weights[: len(points)] != weights[len(points) :]:
        raise ValueError(f"strategy {config.strategy!r}: {REMEMBERS}")


# ---- What a run is ----
# A run is what its code, configuration and data say; its key is a hash of that. Of this project's
# modules, code is their source and what they hold in memory. A schedule or decoder from elsewhere,
# say from a notebook, is described by its bytecode and by all that it uses. Of libraries the name
# is enough. What cannot be described in full is refused. Nobody sees what code reads while it runs:
# files, the environment, names that it looks up by text.
PLAIN = (str, bytes, bool, int, float, complex, NoneType, EllipsisType)
REGISTRIES = {"STRATEGIES": STRATEGIES, "DECODERS": lab.DECODERS}
STANDARD = sysconfig.get_path("stdlib")
DESCRIBED = "text, numbers, tuples, functions, classes and libraries"


def module_of(value) -> str | None:
    """Returns the name of the module that a value is of."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, FunctionType):  # functools.wraps copies __module__
        return value.__globals__.get("__name__")
    return getattr(value, "__module__", None) or type(value).__module__  # NumPy's 1.26 have none


def home_of(value) -> tuple | None:
    """Describes the module that a value is of, if that is this project's or a library's."""
    name = module_of(value)
    if name in lab.SOURCES:
        return name, lab.SOURCES[name]
    root = str(name).partition(".")[0]
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    is_installed = root != "__main__" and re.search("(site|dist)-packages", file)
    is_standard = root in sys.builtin_module_names or file.startswith(STANDARD)
    return (name,) if is_installed or is_standard else None


def has_a_name(value) -> bool:
    """Tells whether a value's name in its module says all of it."""
    if isinstance(value, FunctionType):
        return not value.__closure__
    module = sys.modules.get(module_of(value))
    is_known = getattr(module, getattr(value, "__name__", ""), None) is value
    return is_known or isinstance(value, ModuleType | type)


def steps_in(code: CodeType) -> Iterator[dis.Instruction]:
    """Yields the instructions of compiled code and of the functions in it."""
    for step in dis.get_instructions(code):
        yield step
        if isinstance(step.argval, CodeType):
            yield from steps_in(step.argval)


def parts_of(code: CodeType) -> tuple:
    """Returns what compiled code computes: its bytecode, names and constants, no docstring."""
    is_def = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    constants = code.co_consts[1:] if is_def else code.co_consts  # first, the docstring or None
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    arguments = (code.co_argcount, code.co_kwonlyargcount)
    return code.co_code, code.co_exceptiontable, names, arguments, constants


def used_by(function: FunctionType) -> dict:
    """Returns what a function is made of and uses, by name: cells, globals and imports, too."""
    code = function.__code__
    used = vars(function) | (function.__kwdefaults__ or {})
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    used |= dict(zip(code.co_freevars, cells, strict=True))
    for step in steps_in(code):
        name = step.argval
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and name in function.__globals__:
            used[name] = function.__globals__[name]
        elif step.opname == "IMPORT_NAME":
            used[name] = importlib.import_module(name)
        elif isinstance(name, str) and name in REGISTRIES:  # of a module
            used[name] = REGISTRIES[name]
    return used | {"<code>": code, "<defaults>": function.__defaults__}


def held_by(kind: type) -> dict:
    """Returns what a class holds, by name: bases, methods, attributes."""
    held = {"<bases>": kind.__bases__}
    for name, value in vars(kind).items():
        # what is in a property, a static or a class method
        value = getattr(value, "fget", getattr(value, "__func__", value))
        is_method = isinstance(value, FunctionType) and name != "__repr__"
        if is_method or not name.startswith("__"):
            held[name] = value
    return held


def describe(value, where: str, seen: dict[int, int]):
    """Describes code or data; raises TypeError for what it cannot describe in full.

    `where` names it in the error; `seen` numbers the functions and classes described so far.
    """
    if isinstance(value, np.number):
        value = value.item()
    if type(value) in PLAIN:
        return repr(value)
    if type(value) in (tuple, frozenset):
        parts = [describe(part, where, seen) for part in value]
        return parts if type(value) is tuple else sorted(parts, key=repr)
    if isinstance(value, CodeType):
        return describe(parts_of(value), where, seen)
    home = home_of(value)
    if home and has_a_name(value):
        return home, getattr(value, "__qualname__", "")
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, FunctionType | type):
        seen[id(value)] = len(seen)
        if home and hasattr(value, "__wrapped__"):  # by a library's decorator: torch.no_grad()
            return home, value.__code__.co_name, describe(value.__wrapped__, where, seen)
        parts = held_by(value) if isinstance(value, type) else used_by(value)
        return [(name, describe(parts[name], f"{where}, {name}", seen)) for name in sorted(parts)]
    found = f"{where}: found a {type(value).__name__}, {value!r:.40}"
    raise TypeError(f"{found}; expected {DESCRIBED}: compute it inside, or pass a number")


def state_of(module: ModuleType) -> list[tuple]:
    """Describes the functions and constants of a module: they may have been set as it ran."""
    state = []
    for name, value in sorted(vars(module).items()):
        is_own = isinstance(value, type) and value.__module__ == module.__name__
        parts = held_by(value) if is_own else {"": value}
        for key, part in sorted(parts.items()):
            if isinstance(part, FunctionType):
                state.append((name, key, describe(inspect.unwrap(part).__code__, name, {})))
            elif not name.startswith("__") and (type(part) in PLAIN or isinstance(part, np.number)):
                state.append((name, key, describe(part, name, {})))
    return state


def run_key(task: Task) -> str:
    """Returns the key of a run: a hash of its code, configuration, verbs and test pairs.

    Raises TypeError, which names it, for what a schedule or decoder uses and cannot be described.
    """
    config = task.config
    used = {
        f"strategy {config.strategy!r}": STRATEGIES[config.strategy],
        f"decoding {config.decoding!r}": lab.DECODERS[config.decoding],
        "make_training": task.make_training,
        "config": type(config),
        **{f"config, {field.name}": getattr(config, field.name) for field in fields(config)},
    }
    code = [describe(value, where, {}) for where, value in used.items()]
    check_schedule(config)
    if code != [describe(value, where, {}) for where, value in used.items()]:
        raise ValueError(f"strategy {config.strategy!r}: {REMEMBERS}")
    names = {lab.__name__, __name__, task.make_training.__module__} & lab.SOURCES.keys()
    code += [(lab.SOURCES[name], state_of(sys.modules[name])) for name in sorted(names)]
    content = (sys.version_info[:2], str(torch.__version__), code, task.verbs, task.pairs)
    return hashlib.sha256(repr(content).encode()).hexdigest()


# ---- Runs ----
RUNS = Path(os.environ.get("LAB5_RUNS") or lab.HERE / "runs")  # a folder a run
CHECKPOINT = "run.pt"  # its last epoch
TURN = threading.RLock()  # a process has one random state and one number of threads


class Run(NamedTuple):
    """Holds a finished training."""

    model: CVAE
    history: pd.DataFrame  # a row an epoch
    config: Config
    before: CVAE | None = None  # the model as the first phase left it, if there was a second


def say(text: str) -> None:
    """Tells what a reader would otherwise wonder about."""
    print(text, file=sys.stderr, flush=True)


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file whole, or raises OSError and leaves the old one; several may write at once."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
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


class Store:
    """Keeps the last epoch of a run in a folder; in runs/ each has one of its own."""

    def __init__(self, task: Task, folder: Path):
        self.task = task
        self.key = run_key(task)
        self.in_runs = folder == Path(RUNS)  # there a damaged file is set aside
        self.folder = folder / self.name() if self.in_runs else folder
        self.path = self.folder / CHECKPOINT

    def name(self) -> str:
        """Returns a name for the run's folder, whatever its schedule is called."""
        config = self.task.config
        plain = re.sub(r"[^\w-]", "_", f"{config.strategy}-{config.decoding}", flags=re.ASCII)
        return f"{plain[:60]}-{config.seed}-{self.key[:16]}"

    def save(self, state: dict) -> None:
        """Saves a state, and the SHA-256 of it and the run's key. Raises OSError."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        atomic_write(self.path, content + self.sign(content))
        done = len(state["history"])
        self.path.with_name("progress.txt").write_text(f"{done} of {self.task.config.epochs}\n")

    def epochs_done(self) -> int:
        """Returns how many epochs the run has, as its folder says; this is for the eye."""
        with suppress(OSError, ValueError, IndexError):
            return int(self.path.with_name("progress.txt").read_text().split()[0])
        return 0

    def load(self) -> dict | None:
        """Returns the state that was saved, if any; it runs no code.

        Raises ValueError for a damaged file, unless it is in runs/, where it counts as none; and
        for a run that was trained without a score that is asked for.
        """
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        state, signature = content[:-32], content[-32:]
        if self.sign(state) != signature:
            if self.in_runs:
                return None
            reason = "damaged, or of another configuration, code or data"
            raise ValueError(f"{self.path}: {reason}: delete it or use another folder")
        state = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        missing = self.task.scores.keys() - state["history"][-1].keys()
        if missing:
            found = f"{self.path}: trained without the score {min(missing)!r}"
            raise ValueError(f"{found}: delete it, or train in another folder (run_dir)")
        return state

    def sign(self, content: bytes) -> bytes:
        """Returns what only this run's content ends with."""
        return hashlib.sha256(content + self.key.encode()).digest()

    @contextmanager
    def locked(self) -> Iterator[dict | None]:
        """Lets one process at a time go on with the run, from the state that it is given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{self.folder}: another process trains this run; waiting for it")
            lock.acquire()
        try:
            yield self.prepare()
        finally:
            lock.release()

    def prepare(self) -> dict | None:
        """Removes what a killed process left, sets a damaged file aside; returns as `load`."""
        for part in self.folder.glob("*.part"):
            part.unlink()
        state = self.load()
        if state is None and self.path.exists():
            damaged = self.path.with_name(f"damaged-{CHECKPOINT}")
            os.replace(self.path, damaged)
            say(f"{self.path}: damaged; it is kept as {damaged.name}, and the run trained anew")
        text = json.dumps(asdict(self.task.config), indent=1, default=str) + "\n"
        self.path.with_name("config.json").write_text(text, encoding="utf-8")
        return state


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


@contextmanager
def short_interrupt() -> Iterator[None]:
    """Says in one line what an interrupt leaves."""
    try:
        yield
    except KeyboardInterrupt:
        short = KeyboardInterrupt("what is trained is kept, and the same call goes on from there")
        short._render_traceback_ = lambda: [f"KeyboardInterrupt: {short}"]  # in a notebook
        raise short from None


def history_table(history: list[dict]) -> pd.DataFrame:
    """Returns the rows of a history as a table, by epoch."""
    return pd.DataFrame(history).set_index("epoch")


def run_epochs(training: Training, task: Task, store: Store | None, progress, on_epoch) -> None:
    """Trains until the last epoch, and saves each."""
    done = len(training.history)
    total = task.config.epochs
    label = f"resumed at epoch {done + 1}" if done else "epochs"
    hidden = not progress or done == total
    epochs = tqdm(range(done + 1, total + 1), label, total, initial=done, disable=hidden)
    for epoch in epochs:
        row = training.run_epoch(epoch)
        training.history.append(row | training.evaluate(epoch, task))
        if store is not None:
            store.save(training.state())
        if on_epoch is not None:
            with reproducible(task.config.seed):
                on_epoch(history_table(training.history))


def finish(task: Task, store: Store | None = None, progress=False, on_epoch=None) -> Run:
    """Loads a run from its store, or trains what is missing of it."""
    config = task.config
    with reproducible(config.seed):
        training = task.make_training(config, task.verbs)
    state = store.load() if store else None
    is_finished = state is not None and len(state["history"]) == config.epochs
    # what is finished is read on any disk; with the rest another process may have gone on
    turn = nullcontext(state) if store is None or is_finished else store.locked()
    message = nullcontext() if store is None else short_interrupt()
    with message, turn as state, reproducible(config.seed):
        if state is not None:
            training.restore(state)
        run_epochs(training, task, store, progress, on_epoch)
    training.model.requires_grad_(True).eval()  # as when it is loaded
    return Run(training.model, history_table(training.history), config, training.before)


def train(
    config: Config,
    verbs=None,
    *,
    pairs=None,
    scores=None,
    make_training=new_training,
    run_dir=None,
    progress=True,
    on_epoch=None,
) -> Run:
    """Trains on verbs, repeats counted once; None: `load_verbs()`. Returns the last epoch's run.

    Every epoch is saved in `run_dir`, if any, and the same call resumes there, bit-exactly on a
    CPU. `progress` shows a bar; `on_epoch` is called with the history so far. The history's columns
    are what `Training.loss` measures, the learning rate of the last step, BLEU-4 of `pairs` (None:
    those of test.txt that ask for these verbs), in some rows what `score` returns, and your own
    `scores`: functions of the model, by name, taken after every epoch. They are no part of what a
    run is: one that is kept has the scores it was trained with, an edited one keeps its old column,
    and one that it lacks is an error. `make_training(config, verbs)` may train something else.

    Raises before any work as `load_verbs` and `kl_weight`, TypeError, and ValueError for a
    checkpoint that is damaged or another's; then OSError and FloatingPointError.
    """
    task = check_task(config, verbs, pairs, scores, make_training)
    store = None if run_dir is None else Store(task, Path(run_dir))
    return finish(task, store, progress, on_epoch)


def load_or_train(config: Config, verbs=None, **options) -> Run:
    """Returns the run of exactly this code, configuration and data from runs/, else trains it.

    Takes and raises what `train` does, but for `run_dir`; a damaged file is set aside.
    """
    return train(config, verbs, run_dir=RUNS, **options)


# ---- Sweeps ----
def finish_elsewhere(store: Store, schedule: Schedule, decoder: type) -> Run:
    """Finishes a run in a process of a sweep, which is told what a notebook has registered."""
    config = store.task.config
    STRATEGIES[config.strategy] = schedule
    lab.DECODERS[config.decoding] = decoder
    if run_key(store.task) != store.key:
        found = "found other code in a process of the sweep"
        raise RuntimeError(f"{found}; expected this one's: restart it, or train with load_or_train")
    return finish(store.task, store)


def show_epochs(stores: list[Store], is_over: threading.Event) -> None:
    """Shows every second how far the runs of a sweep are, each that is under way by its epoch."""
    totals = [store.task.config.epochs for store in stores]
    begun = sum(store.epochs_done() for store in stores)
    label = "resumed: " if begun else ""
    with tqdm(total=sum(totals), initial=begun, unit="epoch") as bar:
        was_over = False
        while not was_over:
            was_over = is_over.wait(1)
            done = [store.epochs_done() for store in stores]
            counts = list(zip(done, totals, strict=True))
            finished = sum(n == total for n, total in counts)
            under_way = [f"{n}/{total}" for n, total in counts if 0 < n < total]
            bar.n = sum(done)
            bar.set_description(f"{label}{finished} of {len(done)} runs", refresh=False)
            bar.set_postfix_str(" ".join(under_way))


def sweep(tasks, verbs=None, jobs=-1, *, scores=None, make_training=new_training) -> list[Run]:
    """Loads or trains runs, in order: a core each, or on a cluster (`joblib.parallel_config`).

    A task is a configuration, or a pair of a configuration and verbs of its own. Takes and raises
    what `load_or_train` does; what is finished by then is kept.
    """
    verbs = None if verbs is None else lab.check_verbs(verbs)
    stores = []
    for task in tasks:
        config, own = task if isinstance(task, tuple | list) else (task, verbs)
        stores.append(Store(check_task(config, own, None, scores, make_training), RUNS))
    calls = []
    for store in stores:
        config = store.task.config
        registered = (STRATEGIES[config.strategy], lab.DECODERS[config.decoding])
        calls.append(joblib.delayed(finish_elsewhere)(store, *registered))
    is_over = threading.Event()
    shown = threading.Thread(target=show_epochs, args=(stores, is_over), daemon=True)
    shown.start()
    try:
        with short_interrupt():
            return list(joblib.Parallel(jobs, return_as="generator")(calls))
    finally:
        is_over.set()
        shown.join()
