"""A run resumes bit-exactly after a kill, Ctrl-C or a disk error; its file is whole or absent; one process trains it."""

import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver

import numpy as np
import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, small
from matplotlib.figure import Figure

resource = pytest.importorskip("resource", reason="needs POSIX signals and limits")
PROCESSES = multiprocessing.get_context("forkserver")
VERBS = lab.load_verbs()[:40]  # five steps an epoch
CONFIG = small(epochs=12, refine=0.25, tf_final=0.5)
DIRECT = dict(tf_final=0.3, decoding="direct", training="same-tense")


@pytest.fixture(scope="module", autouse=True)
def uninterrupted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        # processes are forked from one that has imported the module: they start at once
        PROCESSES.set_forkserver_preload(["lab5_utils", "conftest", "torch._dynamo"])
        forkserver.ensure_running()
        yield lab.train(CONFIG, VERBS, progress=False)


def start(function, *args):
    (process := PROCESSES.Process(target=function, args=args, daemon=True)).start()
    return process


def train(folder, config=CONFIG):
    return lab.train(config, VERBS, run_dir=folder, progress=False)


def last_epoch(folder):
    return len(torch.load(folder / lab.CHECKPOINT, weights_only=True)["history"])


def wait_for(holds):
    assert any(holds() or time.sleep(0.01) for _ in range(6000)), "nothing for a minute"


def in_epoch(epoch, action, patch):
    """Makes training call a function after a backward pass of an epoch, before the optimizer's step."""
    rate = lab.learning_rate
    patch.setattr(lab, "learning_rate", lambda _, *now: (now[:2] == (epoch, 3) and action(), rate(_, *now))[1])


@pytest.mark.slow
def test_killed_at_random_moments(uninterrupted, tmp_path):
    begun = time.perf_counter()
    train(tmp_path / "timed")
    seconds = time.perf_counter() - begun
    rng, kills, runs, epochs = random.Random(0), 0, 0, set()
    while kills < 40:
        process = start(train, folder := tmp_path / str(runs))
        process.join(rng.uniform(0, 0.7 * seconds))
        process.kill()
        process.join()
        if process.exitcode == 0:
            assert equal(uninterrupted, train(folder))
            runs += 1
        else:
            assert process.exitcode == -signal.SIGKILL
            kills += 1
            epochs |= {last_epoch(folder)} if (folder / lab.CHECKPOINT).exists() else {0}
    assert equal(uninterrupted, train(folder)) and runs > 2 and len(epochs) > 5


def train_and_stop_at(line, how, config, folder):
    """Sends a signal to its own process when so many lines of saving have been executed."""
    seen = itertools.count(1)
    stop = lambda _, event, __: (event == "line" and next(seen) == line and os.kill(os.getpid(), how), stop)[1]
    sys.settrace(lambda frame, *_: stop if frame.f_code.co_name in ("save_checkpoint", "atomic_write") else None)
    train(folder, config)


@pytest.mark.slow
@pytest.mark.parametrize("how, code", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 1)])
def test_stopped_at_every_line_of_every_save(uninterrupted, tmp_path, how, code):
    config = small(epochs=2, refine=0.5, hidden_size=18)
    uninterrupted, line, process = lab.train(config, VERBS, progress=False), 0, None
    while not process or process.exitcode:
        process = start(train_and_stop_at, line := line + 1, how, config, folder := tmp_path / str(line))
        process.join()
        assert process.exitcode in (0, code) and equal(uninterrupted, train(folder, config)), line
    assert line > 10 * config.epochs


def train_and_die_in_a_write(folder):
    """Allows no file to grow past 100 kB from epoch 3 on: more kills the process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    in_epoch(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1)), pytest.MonkeyPatch())
    train(folder)


def test_killed_in_the_middle_of_a_write(uninterrupted, tmp_path):
    (process := start(train_and_die_in_a_write, tmp_path)).join()
    assert process.exitcode == -signal.SIGXFSZ
    assert (tmp_path / f"{lab.CHECKPOINT}.part").stat().st_size == 100_000 and last_epoch(tmp_path) == 2
    assert equal(uninterrupted, train(tmp_path))


@pytest.mark.parametrize("changes", [{}, dict(refine=0.5), DIRECT, dict(synthetic=2, refine=0.5)])
def test_interrupted_by_ctrl_c(tmp_path, monkeypatch, changes):
    uninterrupted = lab.train(config := small(**changes), VERBS, progress=False)
    for epoch in (1, 3, 4, 6):  # refining starts at 4 or 6
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            in_epoch(epoch, lambda: signal.raise_signal(signal.SIGINT), patch)
            train(tmp_path, config)
        assert epoch == 1 or last_epoch(tmp_path) == epoch - 1
    assert equal(uninterrupted, train(tmp_path, config))


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk that holds one checkpoint, not two; yields it and a function that mounts it with other options."""
    mount = lambda options: subprocess.run(f"mount -t tmpfs -o {options} tmpfs {tmp_path}", shell=True).returncode
    if mount("size=1m"):
        pytest.skip("only root on Linux can mount a small disk")
    yield tmp_path, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_or_read_only_disk_keeps_the_last_epoch(uninterrupted, small_disk, monkeypatch):
    folder, remount = small_disk[0] / "run", small_disk[1]
    with pytest.raises(OSError, match="No space left on device") as caught:
        train(folder)
    assert caught.value.filename == str(folder / lab.CHECKPOINT) and last_epoch(folder) == 1
    remount("ro")
    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"Read-only file system: '{folder}"):
        patch.setattr(lab, "train_epoch", None)  # refused before any work
        train(folder)
    remount("rw,size=4m")
    assert equal(uninterrupted, train(folder))


def test_a_figure_that_cannot_be_written_leaves_the_old_one(small_disk, monkeypatch):
    monkeypatch.setattr(lab, "FIGURES", disk := small_disk[0])
    fig = Figure(figsize=(2, 2))
    lab.save_fig(fig, "00_small")
    before = {path: path.read_bytes() for path in disk.iterdir()}
    fig.subplots().scatter(*np.random.default_rng(0).random((2, 20_000)))
    for reason, options in {"No space left on device": "size=100k", "Read-only file system": "ro"}.items():
        small_disk[1](options)
        with pytest.raises(OSError, match=f"{reason}: '{disk / '00_small.pdf'}'"):
            lab.save_fig(fig, "00_small")
        assert {path: path.read_bytes() for path in before} == before


def test_a_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace  # or a power cut could leave the name without the content
    monkeypatch.setattr(os, "fsync", lambda file: order.append(os.fstat(file).st_size) or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("rename") or replace(*paths))
    lab.atomic_write(tmp_path / "file", b"x" * 1234)
    assert order == [1234, "rename"] and (tmp_path / "file").read_bytes() == b"x" * 1234


def ask(runs, log):
    """Asks for a run as a notebook does; logs the epochs trained here, then the result."""
    file, train_epoch = open(log, "w", buffering=1), lab.train_epoch
    lab.train_epoch = lambda *args: (print(args[3], file=file), train_epoch(*args))[1]
    print(fingerprint(lab.load_or_train(CONFIG, VERBS, runs=runs, progress=False)), file=file)


def test_of_three_that_ask_for_a_run_one_trains_it(uninterrupted, tmp_path):
    logs = [tmp_path / str(n) for n in range(3)]
    for process in [start(ask, tmp_path / "runs", log) for log in logs]:
        process.join()
    one, two, three = sorted((log.read_text().split() for log in logs), key=len)
    assert one == two == three[-1:] == [fingerprint(uninterrupted)] and three[:-1] == [*map(str, range(1, 13))]


def test_who_waits_goes_on_when_the_other_is_killed(uninterrupted, tmp_path):
    first = start(ask, tmp_path / "runs", tmp_path / "first")
    wait_for(lambda: list(tmp_path.glob(f"runs/*/{lab.CHECKPOINT}")))
    os.kill(first.pid, signal.SIGSTOP)  # it holds the lock, and does nothing
    second = start(ask, tmp_path / "runs", tmp_path / "second")
    second.join(2)
    waits, epoch = second.is_alive(), last_epoch(*tmp_path.glob("runs/*"))
    first.kill()
    second.join()
    assert waits and epoch < 12
    assert (tmp_path / "second").read_text().split() == [*map(str, range(epoch + 1, 13)), fingerprint(uninterrupted)]


@pytest.mark.parametrize("what, found", [("loss", "loss nan"), ("gradient", r"loss \d+\.\d+, gradient norm nan")])
def test_what_is_not_finite_stops_the_run(tmp_path, monkeypatch, what, found):
    kl_divergence, step, config = lab.kl_divergence, itertools.count(1), small(strategy="constant")
    # the root of 0 is 0, and its slope is not finite
    extra = lambda mu: mu * np.nan if what == "loss" else (mu * 0).sqrt()
    spoiled = lambda mu, logvar: kl_divergence(mu, logvar) + (extra(mu).sum(1) if next(step) == 13 else 0)
    with monkeypatch.context() as patch, pytest.raises(FloatingPointError, match=f"{found}.* in epoch 3, step 3"):
        patch.setattr(lab, "kl_divergence", spoiled)
        train(tmp_path, config)
    assert last_epoch(tmp_path) == 2
    assert equal(lab.train(config, VERBS, progress=False), train(tmp_path, config))
