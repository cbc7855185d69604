"""A run survives: kills, Ctrl-C, full disks, bad numbers; and of many that ask, one trains it."""

import itertools
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver

import numpy as np
import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, small, small_beyond
from matplotlib.figure import Figure

resource = pytest.importorskip("resource", reason="needs POSIX signals and limits")
PROCESSES = multiprocessing.get_context("forkserver")
VERBS = lab.load_verbs()[:10]  # five steps an epoch
CONFIG = small(epochs=12, refine=0.25, tf_final=0.5)
EPOCHS = [str(epoch) for epoch in range(1, 13)]
RECIPES = {
    "gated": small(refine=0.5),
    "direct": small(decoding="direct", tf_final=0.3),
    "beyond": small_beyond(refine=0.5, synthetic=1),
}


@pytest.fixture(scope="module", autouse=True)
def uninterrupted():
    """Prepares processes that start at once; returns the run that the others must equal."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        PROCESSES.set_forkserver_preload(["lab5_utils", "conftest", "torch._dynamo"])
        forkserver.ensure_running()
        yield lab.train(CONFIG, VERBS, progress=False)


def start(function, *args):
    """Starts a process that calls a function; it ends with the tests at the latest."""
    process = PROCESSES.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def train(folder, config=CONFIG, on_epoch=None):
    return lab.train(config, VERBS, run_dir=folder, progress=False, on_epoch=on_epoch)


def last_epoch(folder):
    if not (folder / lab.CHECKPOINT).exists():
        return 0
    return len(torch.load(folder / lab.CHECKPOINT, weights_only=True)["history"])


# ---- Stopped ----
@pytest.mark.slow
def test_killed_at_random_moments(uninterrupted, tmp_path):
    begun = time.perf_counter()
    start(train, tmp_path / "timed").join()
    seconds = time.perf_counter() - begun
    rng = random.Random(0)
    kills = 0
    runs = 0
    epochs = set()
    while kills < 40 or runs < 3:
        folder = tmp_path / f"{runs}"
        process = start(train, folder)
        process.join(rng.uniform(0, 0.7 * seconds))
        process.kill()
        process.join()
        if process.exitcode == 0:
            assert equal(uninterrupted, train(folder))
            runs += 1
            seconds *= 0.9  # so that more are killed, however slow the first one was
        else:
            assert process.exitcode == -signal.SIGKILL
            epochs.add(last_epoch(folder))
            kills += 1
    assert equal(uninterrupted, train(tmp_path / f"{runs}"))
    assert len(epochs) > 4, "in many epochs"


def save_and_stop_at(line, how, old, new, key):
    """Saves a state over another; a signal comes at so many lines of the module."""
    state = lab.load_checkpoint(new, key)
    lines = itertools.count(1)

    def count(frame, event, argument):
        if event == "line" and next(lines) == line:
            os.kill(os.getpid(), how)
        return count

    def trace(frame, event, argument):
        return count if frame.f_code.co_filename == lab.__file__ else None

    sys.settrace(trace)
    lab.save_checkpoint(old, key, state)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("SIGKILL", -9), ("SIGINT", 1)])
def test_stopped_at_every_line_of_a_save(tmp_path, how, code):
    config = small(epochs=2, hidden_size=18, refine=0.5)
    key = lab.digest(config, VERBS, lab.training_pairs(VERBS))
    first = tmp_path / "first.pt"
    folder = tmp_path / "run"

    def keep_first(history):
        if len(history) == 1:
            shutil.copy(folder / lab.CHECKPOINT, first)

    uninterrupted = train(folder, config, keep_first)
    states = set()
    for line in itertools.count(1):
        stopped = tmp_path / f"{line}"
        stopped.mkdir()
        shutil.copy(first, stopped / lab.CHECKPOINT)
        paths = (stopped / lab.CHECKPOINT, folder / lab.CHECKPOINT)
        process = start(save_and_stop_at, line, getattr(signal, how), *paths, key)
        process.join()
        states.add(last_epoch(stopped))
        assert equal(uninterrupted, train(stopped, config)), line
        if process.exitcode == 0:
            break
        assert process.exitcode == code
    assert line > 10
    assert states == {1, 2}, "the old epoch or the new one"


def limit_files(history):
    """From epoch 3 on, no file may grow past 100 kB: more kills the process."""
    if len(history) == 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))


def test_killed_in_the_middle_of_a_write(uninterrupted, tmp_path):
    process = start(train, tmp_path, CONFIG, limit_files)
    process.join()
    assert process.exitcode == -signal.SIGXFSZ
    part = tmp_path / f"{lab.CHECKPOINT}.part"
    assert part.stat().st_size == 100_000
    assert last_epoch(tmp_path) == 2
    assert equal(uninterrupted, train(tmp_path))


class CtrlC:
    """Stands for a schedule; once set, Ctrl-C comes in the second step from then on."""

    def __init__(self, schedule):
        self.schedule = schedule
        self.steps = math.inf

    def __call__(self, *arguments):
        self.steps -= 1
        if self.steps == 0:
            signal.raise_signal(signal.SIGINT)
        return self.schedule(*arguments)


@pytest.mark.parametrize("name", RECIPES)
def test_interrupted_by_ctrl_c_in_both_phases(tmp_path, monkeypatch, name):
    config = RECIPES[name]
    if name == "beyond":  # spelling needs a productive class
        monkeypatch.setattr(f"{__name__}.VERBS", lab.load_verbs()[:60])
    uninterrupted = lab.train(config, VERBS, progress=False)
    schedule = CtrlC(lab.learning_rate)
    monkeypatch.setattr(lab, "learning_rate", schedule)
    for last in (1, 3, 4, 5):  # the second phase begins in epoch 4 or 6

        def set_trap(history, last=last):
            if len(history) == last:
                schedule.steps = 2

        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, config, set_trap)
        assert last_epoch(tmp_path) == last
    assert equal(uninterrupted, train(tmp_path, config))


# ---- Disks ----
def mount(folder, options):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk that holds one checkpoint, not two."""
    if shutil.which("mount") is None or not mount(tmp_path, "size=1m"):
        pytest.skip("only root on Linux can mount a small disk")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_or_read_only_disk_keeps_the_last_epoch(uninterrupted, small_disk):
    folder = small_disk / "run"
    with pytest.raises(OSError, match="No space left on device") as caught:
        train(folder)
    assert caught.value.filename == str(folder / lab.CHECKPOINT)
    assert last_epoch(folder) == 1
    mount(small_disk, "remount,ro")
    with pytest.raises(OSError, match=f"Read-only file system: '{folder}"):
        train(folder)
    mount(small_disk, "remount,rw,size=4m")
    assert last_epoch(folder) == 1
    assert equal(uninterrupted, train(folder))


def test_a_figure_that_cannot_be_written_leaves_the_old_one(small_disk, monkeypatch):
    monkeypatch.setattr(lab, "FIGURES", small_disk)
    fig = Figure(figsize=(2, 2))
    lab.save_fig(fig, "00_small")
    before = {path: path.read_bytes() for path in small_disk.iterdir()}
    points = np.random.default_rng(0).random((2, 20_000))
    fig.subplots().scatter(*points)
    pdf = small_disk / "00_small.pdf"
    reasons = {"No space left on device": "size=100k", "Read-only file system": "ro"}
    for reason, options in reasons.items():
        mount(small_disk, f"remount,{options}")
        with pytest.raises(OSError, match=f"{reason}: '{pdf}'"):
            lab.save_fig(fig, "00_small")
        assert {path: path.read_bytes() for path in before} == before


def test_a_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    """Else a power cut could leave the name without the content."""
    order = []
    fsync = os.fsync
    replace = os.replace

    def note_fsync(file):
        order.append(os.fstat(file).st_size)
        fsync(file)

    def note_replace(*paths):
        order.append("rename")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    lab.atomic_write(tmp_path / "file", b"x" * 1234)
    assert order == [1234, "rename"]
    assert (tmp_path / "file").read_bytes() == b"x" * 1234


# ---- Processes ----
def ask(runs, log):
    """Asks for a run as a notebook does; logs the epochs that are trained here, then the run."""
    with open(log, "w", buffering=1) as file:

        def note(history):
            print(len(history), file=file)

        run = lab.load_or_train(CONFIG, VERBS, runs=runs, progress=False, on_epoch=note)
        print(fingerprint(run), file=file)


def test_of_three_that_ask_for_a_run_one_trains_it(uninterrupted, tmp_path):
    logs = [tmp_path / f"{n}" for n in range(3)]
    processes = [start(ask, tmp_path / "runs", log) for log in logs]
    for process in processes:
        process.join()
    texts = [log.read_text().split() for log in logs]
    first, second, trained = sorted(texts, key=len)
    assert first == second == [fingerprint(uninterrupted)]
    assert trained == [*EPOCHS, fingerprint(uninterrupted)]


def test_who_waits_goes_on_when_the_other_is_killed(uninterrupted, tmp_path):
    first = start(ask, tmp_path / "runs", tmp_path / "first")
    while not list(tmp_path.glob(f"runs/*/{lab.CHECKPOINT}")):
        assert first.is_alive()
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)  # it holds the lock, and does nothing
    second = start(ask, tmp_path / "runs", tmp_path / "second")
    second.join(2)
    (folder,) = tmp_path.glob("runs/*")
    waits = second.is_alive()
    epoch = last_epoch(folder)
    first.kill()
    second.join()
    assert waits
    assert 0 < epoch < 12, "the first was stopped in time"
    log = (tmp_path / "second").read_text().split()
    assert log == [*EPOCHS[epoch:], fingerprint(uninterrupted)]


# ---- Numbers ----
class SpoiledConfig(lab.Config):
    """Makes a training whose loss or gradient is not finite in one step."""

    def new_training(self, verbs):
        return SpoiledTraining(self, verbs)


class SpoiledTraining(lab.Training):
    spoil = None
    steps = 0

    def loss(self, batch, epoch):
        loss, measured = super().loss(batch, epoch)
        self.steps += 1
        if self.steps == 13:  # the third of the third epoch
            if self.spoil == "loss":
                loss = loss * math.nan
            if self.spoil == "gradient":  # the root of 0 is 0, and its slope is not finite
                zeros = 0 * self.model.encoder.mu.weight
                loss = loss + zeros.sqrt().sum()
        return loss, measured


FOUND = {"loss": "loss nan", "gradient": r"loss \d+\.\d+, gradient norm nan"}


@pytest.mark.parametrize("spoil", FOUND)
def test_what_is_not_finite_stops_the_run_and_keeps_its_last_epoch(tmp_path, monkeypatch, spoil):
    config = SpoiledConfig(**vars(small()))
    message = f"{FOUND[spoil]}.* in epoch 3, step 3"
    with monkeypatch.context() as patch:
        patch.setattr(SpoiledTraining, "spoil", spoil)
        with pytest.raises(FloatingPointError, match=message):
            train(tmp_path, config)
    assert last_epoch(tmp_path) == 2
    assert equal(lab.train(config, VERBS, progress=False), train(tmp_path, config))
