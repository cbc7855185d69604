"""Runs of the lab: trained once, kept in runs/, resumed bit for bit, and swept over the cores.

Read it top to bottom, after `lab5_train`, which has the training itself. What a run is, and when it
is kept, is a rule of five lines in `tests/README.md`, *To keep what you train*. What is changed in
memory isn't seen: after an edit restart Python.
"""

import ast
import functools
import io
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import joblib
import pandas as pd
import torch
from filelock import FileLock, Timeout

import lab5_utils as lab
from lab5_train import (
    Config,
    Task,
    Training,
    check_task,
    reproducible,
    run_epochs,
    show_progress,
)

RUNS = lab.folder_named("LAB5_RUNS", "runs")  # one folder per run
FOLDERS = [lab.HERE, lab.HERE / "experiments"]
FILES = [file for folder in FOLDERS for file in folder.glob("*.py")]
IMPORTED = {file.relative_to(lab.HERE): file.read_bytes() for file in FILES}
LABS = {Path(f"lab5_{name}.py") for name in ("utils", "gate", "train", "runs")}


# ---- What a run is ----
def parts_of(task: Task) -> dict:
    """Returns the parts of a run that one may define oneself, by what a line calls them."""
    values = vars(task.config).items()
    parts = {f"the {name}": value for name, value in values if callable(value)}
    parts["the configuration"] = type(task.config)
    make_training = task.make_training
    is_partial = isinstance(make_training, functools.partial)
    parts["the training"] = make_training.func if is_partial else make_training
    return parts | {f"the score {name!r}": score for name, score in sorted(task.scores.items())}


def file_of(part) -> Path | None:
    """Returns the project's file that defines a part under its name, or None if none does."""
    module = sys.modules.get(getattr(part, "__module__", None))
    is_named = getattr(module, getattr(part, "__qualname__", ""), None) is part
    file = Path(getattr(module, "__file__", None) or "/").resolve()
    is_ours = is_named and file.is_relative_to(lab.HERE)
    return file.relative_to(lab.HERE) if is_ours else None


def files_of(task: Task) -> list[Path]:
    """Returns the files that define a run, as far as they are the project's."""
    files = LABS.union(map(file_of, parts_of(task).values()))
    return sorted(files & IMPORTED.keys())


def code_of(content: bytes) -> str:
    """Returns what a file of Python says, without its comments."""
    return ast.dump(ast.parse(content))


def why_not_kept(task: Task) -> str:
    """Returns why a run is not kept, or an empty text if it is."""
    for called, part in parts_of(task).items():
        if file_of(part) not in IMPORTED:
            return f"{called} isn't defined in a file of the project's folder or of experiments/"
    for file in files_of(task):
        if code_of((lab.HERE / file).read_bytes()) != code_of(IMPORTED[file]):
            return f"{file} has changed since it was imported; restart Python"
    return ""


def computed_by(files: list[Path]) -> list:
    """Returns what decides on a run's bits besides what is asked: versions and files."""
    versions = [*sys.version_info[:2], str(torch.__version__), str(torch.get_default_dtype())]
    codes = "".join(code_of(IMPORTED[file]) for file in files)
    return [versions, [file.as_posix() for file in files], sha256(codes.encode()).hexdigest()]


def full_name(part) -> str:
    """Returns the module and the qualified name of a function or a class, or what else it is."""
    return f"{part.__module__}.{getattr(part, '__qualname__', repr(part))}"


def described(config: Config) -> dict:
    """Returns the values of a configuration by name; functions and classes by their full names."""
    return {name: full_name(v) if callable(v) else v for name, v in vars(config).items()}


def run_key(task: Task) -> str:
    """Returns the key of a run. Raises TypeError for what is neither a number nor a text."""
    names = {called: full_name(part) for called, part in parts_of(task).items()}
    arguments = [getattr(task.make_training, name, None) for name in ("args", "keywords")]
    asked = names, arguments, described(task.config), task.table, task.pairs
    content = json.dumps([computed_by(files_of(task)), asked], sort_keys=True)
    return sha256(content.encode()).hexdigest()


# ---- Where a run is kept ----
class Store:
    """The folder of a run in runs/, which keeps its last epoch, unless a reason forbids it."""

    def __init__(self, task: Task, reason: str):
        self.task = task
        self.reason = reason  # why nothing is kept, or an empty text
        self.folder = None if reason else Path(RUNS) / run_key(task)[:20]

    @property
    def path(self) -> Path:
        """The file that holds the last epoch."""
        return self.folder / "run.pt"

    def open(self) -> None:
        """Makes the folder, and lays the configuration into it; else that is a reason, too."""
        if self.reason:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            config = json.dumps(described(self.task.config), indent=1)
            (self.folder / "config.json").write_text(config)
        except OSError as error:
            self.reason = f"{RUNS} can't be written ({error.strerror})"

    @contextmanager
    def locked(self):
        """Yields what is saved to one process at a time; another waits, and says so."""
        if self.reason:
            yield None
            return
        with acquired(FileLock(self.folder / "lock")):
            state = self.load()
            if state is None and self.path.exists():
                print(f"{self.path}: damaged; the run is trained anew")
            yield state

    def save(self, state: dict) -> None:
        """Saves a state and its SHA-256, whole or not at all. Raises OSError."""
        if self.reason:
            return
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        part = self.path.with_suffix(".part")
        part.write_bytes(content + sha256(content).digest())
        part.replace(self.path)

    def load(self) -> dict | None:
        """Returns the state that was saved, or None if there is none or if it is damaged.

        Whatever the file holds, loading it runs no code.
        """
        if self.reason or not self.path.exists():
            return None
        content = self.path.read_bytes()
        if sha256(content[:-32]).digest() != content[-32:]:
            return None
        return torch.load(io.BytesIO(content[:-32]), map_location="cpu", weights_only=True)


def acquired(lock: FileLock):
    """Returns a lock that is held, to be used in a `with`; whoever waits for it is told so."""
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"another process trains this run; waiting for it ({lock.lock_file})", flush=True)
        return lock.acquire()


def say_what_is_not_kept(stores: list[Store]) -> None:
    """Prints each reason for which a run wasn't kept, once."""
    for reason in sorted({store.reason for store in stores} - {""}):
        print(f"trained anew and not kept in runs/: {reason}")


# ---- One run ----
class Run(NamedTuple):
    """A finished training: what it made, and how it went."""

    model: lab.CVAE
    history: pd.DataFrame  # one row per epoch
    config: Config


def run_of(training: Training, config: Config) -> Run:
    """Returns the run of a finished training."""
    history = pd.DataFrame(training.history).set_index("epoch")
    return Run(training.model.eval(), history, config)


def load_run(store: Store) -> Run | None:
    """Returns a finished run from its folder, which may be read-only, or None if it isn't there."""
    config = store.task.config
    state = store.load()
    if not state or len(state["history"]) < config.epochs:
        return None
    with reproducible(config.seed):
        training = store.task.make_training(config, store.task.verbs)
        training.restore(state)
    return run_of(training, config)


def finish_run(store: Store, progress=False) -> Run:
    """Returns a run after training what is missing of it; each epoch is saved."""
    task = store.task
    store.open()
    try:
        # the lock comes last, or threads could block; a score that trains has no gradients
        with reproducible(task.config.seed), torch.enable_grad(), store.locked() as state:
            training = task.make_training(task.config, task.verbs)
            if state:
                training.restore(state)
            else:
                training.begin()
            run_epochs(training, task, store.save, progress)
    except Exception as error:
        error.add_note(f"in {task.config}")
        raise
    return run_of(training, task.config)


def train(
    config: Config, verbs=None, *, progress=True, scores=None, pairs=None, make_training=Training
) -> Run:
    """Returns a run: the model after the last epoch, and a history with one row per epoch.

    It is trained on verbs, each of them once; by default, on those of `load_verbs()`. A row of the
    history holds what `Training.loss` measures, the learning rate of the last step, BLEU-4, and in
    some rows all that `score` returns. `progress` shows a bar. `scores` adds columns of your own:
    it is a dictionary of functions of the model, by name, which are called after every epoch.
    `pairs` are those for BLEU-4 (by default, those of `lab.test_pairs`), and
    `make_training(config, verbs)` may train something else.

    Before any work it raises the errors of `lab.check_verbs` and `lab.check_pairs`, and ValueError
    for a score with the name of a column of the lab's; later, OSError, FloatingPointError, and
    ValueError for a schedule that leaves 0..1, or for a score with the name of another column.
    """
    task = check_task(config, verbs, pairs, scores, make_training)
    return finish_run(Store(task, reason="nobody asked for it"), progress)


def load_or_train(
    config: Config, verbs=None, *, progress=True, scores=None, pairs=None, make_training=Training
) -> Run:
    """Returns the run of this configuration, with these data and files, from runs/, or trains it.

    Every epoch is saved, so that the same call resumes a run, on a CPU bit for bit. Takes and
    raises what `train` does, and TypeError if a training is given what can't name a run, such as a
    tensor.
    """
    task = check_task(config, verbs, pairs, scores, make_training)
    store = Store(task, why_not_kept(task))
    run = load_run(store) or finish_run(store, progress)
    say_what_is_not_kept([store])
    return run


# ---- Sweeps ----
@functools.cache  # once in each process
def end_with_parent() -> None:
    """Ends a worker soon after the process that started it, for which it would wait forever.

    On Windows, which doesn't tell, and in a process that is no worker, nothing is done.
    """

    def watch():
        while os.getppid() == parent.pid:
            time.sleep(1)
        os._exit(1)

    if parent := multiprocessing.parent_process():
        threading.Thread(target=watch, daemon=True).start()


def finish_in_worker(store: Store, files: list[Path], ours: list) -> Run:
    """Returns a run, finished in a worker. Raises RuntimeError if its files aren't ours."""
    end_with_parent()
    if computed_by(files) != ours:
        raise RuntimeError("a worker has other files or versions: restart Python")
    return finish_run(store)


def finish_side_by_side(stores: list[Store], jobs: int) -> Iterator[Run]:
    """Returns runs in the order of their stores, each after training what is missing of it."""
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(stores)))
    finish = joblib.delayed(finish_in_worker)
    files = [files_of(store.task) for store in stores]
    calls = [finish(store, own, computed_by(own)) for store, own in zip(stores, files, strict=True)]
    return joblib.Parallel(jobs, return_as="generator")(calls)


def sweep(
    configs, verbs=None, *, progress=True, scores=None, pairs=None, make_training=Training, jobs=-1
) -> list[Run]:
    """Returns the runs of configurations, in their order, each loaded from runs/ or trained.

    Equal configurations are one run. One is trained per core, or on a cluster
    (`joblib.parallel_config`). Takes and raises what `load_or_train` does, and RuntimeError if a
    worker has other files or versions. What was finished before an error is kept, if it is kept at
    all.
    """
    configs = list(configs)
    verbs = lab.check_verbs(verbs)
    pairs = None if pairs is None else list(pairs)  # an iterator would be empty after one run
    unlike = [config for n, config in enumerate(configs) if config not in configs[:n]]
    tasks = [check_task(config, verbs, pairs, scores, make_training) for config in unlike]
    stores = [Store(task, why_not_kept(task)) for task in tasks]
    runs = [load_run(store) for store in stores]
    missing = [n for n, run in enumerate(runs) if run is None]
    for n in missing:
        stores[n].open()  # here, so that a line can say what isn't kept
    finished = finish_side_by_side([stores[n] for n in missing], jobs)
    finished = show_progress(finished, "runs", len(missing), hidden=not progress)
    for n, run in zip(missing, finished, strict=True):
        runs[n] = run
    say_what_is_not_kept(stores)
    # with the configurations that were given, since a worker returns copies of their functions
    return [runs[unlike.index(config)]._replace(config=config) for config in configs]
