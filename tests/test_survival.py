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
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver

import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, lab5_train, small

resource = pytest.importorskip("resource", reason="needs POSIX signals and limits")
PROCESSES = multiprocessing.get_context("forkserver")
VERBS = lab.load_verbs()[:10]  # five steps an epoch
CONFIG = small(epochs=12, refine=0.25, tf_final=0.5)
EPOCHS = [str(epoch) for epoch in range(1, 13)]
RECIPES = {
    "gated": small(epochs=4, refine=0.5),
    "direct": small(epochs=4, refine=0.5, decoding="direct", tf_final=0.3),
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


def train(folder, config=CONFIG, on_epoch=None):
    return lab5_train.train(config, VERBS, run_dir=folder, progress=False, on_epoch=on_epoch)


def last_epoch(folder):
    if not (folder / lab5_train.CHECKPOINT).exists():
        return 0
    return len(torch.load(folder / lab5_train.CHECKPOINT, weights_only=True)["history"])


@pytest.fixture
def trap(monkeypatch):
    """Returns a list of what happens in the next steps, in torch's code."""
    trap = []
    clip = torch.nn.utils.clip_grad_norm_

    @functools.wraps(clip)
    def fall(weights, norm):
        if trap:
            trap.pop(0)(weights)
        return clip(weights, norm)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", fall)
    return trap


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
def test_interrupted_by_ctrl_c_in_both_phases(tmp_path, trap, name):
    config = RECIPES[name]
    uninterrupted = train(tmp_path / "whole", config)
    for last in (1, 2, 3):  # the second phase begins in epoch 3

        def set_trap(history, last=last):
            if len(history) == last:
                trap[:] = [len, lambda weights: signal.raise_signal(signal.SIGINT)]

        with pytest.raises(KeyboardInterrupt, match="what is trained is kept") as caught:
            train(tmp_path / "run", config, set_trap)
        assert len(caught.value._render_traceback_()) == 1
        assert last_epoch(tmp_path / "run") == last
    assert equal(uninterrupted, train(tmp_path / "run", config))


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


def test_a_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    """Else a power cut could leave the name without the content."""
    order = []
    monkeypatch.setattr(os, "fsync", lambda file: order.append(os.fstat(file).st_size))
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("rename"))
    lab5_train.atomic_write(tmp_path / "file", b"x" * 1234)
    assert order == [1234, "rename"]


# ---- Processes ----
def write_often(path, letter):
    for _ in range(50):
        lab5_train.atomic_write(path, letter * 100_000)


def test_a_file_that_many_write_at_once_is_always_whole(tmp_path):
    file = tmp_path / "file"
    lab5_train.atomic_write(file, b"z" * 100_000)
    processes = [start(write_often, file, letter) for letter in (b"a", b"b")]
    with ThreadPoolExecutor(2) as threads:
        writing = [threads.submit(write_often, file, letter) for letter in (b"c", b"d")]
        while not all(write.done() for write in writing) or processes[0].is_alive():
            content = file.read_bytes()
            assert len(content) == 100_000
            assert len(set(content)) == 1
    for write in writing:
        write.result()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert list(tmp_path.iterdir()) == [file]


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
    second.join(1)
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
def test_a_gradient_that_is_not_finite_stops_the_run(uninterrupted, tmp_path, trap):
    trap[:] = [len] * 12 + [lambda weights: weights[0].grad.fill_(math.nan)]
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
