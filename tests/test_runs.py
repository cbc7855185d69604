"""A run is what its code says: an edit is another run, a comment is not, a notebook's own is."""

import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, equal, lab, lab5_train, no_epoch, small
from filelock import FileLock
from torch import nn

VERBS = lab.load_verbs()[:10]
TINY = {"epochs": 1, "batch_size": 20, "hidden_size": 16, "refine": 0.0}


def tiny(**changes):
    """Returns a configuration of one epoch of two steps."""
    return small(**TINY | changes)


def digest(config):
    return lab5_train.digest(config, VERBS, [])


def epochs_trained(config, **options):
    """Asks for a run in runs/; returns it and the epochs that were trained for it."""
    epochs = []

    def note(history):
        epochs.append(len(history))

    run = lab5_train.load_or_train(config, VERBS, pairs=[], on_epoch=note, **options)
    return run, epochs


# ---- Edited code is another run ----
class EditedDecoder(lab.GatedDecoder):
    def pressure(self, progress):
        return 0.5, 0.0


def test_edited_code_is_never_served_an_old_run(runs_folder, monkeypatch):
    run, epochs = epochs_trained(tiny(), progress=False)
    assert epochs == [1]
    edits = [
        lambda patch: patch.setattr(lab5_train, "CLIP", 0.001),
        lambda patch: patch.setattr(lab, "GATE_SETTLES", 1.0),
        lambda patch: patch.setitem(lab.DECODERS, "gated", EditedDecoder),
        lambda patch: patch.setitem(lab.SCORES, "size", lambda model: 1.0),
    ]
    for edit in edits:
        with monkeypatch.context() as patch:
            edit(patch)
            edited, epochs = epochs_trained(tiny(), progress=False)
            assert epochs == [1]
            assert not equal(run, edited)
            assert epochs_trained(tiny(), progress=False)[1] == []
    again, epochs = epochs_trained(tiny(), progress=False)
    assert epochs == []
    assert equal(run, again)
    assert type(again.model.decoder) is lab.GatedDecoder


DIFFERENT = {  # what is edited in a copy of the modules: arithmetic, a constant, a model, a metric
    "lab5_utils.py": [
        ("return mu + (0.5 * logvar).exp() * noise", "return mu + (0.4 * logvar).exp() * noise"),
        ("biases[1].fill_(1.0)", "biases[1].fill_(0.9)"),
        ("SmoothingFunction().method1", "SmoothingFunction().method2"),
        ("HEADROOM = 4.0", "HEADROOM = 4.5"),
        ("return self.epochs - int(", "return self.epochs - 0 * int("),
    ],
    "lab5_train.py": [
        ("beta2=0.99)", "beta2=0.98)"),
        ("WARM_UP = 0.02", "WARM_UP = 0.03"),
        ("weight * kl.mean()", "weight * kl.sum()"),
    ],
}
SAME = {  # a comment, a docstring, another schedule, a figure
    "lab5_utils.py": [
        ("return mu + (0.5", "# so that gradients pass\n    return mu + (0.5"),
        ('"""Samples z (B, Z)', '"""Draws z (B, Z)'),
        ("min(1.0, 10 * progress)", "min(1.0, 9 * progress)"),
    ],
    "lab5_figures.py": [("WIDTH = 5.0", "WIDTH = 6.0")],
    "lab5_beyond.py": [("PRODUCTIVE = 20", "PRODUCTIVE = 21")],
}
PRINT_DIGESTS = """
import importlib, os, sys
names = ["lab5_utils", "lab5_train", "lab5_figures", "lab5_beyond"]
for folder in sorted(os.listdir("."), key=int):
    sys.path.insert(0, os.path.abspath(folder))
    lab, train, _, beyond = [importlib.import_module(name) for name in names]
    verbs = lab.load_verbs()[:10]
    print(*(train.digest(room.Config(), verbs, []) for room in (lab, beyond)))
    for name in names:
        del sys.modules[name]
"""


@pytest.mark.slow
def test_an_edited_line_is_another_run_and_an_edited_comment_is_the_same(tmp_path):
    """By the lab's rules and beyond; in two processes, whatever the order of their sets."""
    edits = [(None, "", "")]
    for edited in (DIFFERENT, SAME):
        edits += [(name, *edit) for name in edited for edit in edited[name]]
    for number, (name, old, new) in enumerate(edits):
        copy = tmp_path / str(number)
        copy.mkdir()
        for path in [*ROOT.glob("lab5_*.py"), ROOT / "train.txt"]:
            text = path.read_text("utf-8")
            assert path.name != name or old in text, f"edit this test: {old} is gone"
            text = text.replace(old, new) if path.name == name else text
            (copy / path.name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", PRINT_DIGESTS]
    found = []
    for seed in "12":
        options = {"cwd": tmp_path, "env": os.environ | {"PYTHONHASHSEED": seed}}
        found.append(subprocess.check_output(command, text=True, **options))
    assert found[0] == found[1]
    (whole, whole_beyond), *edited = [line.split() for line in found[0].splitlines()]
    different = sum(map(len, DIFFERENT.values()))
    assert len({whole, *(by_rules for by_rules, _ in edited[:different])}) == 1 + different
    same = edited[different:]
    assert {by_rules for by_rules, _ in same} == {whole}
    assert [there == whole_beyond for _, there in same] == [True] * 4 + [False], "in its own room"


# ---- A schedule or configuration from elsewhere ----
SLOPE = 1.0


def power_of(power):
    def schedule(progress, excess):
        return progress**power if power is not None else 0.0

    return schedule


def steep(progress, excess):
    return min(1.0, SLOPE * progress)


def cached(power):
    return functools.lru_cache(power_of(power))


NUMBERS = [1, 2, 1.5, np.int64(1), np.int64(2)]
VALUES = [*NUMBERS, np.arange(2), range(2), range(3)]
VALUES += [pd.Series([1]), pd.Series([2]), {1}, {2}, functools.partial(steep)]


def test_what_a_schedule_works_with_is_part_of_a_run(monkeypatch):
    config = small()

    def digest_with(schedule):
        monkeypatch.setitem(lab.STRATEGIES, config.strategy, schedule)
        return digest(config)

    found = [digest_with(power_of(value)) for value in VALUES]
    found += [digest_with(schedule) for schedule in (steep, cached(3), cached(4))]
    monkeypatch.setattr(sys.modules[__name__], "SLOPE", 2.0)
    found.append(digest_with(steep))
    steep.slope = 2.0
    found.append(digest_with(steep))
    del steep.slope
    found.append(digest_with(lambda progress, excess: progress))
    found.append(digest_with(lambda progress, excess: 1.0 - progress))
    assert len(set(found)) == len(found)
    assert digest_with(power_of(2)) == found[1]


def test_two_notebooks_configurations_of_one_name_are_two_runs():
    def of_epochs(done):
        class My(lab.Config):
            @property
            def kl_epochs(self):
                return self.epochs - done

        return My(epochs=4)

    assert vars(of_epochs(1)) == vars(of_epochs(2))
    assert digest(of_epochs(1)) == digest(of_epochs(1)) != digest(of_epochs(2))


def with_state():
    calls = 0

    def schedule(progress, excess):
        nonlocal calls
        calls += 1
        return 1.0 if calls < 1000 else 0.5

    return schedule


class Counter:
    calls = 0

    def __call__(self, progress, excess):
        self.calls += 1
        return 1.0


def global_counter(progress, excess):
    global SLOPE
    SLOPE += 1
    return 1.0


def own_counter(progress, excess):
    own_counter.calls = 1 + getattr(own_counter, "calls", 0)
    return 1.0


STATEFUL = [with_state(), Counter(), global_counter, own_counter]


@pytest.mark.parametrize("schedule", STATEFUL)
def test_a_schedule_that_keeps_a_state_is_refused_before_any_work(monkeypatch, schedule):
    monkeypatch.setitem(lab.STRATEGIES, "mine", schedule)
    message = "strategy 'mine': found what changes from call to call; expected a function of"
    with pytest.raises(ValueError, match=message):
        lab5_train.train(small(strategy="mine"), VERBS, on_epoch=no_epoch)


# ---- Resuming ----
class WiderDecoder(lab.GatedDecoder):
    def __init__(self, config, vocabulary):
        super().__init__(config, vocabulary)
        self.extra = nn.Linear(2, 2)


class StoppedError(Exception):
    """Stops a training between two epochs."""


def stop(history):
    raise StoppedError


def test_what_other_code_began_is_neither_resumed_nor_loaded(runs_folder, tmp_path, monkeypatch):
    config = tiny(epochs=2)
    calls = [lab5_train.load_or_train, functools.partial(lab5_train.train, run_dir=tmp_path / "a")]
    with monkeypatch.context() as patch:
        patch.setitem(lab.DECODERS, "gated", WiderDecoder)
        for call in calls:
            with pytest.raises(StoppedError):
                call(config, VERBS, pairs=[], on_epoch=stop)
    assert epochs_trained(config)[1] == [1, 2]
    refused = f"{tmp_path / 'a' / 'run.pt'}: damaged, or of another configuration, code or data"
    with pytest.raises(ValueError, match=refused):
        calls[1](config, VERBS, pairs=[], on_epoch=no_epoch)


def test_a_resume_says_where_it_goes_on_and_a_loaded_run_shows_no_bar(runs_folder, capsys):
    with pytest.raises(StoppedError):
        lab5_train.load_or_train(tiny(epochs=3), VERBS, pairs=[], on_epoch=stop)
    assert "epochs:" in capsys.readouterr().err
    assert epochs_trained(tiny(epochs=3))[1] == [2, 3]
    assert "resumed at epoch 2:" in capsys.readouterr().err
    assert epochs_trained(tiny(epochs=3))[1] == []
    assert capsys.readouterr().err == ""


def test_who_waits_for_a_run_keeps_no_other_training_waiting(runs_folder):
    first, second = tiny(), tiny(seed=1)
    folder = lab5_train.run_folder(first, digest(first))
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(2) as threads:
        with FileLock(folder / "lock"):  # as if another process trained it
            waiting = threads.submit(epochs_trained, first)
            assert not wait_for([waiting], timeout=1).done
            other = threads.submit(epochs_trained, second)
            assert wait_for([other], timeout=60).done
            assert not waiting.done()
        assert waiting.result(60)[1] == other.result()[1] == [1]


def test_a_run_stays_in_its_folder_whatever_its_strategy_is_called(runs_folder, monkeypatch):
    monkeypatch.setitem(lab.STRATEGIES, "../../x/é y", lab.constant)
    for _ in range(2):
        epochs_trained(tiny(strategy="../../x/é y"))
    (folder,) = runs_folder.iterdir()
    assert (folder / lab5_train.CHECKPOINT).exists()
    assert list(runs_folder.parent.iterdir()) == [runs_folder]


# ---- What is taken ----
def test_verbs_from_a_generator_are_trained(runs_folder):
    def generate():
        yield from VERBS

    found = lab5_train.train(tiny(), generate(), pairs=iter([]))
    assert equal(found, lab5_train.train(tiny(), VERBS, pairs=[]))
    swept = lab5_train.sweep([tiny(seed=seed) for seed in range(2)], generate(), jobs=1)
    assert len(swept) == 2


@pytest.mark.parametrize("train", [lab5_train.train, lab5_train.load_or_train])
def test_what_is_no_configuration_is_refused(train):
    with pytest.raises(TypeError, match=r"config: found \{\}; expected a Config"):
        train({}, VERBS, on_epoch=no_epoch)


def test_epochs_of_refining_are_rounded_down_not_cut():
    found = [lab.Config(epochs=100, refine=share).kl_epochs for share in (0.29, 0.57, 0.555)]
    assert found == [71, 43, 45]


# ---- A student's own ----
class GRUDecoder(lab.DirectDecoder):
    """Has a GRU in place of the LSTM: one tensor of state in place of two."""

    def __init__(self, config, vocabulary):
        super().__init__(config, vocabulary)
        self.lstm = nn.GRU(config.embedding_size, config.hidden_size, batch_first=True)

    def initial_state(self, context):
        return context[None].tanh()


def test_a_decoder_of_ones_own_is_a_class_and_a_line(runs_folder, monkeypatch):
    monkeypatch.setitem(lab.DECODERS, "gru", GRUDecoder)
    config = tiny(decoding="gru", tf_final=0.0, epochs=20, batch_size=8)
    run, epochs = epochs_trained(config)
    assert len(epochs) == 20
    assert run.history["ce"].iloc[-1] < 0.8 * run.history["ce"].iloc[0]
    again, epochs = epochs_trained(config)
    assert epochs == []
    assert equal(run, again)
    assert type(again.model.decoder) is GRUDecoder
    z = again.model.encode(VERBS[0], range(4))[0]
    assert again.model.generate(z) == run.model.generate(z)


NOTEBOOK = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
import lab5_train, lab5_utils as lab
lab5_train.RUNS = Path("runs")
verbs = lab.load_verbs()[:10]
size = {{"hidden_size": 16, "epochs": 1, "batch_size": 64, "refine": 0.0}}
def sweep():
    own = {{"decoding": "mine", "strategy": "mine"}}
    configs = [lab.Config(**size, **own, seed=seed) for seed in range(2)]
    for run in lab5_train.sweep(configs, verbs, jobs=2):
        row = run.history.iloc[-1]
        print(type(run.model.decoder) is Mine, row["mine"], row["kl_weight"], end="; ")
    print(len(list(lab5_train.RUNS.iterdir())))
if __name__ == "__main__":
    for price in (0.5, 0.25):
        def twice():
            return 2 * price
        class Mine(lab.GatedDecoder):
            def pressure(self, progress):
                return 1.0, twice()
        lab.DECODERS["mine"] = Mine
        lab.STRATEGIES["mine"] = lambda progress, excess: price * progress
        lab.SCORES["mine"] = lambda model: model.decoder.pressure(1.0)[1]
        sweep()
    lab5_train.CLIP = 0.001
    try:
        sweep()
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.slow
def test_what_a_notebook_registers_reaches_the_processes_of_a_sweep(tmp_path):
    """An edited class is trained anew; a constant that was set here alone is an error."""
    (tmp_path / "script.py").write_text(NOTEBOOK, encoding="utf-8")
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    *swept, error = done.stdout.splitlines()
    assert swept == [
        "True 1.0 0.5; True 1.0 0.5; 2",
        "True 0.5 0.25; True 0.5 0.25; 4",
    ], done.stderr
    assert error.startswith("found other code in a process of the sweep; expected this one's")


# ---- Two modules with the same name in them ----
USE = """import first
import second


def use():
    return first.make() + second.make()
"""


def describe_use(folder, seed):
    """Returns how a new process describes `use`; the seed orders the names in its sets."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    where = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": path}
    code = "import lab5_train, third; print(lab5_train.read(third.use, set()))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=where, check=True, capture_output=True).stdout


def test_code_of_two_modules_is_described_in_full_and_the_same_in_any_process(tmp_path):
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text("def make():\n    return 1\n")
    (tmp_path / "third.py").write_text(USE)
    found = {describe_use(tmp_path, seed) for seed in (1, 4, 7)}
    assert len(found) == 1
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text("def make():\n    return 20\n")
        found.add(describe_use(tmp_path, seed=1))
    assert len(found) == 3, "an edit of either is another description"
