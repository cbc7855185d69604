"""A run is what its files say: kept if they define it all, another one if anything changes."""

import functools

import numpy as np
import own
import pytest
import torch

from bonus.gate import BackwardEncoder
from conftest import VERBS, equal, keep, lab5_runs, lab5_train, small, start, written


def tiny(**changes):
    """Returns a configuration of two epochs of two steps."""
    return small(**{"epochs": 2, "batch_size": 20, "hidden_size": 16} | changes)


def name(verbs=VERBS, **changes):
    return lab5_runs.run_name(tiny(**changes), verbs)


# ---- Kept, or not ----
OWN = {"decoder": own.GRUDecoder, "schedule": own.late}


@pytest.mark.parametrize("changes", [{}, OWN], ids=["the lab's", "own"])
def test_what_files_define_is_trained_once_and_loaded_ready_to_convert(
    runs_folder, capsys, changes
):
    trained = keep(tiny(**changes), VERBS)
    first = written(runs_folder)
    loaded = keep(tiny(**changes), VERBS)
    assert len(first) == 1
    assert written(runs_folder) == first, "nothing is trained again"
    assert equal(trained, loaded)
    words = [run.model.convert(["abet"], 0, 3) for run in (trained, loaded)]
    assert words[0] == words[1], "without dropout"
    assert capsys.readouterr().out == ""


@functools.wraps(lab5_train.constant)
def wrapped(progress):
    """A schedule that calls itself one of ours."""
    return 0.5


@pytest.fixture
def said(capsys, monkeypatch):
    """Returns what was printed until the end of each epoch."""
    said = []
    monkeypatch.setattr(own.Reporting, "report", lambda *_: said.append(capsys.readouterr().out))
    return said


@pytest.mark.parametrize("schedule", [lambda progress: 0.5, wrapped], ids=["λ", "wrapped"])
def test_what_no_file_defines_is_trained_each_time_and_a_line_says_so_beforehand(
    runs_folder, said, schedule
):
    config = tiny(schedule=schedule, kl_weight=1, training=own.Reporting)
    for _ in range(2):
        assert keep(config, VERBS).history["kl_weight"].tolist() == [0.5, 0.5]
    line = f"trained each time and not kept, since no file defines it: {schedule.__name__}\n"
    assert said == [line, "", line, ""]
    assert not written(runs_folder)


def test_where_nothing_can_be_written_a_run_is_trained_and_a_line_says_so_beforehand(
    runs_folder, said
):
    runs_folder.write_text("a file, where no folder can be made")
    config = tiny(training=own.Reporting)
    keep(config, VERBS)
    lab5_runs.sweep([config], VERBS, jobs=1, progress=False)
    line = said[0]
    assert line.startswith(f"not kept, since {runs_folder} can't be written")
    assert said == [line, "", line, ""]


# ---- One run or another ----
OTHERS = {
    "encoder": BackwardEncoder,
    "decoder": own.GRUDecoder,
    "training": own.Reporting,
    "schedule": own.late,
    "optimizer": "sgd",
    "ce_per": "character",
    "tf_final": 0.5,
}


def test_every_field_of_a_configuration_names_a_run():
    fields = vars(tiny())
    changed = {field: OTHERS.get(field) or value + 1 for field, value in fields.items()}
    names = {name(**{field: value}) for field, value in changed.items()}
    assert len(names - {name()}) == len(fields)


def test_verbs_their_order_and_their_repeats_name_a_run():
    tables = (VERBS, VERBS[:4], VERBS[::-1], VERBS[:1] + VERBS)
    assert len({name(verbs) for verbs in tables}) == 4


def test_equal_numbers_are_one_run():
    ones = (1, 1.0, np.int64(1), np.float32(1))
    assert len({name(seed=one, kl_weight=one) for one in ones}) == 1


def test_with_a_gpu_and_without_are_two_runs(monkeypatch):
    names = set()
    for is_there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda is_there=is_there: is_there)
        names.add(name())
    assert len(names) == 2


BASE = """
import lab5_utils as lab

class Base(lab.DirectDecoder):
    scale = 1
"""
MINE = """
import base

class Mine(base.Base):
    pass
"""
PRINTS_A_NAME = """
import sys
sys.path.append(sys.argv[1])

import mine
from test_runs import name

print(name(decoder=mine.Mine))
"""


@pytest.mark.slow
def test_if_a_base_class_in_another_file_changes_it_is_another_run(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    names = []
    for base in (BASE, BASE, BASE.replace("scale = 1", "scale = 2")):
        (tmp_path / "base.py").write_text(base)
        output, _ = start("-c", PRINTS_A_NAME, str(tmp_path)).communicate()
        names.append(output)
    first, same, other = names
    assert first == same != other
