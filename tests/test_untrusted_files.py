"""Nothing is let in: damaged, foreign, old and other runs' files are refused by name, and none runs code."""

import io
import pickle
import random
import shutil

import pytest
import torch
from conftest import equal, lab, small

CONFIG = small(epochs=2)


@pytest.fixture(scope="module")
def table():
    return lab.load_verbs()[:20]


@pytest.fixture(scope="module")
def run_dir(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    lab.train(CONFIG, table, run_dir=folder, progress=False)
    return folder


@pytest.fixture
def file(run_dir, tmp_path):
    """Returns the file of a finished run, in a folder of the test's own."""
    shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
    return tmp_path / lab.FINISHED


def refused(file, table, *said, config=CONFIG):
    """Checks that a training from a folder stops before any work, and that its message names file, fault and remedy."""
    before = file.read_bytes()
    with pytest.raises(ValueError) as caught:
        lab.train(config, table, run_dir=file.parent, progress=False)
    for part in (str(file), *said):
        assert part in str(caught.value)
    assert "delete" in str(caught.value) and file.read_bytes() == before


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, crater):
        self.crater = crater

    def __reduce__(self):
        return open, (str(self.crater), "w")


@pytest.mark.parametrize("name", [lab.CHECKPOINT, lab.FINISHED])
def test_a_pickle_that_runs_code_is_refused(file, table, tmp_path, name):
    crater = tmp_path / "crater"
    state = {"epoch": 2, "history": [Bomb(crater)]}
    file.unlink()
    bombs = {"refused, for reading it could run foreign code": lab.seal(state)}
    torch.save(state, torch_file := io.BytesIO())
    bombs |= {"is no file of this version": pickle.dumps(Bomb(crater)), "older or foreign": torch_file.getvalue()}
    for said, content in bombs.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, table, said)
    (tmp_path / name).write_bytes(lab.seal(state))
    refused(tmp_path / name, table, "open")  # what it would have called
    assert not crater.exists()
    torch.load(io.BytesIO(lab.seal(state)), weights_only=False)
    assert crater.exists(), "the bomb is a real one"


def test_damaged_files_by_the_thousand(file, table, capsys):
    content, lot, tried = file.read_bytes(), random.Random(0), 0
    damaged = [content[:length] for length in (0, 1, 66, len(content) - 66, len(content) - 1)]
    damaged += [content[: lot.randrange(len(content))] for _ in range(300)]
    damaged += [flipped(content, lot.randrange(8 * len(content))) for _ in range(1500)]
    damaged += [
        flipped(content, bit) for bit in range(8 * (len(content) - 300), 8 * len(content), 5)
    ]  # the zip's directory
    damaged += [content + b"\0", b"\0" + content, content[:2000] + content[2064:], bytes(len(content)), content * 2]
    for broken in damaged:
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="delete it") as caught:
            lab.unseal(file)
        assert str(file) in str(caught.value)
        tried += 1
    file.write_bytes(flipped(content, 4 * len(content)))
    refused(file, table, "truncated or damaged")
    with capsys.disabled():
        print(f"\n{tried} damaged files refused")


def flipped(content, bit):
    """Returns the bytes with one bit the other way round."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_torch_file_can_still_be_read_by_torch(file):
    assert torch.load(file, weights_only=True)["epoch"] == 2


def test_weights_of_another_architecture_or_vocabulary(file, table):
    state = lab.unseal(file)
    more_letters = state["model"] | {"decoder.embedding.weight": torch.zeros(lab.VOCABULARY + 1, 16)}
    other = lab.CVAE(small(hidden_size=32)).state_dict()
    lacking = {name: weight for name, weight in state["model"].items() if name != "from_z.bias"}
    for weights in (more_letters, other, lacking):
        file.write_bytes(lab.seal(state | {"model": weights}))
        refused(file, table, "another architecture")


def test_files_of_older_versions(file, table):
    state = lab.unseal(file)
    torch.save({"digest": "0" * 64, **state}, older := io.BytesIO())  # as written before files were sealed
    older = older.getvalue().replace(lab.FORMAT.encode(), b"-" * len(lab.FORMAT))
    file.write_bytes(older)
    refused(file, table, "older or foreign")
    for later in ({**state, "format": "run of lab5_utils, format 3"}, {"format": "?"}, [1, 2]):
        content = io.BytesIO()
        torch.save(later, content)
        file.write_bytes(content.getvalue()[:-2] + lab._comment(content.getvalue()))
        refused(file, table, "another version")


def test_another_runs_file_is_never_used(file, table, monkeypatch):
    others = {
        "another configuration (seed 0, here 1)": (small(epochs=2, seed=1), table),
        "another configuration (epochs 2, here 3; hidden_size 64, here 48)": (small(epochs=3, hidden_size=48), table),
        "other verbs or test pairs": (CONFIG, table[1:]),
    }
    for said, (config, verbs) in others.items():
        refused(file, verbs, said, config=config)
    monkeypatch.setattr(lab, "CODE", lab.CODE + "# changed")
    refused(file, table, "another version of lab5_utils.py")


def test_other_test_pairs_are_other_data(file, table, tmp_path, monkeypatch):
    (tmp_path / "test.txt").write_text("walk walked\n" * 10)
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    refused(file, table, "other verbs or test pairs")


def test_a_run_moved_into_anothers_place_is_refused(table, runs_folder):
    lab.load_or_train(CONFIG, table, progress=False)
    (mine,) = runs_folder.iterdir()
    theirs = lab.run_folder(small(epochs=2, seed=1), table, lab.load_test_pairs())
    shutil.copytree(mine, theirs)
    with pytest.raises(ValueError, match=r"another configuration \(seed 0, here 1\)"):
        lab.load_or_train(small(epochs=2, seed=1), table, progress=False)


def test_a_checkpoint_goes_on_and_a_damaged_one_does_not_start_over(table, tmp_path, monkeypatch):
    config = small(epochs=4)
    whole = lab.train(config, table, progress=False)
    stop = lambda self, epoch: (_ for _ in ()).throw(KeyboardInterrupt) if epoch == 3 else train_epoch(self, epoch)
    train_epoch = lab._Trainer.train_epoch
    monkeypatch.setattr(lab._Trainer, "train_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        lab.train(config, table, run_dir=tmp_path, progress=False)
    monkeypatch.undo()
    checkpoint = tmp_path / lab.CHECKPOINT
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(flipped(content, 99_999))
    refused(checkpoint, table, "truncated or damaged", config=config)
    checkpoint.write_bytes(content)
    assert equal(whole, lab.train(config, table, run_dir=tmp_path, progress=False))
