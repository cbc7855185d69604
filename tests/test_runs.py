"""A run is kept if it is what its files say, and another one if anything of these changes.

`restart` stands for a new Python.
"""

import functools
import importlib
import json
import os
import sys
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import own
import pytest
import torch
from conftest import VERBS, equal, keep, lab5_runs, lab5_train, small, written

import lab5_gate
import lab5_selftaught as taught


def tiny(**changes):
    """Returns a configuration of two epochs of two steps."""
    return small(**{"epochs": 2, "batch_size": 20, "hidden_size": 16} | changes)


OWN = {"decoder": own.GRUDecoder, "schedule": own.between}


def task_of(config, verbs=VERBS, make_training=own.Unscored, **options):
    return lab5_train.check_task(config, verbs, make_training=make_training, **options)


def key(*args, **options):
    return lab5_runs.run_key(task_of(*args, **options))


def reason(*args, **options):
    return lab5_runs.reason_not_to_keep(task_of(*args, **options))


# ---- Kept, or not ----
@pytest.mark.parametrize("changes", [{}, OWN], ids=["the lab's", "own"])
def test_a_run_of_the_labs_files_or_a_file_of_ones_own_is_kept(runs_folder, capsys, changes):
    scores = {"mine": own.mine}
    run = keep(tiny(**changes), VERBS, scores=scores)
    first = written(runs_folder)
    (config,) = runs_folder.glob("*/config.json")
    names = {"schedule": "lab5_train.short_rise", "decoder": "lab5_gate.GatedDecoder"}
    if changes:
        names = {"schedule": "own.between", "decoder": "own.GRUDecoder"}
    assert json.loads(config.read_text()) == vars(run.config) | names
    config.unlink()
    again = keep(tiny(**changes), VERBS, scores=scores)
    assert len(first) == 1
    assert not config.exists(), "nothing is written, so the folder may be read-only"
    assert written(runs_folder) == first, "nothing is trained again"
    assert equal(run, again)
    assert capsys.readouterr().out == ""


def test_a_loaded_model_is_ready_to_convert(runs_folder):
    models = [keep(tiny(decoder=own.GRUDecoder), VERBS).model for _ in range(2)]
    trained, loaded = (model.convert(["abet"], 0, 3) for model in models)
    assert trained == loaded
    assert not any(model.training for model in models), "without dropout"


@functools.wraps(lab5_train.constant)
def wrapped(progress):
    """A schedule that calls itself one of ours."""
    return 0.5


@pytest.mark.parametrize("schedule", [lambda progress: 0.5, wrapped], ids=["λ", "wrapped"])
def test_what_no_file_defines_by_its_name_is_trained_anew_at_each_call_and_a_line_says_so(
    runs_folder, capsys, schedule
):
    why = "the schedule isn't a function or a class in a file that is imported"
    for _ in range(2):
        run = keep(tiny(schedule=schedule, kl_weight=1), VERBS)
        assert run.history["kl_weight"].tolist() == [0.5, 0.5]
        assert capsys.readouterr().out == f"trained anew and not kept in runs/: {why}\n"
    assert not runs_folder.exists()


def test_nor_is_a_run_kept_whose_other_parts_no_file_defines():
    class Inside(own.GRUDecoder):
        """A decoder inside a function."""

    assert reason(tiny(decoder=Inside)).startswith("the decoder isn't a function")
    own_field = tiny()
    vars(own_field)["act"] = lambda hidden: hidden
    assert reason(own_field).startswith("the act isn't a function")
    training = functools.partial(lambda *args: own.Unscored(*args))
    assert reason(tiny(), make_training=training).startswith("the training isn't a function")
    scores = {"mine": functools.partial(own.mine)}
    assert reason(tiny(), scores=scores).startswith("score 'mine' isn't a function")


def test_a_training_is_kept_if_its_arguments_are_numbers_and_texts():
    tensors, texts = (functools.partial(own.Unscored, a=a) for a in (torch.zeros(2), (1, ("2",))))
    with pytest.raises(TypeError, match="Tensor"):
        key(tiny(), make_training=tensors)
    assert reason(tiny(), make_training=texts) == ""


BY_HAND = {  # where a value is, and others in its place
    "lab5_train.CLIP": (lab5_train, [0.7, np.float32(0.8)]),
    "lab5_gate.GatedDecoder.price": (lab5_gate.GatedDecoder, [0.7]),
    "own.GRUDecoder.drop": (own.GRUDecoder, [0]),
    "own.POINTS": (own, [(0.0, 0.8), [0.5, 0.8]]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_run_is_not_kept_while_a_value_is_set_by_hand(runs_folder, capsys, name):
    holder, others = BY_HAND[name]
    config = tiny() if name == "lab5_gate.GatedDecoder.price" else tiny(**OWN)
    for value in others:
        with patch.object(holder, name.rpartition(".")[2], value):
            keep(config, VERBS)
        assert f": {name}: set by hand, not in its file\n" in capsys.readouterr().out
    assert not runs_folder.exists()
    assert reason(config) == ""


# ---- One run or another ----
def other_than(name, value):
    """Returns another value of a hyperparameter."""
    others = {"schedule": own.late, "decoder": own.GRUDecoder}
    others |= {"optimizer": "sgd", "ce_per": "character"}
    return others.get(name) or (value / 2 if isinstance(value, float) else value + 1)


def test_every_field_of_a_configuration_names_a_run():
    changed = {name: other_than(name, value) for name, value in vars(tiny()).items()}
    keys = {key(tiny(**{name: value})) for name, value in changed.items()}
    assert len(keys - {key(tiny())}) == len(changed)


CONJUGATIONS = [functools.partial(taught.Conjugation, alphabet=letters) for letters in ("a", "ab")]
OPTIONS = [{}, {"verbs": VERBS[:4]}, {"verbs": VERBS[:1] + VERBS}, {"pairs": []}]
OPTIONS += [{"scores": {name: own.mine}} for name in ("a", "b")]
OPTIONS += [{"make_training": training} for training in (lab5_train.Training, *CONJUGATIONS)]


def test_all_that_is_asked_names_a_run():
    assert len({key(tiny(), **options) for options in OPTIONS}) == len(OPTIONS)


def test_so_do_versions():
    keys = {key(tiny())}
    with patch.object(torch, "__version__", "another"):
        keys.add(key(tiny()))
    with patch.object(torch, "get_default_dtype", lambda: torch.float64):
        keys.add(key(tiny()))
    assert len(keys) == 3


def test_equal_numbers_are_one_run():
    ones = (1, 1.0, np.int64(1), np.float32(1))
    assert len({key(tiny(seed=one, kl_weight=one)) for one in ones}) == 1


# ---- Files of one's own ----
MINE = '''"""A file."""

from base import Half

POWER = 2


class Rise(Half):
    """A schedule."""

    def __call__(self, progress):
        """Returns a share."""
        return self.half(progress**POWER)  # of it


def rise(progress):
    return Rise()(progress)


class MyTraining(Half):
    pass
'''
BASE = "class Half:\n    def half(self, x):\n        return x / 2\n"
SAME = [("A file", "One file"), ("A schedule", "It"), ("Returns", "Gives"), ("# of it", "# half")]
OTHER = [("POWER = 2", "POWER = 3"), ("progress**POWER", "progress")]


@pytest.fixture
def restart(tmp_path, monkeypatch):
    """Returns a function that writes two files and then imports the first, as a new Python does."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def restart(**texts):
        for name, text in ({"mine": MINE, "base": BASE} | texts).items():
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        lab5_runs.read_code.cache_clear()
        lab5_runs.digest_of.cache_clear()
        module = importlib.import_module("mine")
        monkeypatch.setattr(lab5_runs, "STARTED", time.time())
        time.sleep(0.05)  # a file's time is less exact
        return module

    with patch.dict(sys.modules):
        yield restart


SET_LATER = "X = 1\nX += 1\nfor X in range(9):\n    Y = X\nT = 0\ndel T\nclass C:\n    __x = 1\n"


def test_what_a_file_sets_later_itself_is_not_set_by_hand(restart):
    assert reason(tiny(schedule=restart(mine=MINE + SET_LATER).rise)) == ""


def test_an_edited_formula_is_another_run_and_an_edited_text_the_same(restart):
    keys = {}
    for edit in [("", ""), *SAME, *OTHER]:
        keys[edit] = key(tiny(schedule=restart(mine=MINE.replace(*edit)).rise))
    assert {keys["", ""]} == {keys[edit] for edit in SAME}
    assert len({keys["", ""], *(keys[edit] for edit in OTHER)}) == 3


@pytest.mark.parametrize("line", ["from lab5_runs import *", "import time; T0 = time.time()"])
def test_a_run_is_the_same_in_a_new_python_whatever_its_file_imports(restart, line):
    keys = set()
    for _ in range(2):
        config = tiny(schedule=restart(mine=f"{MINE}{line}\n").rise)
        assert reason(config) == ""
        keys.add(key(config))
    assert len(keys) == 1


def test_the_file_of_a_base_class_is_part_of_a_run(restart):
    keys = set()
    for base in (BASE, BASE.replace("x / 2", "x / 3")):
        training = restart(base=base).MyTraining
        keys.add(key(tiny(), make_training=training))
    assert len(keys) == 2


CHANGED = "mine.py: changed since Python started; restart it"


def test_what_is_edited_while_python_runs_is_not_kept(restart):
    mine = restart()
    assert reason(tiny(schedule=mine.rise)) == ""
    Path(mine.__file__).write_text(MINE.replace("POWER = 2", "POWER = 3"))
    assert reason(tiny(schedule=mine.rise)) == CHANGED
    assert reason(tiny()) == "", "which doesn't use the file"


@pytest.mark.skipif(os.name == "nt", reason="there a file doesn't tell when it came")
def test_nor_is_an_older_file_that_comes_back(restart, tmp_path):
    mine = restart()
    older = tmp_path / "older.py"
    older.write_text(MINE.replace("POWER = 2", "POWER = 3"))
    os.utime(older, (1e9, 1e9))
    older.replace(mine.__file__)
    assert reason(tiny(schedule=mine.rise)) == CHANGED
