"""A damaged, foreign or other run's file is refused by name, before any work; none runs code."""

import hashlib
import io
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch
from conftest import equal, lab, small

VERBS = lab.load_verbs()[:20]
CONFIG = small(epochs=2, refine=0.0)
OTHER = small(epochs=2, refine=0.0, seed=1)
DAMAGED = "damaged, or of another configuration, data or version"


class StoppedError(Exception):
    """Stops a training between two epochs."""


def stop(history):
    raise StoppedError


@pytest.fixture
def file(tmp_path):
    """Returns the checkpoint of a run that has trained one of two epochs."""
    folder = tmp_path / "run"
    with pytest.raises(StoppedError):
        lab.train(CONFIG, VERBS, run_dir=folder, progress=False, on_epoch=stop)
    return folder / lab.CHECKPOINT


def check_refused(file, config=CONFIG, verbs=VERBS):
    """Checks that a file is refused by name before any epoch, and left as it is."""
    content = file.read_bytes()
    options = {"run_dir": file.parent, "progress": False, "on_epoch": stop}
    with pytest.raises(ValueError, match="delete it or use another folder") as caught:
        lab.train(config, verbs, **options)
    assert str(caught.value).startswith(f"{file}: {DAMAGED}")
    assert file.read_bytes() == content


def damage(content, rng):
    """Yields a file's content damaged in more than 2,000 ways."""
    places = [rng.randrange(len(content)) for _ in range(1600)]
    places += range(len(content) - 300, len(content))  # the index of the zip, and the signature
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    lengths = [rng.randrange(len(content)) for _ in range(300)]
    cut = [1, 32, 33, len(content)]
    for length in lengths + [len(content) - n for n in cut]:
        yield content[:length]
    for _ in range(100):
        yield content + rng.randbytes(rng.randint(1, 100))
    yield b"\0" + content
    yield content * 2
    yield bytes(len(content))
    yield b"\x89PNG\r\n\x1a\n" + content
    yield content.replace(b"\n", b"\r\n")


def test_damaged_files_by_the_thousand(file):
    content = file.read_bytes()
    key = lab.digest(CONFIG, VERBS, lab.training_pairs(VERBS))
    damaged = list(damage(content, random.Random(0)))
    assert len(damaged) > 2000
    for broken in damaged:
        assert broken != content
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="delete it") as caught:
            lab.load_checkpoint(file, key)
        assert str(caught.value).startswith(f"{file}: {DAMAGED}")
    for broken in damaged[::100]:
        file.write_bytes(broken)
        check_refused(file)
    file.write_bytes(content)
    resumed = lab.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert equal(resumed, lab.train(CONFIG, VERBS, progress=False))


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("crater", "w")


def load_trusted(file):
    return torch.load(file, weights_only=False)


SERIALIZERS = {"torch": (torch.save, load_trusted), "pickle": (pickle.dump, pickle.load)}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_file_that_would_run_code_is_refused(file, tmp_path, monkeypatch, serializer):
    """Even one that is signed as a run of ours."""
    monkeypatch.chdir(tmp_path)
    dump, load = SERIALIZERS[serializer]
    key = lab.digest(CONFIG, VERBS, lab.training_pairs(VERBS))
    state = lab.load_checkpoint(file, key) | {"history": [Bomb()]}
    buffer = io.BytesIO()
    dump(state, buffer)
    content = buffer.getvalue()
    file.write_bytes(content)
    check_refused(file)
    file.write_bytes(content + hashlib.sha256(content + key.encode()).digest())
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        lab.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert not Path("crater").exists()
    buffer.seek(0)
    load(buffer)
    assert Path("crater").exists(), "it is a bomb"


def half_the_excess(progress, excess):
    return min(1.0, max(0.0, excess / 2))


def test_a_file_of_another_run_is_never_used(file, tmp_path, monkeypatch):
    check_refused(file, config=OTHER)
    check_refused(file, verbs=VERBS[1:])
    with monkeypatch.context() as patch:
        patch.setitem(lab.STRATEGIES, CONFIG.strategy, half_the_excess)
        check_refused(file)
    with monkeypatch.context() as patch:
        patch.setattr(lab, "VERSION", lab.VERSION + 1)
        check_refused(file)
    pairs = (lab.HERE / "test.txt").read_text("utf-8").splitlines()
    (tmp_path / "test.txt").write_text("\n".join(reversed(pairs)), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setenv("LAB5_DATA", str(tmp_path))
        check_refused(file)
    resumed = lab.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert len(resumed.history) == 2, "its own run takes it"


def test_a_run_moved_into_the_folder_of_another_is_refused(runs_folder):
    lab.load_or_train(CONFIG, VERBS, progress=False)
    (mine,) = runs_folder.glob(f"*/{lab.CHECKPOINT}")
    lab.load_or_train(OTHER, VERBS, progress=False)
    (theirs,) = set(runs_folder.glob(f"*/{lab.CHECKPOINT}")) - {mine}
    shutil.copy(mine, theirs)
    with pytest.raises(ValueError, match=f"{theirs}: {DAMAGED}"):
        lab.load_or_train(OTHER, VERBS, progress=False)
