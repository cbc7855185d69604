"""A run is kept if files define its parts, and another one if anything changes that it is made of.

`restart` stands for a new Python; the last test starts some.
"""

import dataclasses
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
from conftest import ROOT, VERBS, equal, keep, lab, lab5_runs, lab5_train, small, start, written

import lab5_gate
import lab5_selftaught as taught


def tiny(**changes):
    """Returns a configuration of two epochs of two steps."""
    return small(**{"epochs": 2, "batch_size": 20, "hidden_size": 16, "refine": 0.5} | changes)


def task_of(config, verbs=VERBS, make_training=own.Unscored, **options):
    return lab5_train.check_task(config, verbs, make_training=make_training, **options)


def key(*args, **options):
    return lab5_runs.run_key(task_of(*args, **options))


def reason(*args, **options):
    return lab5_runs.reason_not_to_keep(task_of(*args, **options))


# ---- Kept, or not ----
@pytest.mark.parametrize("changes", [{}, {"decoding": "gru", "strategy": "late"}])
def test_a_run_of_the_labs_files_or_a_file_of_ones_own_is_kept(runs_folder, capsys, changes):
    scores = {"mine": own.mine}
    run = keep(tiny(**changes), VERBS, scores=scores)
    first = written(runs_folder)
    (config,) = runs_folder.glob("*/config.json")
    assert json.loads(config.read_text()) == dataclasses.asdict(run.config)
    config.unlink()
    again = keep(tiny(**changes), VERBS, scores=scores)
    assert len(first) == 1
    assert not config.exists(), "nothing is written, so the folder may be read-only"
    assert written(runs_folder) == first, "nothing is trained again"
    assert equal(run, again)
    converted = [found.model.convert(["abet"], 0, 3) for found in (run, again)]
    assert converted[0] == converted[1], "without dropout"
    for model in (again.model, again.before_refining):
        assert not model.training
        assert all(weight.requires_grad for weight in model.parameters())
    assert capsys.readouterr().out == ""


@functools.wraps(lab5_train.constant)
def wrapped(progress, excess):
    """A schedule that calls itself one of ours."""
    return 0.5


def test_what_no_file_defines_by_its_name_is_trained_anew_at_each_call_and_a_line_says_so(
    runs_folder, capsys, monkeypatch
):
    class Inside(own.GRUDecoder):
        """A decoder inside a function."""

    @dataclasses.dataclass(frozen=True)
    class MyConfig(lab5_train.Config):
        """A configuration inside a function."""

    for strategy in (lambda progress, excess: 0.5, wrapped):
        monkeypatch.setitem(lab5_train.STRATEGIES, "mine", strategy)
        for _ in range(2):
            run = keep(tiny(strategy="mine"), VERBS)
            assert run.history["kl_weight"].tolist() == [0.5, 0]
            why = "strategy 'mine' isn't a function or a class in a file"
            assert capsys.readouterr().out == f"trained anew and not kept in runs/: {why}\n"
    assert not runs_folder.exists()
    monkeypatch.setitem(lab.DECODERS, "mine", Inside)
    assert "decoding 'mine'" in reason(tiny(decoding="mine"))
    assert "the configuration" in reason(MyConfig())
    assert "the training" in reason(tiny(), make_training=lambda *args: own.Unscored(*args))
    assert "score 'made'" in reason(tiny(), scores={"made": functools.partial(own.mine)})


def test_what_is_neither_a_number_nor_a_text_names_no_run():
    training = functools.partial(own.Unscored, layers=torch.zeros(2))
    assert "Tensor" in reason(tiny(), make_training=training)
    assert reason(tiny(), make_training=functools.partial(own.Unscored, layers=(1, ("2",)))) == ""


# ---- One run or another ----
def other_than(name, value):
    """Returns another value of a hyperparameter."""
    if name in lab5_train.CHOICES:
        return next(choice for choice in lab5_train.CHOICES[name] if choice != value)
    return value / 2 if isinstance(value, float) else value + 1


def test_every_field_of_a_configuration_and_all_that_is_asked_names_a_run():
    config = tiny()
    changed = {name: other_than(name, value) for name, value in vars(config).items()}
    keys = {key(tiny(**{name: value})) for name, value in changed.items()}
    keys |= {key(config), key(config, VERBS[:4])}
    keys |= {key(config, pairs=[]), *(key(config, scores={name: own.mine}) for name in ("a", "b"))}
    keys.add(key(config, make_training=lab5_train.Training))
    for letters in ("ab", "abc"):
        conjugation = functools.partial(taught.Conjugation, alphabet=letters)
        keys.add(key(config, make_training=conjugation))
    with patch.dict(lab5_train.STRATEGIES, {config.strategy: lab5_train.constant}):
        keys.add(key(config))
    with patch.object(torch, "__version__", "another"):
        keys.add(key(config))
    with patch.object(torch, "get_default_dtype", lambda: torch.float64):
        keys.add(key(config))
    assert len(keys) == len(changed) + 11


def test_equal_numbers_and_texts_are_one_run():
    ones = (1, 1.0, np.int64(1), np.float32(1))
    assert len({key(tiny(seed=one, kl_weight=one)) for one in ones}) == 1
    assert len({key(tiny(optimizer=text)) for text in ("sgd", np.str_("sgd"))}) == 1
    pairs = lab.TestPair("abet", "abets", 0, 1), ["abet", "abets", *np.arange(2)]
    assert len({key(tiny(), pairs=[pair]) for pair in pairs}) == 1


SET = {"CLIP": lab5_train, "price": lab5_gate.GatedDecoder, "START": own, "drop": own.GRUDecoder}


@pytest.mark.parametrize("name", SET)
def test_a_number_that_is_set_by_hand_makes_another_run_until_it_is_set_back(name):
    config = tiny(decoding="gated" if name == "price" else "gru", strategy="late")
    before = key(config)
    with patch.object(SET[name], name, 0.7):
        assert key(config) != before and reason(config) == ""
    assert key(config) == before


# ---- Files of one's own ----
MINE = '''"""A file."""

from base import Half
from lab5_train import STRATEGIES

POWER = 2


class Rise(Half):
    """A schedule."""

    def __call__(self, progress, excess):
        """Returns a share."""
        return self.half(progress**POWER)  # of it


def rise(progress, excess):
    return Rise()(progress, excess)


class MyTraining(Half):
    pass


STRATEGIES["rise"] = rise
'''
BASE = "class Half:\n    def half(self, x):\n        return x / 2\n"
SAME = [("A file", "One file"), ("A schedule", "It"), ("Returns", "Gives"), ("# of it", "# half")]
OTHER = [("POWER = 2", "POWER = 3"), ("progress**POWER", "progress")]


@pytest.fixture
def restart(tmp_path, monkeypatch):
    """Returns a function that writes two files and then imports the first, as a new Python does."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def restart(mine=MINE, base=BASE):
        (tmp_path / "mine.py").write_text(mine)
        (tmp_path / "base.py").write_text(base)
        sys.modules.pop("mine", None), sys.modules.pop("base", None)
        importlib.invalidate_caches()
        lab5_runs.code_hash.cache_clear()
        module = importlib.import_module("mine")
        monkeypatch.setattr(lab5_runs, "STARTED", time.time())
        time.sleep(0.05)  # a file's time is less exact
        return module

    with patch.dict(lab5_train.STRATEGIES):
        yield restart
    sys.modules.pop("mine", None), sys.modules.pop("base", None)


def test_an_edited_formula_is_another_run_and_an_edited_text_the_same(restart):
    keys, others = {}, set()
    for edit in [("", ""), *SAME, *OTHER]:
        restart(MINE.replace(*edit))
        keys[edit] = key(tiny(strategy="rise"))
        others.add(key(tiny()))
    assert {keys["", ""]} == {keys[edit] for edit in SAME}
    assert len({keys["", ""], *(keys[edit] for edit in OTHER)}) == 3
    assert len(others) == 1, "which don't use the file"


def test_the_file_of_a_base_class_is_part_of_a_run(restart):
    keys = set()
    for base in (BASE, BASE.replace("x / 2", "x / 3")):
        training = restart(base=base).MyTraining
        keys.add(key(tiny(), make_training=training))
    assert len(keys) == 2


def test_what_is_edited_while_python_runs_is_not_kept(restart):
    mine = restart()
    assert reason(tiny(strategy="rise")) == ""
    Path(mine.__file__).write_text(MINE.replace("POWER = 2", "POWER = 3"))
    assert reason(tiny(strategy="rise")) == "mine.py was changed since Python started; restart it"
    assert reason(tiny()) == "", "which doesn't use the file"


@pytest.mark.skipif(os.name == "nt", reason="there a file doesn't tell when it came")
def test_nor_is_an_older_file_that_comes_back(restart, tmp_path):
    older = tmp_path / "older.py"
    older.write_text(MINE.replace("POWER = 2", "POWER = 3"))
    os.utime(older, (1e9, 1e9))
    older.replace(restart().__file__)
    assert reason(tiny(strategy="rise")).startswith("mine.py was changed")


def test_a_folder_that_a_variable_names_starts_beside_the_modules(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB5_RUNS", "my/runs")
    assert lab.folder_named("LAB5_RUNS", "runs") == ROOT / "my" / "runs"


ASKS = """
from conftest import VERBS, keep
from test_runs import tiny
import mine
print(keep(tiny(strategy="rise"), VERBS).history["kl_weight"].tolist())
"""


@pytest.mark.slow
def test_after_an_edit_and_a_restart_a_run_is_trained_again(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    path = os.pathsep.join([str(ROOT / "tests"), str(tmp_path)])
    folders, found = {"LAB5_RUNS": str(tmp_path), "PYTHONPATH": path}, []
    for text in (MINE, MINE, MINE.replace("POWER = 2", "POWER = 1")):
        (tmp_path / "mine.py").write_text(text)
        line, _ = start("-c", ASKS, **folders).communicate()
        found.append((line, len(written(tmp_path))))
    assert found == [("[0.3125, 0.0]\n", 1), ("[0.3125, 0.0]\n", 1), ("[0.375, 0.0]\n", 2)]
