"""Runs of the lab: trained once, kept in runs/, resumed bit for bit, and swept over the cores.

Read it top to bottom, after `lab5_train`, which has the training itself. What makes a run, and when
it is kept, is told in `tests/README.md`, *To keep what you train*.
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
from contextlib import contextmanager, suppress
from hashlib import sha256
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import joblib
import pandas as pd
import torch
from filelock import FileLock, Timeout

import lab5_train
import lab5_utils as lab
from lab5_train import Config, Task, check_task, reproducible, run_epochs, show_progress

RUNS = lab.folder_named("LAB5_RUNS", "runs")  # one folder per run
STARTED = time.time()  # what a file was later changed into isn't what was imported


# ---- What a run is ----
def parts_of(task: Task) -> dict:
    """Returns the parts of a run that one may define oneself, by what a line calls them."""
    values = vars(task.config).items()
    parts = {f"the {name}": value for name, value in values if callable(value)}
    parts["the configuration"] = type(task.config)
    parts["the training"] = getattr(task.make_training, "func", task.make_training)  # of a partial
    return parts | {f"score {name!r}": score for name, score in sorted(task.scores.items())}


def module_of(part):
    """Returns the module whose file defines a part under its name, or None if no file does."""
    module = sys.modules.get(getattr(part, "__module__", None))
    is_named = getattr(module, getattr(part, "__qualname__", ""), None) is part
    is_in_file = str(getattr(module, "__file__", "")).endswith(".py")
    return module if is_named and is_in_file and module.__name__ != "__main__" else None


def modules_of(task: Task) -> list:
    """Returns the modules of a run: the lab's, and those of its parts and of their base classes."""
    parts = parts_of(task).values()
    defined = [base for part in parts for base in getattr(part, "__mro__", [part])]
    modules = {lab, lab5_train, *map(module_of, defined)} - {None}
    return sorted(modules, key=lambda module: module.__name__)


@functools.cache  # once in each process, since a file may be edited while a sweep goes on
def read_code(file: str) -> ast.Module:
    """Returns the code of a file, without comments and docstrings."""
    tree = ast.parse(Path(file).read_bytes())
    for node in ast.walk(tree):
        may_be_documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if may_be_documented and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


@functools.cache
def digest_of(file: str) -> str:
    """Returns the SHA-256 of a file's code."""
    return sha256(ast.dump(read_code(file)).encode()).hexdigest()


def changed_files(task: Task) -> list[str]:
    """Returns the names of the run's files that were changed since this module was imported."""
    files = [Path(module.__file__) for module in modules_of(task)]
    times = [file.stat() for file in files]  # ctime, too: an older file may come back
    newest = [max(time.st_mtime, time.st_ctime) for time in times]
    return [file.name for file, time in zip(files, newest, strict=True) if time > STARTED]


LITERALS = Real | str | bytes | tuple | list | dict | set | None


def literals_of(file: str) -> dict[tuple[str, str], object]:
    """Returns what a file sets to a literal last, by class (empty for none) and name."""
    tree = read_code(file)
    classes = [(node.name, node.body) for node in tree.body if isinstance(node, ast.ClassDef)]
    values = {}
    for owner, body in [("", tree.body), *classes]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                continue  # what is set inside is its own
            for name in [part for part in ast.walk(node) if isinstance(part, ast.Name)]:
                if not isinstance(name.ctx, ast.Load):
                    values.pop((owner, name.id), None)
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for target in getattr(node, "targets", None) or [node.target]:
                    with suppress(ValueError, TypeError, AttributeError):  # no literal, or no name
                        values[owner, target.id] = ast.literal_eval(node.value)
    return values


def set_by_hand(task: Task) -> list[str]:
    """Returns the names of numbers, texts and the like that are no longer what their file says."""
    names = []
    for module in modules_of(task):
        for (owner, name), value in literals_of(module.__file__).items():
            holder = getattr(module, owner, None) if owner else module
            now = getattr(holder, name, value)
            if isinstance(now, LITERALS) and now != value:
                names.append(".".join(filter(None, (module.__name__, owner, name))))
    return names


def reason_to_stay(task: Task) -> str:
    """Returns why a run is neither kept nor trained by a worker, which imports files as they are.

    The text is empty if there is no such reason.
    """
    if changed := changed_files(task):
        return f"{', '.join(changed)}: changed since Python started; restart it"
    by_hand = set_by_hand(task)
    return f"{', '.join(by_hand)}: set by hand, not in its file" if by_hand else ""


def reason_not_to_keep(task: Task) -> str:
    """Returns why a run is not kept, or an empty text if it is."""
    for called, part in parts_of(task).items():
        if module_of(part) is None:
            return f"{called} isn't a function or a class in a file that is imported"
    return reason_to_stay(task)


def computed_by(task: Task) -> list:
    """Returns what decides on a run's bits besides what is asked: versions and files."""
    versions = sys.version_info[:2], str(torch.__version__), str(torch.get_default_dtype())
    files = {module.__name__: digest_of(module.__file__) for module in modules_of(task)}
    return [versions, files]


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
    content = json.dumps([computed_by(task), asked], sort_keys=True)
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

    @contextmanager
    def locked(self):
        """Yields what is saved to one process at a time; another waits, and says so.

        That a file was damaged is said at last, since a bar clears what was printed before.
        """
        if self.reason:
            yield None
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with acquired(FileLock(self.folder / "lock")):
            config = json.dumps(described(self.task.config), indent=1)
            (self.folder / "config.json").write_text(config)
            state = self.load()
            is_damaged = state is None and self.path.exists()
            try:
                yield state
            finally:
                if is_damaged:
                    print(f"{self.path}: damaged; the run is trained anew")

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


def store_of(task: Task) -> Store:
    """Returns the store of a run, which keeps it if files define it all."""
    return Store(task, reason_not_to_keep(task))


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


def run_of(training, config: Config) -> Run:
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


def train(config: Config, verbs=None, *, progress=True, scores=None, **options) -> Run:
    """Returns a run: the model after the last epoch, and a history with one row per epoch.

    It is trained on verbs, each of them once; by default, on those of `load_verbs()`. A row of the
    history holds what `Training.loss` measures, the learning rate of the last step, BLEU-4, and in
    some rows all that `score` returns. `progress` shows a bar. `scores` adds columns of your own:
    it is a dictionary of functions of the model, by name, which are called after every epoch.
    Options are `pairs` for BLEU-4 (by default, those of `lab.test_pairs`), and
    `make_training(config, verbs)`, which may train something else.

    Before any work it raises the errors of `lab.check_verbs` and `lab.check_pairs`, and ValueError
    for a score with the name of a column of the lab's; later, OSError, FloatingPointError, and
    ValueError for a schedule that leaves 0..1, or for a score with the name of another column.
    """
    task = check_task(config, verbs, scores=scores, **options)
    return finish_run(Store(task, reason="nobody asked for it"), progress)


def load_or_train(config: Config, verbs=None, *, progress=True, **options) -> Run:
    """Returns the run of this configuration, with these data and files, from runs/, or trains it.

    Every epoch is saved, so that the same call resumes a run, on a CPU bit for bit. Takes and
    raises what `train` does, and TypeError if a training is given what can't name a run, such as a
    tensor.
    """
    store = store_of(check_task(config, verbs, **options))
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


def finish_in_worker(store: Store, ours: list) -> Run:
    """Returns a run, finished in a worker. Raises RuntimeError if its files aren't ours."""
    end_with_parent()
    if computed_by(store.task) != ours:
        raise RuntimeError("a worker has other files or versions: restart Python")
    return finish_run(store)


def finish_side_by_side(stores: list[Store], jobs: int) -> Iterator[Run]:
    """Returns runs in the order of their stores, each after training what is missing of it."""
    if any(reason_to_stay(store.task) for store in stores):
        return map(finish_run, stores)
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(stores)))
    finish = joblib.delayed(finish_in_worker)
    calls = [finish(store, computed_by(store.task)) for store in stores]
    return joblib.Parallel(jobs, return_as="generator")(calls)


def sweep(configs, verbs=None, *, pairs=None, jobs=-1, progress=True, **options) -> list[Run]:
    """Returns the runs of configurations, in their order, each loaded from runs/ or trained.

    One run is trained per core, or on a cluster (`joblib.parallel_config`). Takes and raises what
    `load_or_train` does, and RuntimeError if a worker has other files or versions. What was
    finished before an error is kept, if it is kept at all.
    """
    verbs = lab.check_verbs(verbs)
    pairs = None if pairs is None else list(pairs)  # an iterator would be empty after one run
    tasks = [check_task(config, verbs, pairs, **options) for config in configs]
    stores = [store_of(task) for task in tasks]
    runs = [load_run(store) for store in stores]
    missing = [n for n, run in enumerate(runs) if run is None]
    finished = finish_side_by_side([stores[n] for n in missing], jobs)
    finished = show_progress(finished, "runs", len(missing), hidden=not progress)
    for n, run in zip(missing, finished, strict=True):
        runs[n] = run._replace(config=tasks[n].config)  # whose functions are no copies
    say_what_is_not_kept(stores)
    return runs
