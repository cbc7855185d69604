"""A run is what its files say: kept if they define it all, another one if anything changes."""

import functools
import importlib
import json
import os
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from conftest import VERBS, equal, keep, lab, lab5_runs, lab5_train, own, small, written

import lab5_selftaught as taught


def tiny(**changes):
    """Returns a configuration of two epochs of two steps."""
    return small(**{"epochs": 2, "batch_size": 20, "hidden_size": 16} | changes)


def task_of(config, verbs=VERBS, pairs=None, scores=None, make_training=own.Unscored):
    return lab5_train.check_task(config, verbs, pairs, scores, make_training)


def key(*args, **options):
    return lab5_runs.run_key(task_of(*args, **options))


def reason(*args, **options):
    return lab5_runs.why_not_kept(task_of(*args, **options))


# ---- Kept, or not ----
OWN = {"decoder": own.GRUDecoder, "encoder": lab.Encoder, "schedule": own.late}


@pytest.mark.parametrize("changes", [{}, OWN], ids=["the lab's", "own"])
def test_a_run_of_the_labs_files_or_a_file_beside_them_is_kept(runs_folder, capsys, changes):
    scores = {"mine": own.mine}
    run = keep(tiny(**changes), VERBS, scores=scores)
    first = written(runs_folder)
    (config,) = runs_folder.glob("*/config.json")
    names = {"schedule": "lab5_train.short_rise", "decoder": "lab5_gate.GatedDecoder"}
    names["encoder"] = "lab5_gate.BackwardEncoder"
    if changes:
        names = {"schedule": "experiments.own.late", "decoder": "experiments.own.GRUDecoder"}
        names["encoder"] = "lab5_utils.Encoder"
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


ELSEWHERE = "isn't defined in a file of the project's folder or of experiments/"


@pytest.mark.parametrize("schedule", [lambda progress: 0.5, wrapped], ids=["λ", "wrapped"])
def test_with_a_part_from_elsewhere_a_run_is_trained_at_each_call_and_a_line_says_so(
    runs_folder, capsys, schedule
):
    for _ in range(2):
        run = keep(tiny(schedule=schedule, kl_weight=1), VERBS)
        assert run.history["kl_weight"].tolist() == [0.5, 0.5]
        line = f"trained anew and not kept in runs/: the schedule {ELSEWHERE}\n"
        assert capsys.readouterr().out == line
    assert not runs_folder.exists()


def test_each_part_is_named():
    class Inside(own.GRUDecoder):
        """A decoder inside a function."""

    class Mirrored(lab.Encoder):
        """An encoder inside a function."""

    assert reason(tiny(decoder=Inside)) == f"the decoder {ELSEWHERE}"
    assert reason(tiny(encoder=Mirrored)) == f"the encoder {ELSEWHERE}"
    training = functools.partial(lambda *args: own.Unscored(*args))
    assert reason(tiny(), make_training=training) == f"the training {ELSEWHERE}"
    assert reason(tiny(), scores={"mine": lambda model: 0.0}) == f"the score 'mine' {ELSEWHERE}"


def test_where_nothing_can_be_written_a_run_is_trained_and_a_line_says_so(
    tmp_path, capsys, monkeypatch
):
    (tmp_path / "runs").write_text("a file, where no folder can be made")
    monkeypatch.setattr(lab5_runs, "RUNS", tmp_path / "runs")
    keep(tiny(), VERBS)
    lab5_runs.sweep([tiny()], VERBS, jobs=1, make_training=own.Unscored, progress=False)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith(f"trained anew and not kept in runs/: {tmp_path / 'runs'} can't be wri")


# ---- One run or another ----
def other_than(name, value):
    """Returns another value of a hyperparameter."""
    others = {"schedule": own.late, "encoder": lab.Encoder, "decoder": own.GRUDecoder}
    others |= {"optimizer": "sgd", "ce_per": "character"}
    return others.get(name) or (value / 2 if isinstance(value, float) else value + 1)


def test_every_field_of_a_configuration_names_a_run():
    changed = {name: other_than(name, value) for name, value in vars(tiny()).items()}
    keys = {key(tiny(**{name: value})) for name, value in changed.items()}
    assert len(keys - {key(tiny())}) == len(changed)


class One(own.Unscored):
    """A training with an attribute that a partial has, too."""

    func = staticmethod(lab5_train.constant)


class Another(One):
    """Another one."""


CONJUGATIONS = [functools.partial(taught.Conjugation, alphabet=letters) for letters in ("a", "ab")]
OPTIONS = [{}, {"verbs": VERBS[:4]}, {"verbs": VERBS[:1] + VERBS}, {"pairs": []}]
OPTIONS += [{"scores": {name: own.mine}} for name in ("a", "b")]
OPTIONS += [{"make_training": kind} for kind in (lab5_train.Training, One, Another, *CONJUGATIONS)]


def test_all_that_is_asked_names_a_run():
    assert len({key(tiny(), **options) for options in OPTIONS}) == len(OPTIONS)


def test_what_cannot_name_a_run_is_refused():
    with pytest.raises(TypeError, match="Tensor"):
        key(tiny(), make_training=functools.partial(own.Unscored, a=torch.zeros(2)))


def test_equal_numbers_are_one_run():
    ones = (1, 1.0, np.int64(1), np.float32(1))
    assert len({key(tiny(seed=one, kl_weight=one)) for one in ones}) == 1


# ---- Files of one's own ----
MINE = '''def rise(progress):
    """Returns a share."""
    return progress**2  # of it
'''


@pytest.fixture
def restart(tmp_path, monkeypatch):
    """Returns a function that writes a file into the project and imports it, as a new Python does.

    The project is a folder of the test's own, with the lab's files.
    """
    for file in lab5_runs.LABS:
        (tmp_path / file).write_bytes((lab.HERE / file).read_bytes())
    monkeypatch.setattr(lab, "HERE", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def restart(text, is_there=True):
        (tmp_path / "mine.py").write_text(text)
        files = [*lab5_runs.LABS, *([Path("mine.py")] if is_there else [])]
        contents = {file: (tmp_path / file).read_bytes() for file in files}
        monkeypatch.setattr(lab5_runs, "IMPORTED", contents)
        sys.modules.pop("mine", None)
        importlib.invalidate_caches()
        return importlib.import_module("mine").rise

    with patch.dict(sys.modules), patch.object(lab5_runs, "file_of", file_of_a_test):
        yield restart


def file_of_a_test(part, file_of=lab5_runs.file_of):
    """Returns the file of a part as if the lab's files lay in the test's folder."""
    module = Path(sys.modules[part.__module__].__file__)
    return Path(module.name) if module.name in {*map(str, lab5_runs.LABS)} else file_of(part)


QUIET = {"make_training": lab5_train.Training}


def test_an_edited_formula_is_another_run_and_an_edited_comment_the_same(restart):
    texts = [MINE, MINE.replace("# of it", "# half"), MINE.replace("**2", "**3")]
    first, comment, formula = (key(tiny(schedule=restart(text)), **QUIET) for text in texts)
    assert first == comment != formula


def test_what_is_edited_while_python_runs_is_not_kept(restart):
    schedule = restart(MINE)
    assert reason(tiny(schedule=schedule), **QUIET) == ""
    os.utime(lab.HERE / "mine.py", (4e9, 4e9))  # a clock that is wrong
    assert reason(tiny(schedule=schedule), **QUIET) == ""
    (lab.HERE / "mine.py").write_text(MINE.replace("**2", "**3"))
    changed = "mine.py has changed since it was imported; restart Python"
    assert reason(tiny(schedule=schedule), **QUIET) == changed
    assert reason(tiny(), **QUIET) == "", "which doesn't use the file"


def test_nor_is_a_file_that_came_later(restart):
    schedule = restart(MINE, is_there=False)
    assert reason(tiny(schedule=schedule), **QUIET) == f"the schedule {ELSEWHERE}"
