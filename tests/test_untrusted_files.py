"""A damaged, foreign or other run's file is refused by name, before any work, and none runs code."""

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
CONFIG, OTHER = small(epochs=2, refine=0), small(epochs=2, refine=0, seed=1)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Returns the checkpoint of a run that has trained one of two epochs."""
    with monkeypatch.context() as patch:
        patch.setattr(lab, "tqdm", lambda *_, **__: [1])
        lab.train(CONFIG, VERBS, run_dir=tmp_path / "run")
    return tmp_path / "run" / lab.CHECKPOINT


def check_refused(file, reason, config=CONFIG, verbs=VERBS):
    before = file.read_bytes()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="delete it") as caught:
        patch.setattr(lab, "train_epoch", None)  # no work is done
        lab.train(config, verbs, run_dir=file.parent, progress=False)
    assert str(caught.value).startswith(f"{file}: {reason}") and file.read_bytes() == before


def test_damaged_files_by_the_thousand(file):
    content, rng = file.read_bytes(), random.Random(0)
    place = lambda: rng.randrange(len(content))
    flip = lambda at: content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    damaged = [flip(place()) for _ in range(1600)] + [flip(-n) for n in range(2, 300)]  # more where the zip's index is
    damaged += [content[: place()] for _ in range(300)] + [content[:-n] for n in (1, 32, 33)] + [b""]
    damaged += [content + rng.randbytes(rng.randint(1, 100)) for _ in range(100)] + [b"\0" + content, content * 2]
    damaged += [bytes(len(content)), b"\x89PNG\r\n\x1a\n" + content, content.replace(b"\n", b"\r\n")]
    model, noise, key = lab.CVAE(CONFIG), torch.Generator(), lab.digest(CONFIG, VERBS)
    before = [*map(torch.clone, model.state_dict().values()), noise.get_state()]
    for broken in damaged:
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="delete it") as caught:
            lab.resume(file.parent, key, model, noise)
        assert str(caught.value).startswith(f"{file}: damaged") and broken != content
    assert len(damaged) > 2000 and all(map(torch.equal, before, [*model.state_dict().values(), noise.get_state()]))
    check_refused(file, "damaged")
    file.write_bytes(content)
    assert equal(lab.train(CONFIG, VERBS, progress=False), lab.train(CONFIG, VERBS, run_dir=file.parent))


class Bomb:
    __reduce__ = lambda self: (open, ("crater", "w"))  # makes a file when it is unpickled


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("dump, load", [(torch.save, torch.load), (pickle.dump, pickle.load)])
def test_a_file_that_would_run_code_is_refused(file, tmp_path, monkeypatch, dump, load):
    monkeypatch.chdir(tmp_path)
    dump(torch.load(file, weights_only=True) | {"history": [Bomb()]}, buffer := io.BytesIO())
    file.write_bytes(buffer.getvalue())
    check_refused(file, "damaged")
    key = lab.digest(CONFIG, VERBS)
    file.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue() + key.encode()).digest())
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        lab.train(CONFIG, VERBS, run_dir=file.parent, progress=False)
    assert not Path("crater").exists()
    load(file.open("rb"), **dict(weights_only=False) if load is torch.load else {})
    assert Path("crater").exists(), "it is a bomb"


def test_another_runs_file_is_never_used(file, monkeypatch):
    for change in dict(config=OTHER), dict(verbs=VERBS[1:]):
        check_refused(file, "damaged, or of another configuration, data or version", **change)
    pairs = lab.load_test_pairs()[::-1]
    shapes = lab.STRATEGIES | {CONFIG.strategy: lambda p, e: min(1.0, max(0.0, e / 2))}
    for name, other in dict(VERSION=lab.VERSION + 1, load_test_pairs=lambda: pairs, STRATEGIES=shapes).items():
        with monkeypatch.context() as patch:
            patch.setattr(lab, name, other)
            check_refused(file, "damaged, or of another configuration, data or version")


def test_a_run_moved_into_anothers_folder_is_refused(runs_folder):
    lab.load_or_train(CONFIG, VERBS), lab.load_or_train(OTHER, VERBS)
    mine, theirs = sorted(runs_folder.glob(f"*/{lab.CHECKPOINT}"))
    shutil.copy(mine, theirs)
    with pytest.raises(ValueError, match=f"{theirs}: damaged, or of another configuration"):
        lab.load_or_train(OTHER, VERBS, progress=False)
