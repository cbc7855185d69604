"""Runs of the lab: trained once, kept in runs/, resumed bit for bit, and swept over the cores.

Read it top to bottom, after `lab5_train`, which has the training itself. What makes a run, and when
it is kept, is told in `tests/README.md`, *To keep what you train*.
"""

import ast
import functools
import hashlib
import io
import json
import multiprocessing
import os
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
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
STARTED = time.time()  # a file that changed later isn't the one that was imported


# ---- What a run is ----
def parts_of(task: Task) -> dict:
    """Returns the parts of a run that one may define oneself, by what a line calls them."""
    parts = {
        f"strategy {task.config.strategy!r}": lab5_train.STRATEGIES[task.config.strategy],
        f"decoding {task.config.decoding!r}": lab.DECODERS[task.config.decoding],
        "the configuration": type(task.config),
        "the training": getattr(task.make_training, "func", task.make_training),  # of a partial
    }
    return parts | {f"score {name!r}": score for name, score in sorted(task.scores.items())}


def module_of(part):
    """Returns the module whose file defines a part under its name, or None if no file does."""
    module = sys.modules.get(getattr(part, "__module__", None))
    is_named = getattr(module, getattr(part, "__qualname__", ""), None) is part
    is_in_file = str(getattr(module, "__file__", "")).endswith(".py")
    return module if is_named and is_in_file and module.__name__ != "__main__" else None


def modules_of(task: Task) -> set:
    """Returns the modules of a run: the lab's, and those of its parts and of their base classes."""
    parts = parts_of(task).values()
    defined = [base for part in parts for base in getattr(part, "__mro__", [part])]
    return {lab, lab5_train, *map(module_of, defined)} - {None}


def reason_not_to_keep(task: Task) -> str:
    """Returns why a run is not kept, or an empty text if it is."""
    for called, part in parts_of(task).items():
        if module_of(part) is None:
            return f"{called} isn't a function or a class in a file that is imported"
    for module in modules_of(task):
        status = os.stat(module.__file__)
        if max(status.st_mtime, status.st_ctime) > STARTED:  # ctime: an older file came back
            return f"{Path(module.__file__).name} was changed since Python started; restart it"
    return ""


@functools.cache
def code_hash(path: str) -> str:
    """Returns a hash of a file's code, without comments and docstrings."""
    tree = ast.parse(Path(path).read_bytes())
    for node in ast.walk(tree):
        may_be_documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if may_be_documented and ast.get_docstring(node) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def settings_of(module) -> list:
    """Returns the numbers and texts that a module and its classes hold now, by name."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    holders = [module, *(kind for kind in classes if kind.__module__ == module.__name__)]
    named = [item for holder in holders for item in vars(holder).items() if item[0][:2] != "__"]
    return [(name, repr(value)) for name, value in named if isinstance(value, Real | str)]


def computed_by(task: Task) -> tuple:
    """Returns what decides on a run's bits besides what is asked: versions, files, settings."""
    files = [(one.__name__, code_hash(one.__file__), settings_of(one)) for one in modules_of(task)]
    versions = sys.version_info[:2], str(torch.__version__), str(torch.get_default_dtype())
    return versions, sorted(files)


def run_key(task: Task) -> str:
    """Returns the key of a run. Raises TypeError for what is neither a number nor a text."""
    names = [(part.__module__, part.__qualname__) for part in parts_of(task).values()]
    arguments = [getattr(task.make_training, name, None) for name in ("args", "keywords")]
    asked = vars(task.config), task.table, task.pairs, sorted(task.scores)
    content = json.dumps((computed_by(task), names, arguments, asked), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


# ---- Where a run is kept ----
class Store:
    """The folder of a run in runs/, which keeps its last epoch."""

    def __init__(self, task: Task):
        self.config = task.config
        self.folder = Path(RUNS) / run_key(task)[:20]
        self.path = self.folder / "run.pt"

    @contextmanager
    def locked(self):
        """Yields what is saved to one process at a time; another waits, and says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            turn = lock.acquire(timeout=0)
        except Timeout:
            print(f"another process trains this run; waiting for it ({self.folder})", flush=True)
            turn = lock.acquire()
        with turn:
            (self.folder / "config.json").write_text(json.dumps(vars(self.config), indent=1))
            yield self.load()

    def save(self, state: dict) -> None:
        """Saves a state and its SHA-256, whole or not at all. Raises OSError."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        part = self.path.with_suffix(".part")
        part.write_bytes(content + hashlib.sha256(content).digest())
        part.replace(self.path)

    def load(self) -> dict | None:
        """Returns the state that was saved, or None if there is none or if it is damaged.

        Whatever the file holds, loading it runs no code.
        """
        content = self.path.read_bytes() if self.path.exists() else b""
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            return None
        return torch.load(io.BytesIO(content[:-32]), map_location="cpu", weights_only=True)


# ---- One run ----
class Run(NamedTuple):
    """A finished training: what it made, and how it went."""

    model: lab.CVAE
    history: pd.DataFrame  # one row per epoch
    config: Config
    before_refining: lab.CVAE | None = None  # the model after the first phase, if there were two


def run_of(training, config: Config) -> Run:
    """Returns the run of a finished training, whose model may be trained again."""
    history = pd.DataFrame(training.history).set_index("epoch")
    model = training.model.requires_grad_(True).eval()
    return Run(model, history, config, training.before_refining)


def load_run(task: Task, store: Store) -> Run | None:
    """Returns a finished run from its folder, which may be read-only, or None if it isn't there."""
    state = store.load()
    if state is None or len(state["history"]) < task.config.epochs:
        return None
    with reproducible(task.config.seed):
        training = task.make_training(task.config, task.verbs)
        training.restore(state)
    return run_of(training, task.config)


def finish_run(task: Task, store: Store | None = None, progress=False) -> Run:
    """Returns a run after training what is missing of it; a store keeps each of its epochs."""
    # in this order, or threads could block
    with reproducible(task.config.seed), store.locked() if store else nullcontext() as state:
        is_damaged = store and state is None and store.path.exists()
        training = task.make_training(task.config, task.verbs)
        if state:
            training.restore(state)
        else:
            training.begin()
        run_epochs(training, task, store.save if store else None, progress)
    if is_damaged:  # said now, since the bar has cleared what was printed before
        print(f"{store.path}: damaged; the run was trained anew")
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
    ValueError for a schedule that leaves 0..1.
    """
    return finish_run(check_task(config, verbs, scores=scores, **options), progress=progress)


def load_or_train(config: Config, verbs=None, *, progress=True, **options) -> Run:
    """Returns the run of this configuration, with these data and files, from runs/, or trains it.

    Every epoch is saved, so that the same call resumes a run, on a CPU bit for bit. Takes and
    raises what `train` does, and TypeError if a training is given what can't name a run, such as a
    tensor.
    """
    task = check_task(config, verbs, **options)
    if reason := reason_not_to_keep(task):
        run = finish_run(task, progress=progress)
        print(f"trained anew and not kept in runs/: {reason}")
        return run
    store = Store(task)
    return load_run(task, store) or finish_run(task, store, progress)


# ---- Sweeps ----
def end_with(parent: int) -> None:
    """Ends a worker soon after the process that started it, for which it would wait forever.

    On Windows, which doesn't tell, nothing is done.
    """
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def finish_in_worker(number, task: Task, store: Store | None, schedule, decoder, ours) -> tuple:
    """Returns a run and its number, finished in a worker, which is sent what it may lack."""
    if starter := multiprocessing.parent_process():
        threading.Thread(target=end_with, args=(starter.pid,), daemon=True).start()
    lab5_train.STRATEGIES[task.config.strategy] = schedule
    lab.DECODERS[task.config.decoding] = decoder
    if computed_by(task) != ours:
        raise RuntimeError("a worker has other files, settings or versions: restart Python")
    try:
        return number, finish_run(task, store)
    except Exception as error:
        error.add_note(f"in configuration {number} of the sweep, counted from 0: {task.config}")
        raise


def sweep(configs, verbs=None, *, pairs=None, jobs=-1, progress=True, **options) -> list[Run]:
    """Returns the runs of configurations, in their order, each loaded from runs/ or trained.

    One run is trained per core, or on a cluster (`joblib.parallel_config`). Workers import files as
    they are now, and don't see what was set by hand. Takes and raises what `load_or_train` does,
    and RuntimeError if a worker has other files, settings or versions. What was finished before an
    error is kept, if it is kept at all.
    """
    verbs = lab.check_verbs(verbs)
    tasks = [check_task(config, verbs, pairs, **options) for config in configs]
    reasons = [reason_not_to_keep(task) for task in tasks]
    stores = [None if reason else Store(task) for reason, task in zip(reasons, tasks, strict=True)]
    runs = [store and load_run(task, store) for task, store in zip(tasks, stores, strict=True)]
    calls = []
    for number, task in enumerate(tasks):
        if runs[number] is None:
            schedule, decoder, *_ = parts_of(task).values()
            sent = number, task, stores[number], schedule, decoder, computed_by(task)
            calls.append(joblib.delayed(finish_in_worker)(*sent))
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(calls)))
    finished = joblib.Parallel(jobs, return_as="generator_unordered")(calls)
    for number, run in show_progress(finished, "runs", len(calls), hidden=not progress):
        runs[number] = run
    for reason in sorted({*reasons} - {""}):
        print(f"trained anew and not kept in runs/: {reason}")
    return runs
