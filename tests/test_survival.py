"""A kept run survives: interrupts, kills, damaged files; and of many that ask, one trains it."""

import contextlib
import errno
import hashlib
import io
import multiprocessing
import os
import pickle
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import (
    ROOT,
    equal,
    fingerprint,
    keep,
    lab,
    lab5_runs,
    small,
    train,
    written,
)

PROCESSES = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
VERBS = lab.load_verbs()[:10]  # five steps an epoch
CONFIG = small(epochs=24, refine=0.25, tf_final=0.5)
needs_signals = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


# ---- Interrupts ----
@pytest.mark.parametrize("decoding", ["gated", "direct", "gru"])
def test_an_interrupted_run_goes_on_bit_for_bit_in_both_phases(runs_folder, capsys, decoding):
    """The second phase begins in epoch 3; a GRU decoder has dropout, which draws on its own."""
    config = small(epochs=4, refine=0.5, decoding=decoding, tf_final=0.3)
    epochs = []

    def interrupt(model):
        epochs.append(model)
        if len(epochs) in (2, 4, 6):
            raise KeyboardInterrupt
        return 0.0

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            keep(config, VERBS, scores={"mine": interrupt})
    run = keep(config, VERBS, scores={"mine": interrupt}, progress=True)
    assert "resumed at epoch 4:" in capsys.readouterr().err
    assert len(epochs) == 7, "three of them were begun twice"
    assert equal(run, train(config, VERBS, scores={"mine": lambda model: 0.0}))


# ---- Processes ----
def ask(runs, log):
    """Asks for the run as a notebook does; logs the epochs trained here, then the run."""
    lab5_runs.RUNS = runs
    with open(log, "w", buffering=1) as file, contextlib.redirect_stdout(file):
        run = keep(CONFIG, VERBS, scores={"mine": lambda model: print("epoch") or 0.0})
        print(fingerprint(run))


@pytest.fixture(scope="module")
def uninterrupted():
    """Returns the run that the others must equal; prepares processes that start at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        PROCESSES.set_forkserver_preload(["conftest"])
        start(os.getpid).join()
    return train(CONFIG, VERBS, scores={"mine": lambda model: 0.0})


def start(function, *args):
    """Starts a process that calls a function; it ends with the tests at the latest."""
    process = PROCESSES.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def wait_for(text, log, process):
    """Waits until a process has written a text to its log."""
    while process.is_alive():
        if log.exists() and text in log.read_text():
            return
        time.sleep(0.01)
    pytest.fail(f"it ended and never said {text!r}")


@pytest.mark.slow
@needs_signals
def test_killed_at_random_moments_a_run_goes_on_bit_for_bit(uninterrupted, tmp_path):
    rng = random.Random(0)
    log = tmp_path / "log"
    for _ in range(3):
        process = start(ask, tmp_path / "runs", log)
        wait_for("epoch", log, process)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        log.unlink()
    start(ask, tmp_path / "runs", log).join()
    *epochs, found = log.read_text().split()
    assert len(epochs) < 24, "it goes on"
    assert found == fingerprint(uninterrupted)


def test_of_two_that_ask_for_a_run_one_trains_it_and_the_other_says_that_it_waits(
    runs_folder, capsys
):
    config = small(epochs=2)
    asked = []

    def ask_too(model):
        said = ""
        if not asked:
            asked.append(threads.submit(keep, config, VERBS, scores={"mine": len}))
            while "another process trains this run; waiting for it" not in said:
                assert not asked[0].done()
                time.sleep(0.01)
                said = capsys.readouterr().out
        return 0.0

    with ThreadPoolExecutor(1) as threads:
        first = keep(config, VERBS, scores={"mine": ask_too})
        assert equal(asked[0].result(), first), "and takes no score"


# ---- Files ----
DAMAGES = {
    "truncated": lambda content: content[:-1],
    "a bit flipped": lambda content: content[:5000] + b"\xff" + content[5001:],
    "appended": lambda content: content + b"\0",
    "empty": lambda content: b"",
    "foreign": lambda content: b"\x89PNG\r\n\x1a\n" + bytes(1000),
}


def test_a_damaged_file_is_named_and_the_run_trained_anew(runs_folder, capsys):
    config = small(epochs=2)
    run = keep(config, VERBS)
    (file,) = written(runs_folder)
    content = file.read_bytes()
    for damage in DAMAGES.values():
        file.write_bytes(damage(content))
        assert equal(keep(config, VERBS), run)
        assert capsys.readouterr().out == f"{file}: damaged; the run is trained anew\n"
    keep(config, VERBS)
    assert capsys.readouterr().out == "", "it is whole again"


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("crater", "w")


def test_a_file_that_would_run_code_is_refused(runs_folder, tmp_path, monkeypatch):
    """Even one that is signed as ours."""
    monkeypatch.chdir(tmp_path)
    keep(small(), VERBS)
    (file,) = written(runs_folder)
    buffer = io.BytesIO()
    torch.save({"history": [Bomb()]}, buffer)
    content = buffer.getvalue()
    file.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        keep(small(), VERBS)
    assert not Path("crater").exists()
    buffer.seek(0)
    torch.load(buffer, weights_only=False)
    assert Path("crater").exists(), "it is a bomb"


@pytest.mark.parametrize("last", ["fsync", "replace"])
def test_where_a_save_fails_the_one_before_it_is_whole(runs_folder, capsys, monkeypatch, last):
    """As on a full disk."""
    calls = []
    succeed = getattr(os, last)

    def fail(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "no space left")
        succeed(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, last, fail)
        with pytest.raises(OSError, match="no space left"):
            keep(small(epochs=2), VERBS)
    keep(small(epochs=2), VERBS, progress=True)
    said = capsys.readouterr()
    assert "resumed at epoch 2" in said.err and said.out == ""
