"""A kept run survives: interrupts, kills, damaged files; and of many that ask, one trains it."""

import errno
import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
from conftest import VERBS, equal, fingerprint, keep, own, small, start, train, written

from lab5_gate import GatedDecoder

CONFIG = small(epochs=24, tf_final=0.5)
MINE = {"mine": own.mine}  # a score that is called after every epoch


# ---- Interrupts ----
@pytest.mark.parametrize("decoder", [GatedDecoder, own.GRUDecoder])
def test_an_interrupted_run_goes_on_bit_for_bit(runs_folder, capsys, monkeypatch, decoder):
    """Even with a GRU decoder, whose dropout draws on its own."""
    config = small(epochs=4, decoder=decoder, tf_final=0.3)
    epochs = []

    def interrupt(model):
        epochs.append(model)
        if len(epochs) in (2, 4, 6):
            raise KeyboardInterrupt
        return 0.0

    monkeypatch.setattr(torch, "does", interrupt, raising=False)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            keep(config, VERBS, scores=MINE)
    run = keep(config, VERBS, scores=MINE, progress=True)
    assert "resumed at epoch 4:" in capsys.readouterr().err
    assert len(epochs) == 7, "three of them were begun twice"
    assert equal(run, train(config, VERBS, scores=MINE))


# ---- Processes ----
ASKS = """
import os, time
from test_survival import CONFIG, MINE, VERBS, fingerprint, keep, torch

def wait(model):
    print("epoch", flush=True)
    time.sleep(float(os.environ["PAUSE"]))
    return 0.5

torch.does = wait
print(fingerprint(keep(CONFIG, VERBS, scores=MINE)))
"""


@pytest.mark.slow
def test_who_waits_for_a_run_says_so_and_goes_on_bit_for_bit_where_another_was_killed(tmp_path):
    with start("-c", ASKS, LAB5_RUNS=str(tmp_path), PAUSE="1") as first:
        for _ in range(2):  # when the second epoch is trained, the first one is saved
            first.stdout.readline()
        other = start("-c", ASKS, LAB5_RUNS=str(tmp_path), PAUSE="0")
        assert "another process trains this run; waiting" in other.stdout.readline()
        first.kill()
    *epochs, digest = other.communicate()[0].split()
    assert 0 < len(epochs) < 24, "it goes on"
    assert digest == fingerprint(train(CONFIG, VERBS, scores=MINE))


# ---- Files ----
def test_a_damaged_file_is_named_and_the_run_trained_anew(runs_folder, capsys):
    config = small(epochs=2)
    run = keep(config, VERBS)
    (file,) = written(runs_folder)
    content = file.read_bytes()
    for damaged in (content[:-1], content[:5000] + b"\xff" + content[5001:], b""):
        file.write_bytes(damaged)
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


def test_where_a_save_fails_the_one_before_it_is_whole(runs_folder, capsys, monkeypatch):
    """As on a disk that is full after half of a file."""
    written_before, write = [], Path.write_bytes

    def fill(path, content):
        if written_before:
            write(path, content[:5000])
            raise OSError(errno.ENOSPC, "no space left")
        written_before.append(write(path, content))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill)
        with pytest.raises(OSError, match="no space left"):
            keep(small(epochs=2), VERBS)
    keep(small(epochs=2), VERBS, progress=True)
    output = capsys.readouterr()
    assert "resumed at epoch 2" in output.err
    assert output.out == ""
