"""A run survives: kills, Ctrl-C, full disks, bad numbers; and of many that ask, one trains it."""

import functools
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from multiprocessing import forkserver

import numpy as np
import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, lab5_figures, lab5_train, small, small_beyond
from matplotlib.figure import Figure

resource = pytest.importorskip("resource", reason="needs POSIX signals and limits")
PROCESSES = multiprocessing.get_context("forkserver")
VERBS = lab.load_verbs()[:10]  # five steps an epoch
CONFIG = small(epochs=12, refine=0.25, tf_final=0.5)
EPOCHS = [str(epoch) for epoch in range(1, 13)]
RECIPES = {
    "gated": small(epochs=4, refine=0.5),
    "direct": small(epochs=4, refine=0.5, decoding="direct", tf_final=0.3),
    "beyond": small_beyond(epochs=4, refine=0.5, synthetic=1),
}


@pytest.fixture(scope="module", autouse=True)
def uninterrupted():
    """Prepares processes that start at once; returns the run that the others must equal."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        PROCESSES.set_forkserver_preload(["conftest", "torch._dynamo"])
        forkserver.ensure_running()
        start(os.getpid).join()
        yield lab5_train.train(CONFIG, VERBS, progress=False)


def start(function, *args):
    """Starts a process that calls a function; it ends with the tests at the latest."""
    process = PROCESSES.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def train(folder, config=CONFIG, on_epoch=None, verbs=VERBS):
    return lab5_train.train(config, verbs, run_dir=folder, progress=False, on_epoch=on_epoch)


def last_epoch(folder):
    if not (folder / lab5_train.CHECKPOINT).exists():
        return 0
    return len(torch.load(folder / lab5_train.CHECKPOINT, weights_only=True)["history"])


class Trap:
    """Stands for a function of torch, which no digest reads; at one call, something comes first."""

    def __init__(self, function, first):
        functools.update_wrapper(self, function)
        self.function = function
        self.first = first
        self.calls = math.inf

    def __call__(self, *arguments):
        self.calls -= 1
        if self.calls == 0:
            self.first(*arguments)
        return self.function(*arguments)


@pytest.fixture
def set_trap(monkeypatch):
    """Returns a function that sets a trap in the steps of a training."""

    def set_trap(first):
        trap = Trap(torch.nn.utils.clip_grad_norm_, first)
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", trap)
        return trap

    return set_trap


# ---- Stopped ----
@pytest.mark.slow
def test_killed_at_random_moments(uninterrupted, tmp_path):
    begun = time.perf_counter()
    start(train, tmp_path / "timed").join()
    seconds = time.perf_counter() - begun
    rng = random.Random(0)
    kills = 0
    while kills < 5:
        process = start(train, tmp_path / "run")
        process.join(rng.uniform(0, 0.5 * seconds))
        process.kill()
        process.join()
        if process.exitcode == 0:
            assert equal(uninterrupted, train(tmp_path / "run"))
            shutil.rmtree(tmp_path / "run")
        else:
            assert process.exitcode == -signal.SIGKILL
            kills += 1
    assert equal(uninterrupted, train(tmp_path / "run"))


def limit_files(history):
    """From epoch 3 on, no file may grow past 100 kB: more kills the process."""
    if len(history) == 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))


def test_killed_in_the_middle_of_a_write(uninterrupted, tmp_path):
    process = start(train, tmp_path, CONFIG, limit_files)
    process.join()
    assert process.exitcode == -signal.SIGXFSZ
    (part,) = tmp_path.glob("*.part")
    assert part.stat().st_size == 100_000
    assert last_epoch(tmp_path) == 2
    assert equal(uninterrupted, train(tmp_path))
    assert not part.exists()


@pytest.mark.parametrize("name", RECIPES)
def test_interrupted_by_ctrl_c_in_both_phases(tmp_path, set_trap, name):
    config = RECIPES[name]
    verbs = lab.load_verbs()[:60] if name == "beyond" else VERBS  # with a productive class
    uninterrupted = train(tmp_path / "whole", config, verbs=verbs)
    trap = set_trap(lambda *arguments: signal.raise_signal(signal.SIGINT))
    folder = tmp_path / "run"
    for last in (1, 2, 3):  # the second phase begins in epoch 3

        def spring(history, last=last):
            if len(history) == last:
                trap.calls = 2

        with pytest.raises(KeyboardInterrupt):
            train(folder, config, spring, verbs)
        assert last_epoch(folder) == last
    assert equal(uninterrupted, train(folder, config, verbs=verbs))


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
    assert caught.value.filename == str(folder / lab5_train.CHECKPOINT)
    assert last_epoch(folder) == 1
    mount(small_disk, "remount,ro")
    with pytest.raises(OSError, match=f"Read-only file system: '{folder}"):
        train(folder)
    mount(small_disk, "remount,rw,size=4m")
    assert last_epoch(folder) == 1
    assert equal(uninterrupted, train(folder))
    mount(small_disk, "remount,ro")
    assert equal(uninterrupted, train(folder)), "what is finished is read on any disk"


def test_a_figure_that_cannot_be_written_leaves_the_old_one(small_disk, monkeypatch):
    monkeypatch.setattr(lab5_figures, "FIGURES", small_disk)
    fig = Figure(figsize=(2, 2))
    lab5_figures.save_fig(fig, "00_small")
    before = {path: path.read_bytes() for path in small_disk.iterdir()}
    points = np.random.default_rng(0).random((2, 20_000))
    fig.subplots().scatter(*points)
    pdf = small_disk / "00_small.pdf"
    reasons = {"No space left on device": "size=100k", "Read-only file system": "ro"}
    for reason, options in reasons.items():
        mount(small_disk, f"remount,{options}")
        with pytest.raises(OSError, match=f"{reason}: '{pdf}'"):
            lab5_figures.save_fig(fig, "00_small")
        assert {path: path.read_bytes() for path in small_disk.iterdir()} == before


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
    lab5_train.atomic_write(tmp_path / "file", b"x" * 1234)
    assert order == [1234, "rename"]
    assert (tmp_path / "file").read_bytes() == b"x" * 1234


# ---- Processes ----
def ask(runs, log):
    """Asks for a run as a notebook does; logs the epochs that are trained here, then the run."""
    lab5_train.RUNS = runs
    with open(log, "w", buffering=1) as file:

        def note(history):
            print(len(history), file=file)

        run = lab5_train.load_or_train(CONFIG, VERBS, progress=False, on_epoch=note)
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
    while not list(tmp_path.glob(f"runs/*/{lab5_train.CHECKPOINT}")):
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
def test_a_gradient_that_is_not_finite_stops_the_run_and_keeps_its_last_epoch(
    uninterrupted, tmp_path, set_trap
):
    trap = set_trap(lambda weights, norm: weights[0].grad.fill_(math.nan))
    trap.calls = 13  # the third step of the third epoch
    message = r"loss \d+\.\d+, gradient norm nan in epoch 3, step 3"
    with pytest.raises(FloatingPointError, match=message):
        train(tmp_path)
    assert last_epoch(tmp_path) == 2
    assert equal(uninterrupted, train(tmp_path))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    config = small(optimizer="sgd", learning_rate=1e9, strategy="constant")
    with pytest.raises(FloatingPointError, match=r"loss (inf|nan).* in epoch 1, step 2"):
        train(tmp_path, config)
    assert last_epoch(tmp_path) == 0
