"""A damaged, foreign or other run's file is refused by name, before any work; none runs code."""

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
from conftest import equal, lab, lab5_train, small

VERBS = lab.load_verbs()[:10]
CONFIG = small(epochs=2, refine=0.0)
OTHER = small(epochs=2, refine=0.0, seed=1)
DAMAGED = "damaged, or of another configuration, code or data"


class StoppedError(Exception):
    """Stops a training between two epochs."""


def stop(history):
    raise StoppedError


@pytest.fixture
def file(tmp_path):
    """Returns the checkpoint of a run that has trained one of two epochs."""
    folder = tmp_path / "run"
    with pytest.raises(StoppedError):
        lab5_train.train(CONFIG, VERBS, run_dir=folder, progress=False, on_epoch=stop)
    return folder / lab5_train.CHECKPOINT


def check_refused(file, config=CONFIG, verbs=VERBS, pairs=None):
    """Checks that a file is refused by name before any epoch, and left as it is."""
    content = file.read_bytes()
    options = {"run_dir": file.parent, "progress": False, "on_epoch": stop, "pairs": pairs}
    with pytest.raises(ValueError, match="delete it or use another folder") as caught:
        lab5_train.train(config, verbs, **options)
    assert str(caught.value).startswith(f"{file}: {DAMAGED}")
    assert file.read_bytes() == content


def flip(content, place):
    """Returns content with one bit flipped; places are counted from either end."""
    flipped = bytearray(content)
    flipped[place] ^= 16
    return bytes(flipped)


DAMAGES = {
    "truncated": lambda content: content[:-1],
    "a bit of the weights flipped": lambda content: flip(content, len(content) // 2),
    "a bit of the zip's index flipped": lambda content: flip(content, -100),
    "a bit of the signature flipped": lambda content: flip(content, -1),
    "appended": lambda content: content + b"\0",
    "doubled": lambda content: content * 2,
    "empty": lambda content: b"",
    "foreign": lambda content: b"\x89PNG\r\n\x1a\n" + bytes(1000),
}


def test_a_damaged_file_is_refused_and_a_whole_one_resumed(file):
    content = file.read_bytes()
    for damage in DAMAGES.values():
        file.write_bytes(damage(content))
        check_refused(file)
    file.write_bytes(content)
    resumed = lab5_train.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert equal(resumed, lab5_train.train(CONFIG, VERBS, progress=False))


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("crater", "w")


def test_a_file_that_would_run_code_is_refused(file, tmp_path, monkeypatch):
    """Even one that is signed as a run of ours."""
    monkeypatch.chdir(tmp_path)
    task = lab5_train.check_task(CONFIG, VERBS, None, None, lab5_train.new_training)
    store = lab5_train.Store(task, file.parent)
    state = store.load() | {"history": [Bomb()]}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    file.write_bytes(content)
    check_refused(file)
    file.write_bytes(content + hashlib.sha256(content + store.key.encode()).digest())
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        lab5_train.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert not Path("crater").exists()
    buffer.seek(0)
    torch.load(buffer, weights_only=False)
    assert Path("crater").exists(), "it is a bomb"


def test_a_file_of_another_run_is_never_used(file, tmp_path, monkeypatch):
    check_refused(file, config=OTHER)
    check_refused(file, verbs=VERBS[1:])
    check_refused(file, pairs=[])
    pairs = (lab.HERE / "test.txt").read_text("utf-8").splitlines()
    (tmp_path / "test.txt").write_text("\n".join(["abandon abet", *pairs[1:]]), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setenv("LAB5_DATA", str(tmp_path))
        check_refused(file)
    resumed = lab5_train.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert len(resumed.history) == 2, "its own run takes it"
