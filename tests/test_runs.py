"""A run is what its code says: an edit is another run, a comment is not, a notebook's own is."""

import functools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from conftest import ROOT, equal, lab, lab5_train, no_epoch, small
from filelock import FileLock
from torch import nn

VERBS = lab.load_verbs()[:10]
TINY = {"epochs": 1, "batch_size": 20, "hidden_size": 16, "refine": 0.0}


def tiny(**changes):
    """Returns a configuration of one epoch of two steps."""
    return small(**TINY | changes)


def key(config, make_training=lab5_train.new_training):
    return lab5_train.run_key(lab5_train.check_task(config, VERBS, [], None, make_training))


def epochs_trained(config, **options):
    """Asks for a run in runs/; returns it and the epochs that were trained for it."""
    epochs = []

    def note(history):
        epochs.append(len(history))

    run = lab5_train.load_or_train(config, VERBS, pairs=[], on_epoch=note, **options)
    return run, epochs


# ---- The project's own code ----
DIFFERENT = {  # what is edited in a copy of the modules
    "lab5_utils.py": [
        ("return mu + (0.5 * logvar).exp() * noise", "return mu + (0.4 * logvar).exp() * noise"),
        ("biases[1].fill_(1.0)", "biases[1].fill_(0.9)"),
        ("hidden, state = self.lstm(self.embedding(letter), state)", "hidden = state"),
    ],
    "lab5_train.py": [
        ("beta2=0.99)", "beta2=0.98)"),
        ("WARM_UP = 0.02", "WARM_UP = 0.03"),
        ("row = training.run_epoch(epoch)", "row = training.run_epoch(epoch + 1)"),
        ("return self.epochs - int(", "return self.epochs - 0 * int("),
    ],
}
SAME = {
    "lab5_utils.py": [
        ("return mu + (0.5", "# so that gradients pass\n    return mu + (0.5"),
        ('"""Samples z (B, Z)', '"""Draws z (B, Z)'),
    ],
    "lab5_figures.py": [("WIDTH = 5.0", "WIDTH = 6.0")],
}
PRINT_KEYS = """
import importlib, os, sys
names = ["lab5_utils", "lab5_train", "lab5_figures"]
for folder in sorted(os.listdir("."), key=int):
    sys.path.insert(0, os.path.abspath(folder))
    lab, train, _ = [importlib.import_module(name) for name in names]
    verbs = lab.load_verbs()[:10]
    print(train.run_key(train.check_task(train.Config(), verbs, [], None, train.new_training)))
    for name in names:
        del sys.modules[name]
"""


@pytest.mark.slow
def test_an_edited_line_is_another_run_and_an_edited_comment_is_the_same(tmp_path):
    """In two processes, whatever the order of their sets."""
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
    command = [sys.executable, "-c", PRINT_KEYS]
    found = []
    for seed in "12":
        options = {"cwd": tmp_path, "env": os.environ | {"PYTHONHASHSEED": seed}}
        found.append(subprocess.check_output(command, text=True, **options).split())
    assert found[0] == found[1]
    whole, *edited = found[0]
    different = sum(map(len, DIFFERENT.values()))
    assert len({whole, *edited[:different]}) == 1 + different
    assert set(edited[different:]) == {whole}


def test_a_module_that_is_edited_while_it_runs_keeps_its_key(tmp_path):
    lines = ["import lab5_utils as lab", "lab.SOURCES[__name__] = lab.hash_source(__file__)"]
    (tmp_path / "lab5_mine.py").write_text("\n".join([*lines, "late = lambda p, e: p\n"]))
    code = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]
import lab5_mine, lab5_train as train
train.STRATEGIES["late"] = lab5_mine.late
def key():
    config = train.Config(strategy="late")
    return train.run_key(train.check_task(config, None, [], None, train.new_training))
print(key())
open(lab5_mine.__file__, "a").write("x = 1\\n")
print(key())
"""
    twice = [subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)]
    first, second = [keys.split() for keys in twice]
    assert first[0] == first[1], "this process runs the old code"
    assert second[0] == second[1] != first[0]


SET = {  # what is set while Python runs, as a notebook or %autoreload does
    "a constant": (lab5_train, "CLIP", 0.001),
    "NumPy's number": (lab5_train, "CLIP", np.float64(4.0)),
    "another of NumPy's": (lab5_train, "CLIP", np.float64(3.0)),
    "a function": (lab, "kl_divergence", lambda mu, logvar: mu.sum(1)),
    "another function": (lab, "kl_divergence", lambda mu, logvar: logvar.sum(1)),
    "a method": (lab.Decoder, "step", lambda self, letter, state, tense: state),
    "a method behind a decorator": (lab.Decoder, "greedy", lambda self, context, tense: 0),
    "an attribute of a class": (lab.GatedDecoder, "price", 0.2),
    "a property": (lab5_train.Config, "kl_epochs", property(lambda self: 1)),
}


def test_what_is_set_as_python_runs_is_another_run(monkeypatch):
    keys = [key(tiny())]
    for holder, name, value in SET.values():
        with monkeypatch.context() as patch:
            patch.setattr(holder, name, value)
            keys.append(key(tiny()))
    assert len(set(keys)) == 1 + len(SET)
    make_lstm = lab.make_lstm.__code__
    monkeypatch.setattr(lab.make_lstm, "__code__", make_lstm.replace(co_consts=(None, 9, 8, 7)))
    assert key(tiny()) not in keys, "edited in place, with the file's hash as it was"
    monkeypatch.undo()
    assert key(tiny()) == keys[0]


# ---- Code from elsewhere, as a notebook has it ----
CELL = """
import functools
import math
import numpy as np
import torch
from numpy import cos, interp
import lab5_utils as lab
from lab5_train import *

SLOPE = 2.0
NAMES = ("a", 1, (None, 2.5))

class Kind:
    power = 2
    def __init__(self, power=1):
        '''Says something.'''
        self.at = power
    @staticmethod
    def half(x): return x / 2
    @property
    def whole(self): return 1.0

def helper(x, scale=0.5):
    return min(1.0, SLOPE * x * scale)

code, defaults, SOURCE, TARGET = 1.0, 2.0, 0, 3

@functools.wraps(monotonic)
def wrapped(progress, excess):
    return 0.5 * monotonic(progress, excess)

def named(x, k=1.0):
    return code * x * cos(0.0) * interp(defaults, (0, 2), (0, k)) if x in {0.5, 1.0} else x

def inside(x):
    return sum([helper(x) for _ in range(3)]) / 3

def enclosing(height):
    def shape(progress, excess):
        '''Rises.'''
        import random
        kind = Kind(1) if NAMES[0] == "a" else Kind()
        share = max(0.0, inside(progress)) * height * kind.whole  # a comment
        share = min(1.0, share * named(progress) * wrapped(1.0, 0.0) * 2)
        return math.cos(0.0) * Kind.half(2 * share) * monotonic(1.0, 0.0)
    return shape

schedule = enclosing(0.5)

class Decoder(lab.GatedDecoder):
    def pressure(self, progress):
        return super().pressure(progress)[0], 0.2
    @torch.no_grad()
    def greedy(self, context, tense, steps=33):
        return super().greedy(context, tense, steps + 0)
"""
EDITS = {  # of the cell: a constant, a helper, a default, a class, a closure, a decoder's method
    "SLOPE = 2.0": "SLOPE = 1.5",
    "(None, 2.5)": "(None, 3.5)",
    "x * scale)": "x * scale * 1.0)",
    "scale=0.5": "scale=0.25",
    "power = 2": "power = 3",
    "return x / 2": "return x / 4",
    "return 1.0": "return 0.5",
    "range(3)]) / 3": "range(2)]) / 3",
    "enclosing(0.5)": "enclosing(0.25)",
    "progress, excess):": "excess, progress):",
    "import random": "import string",
    "math.cos": "math.exp",
    "* monotonic(1.0": "* constant(1.0",
    "[0], 0.2": "[0], 0.3",
    "code * x": "code + x",
    "k=1.0": "k=0.5",
    "code, defaults, SOURCE, TARGET = 1.0": "code, defaults, SOURCE, TARGET = 0.5",
    "0.5 * monotonic": "0.25 * monotonic",
    "{0.5, 1.0}": "{0.5, 0.75}",
    "steps + 0": "steps + 1",
    "class Decoder(lab.GatedDecoder)": "class Decoder(lab.GatedDecoder, Kind)",
}
NO_EDITS = {
    "# a comment": "# another",
    "enclosing(0.5)\n": "enclosing(np.float64(0.5))\n",
    "'''Rises.'''": "'''Falls.'''",
    "Says some": "Tells any",
}


def key_of_cell(source, monkeypatch):
    """Returns the key of a run with the schedule and decoder that a cell defines."""
    cell = {"__name__": "__main__"}
    exec(source, cell)
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", cell["schedule"])
    monkeypatch.setitem(lab.DECODERS, "mine", cell["Decoder"])
    return key(tiny(strategy="mine", decoding="mine"))


def test_what_a_schedule_or_decoder_of_a_cell_uses_is_part_of_a_run(monkeypatch):
    keys = [key_of_cell(CELL, monkeypatch)]
    for old, new in EDITS.items():
        assert old in CELL
        keys.append(key_of_cell(CELL.replace(old, new), monkeypatch))
    assert len(set(keys)) == 1 + len(EDITS)
    for old, new in NO_EDITS.items():
        assert old in CELL
        assert key_of_cell(CELL.replace(old, new), monkeypatch) == keys[0]


REFUSED = {  # what a schedule uses: how its type is called
    "re.compile('a+')": "Pattern",
    "Held(1)": "Held",
    "np.arange(3)": "ndarray",
    "pd.DataFrame({'a': [1]})": "DataFrame",
    "torch.ones(2)": "Tensor",
    "{'a': 1}": "dict",
    "[1]": "list",
    "STRATEGIES": "dict",
    "functools.partial(print)": "partial",
    "functools.lru_cache(abs)": "_lru_cache_wrapper",
    "random.Random(0).random": "builtin_function_or_method",
    "conftest": "module",
}
USES = """
import functools, random, re, conftest
from dataclasses import dataclass
import numpy as np, pandas as pd, torch
from lab5_train import STRATEGIES
@dataclass
class Held:
    x: int
used = {value}
def helper(x):
    return (used, x)[1]
def schedule(progress, excess):
    return helper(progress)
"""
BASE = """
import lab5_train
def schedule(progress, excess):
    {use}
    return base(progress, excess)
"""


def test_what_cannot_be_described_is_refused_by_its_name_before_any_work(tmp_path, monkeypatch):
    cells = {USES.format(value=value): ("used", shown) for value, shown in REFUSED.items()}
    by_module = "base = lab5_train.STRATEGIES['constant']"
    for use in (by_module, "from lab5_train import STRATEGIES as s; base = s['constant']"):
        cells[BASE.format(use=use)] = ("STRATEGIES", "dict")
    for cell, (name, shown) in cells.items():
        defined = {"__name__": "__main__"}
        exec(cell, defined)
        monkeypatch.setitem(lab5_train.STRATEGIES, "mine", defined["schedule"])
        message = rf"(?s)strategy 'mine'.*, {name}: found a {shown}, .*; expected text, numbers"
        options = {"pairs": [], "on_epoch": no_epoch, "run_dir": tmp_path}
        with pytest.raises(TypeError, match=message):
            lab5_train.train(tiny(strategy="mine"), VERBS, **options)


def test_what_is_kept_nowhere_may_use_anything(monkeypatch):
    weights = np.linspace(0, 1, 5)

    def schedule(progress, excess):
        return float(weights[int(4 * progress)])

    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", schedule)
    run = lab5_train.train(tiny(strategy="mine"), VERBS, pairs=[], progress=False)
    assert run.history["kl_weight"].tolist() == [0.75]


def test_two_notebooks_configurations_of_one_name_are_two_runs():
    def of_epochs(done):
        class My(lab5_train.Config):
            @property
            def kl_epochs(self):
                return self.epochs - done

        return My(epochs=4)

    assert vars(of_epochs(1)) == vars(of_epochs(2))
    assert key(of_epochs(1)) == key(of_epochs(1)) != key(of_epochs(2))


def test_every_field_of_a_configuration_is_part_of_a_run():
    @dataclass(frozen=True)
    class Mine(lab5_train.Config):
        extra: float = field(default=0.5, repr=False)
        name: str = "a"

    keys = [key(Mine(**TINY, extra=extra, name=name)) for extra in (0.5, 0.9) for name in "ab"]
    assert len(set(keys)) == 4
    assert key(Mine(**TINY)) == keys[0]
    with pytest.raises(TypeError, match=r"config, name: found a list, .*; expected text, numbers"):
        key(Mine(**TINY, name=["a"]))
    alike = [lab5_train.Config(strategy=name) for name in ("constant", np.str_("constant"))]
    assert key(alike[0]) == key(alike[1])


def with_state():
    calls = 0

    def schedule(progress, excess):
        nonlocal calls
        calls += 1
        return 1.0 if calls < 1000 else 0.5

    return schedule


SLOPE = 1


def global_counter(progress, excess):
    global SLOPE
    SLOPE += 1
    return 1.0


def own_counter(progress, excess):
    own_counter.calls = 1 + getattr(own_counter, "calls", 0)
    return 1.0


def drawn(progress, excess):
    return torch.rand(()).item()


@pytest.mark.parametrize("schedule", [with_state(), global_counter, own_counter, drawn])
def test_a_schedule_that_keeps_a_state_is_refused_before_any_work(tmp_path, monkeypatch, schedule):
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", schedule)
    message = "strategy 'mine': found what changes from call to call; expected a function of"
    with pytest.raises(ValueError, match=message):
        lab5_train.train(tiny(strategy="mine"), VERBS, run_dir=tmp_path, on_epoch=no_epoch)


def training_of(rate):
    """Returns what makes trainings whose KL weight has a factor, as another module would."""

    class Mine(lab5_train.Training):
        def sample(self, mu, logvar):
            return rate * mu

    def make_training(config, verbs):
        model = lab.make_model(config, lab.vocabulary_of(verbs))
        return Mine(config, model, verbs)

    return make_training


def test_another_training_is_another_run_and_reaches_a_sweep(runs_folder):
    keys = {key(tiny()), *(key(tiny(), training_of(rate)) for rate in (0.5, 1.0))}
    assert len(keys) == 3
    run = lab5_train.load_or_train(tiny(), VERBS, make_training=training_of(0.5))
    assert not equal(run, lab5_train.load_or_train(tiny(), VERBS))
    (swept,) = lab5_train.sweep([tiny()], VERBS, jobs=1, make_training=training_of(0.5))
    assert equal(run, swept)
    assert len(list(runs_folder.iterdir())) == 2


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


def test_who_waits_for_a_run_says_so_and_keeps_no_other_training_waiting(runs_folder, capsys):
    first, second = tiny(), tiny(seed=1)
    task = lab5_train.check_task(first, VERBS, [], None, lab5_train.new_training)
    folder = lab5_train.Store(task, runs_folder).folder
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(2) as threads:
        with FileLock(folder / "lock"):  # as if another process trained it
            waiting = threads.submit(epochs_trained, first)
            assert not wait_for([waiting], timeout=1).done
            other = threads.submit(epochs_trained, second)
            assert wait_for([other], timeout=60).done
            assert not waiting.done()
        assert waiting.result(60)[1] == other.result()[1] == [1]
    said = f"{folder}: another process trains this run; waiting for it"
    assert capsys.readouterr().err.count(said) == 1


def test_a_run_stays_in_its_folder_whatever_its_strategy_is_called(runs_folder, monkeypatch):
    for name in ("../../x/é y", 300 * "x"):
        monkeypatch.setitem(lab5_train.STRATEGIES, name, lab5_train.constant)
        for _ in range(2):
            epochs_trained(tiny(strategy=name))
    for folder in runs_folder.iterdir():
        assert (folder / lab5_train.CHECKPOINT).exists()
        assert json.loads((folder / "config.json").read_text())["epochs"] == 1
        assert (folder / "progress.txt").read_text() == "1 of 1\n"
    assert len(list(runs_folder.iterdir())) == 2
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
    found = [lab5_train.Config(epochs=100, refine=share).kl_epochs for share in (0.29, 0.57, 0.555)]
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
def sweep(scores):
    own = {{"decoding": "mine", "strategy": "mine"}}
    configs = [lab5_train.Config(**size, **own, seed=seed) for seed in range(2)]
    for run in lab5_train.sweep(configs, verbs, jobs=2, scores=scores):
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
        lab5_train.STRATEGIES["mine"] = lambda progress, excess: price * progress
        sweep({{"mine": lambda model: model.decoder.pressure(1.0)[1]}})
    lab5_train.CLIP = 0.001
    try:
        sweep(None)
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
