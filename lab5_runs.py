"""Runs of the lab: trained once, kept in runs/, resumed bit for bit, and swept over the cores.

Read it top to bottom, after `lab5_train`, which has the training itself, and `lab5_files`. A run is
kept if it is made only of what the lab's files held when they were imported. A run that uses
anything defined or changed later, in a notebook or at the prompt, is trained anew at each call,
since nothing here would know of another change.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import cloudpickle
import joblib
import pandas as pd
import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

import lab5_train
import lab5_utils as lab
from lab5_files import (
    FILES,
    UNTRAINED,
    is_plain,
    names_set,
    not_noted,
    note,
    own_modules,
    settings_of,
    with_imports,
)
from lab5_train import Config, Task, check_task, reproducible, run_epochs
from lab5_utils import CVAE


# ---- What a run is ----
def parts_of(task: Task) -> dict:
    """Returns the four parts of a run, and the user's own scores, by what a message calls them."""
    config = task.config
    parts = {
        f"strategy {config.strategy!r}": lab5_train.STRATEGIES[config.strategy],
        f"decoding {config.decoding!r}": lab.DECODERS[config.decoding],
        "configuration": type(config),
        "training": getattr(task.make_training, "func", task.make_training),  # of a partial
    }
    return parts | {f"score {name!r}": score for name, score in sorted(task.scores.items())}


def path_of(part) -> tuple[str, str]:
    """Returns the module of a part, and its name there."""
    return getattr(part, "__module__", ""), getattr(part, "__qualname__", type(part).__name__)


def arguments_of(task: Task) -> dict:
    """Returns the keywords of a training, which it has if it is a `functools.partial`."""
    return getattr(task.make_training, "keywords", {})


def files_of(task: Task) -> set[str]:
    """Returns the names of the lab's files that a run is made of."""
    modules = {path_of(part)[0] for part in parts_of(task).values()}
    return with_imports({lab5_train.__name__, *(modules & FILES.keys())})


def names_changed(module_names) -> list[str]:
    """Returns the names that were set in these files, or in what runs them, and autocast."""
    is_on = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return names_set({*module_names, *(UNTRAINED & FILES.keys())}) + ["autocast"] * is_on


def reasons_not_to_keep(task: Task) -> list[str]:
    """Returns what of a run the lab's files don't define, as a message calls it."""
    reasons = names_changed(files_of(task))
    for called, part in parts_of(task).items():
        module_name, name = path_of(part)
        if module_name not in FILES or getattr(sys.modules[module_name], name, None) is not part:
            reasons.append(f"{called} ({name})")
        else:
            reasons += [f"{file}, which isn't noted" for file in sorted(not_noted(module_name))]
    named = {f"argument {name}": value for name, value in arguments_of(task).items()}
    named |= {f"hyperparameter {name}": value for name, value in vars(task.config).items()}
    reasons += [name for name, value in named.items() if not is_plain(value)]
    if getattr(task.make_training, "args", ()):
        reasons.append("an argument without a name")
    return list(dict.fromkeys(reasons))


def say_not_kept(reasons: list[str]) -> None:
    """Prints why a run is not kept, if there is a reason; at most three are named."""
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    if reasons:
        print(f"trained anew and not kept in runs/, because of {', '.join(reasons[:3])}{more}")


def versions() -> tuple:
    """Returns what else decides on the bits: Python, torch, and torch's default precision."""
    return sys.version_info[:2], str(torch.__version__), str(torch.get_default_dtype())


def run_key(task: Task) -> str:
    """Returns the key of a run, which is a hash of its files, configuration and data."""
    paths = [path_of(part) for part in parts_of(task).values()]
    sources = [(FILES[name].source, settings_of(name)) for name in sorted(files_of(task))]
    arguments = sorted(arguments_of(task).items())
    asked = (asdict(task.config), task.table, task.pairs, sorted(task.scores))
    content = (versions(), sources, paths, arguments, asked)
    return hashlib.sha256(repr(content).encode()).hexdigest()


# ---- Runs ----
RUNS = lab.folder_named("LAB5_RUNS", "runs")  # one folder per run


class Run(NamedTuple):
    """A finished training: what it made, and how it went."""

    model: CVAE
    history: pd.DataFrame  # one row per epoch
    config: Config
    before_refining: CVAE | None = None  # the model after the first phase, if there were two


class Store:
    """The folder of a run in runs/, which keeps its last epoch."""

    def __init__(self, task: Task):
        self.config = task.config
        self.key = run_key(task)
        name = f"{self.config.strategy:.30}-{self.config.decoding:.30}"
        name = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)
        self.folder = Path(RUNS) / f"{name}-{self.config.seed}-{self.key[:16]}"
        self.path = self.folder / "run.pt"

    @contextmanager
    def locked(self) -> Iterator[dict | None]:
        """Lets one process at a time go on from what is saved; another waits, and says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            text = f"another process trains this run; waiting for it ({self.folder.name})"
            print(text, flush=True)
            held = lock.acquire()
        with held:
            text = json.dumps(asdict(self.config), indent=1)
            (self.folder / "config.json").write_text(text, encoding="utf-8")
            state = self.load()
            if state is None and self.path.exists():
                print(f"{self.path}: damaged; the run is trained anew")
            yield state

    def save(self, state: dict) -> None:
        """Saves a state and its SHA-256, whole or not at all. Raises OSError, or TypeError."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except pickle.UnpicklingError as error:  # it could never be resumed
            expected = "expected tensors, numbers and texts, in dictionaries or lists"
            raise TypeError(f"state: found what can't be loaded safely; {expected}") from error
        part = self.path.with_suffix(".part")
        with open(part, "wb") as file:
            file.write(content + hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def load(self) -> dict | None:
        """Returns the state that was saved, or None if there is none or if it is damaged.

        Whatever the file holds, loading it runs no code.
        """
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            return None
        return torch.load(io.BytesIO(content[:-32]), map_location="cpu", weights_only=True)

    def finished(self) -> dict | None:
        """Returns the state after the last epoch, or None if something is left to train."""
        state = self.load()
        is_finished = state is not None and len(state["history"]) == self.config.epochs
        return state if is_finished else None


@torch.inference_mode(False)
@torch.enable_grad()
def finish(task: Task, store: Store | None = None, progress=False) -> Run:
    """Returns a run, loaded from its store, after training what is missing of it."""
    state = store.finished() if store else None
    # if nothing is left to train, nothing is written, so that the folder may be read-only
    turn = store.locked() if store and not state else nullcontext(state)
    with reproducible(task.config.seed), turn as state:  # in this order, or threads could block
        training = task.make_training(task.config, task.verbs)
        if state is not None:
            training.restore(state)
        try:
            run_epochs(training, task, store.save if store else None, progress)
        finally:  # refined or not, loaded or not; a given model is free even after Ctrl-C
            training.model.requires_grad_(True)
    history = pd.DataFrame(training.history).set_index("epoch")
    return Run(training.model.eval(), history, task.config, training.before_refining)


def train(config: Config, verbs=None, *, scores=None, progress=True, **options) -> Run:
    """Returns a run: the model after the last epoch, and a history with one row per epoch.

    It is trained on verbs, each of them once; by default, on those of `load_verbs()`. A row of the
    history holds what `Training.loss` measures, the learning rate of the last step, BLEU-4, and in
    some rows all that `score` returns. `scores` adds columns of your own: a dictionary of functions
    of the model, by name, which are called after every epoch. `progress` shows a bar. Options are
    `pairs` for BLEU-4 (by default, those of test.txt that ask for these verbs), and
    `make_training(config, verbs)`, which may train something else.

    Before any work it may raise the errors of `load_verbs`, `check_pairs` and `kl_weight`, and
    ValueError for a score with the name of another column; later, OSError and FloatingPointError.
    """
    return finish(check_task(config, verbs, scores=scores, **options), progress=progress)


def load_or_train(config: Config, verbs=None, *, progress=True, **options) -> Run:
    """Returns the run of this configuration, with these data and files, from runs/, or trains it.

    Every epoch is saved, so that the same call resumes a run, on a CPU bit for bit. If a run has a
    part that isn't in the lab's files, such as a score of your own, it is trained anew and not
    kept, and a line names that part. Takes and raises what `train` does.
    """
    task = check_task(config, verbs, **options)
    reasons = reasons_not_to_keep(task)
    say_not_kept(reasons)
    return finish(task, None if reasons else Store(task), progress)


# ---- Sweeps ----
@functools.cache
def end_with(sweeper: int) -> None:
    """Makes a worker end, even within an epoch, soon after the process that sweeps has ended.

    On Windows, which doesn't tell that it has, nothing is done.
    """

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getpid() != sweeper:
        starter = multiprocessing.parent_process()  # which may have ended by now
        parent = starter.pid if starter else os.getppid()
        threading.Thread(target=watch, args=(parent,), daemon=True).start()


def what_computes() -> dict:
    """Returns the versions here, and what the lab's files compute, as they were imported here."""
    trained = FILES.keys() - UNTRAINED
    files = {name: (FILES[name].source, settings_of(name)) for name in trained}
    return {"versions": versions(), **files}


def finish_in_worker(number, task, store: Store | None, schedule, decoder, sweeper: int, theirs):
    """Returns a run and its number, finished in a worker, which is sent what it may lack."""
    end_with(sweeper)
    lab5_train.STRATEGIES[task.config.strategy] = schedule
    lab.DECODERS[task.config.decoding] = decoder
    has_others = any(theirs.get(name, ours) != ours for name, ours in what_computes().items())
    if has_others or (store and names_changed(FILES)):
        what = "files, their settings, or versions"
        raise RuntimeError(f"a worker has other {what} than here: restart Python")
    try:
        return number, finish(task, store)
    except Exception as error:
        error.add_note(f"in task {number} of the sweep, counted from 0: {task.config}")
        raise


def call_of(number: int, task: Task, store: Store | None, ours: dict):
    """Returns the call that finishes a task in a worker, with all that the worker may lack."""
    schedule, decoder, *_ = parts_of(task).values()
    sent = (schedule, decoder, os.getpid(), ours)
    return joblib.delayed(finish_in_worker)(number, task, store, *sent)


def check_workers(module_names) -> None:
    """Raises ValueError if something was set in these files, here, that workers would not see."""
    if torch.get_default_dtype() != torch.float32:
        raise ValueError("torch's default dtype is another than in workers: use `load_or_train`")
    if set_here := names_changed(module_names):
        changed = f"{set_here[0]} isn't what it was at import, and workers don't see what it is now"
        raise ValueError(f"{changed}: set it in its file, above `note(__name__)`, and restart")


def as_pair(task, verbs) -> tuple | list:
    """Returns a task's configuration and verbs. Raises ValueError if it has other parts."""
    pair = task if isinstance(task, tuple | list) else (task, verbs)
    if len(pair) != 2:
        expected = "expected a configuration, or a pair of one and its verbs"
        raise ValueError(f"tasks: found one of {len(pair)} parts; {expected}")
    return pair


def sweep(tasks, verbs=None, *, pairs=None, jobs=-1, progress=True, **options) -> list[Run]:
    """Returns the runs of tasks, in their order, each loaded from runs/ or trained.

    A task is a configuration, or a pair of a configuration and its own verbs. One run is trained
    per core, or on a cluster (`joblib.parallel_config`). Takes and raises what `load_or_train`
    does, and ValueError if a name in the files that are used isn't what it was at import, since
    workers don't see what it is now. (Nor do they see what was set in a helper that isn't noted.)
    What was finished before an error is kept, if it is kept at all; what isn't is lost.
    """
    for name in own_modules():  # of which a worker may have an older version
        cloudpickle.register_pickle_by_value(sys.modules[name])
    if verbs is not None:
        verbs = lab.check_verbs(verbs)
    if pairs is not None:
        pairs = lab.as_list(pairs, "pairs", "a list of pairs")
    runs, calls, not_kept, used = {}, [], set(), set()
    ours = what_computes()
    for number, task in enumerate(lab.as_list(tasks, "tasks", "a list of configurations")):
        config, own = as_pair(task, verbs)
        task = check_task(config, own, pairs, **options)
        reasons = reasons_not_to_keep(task)
        not_kept |= set(reasons)
        store = None if reasons else Store(task)
        if store and store.finished():
            runs[number] = finish(task, store)  # here, since a worker takes seconds to start
        else:
            calls.append(call_of(number, task, store, ours))
            used |= files_of(task) if store else FILES.keys()
    if calls:
        check_workers(used)
    say_not_kept(sorted(not_kept))
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(calls)))
    try:
        finished = joblib.Parallel(jobs, return_as="generator_unordered")(calls)
        runs |= tqdm(finished, "runs", len(calls), disable=not (progress and calls))
    except BrokenProcessPool as error:
        causes = "lacks a folder that is on sys.path by now (restart Python), or ran out of memory"
        error.add_note(f"a worker was ended, or {causes}")
        raise
    return [runs[number] for number in sorted(runs)]


note(__name__)
