"""Training of the lab's model: the loop, runs that survive, and a sweep of many.

Read `lab5_utils` first; shapes and units are the same.
"""

from __future__ import annotations

import copy
import dis
import hashlib
import io
import itertools
import math
import os
import pickle
import re
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial, singledispatch
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from torch import Tensor, nn
from tqdm.auto import tqdm

import lab5_utils as lab
from lab5_utils import CVAE, Config, TestPair, Verb, Words

# ---- Training ----
CLIP = 5.0  # the largest norm of a gradient
SCORED = 8  # of the epochs of a run so many have a Gaussian score
WARM_UP = 0.02  # share of a phase in which Adam's learning rate rises


def learning_rate(config, progress: float) -> float:
    """Returns the learning rate at a progress, in (0, 1], of one of the two phases.

    SGD's is constant. Adam's warms up and falls along a cosine, to 0 at the phase's last step.
    """
    if config.optimizer == "sgd":
        return config.learning_rate
    # rate = highest · min(1, progress / warm_up) · ½ (1 + cos π progress)
    shape = min(1, progress / WARM_UP) * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate * shape


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
        self.before = copy.deepcopy(self.model).requires_grad_(False)
        self.model.decoder.requires_grad_(False)
        self.optimizer = self.make_optimizer(self.model.encoder, beta2=0.999)

    def make_epoch(self, epoch: int) -> list[Batch]:
        """Returns the batches of an epoch: every form once."""
        batches = []
        for numbers in make_batches(self.words.lengths, self.config.batch_size, self.rng):
            words = lab.select_words(self.words, numbers).to(self.device)
            batches.append(Batch(source=words, target=words))
        return batches

    def progress(self, epoch: int, step: int, steps: int) -> float:
        """Returns how much of its phase is done with step 1..steps of an epoch, in (0, 1]."""
        first, last = 0, self.config.kl_epochs
        if epoch > self.config.kl_epochs:
            first, last = self.config.kl_epochs, self.config.epochs
        return (epoch - 1 + step / steps - first) / (last - first)

    def loss(self, batch: Batch, progress: float, refining: bool):
        """Returns the loss of a batch, and what the history keeps of it."""
        config = self.config
        mu, logvar = self.model.encoder(batch.source)  # (B, Z)
        z = lab.reparameterize(mu, logvar, self.rng)  # (B, Z)
        lengths = batch.target.lengths  # (B,)
        tf_ratio = lab.teacher_forcing_ratio(config, progress)
        free_running = torch.rand(lengths.shape, generator=self.rng) >= tf_ratio  # (B,)
        free_running = free_running.to(self.device)
        nats = self.model.decoder.nats(z, batch.target, free_running, progress)  # (B,)
        kl = lab.kl_divergence(mu, logvar)  # (B,)
        weight = 0.0 if refining else lab.kl_weight(config, progress, kl.mean().item())
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
        batches = self.make_epoch(epoch)
        rows = []
        for step, batch in enumerate(batches, 1):
            progress = self.progress(epoch, step, len(batches))
            loss, measured = self.loss(batch, 1.0 if refining else progress, refining)
            rate = learning_rate(self.config, progress)
            self.descend(loss, rate, f"epoch {epoch}, step {step}")
            rows.append(measured)
        sizes = [len(batch.source.lengths) for batch in batches]
        values = [list(row.values()) for row in rows]
        means = np.average(values, axis=0, weights=sizes).tolist()
        row = dict(zip(rows[0], means, strict=True))
        return {"epoch": epoch, **row, "learning_rate": rate}

    def evaluate(self, epoch: int, pairs: list[TestPair]) -> dict[str, float]:
        """Returns BLEU-4, now and then the Gaussian score, where a phase ends all scores.

        Your own SCORES are taken after every epoch.
        """
        own = {name: measure(self.model) for name, measure in lab.SCORES.items()}
        if epoch in (self.config.kl_epochs, self.config.epochs):
            return lab.score(self.model, self.verbs, pairs, draws=1000) | own
        found = {"bleu4": lab.mean_bleu4(self.model, pairs)} if pairs else {}
        if epoch % max(1, self.config.epochs // SCORED) == 0:
            found |= lab.score_noise(self.model, self.verbs, draws=1000)
        return found | own

    def state(self) -> dict:
        """Returns all that a checkpoint must hold to go on, or of a finished run to be used."""
        state = {
            "model": self.model.state_dict(),
            "rng": self.rng.get_state(),
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


@singledispatch
def new_training(config: Config, verbs: list[Verb]) -> Training:
    """Returns a training that has not begun; a configuration of another class registers its own."""
    return Training(config, lab.make_model(config, lab.vocabulary_of(verbs)), verbs)


# ---- What a run is ----
# A run is what its code, configuration and data say. Code is read as Python has compiled it:
# without comments, docstrings and line numbers, and with all functions, classes and constants that
# it names, but for those of libraries. So what is edited, here or in a notebook, is another run.
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
REGISTRIES = (lab.STRATEGIES, lab.DECODERS, lab.SCORES)


def is_own(value) -> bool:
    """Tells whether a function, class or module was written here or in a notebook."""
    name = value.__name__ if isinstance(value, ModuleType) else value.__module__
    if name == "__main__" or name not in sys.modules:  # a worker has it without its module
        return not name.startswith("namedtuple_")
    file = getattr(sys.modules[name], "__file__", None) or LIBRARIES[0]
    return not file.startswith(LIBRARIES) and not re.search("(site|dist)-packages", file)


def instructions_of(code: CodeType) -> Iterator[dis.Instruction]:
    """Yields the instructions of compiled code and of the functions in it."""
    for instruction in dis.get_instructions(code):
        if isinstance(instruction.argval, CodeType):
            yield from instructions_of(instruction.argval)
        else:
            yield instruction


def used_by(function: FunctionType) -> dict:
    """Returns what a function works with, by name: globals, what it encloses, its defaults."""
    instructions = list(instructions_of(function.__code__))
    loaded = {step.argval for step in instructions if step.opname in LOADS}
    used = {name: function.__globals__[name] for name in loaded & function.__globals__.keys()}
    for module in [value for value in used.values() if isinstance(value, ModuleType)]:
        if is_own(module):  # lab.CLIP: of a module, what is named
            named = {str(step.argval) for step in instructions} & vars(module).keys()
            used |= {f"{module.__name__}.{name}": vars(module)[name] for name in named}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    used |= {name: cell.cell_contents for name, cell in cells}
    used |= {name: value for name, value in vars(function).items() if name[:2] != "__"}
    return used | {"defaults": (function.__defaults__, function.__kwdefaults__)}


def held_by(kind: type) -> dict:
    """Returns what a class holds, by name, but for what Python puts there itself."""
    held = {"bases": kind.__bases__} | vars(kind)
    methods = {name for name, value in held.items() if isinstance(value, FunctionType)}
    return {name: held[name] for name in held if name in methods or not name.startswith("__")}


def read_code(value, seen: set[int]):
    """Describes a function or class, in full where it comes first and is no library's."""
    if id(value) in seen or not is_own(value):
        return value.__qualname__
    seen.add(id(value))
    if isinstance(value, type):
        return read(held_by(value), seen)
    steps = [(step.opname, step.argval) for step in instructions_of(value.__code__)]
    return read([steps, used_by(value)], seen)


def read(value, seen: set[int]):
    """Describes code or data: what computes the same is described the same, in any process.

    `seen` are the functions and classes described so far. What a run takes from a registry, its
    configuration says.
    """
    match value:
        case FunctionType() | type():
            return read_code(value, seen)
        case str() | bytes() | int() | float() | complex() | None:
            return value
        case list() | tuple():
            return [read(part, seen) for part in value]
        case set() | frozenset():
            return sorted(map(repr, value))
        case dict() if not any(value is registry for registry in REGISTRIES):
            items = sorted(value.items(), key=lambda item: str(item[0]))
            return [(str(key), read(part, seen)) for key, part in items]
        case Tensor() | np.ndarray():
            return np.asarray(value).tobytes()
        case np.generic() | range() | pd.Series() | pd.DataFrame():
            return pickle.dumps(value)
        case staticmethod() | classmethod() | MethodType():
            return read([value.__func__, getattr(value, "__self__", None)], seen)
        case property():
            return read(value.fget, seen)
        case partial():
            return read([value.func, value.args, value.keywords], seen)
        case object(__wrapped__=function):  # cached
            return read(function, seen)
    attributes = getattr(value, "__dict__", {}) if is_own(type(value)) else {}
    return read([type(value), attributes], seen)


def digest(config: Config, verbs: list[Verb], pairs: list[TestPair]) -> str:
    """Hashes what a run depends on: its code, configuration, verbs and test pairs."""
    schedule = lab.STRATEGIES[config.strategy]
    decoder = lab.DECODERS.get(config.decoding)
    own = dict(lab.SCORES)
    code = [new_training.dispatch(type(config)), type(config), schedule, decoder, own, reproducible]
    content = (config, verbs, pairs, read(code, set()))
    return hashlib.sha256(repr(content).encode()).hexdigest()


# ---- Runs ----
RUNS = lab.HERE / "runs"  # a folder a run
CHECKPOINT = "run.pt"  # its last epoch
TURN = threading.RLock()  # a process has one random state and one number of threads


class Run(NamedTuple):
    """Holds a finished training."""

    model: CVAE
    history: pd.DataFrame  # a row an epoch
    config: Config
    before: CVAE | None = None  # the model as the first phase left it, if there was a second


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
    """Keeps the last epoch of a run in a folder."""

    def __init__(self, folder: Path, key: str):
        self.path = folder / CHECKPOINT
        self.key = key

    def save(self, training: Training) -> None:
        """Saves a state, and the SHA-256 of it and the run's digest. Raises OSError."""
        buffer = io.BytesIO()
        torch.save(training.state(), buffer)
        content = buffer.getvalue()
        atomic_write(self.path, content + self.sign(content))

    def load(self) -> dict | None:
        """Returns the state that was saved, if any; it runs no code. Raises ValueError."""
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        state, signature = content[:-32], content[-32:]
        if self.sign(state) != signature:
            reason = "damaged, or of another configuration, code or data"
            raise ValueError(f"{self.path}: {reason}: delete it or use another folder")
        return torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)

    def sign(self, content: bytes) -> bytes:
        """Returns what only this run's content ends with."""
        return hashlib.sha256(content + self.key.encode()).digest()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one process at a time go on with the run; removes what a killed one left."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            for part in folder.glob("*.part"):
                part.unlink()
            yield


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


def check_schedule(config: Config) -> None:
    """Raises ValueError for a schedule that leaves 0..1 or remembers its calls."""
    shape = lab.STRATEGIES[config.strategy]
    points = list(itertools.product(range(1, 21), (-1.0, 0.0, 1.0, 100.0)))
    found = []
    for _ in range(2):
        code = repr(read(shape, set()))
        weights = [lab.kl_weight(config, n / 20, config.target_kl + x) for n, x in points]
        found.append((code, weights))
    if found[0] != found[1]:
        where = f"strategy {config.strategy!r}: found what changes from call to call"
        raise ValueError(f"{where}; expected a function of progress and excess alone")


def check_task(config: Config, verbs, pairs) -> tuple[list[Verb], list[TestPair]]:
    """Returns verbs, each once, and test pairs, of a run that may begin; raises as `train`."""
    if not isinstance(config, Config):
        raise TypeError(f"config: found {config!r:.60}; expected a Config")
    verbs = lab.distinct_verbs(verbs)
    pairs = lab.known_pairs(verbs) if pairs is None else lab.check_pairs(pairs, len(verbs[0]))
    lab.vocabulary_of(verbs).to_tensor([pair.source for pair in pairs])
    check_schedule(config)
    return verbs, pairs


def run_epochs(training: Training, pairs, store: Store | None, progress, on_epoch) -> None:
    """Trains until the last epoch, and saves each."""
    done = len(training.history)
    total = training.config.epochs
    label = f"resumed at epoch {done + 1}" if done else "epochs"
    hidden = not progress or done == total
    epochs = tqdm(range(done + 1, total + 1), label, total, initial=done, disable=hidden)
    with reproducible(training.config.seed):
        for epoch in epochs:
            row = training.run_epoch(epoch)
            training.history.append(row | training.evaluate(epoch, pairs))
            if store is not None:
                store.save(training)
            if on_epoch is not None:
                on_epoch(history_table(training.history))


def history_table(history: list[dict]) -> pd.DataFrame:
    """Returns the rows of a history as a table, by epoch."""
    return pd.DataFrame(history).set_index("epoch")


def train(
    config: Config, verbs=None, *, pairs=None, run_dir=None, progress=True, on_epoch=None
) -> Run:
    """Trains on verbs, repeats counted once; None: `load_verbs()`. Returns the last epoch's run.

    Every epoch is saved in `run_dir`, if any, and the same call resumes there, bit-exactly on a
    CPU. `progress` shows a bar; `on_epoch` is called with the history so far. The history's columns
    are what `Training.loss` measures, the learning rate of the last step, BLEU-4 of `pairs` (None:
    those of test.txt that ask for these verbs), SCORES of your own and, in some rows, those of
    `score`. Raises before any work as `load_verbs` and `kl_weight`, TypeError, and ValueError for a
    checkpoint that is damaged or another's; then OSError and FloatingPointError.
    """
    verbs, pairs = check_task(config, verbs, pairs)
    store = None if run_dir is None else Store(Path(run_dir), digest(config, verbs, pairs))
    return train_checked(config, verbs, pairs, store, progress, on_epoch)


def train_checked(config: Config, verbs, pairs, store: Store | None, progress, on_epoch) -> Run:
    """Loads or trains what `check_task` returned."""
    with reproducible(config.seed):
        training = new_training(config, verbs)
    state = store.load() if store else None
    if state is not None and len(state["history"]) == config.epochs:  # on any disk
        training.restore(state)
    else:
        with store.locked() if store else nullcontext():
            state = store.load() if store else None  # another process may have gone on
            if state is not None:
                training.restore(state)
            run_epochs(training, pairs, store, progress, on_epoch)
    training.model.requires_grad_(True)  # as when it is loaded
    return Run(training.model, history_table(training.history), config, training.before)


def run_folder(config: Config, key: str) -> Path:
    """Returns the folder in runs/ of the run with this digest."""
    name = f"{config.strategy}-{config.decoding}-{config.seed}"
    plain = re.sub(r"[^\w-]", "_", name)  # whatever a schedule is called
    return RUNS / f"{plain}-{key[:16]}"


def load_or_train(config: Config, verbs=None, *, pairs=None, progress=True, on_epoch=None) -> Run:
    """Returns the run of exactly this code, configuration and data from runs/, else trains it.

    Raises as `train`.
    """
    verbs, pairs = check_task(config, verbs, pairs)
    key = digest(config, verbs, pairs)
    store = Store(run_folder(config, key), key)
    return train_checked(config, verbs, pairs, store, progress, on_epoch)


# ---- Sweeps ----
def load_or_train_elsewhere(registries, make_training, config, verbs, pairs, folder, key) -> Run:
    """Trains in a process that a sweep has started; it is told what a notebook has registered."""
    for registry, registered in zip(REGISTRIES, registries, strict=True):
        registry.update(registered)
    new_training.register(type(config), make_training)
    if digest(config, verbs, pairs) != key:
        found = "found other code in a process of the sweep"
        raise RuntimeError(f"{found}; expected this one's: restart it, or train with load_or_train")
    return train_checked(config, verbs, pairs, Store(folder, key), False, None)


def sweep(tasks, verbs=None, jobs=-1) -> list[Run]:
    """Loads or trains runs, in order: a core each, or on a cluster (`joblib.parallel_config`).

    A task is a configuration, or a pair of a configuration and verbs of its own. Raises as `train`;
    what is finished by then is kept.
    """
    verbs = None if verbs is None else lab.check_verbs(verbs)
    calls = []
    for task in tasks:
        config, own = task if isinstance(task, tuple) and len(task) == 2 else (task, verbs)
        own, pairs = check_task(config, own, None)
        key = digest(config, own, pairs)
        make_training = new_training.dispatch(type(config))
        call = joblib.delayed(load_or_train_elsewhere)
        where = (run_folder(config, key), key)
        calls.append(call(REGISTRIES, make_training, config, own, pairs, *where))
    results = joblib.Parallel(jobs, return_as="generator")(calls)
    return list(tqdm(results, total=len(calls)))
