"""A run is kept if it is what the lab's files say, as imported; else a line says what is not."""

import copy
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import own
import pytest
import torch
from conftest import ROOT, equal, keep, lab, lab5_runs, lab5_train, small, taught, written

VERBS = lab.load_verbs()[:5]


def tiny(**changes):
    """Returns a configuration of two epochs of two steps."""
    return small(**{"epochs": 2, "batch_size": 10, "hidden_size": 16, "refine": 0.5} | changes)


def task_of(config, verbs=VERBS, make_training=own.unscored, **options):
    return lab5_train.check_task(config, verbs, make_training=make_training, **options)


def key(*args, **options):
    return lab5_runs.run_key(task_of(*args, **options))


def reasons(*args, **options):
    return lab5_runs.reasons_not_to_keep(task_of(*args, **options))


# ---- Kept ----
@pytest.mark.parametrize("changes", [{}, {"decoding": "gru", "strategy": "late"}])
def test_a_run_of_the_labs_files_or_a_file_of_ones_own_is_kept(runs_folder, capsys, changes):
    scores = {"mine": lambda model: np.float64(0.5)}
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
    assert not again.before_refining.training
    assert all(weight.requires_grad for weight in again.model.parameters())
    assert capsys.readouterr().out == ""


def test_a_training_a_deepcopy_and_a_pickle_change_nothing(runs_folder):
    run = keep(tiny(), VERBS)
    copy.deepcopy(run)
    pickle.loads(pickle.dumps([run, lab.load_test_pairs(), taught.cut(VERBS[0])]))
    assert reasons(tiny()) == []


def test_a_schedule_of_ours_under_a_name_of_ones_own_is_kept(runs_folder, monkeypatch):
    """The run stays in its folder, whatever the name; another schedule's is another run."""
    ours = lab5_train.constant, lab5_train.monotonic
    for name, schedule in itertools.product(("../../x/é y", 300 * "x"), ours):
        monkeypatch.setitem(lab5_train.STRATEGIES, name, schedule)
        keep(tiny(strategy=name, epochs=1), VERBS)
    assert len(written(runs_folder)) == 4
    assert list(runs_folder.parent.iterdir()) == [runs_folder]
    assert all(path.name.isascii() for path in runs_folder.iterdir())


# ---- Not kept ----
class Mine(own.GRUDecoder):
    """A decoder of a notebook, since this file is none of the lab's."""


class MyConfig(lab5_train.Config):
    """A configuration of a notebook."""


def slope(progress, excess):
    """A schedule of a notebook."""
    return 0.5 * progress


@functools.wraps(lab5_train.constant)
def wrapped(progress, excess):
    """A schedule that calls itself one of ours."""
    return 0.5


def my_training(config, verbs):
    """A training of a notebook."""
    return own.unscored(config, verbs)


SET = [  # holder, name, value; what the line names
    (lab5_train, "CLIP", 1.0, "lab5_train.CLIP"),
    (lab, "kl_divergence", slope, "lab5_utils.kl_divergence"),
    (lab, "Encoder", Mine, "lab5_utils.Encoder"),
    (lab.GatedDecoder, "price", 0.2, "GatedDecoder.price"),
    (lab.Decoder, "step", slope, "Decoder.step"),
    (lab.Encoder, "__init__", slope, "Encoder.__init__"),
    (own, "late", slope, "own.late"),
]
REGISTERED = [  # registry, name, entry; what the line names
    (lab5_train.STRATEGIES, "mine", slope, "strategy 'mine' (slope)"),
    (lab5_train.STRATEGIES, "mine", lambda p, e: p, "strategy 'mine' (<lambda>)"),
    (lab5_train.STRATEGIES, "mine", wrapped, "strategy 'mine' (constant)"),
    (lab5_train.STRATEGIES, "constant", slope, "lab5_train.STRATEGIES"),
    (lab5_train.STRATEGIES, "constant", lab5_train.monotonic, "lab5_train.STRATEGIES"),
    (lab.DECODERS, "mine", Mine, "decoding 'mine' (Mine)"),
    (lab.DECODERS, "direct", lab.GatedDecoder, "lab5_utils.DECODERS"),
]


@pytest.mark.parametrize("holder, name, value, reason", SET)
def test_what_is_set_is_the_reason_until_it_is_set_back(monkeypatch, holder, name, value, reason):
    with monkeypatch.context() as patch:
        patch.setattr(holder, name, value)
        assert reason in reasons(tiny())
    assert reasons(tiny()) == []


def test_a_constant_is_set_back_by_its_number(monkeypatch):
    monkeypatch.setattr(lab5_train, "CLIP", 2.5)
    lab5_train.CLIP *= 2
    assert reasons(tiny()) == []


def test_what_a_file_holds_inside_a_dictionary_or_under_its_own_name_is_seen(monkeypatch):
    monkeypatch.setattr(own, "own", slope, raising=False)
    monkeypatch.setattr(own, "SHARES", {"of": {"dropout": 0.3}}, raising=False)
    noted = lab5_runs.FILES["own"]._replace(contents=lab5_runs.contents_of(own))
    monkeypatch.setitem(lab5_runs.FILES, "own", noted)
    assert reasons(tiny()) == []
    own.SHARES["of"]["dropout"] = 0.4
    monkeypatch.setattr(own, "own", wrapped)
    assert reasons(tiny()) == ["own.SHARES", "own.own"]


@pytest.mark.parametrize("registry, name, entry, reason", REGISTERED)
def test_what_a_notebook_registers_is_the_reason(monkeypatch, registry, name, entry, reason):
    with monkeypatch.context() as patch:
        patch.setitem(registry, name, entry)
        field = "strategy" if registry is lab5_train.STRATEGIES else "decoding"
        assert reason in reasons(tiny(**{field: name}))
    assert reasons(tiny()) == []


def test_a_configuration_or_a_training_of_a_notebook_is_the_reason():
    assert reasons(MyConfig()) == ["configuration (MyConfig)"]
    assert reasons(tiny(), make_training=my_training) == ["training (my_training)"]
    partial = functools.partial(own.unscored, extra=[1])
    assert reasons(tiny(), make_training=partial) == ["argument extra"]
    partial = functools.partial(own.unscored, layers=(1, (torch.zeros(2),)))
    assert reasons(tiny(), make_training=partial) == ["argument layers"]
    partial = functools.partial(own.unscored, tiny())
    assert reasons(tiny(), make_training=partial) == ["an argument without a name"]
    with torch.autocast("cpu"):
        assert reasons(tiny()) == ["autocast"]


def test_what_is_not_kept_is_trained_anew_at_each_call_and_a_line_says_why(
    runs_folder, capsys, monkeypatch
):
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", slope)
    for _ in range(2):
        run = keep(tiny(strategy="mine"), VERBS)
        assert run.history["kl_weight"].tolist() == [0.375, 0]
        said = "trained anew and not kept in runs/, because of strategy 'mine' (slope)\n"
        assert capsys.readouterr().out == said
    for name in ("CLIP", "FALL", "HEADROOM"):
        monkeypatch.setattr(lab5_train, name, 1.0)
    keep(tiny(strategy="mine"), VERBS)
    names = "lab5_train.CLIP, lab5_train.FALL, lab5_train.HEADROOM and 1 more"
    assert names in capsys.readouterr().out
    assert not runs_folder.exists()


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
    keys |= {key(config, pairs=[]), *(key(config, scores={name: len}) for name in ("a", "b"))}
    keys.add(key(config, make_training=lab5_train.new_training))
    for letters in ("ab", "abc"):
        conjugation = functools.partial(taught.new_conjugation, alphabet=letters)
        keys.add(key(config, make_training=conjugation))
    assert len(keys) == len(changed) + 8


def test_another_torch_or_precision_is_another_run(monkeypatch):
    keys = {key(tiny())}
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "another")
        keys.add(key(tiny()))
    torch.set_default_dtype(torch.float64)
    keys.add(key(tiny()))
    torch.set_default_dtype(torch.float32)
    assert len(keys) == 3 and key(tiny()) in keys


def test_no_two_of_many_runs_share_a_folder(monkeypatch):
    task = task_of(tiny())
    keys = iter([hashlib.sha256(bytes(n)).hexdigest() for n in range(300)])
    monkeypatch.setattr(lab5_runs, "run_key", lambda task: next(keys))
    assert len({lab5_runs.Store(task).folder for _ in range(300)}) == 300


def test_equal_numbers_are_one_run():
    ones = (1, 1.0, np.int64(1), np.float32(1))
    assert len({key(tiny(seed=one, kl_weight=one)) for one in ones}) == 1
    pairs = (
        ("abet", "abets", 0, 1),
        lab.TestPair("abet", "abets", 0, 1),
        ["abet", "abets", *np.arange(2)],
    )
    assert len({key(tiny(), pairs=[pair]) for pair in pairs}) == 1


EDITS = [  # file, what is edited, whether that is the same run
    ("lab5_utils.py", "biases[1].fill_(1.0)", "biases[1].fill_(0.9)", False),
    ("lab5_utils.py", "MAX_LETTERS = 32", "MAX_LETTERS = 31", False),
    ("lab5_utils.py", "# z = μ + σ ε", "# another comment", True),
    ("lab5_train.py", "beta2=0.99)", "beta2=0.98)", False),
    ("lab5_train.py", '"""Keeps the weight at its highest value."""', '"""Another text."""', True),
    ("own.py", "Dropout(0.3)", "Dropout(0.4)", False),
    ("own.py", "one state, not two", "one state", True),
]


@pytest.mark.parametrize("name, old, new, same", EDITS)
def test_an_edited_formula_is_another_run_and_an_edited_comment_the_same(
    tmp_path, name, old, new, same
):
    (path,) = [*ROOT.glob(name), *ROOT.glob(f"tests/{name}")]
    text = path.read_text("utf-8")
    assert text.count(old) == 1, "edit this test"
    (tmp_path / name).write_text(text.replace(old, new), encoding="utf-8")
    source = lab5_runs.FILES[path.stem].source
    assert (lab5_runs.syntax_of(tmp_path / name)[0] == source) == same


ALL = {"ours", "own", "imported"}
USED_BY = {"lab5_utils": ALL, "lab5_train": ALL, "own": {"own", "imported"}}


@pytest.mark.parametrize("name", [*USED_BY, "lab5_selftaught"])
def test_an_edited_file_is_part_of_the_runs_that_use_it(monkeypatch, name):
    def keys():
        ours = key(tiny(), make_training=lab5_train.new_training)
        keys = {"ours": ours, "own": key(tiny(decoding="gru"))}
        return keys | {"imported": key(tiny(decoding="mine"))}

    monkeypatch.setitem(lab.DECODERS, "mine", Mine)
    monkeypatch.setitem(lab5_runs.FILES, __name__, lab5_runs.File("a file of Mine", {"own"}, {}))
    before = keys()
    edited = lab5_runs.FILES[name]._replace(source="another")
    monkeypatch.setitem(lab5_runs.FILES, name, edited)
    changed = {called for called, found in keys().items() if found != before[called]}
    assert changed == USED_BY.get(name, set())


# ---- A Python of its own ----
STARTED_ELSEWHERE = f"""
import importlib, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from conftest import lab, lab5_figures, lab5_runs, lab5_train
print(lab5_runs.RUNS, lab5_figures.FIGURES, sep="\\n")
for module in (lab, lab5_train, lab5_runs):
    importlib.reload(module)
    print(len(lab5_runs.names_set()) > 0)
"""


@pytest.mark.slow
def test_folders_are_beside_the_modules_and_after_a_reload_nothing_is_kept(tmp_path):
    environ = os.environ | {"LAB5_RUNS": "my/runs", "LAB5_FIGURES": "my/figures"}
    command = [sys.executable, "-c", STARTED_ELSEWHERE]
    said = subprocess.check_output(command, cwd=tmp_path, env=environ, text=True)
    folders = [str(ROOT / "my" / "runs"), str(ROOT / "my" / "figures")]
    assert said.splitlines() == [*folders, "True", "True", "True"]
