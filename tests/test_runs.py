"""A run is kept if it is what the lab's files say, as imported; else a line says what is not."""

import dataclasses
import functools
import hashlib
import importlib
import itertools
import json
import sys
from enum import Enum
from unittest.mock import patch

import numpy as np
import own
import pytest
import torch
from conftest import ROOT, VERBS, equal, keep, lab, lab5_runs, lab5_train, small, start, written

import lab5_files
import lab5_selftaught as taught


def tiny(**changes):
    """Returns a configuration of two epochs of two steps."""
    return small(**{"epochs": 2, "batch_size": 20, "hidden_size": 16, "refine": 0.5} | changes)


def task_of(config, verbs=VERBS, make_training=own.Unscored, **options):
    return lab5_train.check_task(config, verbs, make_training=make_training, **options)


def key(*args, **options):
    return lab5_runs.run_key(task_of(*args, **options))


def reasons(*args, **options):
    return lab5_runs.reasons_not_to_keep(task_of(*args, **options))


# ---- Kept ----
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


@dataclasses.dataclass(frozen=True)
class MyConfig(lab5_train.Config):
    """A configuration of a notebook: not all can name a run, and none of it has a range."""

    activation: object = len
    layers: int | None = None
    shift: float = -1.0


def slope(progress, excess):
    """A schedule of a notebook."""
    return 0.5 * progress


@functools.wraps(lab5_train.constant)
def wrapped(progress, excess):
    """A schedule that calls itself one of ours."""
    return 0.5


def my_training(config, verbs):
    """A training of a notebook."""
    return own.Unscored(config, verbs)


SET = {  # by what the line names
    "lab5_utils.MAX_LETTERS": patch.object(lab, "MAX_LETTERS", 32.0),  # equal, but no integer
    "lab5_train.STRATEGIES": patch.dict(lab5_train.STRATEGIES, constant=lab5_train.monotonic),
    "lab5_utils.Encoder": patch.object(lab, "Encoder", Mine),
    "lab5_utils.Encoder.__init__": patch.object(lab.Encoder, "__init__", slope),
    "lab5_utils.GatedDecoder.price": patch.object(lab.GatedDecoder, "price", 0.2),
    "own.late": patch.object(own, "late", slope),
    "own.mine": patch.object(own.mine, "share", 0.4, create=True),
}


@pytest.mark.parametrize("name", SET)
def test_what_is_set_is_the_reason_until_it_is_set_back(name):
    with SET[name]:
        assert name in reasons(tiny())
    assert reasons(tiny()) == []


def test_code_that_autoreload_replaces_is_the_reason(monkeypatch):
    monkeypatch.setattr(own.late, "__code__", slope.__code__)
    assert reasons(tiny()) == ["own.late"]


def test_a_constant_is_set_back_by_its_number(monkeypatch):
    monkeypatch.setattr(lab5_train, "CLIP", 2.5)
    lab5_train.CLIP *= 2
    assert reasons(tiny()) == []


def test_what_a_notebook_defines_is_the_reason(monkeypatch):
    monkeypatch.setitem(lab5_train.STRATEGIES, "mine", slope)
    monkeypatch.setitem(lab5_train.STRATEGIES, "ours", wrapped)
    monkeypatch.setitem(lab.DECODERS, "mine", Mine)
    assert reasons(tiny(strategy="mine")) == ["strategy 'mine' (slope)"]
    assert reasons(tiny(strategy="ours")) == ["strategy 'ours' (constant)"]
    assert reasons(tiny(decoding="mine")) == ["decoding 'mine' (Mine)"]
    found = ["configuration (MyConfig)", "hyperparameter activation"]
    assert reasons(MyConfig()) == found
    assert reasons(tiny(), make_training=my_training) == ["training (my_training)"]
    scores = {"made": functools.partial(own.mine), "mine": own.mine, "slope": slope}
    made, *others = reasons(tiny(), scores=scores)
    assert made == "score 'made' (partial)" and others == ["score 'slope' (slope)"]
    with torch.autocast("cpu"):
        assert reasons(tiny()) == ["autocast"]


def test_an_argument_that_names_no_run_is_the_reason():
    layers = functools.partial(own.Unscored, layers=(1, (torch.zeros(2),)))
    assert reasons(tiny(), make_training=layers) == ["argument layers"]
    unnamed = functools.partial(own.Unscored, tiny())
    assert reasons(tiny(), make_training=unnamed) == ["an argument without a name"]


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
    keys |= {key(config, pairs=[]), *(key(config, scores={name: own.mine}) for name in ("a", "b"))}
    keys.add(key(config, make_training=lab5_train.Training))
    for letters in ("ab", "abc"):
        conjugation = functools.partial(taught.Conjugation, alphabet=letters)
        keys.add(key(config, make_training=conjugation))
    assert len(keys) == len(changed) + 8


def test_another_torch_or_precision_is_another_run():
    keys = {key(tiny())}
    with patch.object(torch, "__version__", "another"):
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


class Text(str, Enum):  # noqa: UP042 (whose str() is another text)
    """A text that is an object of its own."""

    SGD = "sgd"


def test_equal_numbers_and_texts_are_one_run():
    ones = (1, 1.0, np.int64(1), np.float32(1))
    assert len({key(tiny(seed=one, kl_weight=one)) for one in ones}) == 1
    texts = "sgd", np.str_("sgd"), Text.SGD
    assert len({key(tiny(optimizer=text)) for text in texts}) == 1
    assert type(tiny(optimizer=Text.SGD).optimizer) is str
    pairs = lab.TestPair("abet", "abets", 0, 1), ["abet", "abets", *np.arange(2)]
    assert len({key(tiny(), pairs=[pair]) for pair in pairs}) == 1


FILE = '''"""A file."""


class Half:
    """Halves."""

    def __call__(self, x):
        """Returns half."""
        return x / 2  # of it
'''
EDITS = {"x / 2": False, "A file": True, "Halves": True, "Returns half": True, "of it": True}


@pytest.mark.parametrize("code", EDITS)
def test_an_edited_formula_is_another_run_and_an_edited_text_the_same(code):
    texts = (FILE, FILE.replace(code, "x / 3"))
    hashes = {lab5_files.syntax_of(text.encode(), "")[0] for text in texts}
    assert (len(hashes) == 1) == EDITS[code]


OWN_FILE = """
import argparse, os, pathlib
from lab5_runs import note
from lab5_train import STRATEGIES as KNOWN

POWER = 2.0
args = argparse.Namespace(drop=0.3, letters={"a", "e"})
shares = {"of": 0.3}
here = pathlib.Path.cwd()

class Settings:
    class Sizes:
        wide = 1.0

settings = Settings()

def power(progress, excess):
    return progress**POWER

KNOWN["power"] = power
"""


@pytest.fixture
def write_file(tmp_path, monkeypatch):
    """Returns a function that writes a file of one's own, imports it and notes it."""
    monkeypatch.syspath_prepend(tmp_path)
    registries = lab5_files.FILES, lab5_train.STRATEGIES
    before = [dict(registry) for registry in registries]

    def write(name, text=OWN_FILE):
        sys.modules.pop(name, None)
        lab5_files.FILES.pop(name, None)
        (tmp_path / f"{name}.py").write_text(f"{text}\nnote(__name__)\n")
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for registry, then in zip(registries, before, strict=True):
        registry.clear()
        registry.update(then)


@pytest.mark.parametrize("holder", ["POWER = {}", "class A:\n    power = ('by', {})"])
def test_a_number_that_a_file_reads_from_the_environment_is_part_of_a_run(
    write_file, monkeypatch, tmp_path, holder
):
    keys = []
    for number in ("2", "1", "2"):
        monkeypatch.setenv("POWER", number)
        write_file("mine", OWN_FILE + holder.format('float(os.environ["POWER"])'))
        keys.append(key(tiny(strategy="power")))
        monkeypatch.chdir(tmp_path)
    assert keys[0] == keys[2] != keys[1], "and where it is imported is not"


def test_settings_in_any_object_are_seen_and_a_registry_may_grow(write_file, monkeypatch):
    mine = write_file("mine")
    before = key(tiny(strategy="power"))
    monkeypatch.setitem(mine.KNOWN, "mine", slope)
    monkeypatch.setitem(lab.DECODERS, "mine", Mine)
    assert (key(tiny(strategy="power")), reasons(tiny(strategy="power"))) == (before, [])
    for holder, name in (
        (mine.args, "drop"),
        (mine.settings, "drop"),
        (mine.Settings.Sizes, "wide"),
    ):
        monkeypatch.setattr(holder, name, 0.9, raising=False)
    monkeypatch.setitem(mine.shares, "another", 0.9)
    expected = ["mine.Settings.Sizes.wide", "mine.args", "mine.settings", "mine.shares"]
    assert reasons(tiny(strategy="power")) == expected
    assert reasons(tiny()) == [], "which doesn't use the file"


def test_a_helper_that_is_not_noted_is_the_reason_wherever_it_is_imported(write_file, tmp_path):
    (tmp_path / "rooms" / "late").mkdir(parents=True)
    for name in ("inner.py", "late/__init__.py"):
        (tmp_path / "rooms" / name).write_text("")
    imports = "from lab5_runs import note\nimport rooms.inner\ndef f():\n    import rooms.late\n"
    write_file("middle", imports)
    write_file("mine", f"import middle, lab5_figures\n{OWN_FILE}")
    found = [f"{name}, which isn't noted" for name in ("inner.py", "late/__init__.py")]
    assert reasons(tiny(strategy="power")) == found


def test_a_sweep_leaves_what_files_hold_as_it_was(write_file, tmp_path, runs_folder, capsys):
    """Even an object whose class is in a file that isn't noted, and travels to workers whole."""
    (tmp_path / "things.py").write_text("class Thing:\n    pass\n")
    write_file("mine", f"{OWN_FILE}\nimport things\nthing = things.Thing()")
    for _ in range(2):
        options = {"make_training": own.Unscored, "jobs": 1, "progress": False}
        lab5_runs.sweep([tiny()], VERBS, **options)
    assert (capsys.readouterr().out, reasons(tiny())) == ("", [])


EDITS_ITSELF = """
path = pathlib.Path(__file__)
path.write_text(path.read_text().replace("progress**POWER", "progress"))
"""


def test_a_file_that_is_edited_while_it_is_imported_is_refused(write_file):
    with pytest.raises(RuntimeError, match=r"mine.py was edited while it was imported: restart"):
        write_file("mine", OWN_FILE + EDITS_ITSELF)


def test_a_module_that_is_imported_from_a_package_is_among_the_imports():
    source = b"from experiments import words\nfrom .own import late\n"
    _, imports = lab5_files.syntax_of(source, "rooms")
    assert imports == {"experiments", "experiments.words", "rooms.own", "rooms.own.late"}


ALL = {"ours", "own", "imported"}
USED_BY = {"lab5_utils": ALL, "lab5_train": ALL, "own": {"own", "imported"}}


@pytest.mark.parametrize("name", [*USED_BY, "lab5_selftaught"])
def test_an_edited_file_is_part_of_the_runs_that_use_it(monkeypatch, name):
    monkeypatch.setitem(lab.DECODERS, "mine", Mine)
    file = lab5_files.File("a file of Mine", {"own"}, {})
    monkeypatch.setitem(lab5_files.FILES, __name__, file)
    tasks = {
        "ours": task_of(tiny(), make_training=lab5_train.Training),
        "own": task_of(tiny(decoding="gru")),
        "imported": task_of(tiny(decoding="mine")),
    }
    before = {called: lab5_runs.run_key(task) for called, task in tasks.items()}
    edited = lab5_files.FILES[name]._replace(source="another")
    monkeypatch.setitem(lab5_files.FILES, name, edited)
    changed = {called for called in tasks if lab5_runs.run_key(tasks[called]) != before[called]}
    assert changed == USED_BY.get(name, set())


# ---- A Python of its own ----
SET_EARLY = """
import lab5_utils as lab
lab.GatedDecoder.price = 9.0
import lab5_runs
print(lab5_runs.names_set(lab5_runs.FILES))
"""


@pytest.mark.slow
def test_what_is_set_before_this_file_is_imported_is_seen(tmp_path):
    said, _ = start("-c", SET_EARLY, LAB5_RUNS=str(tmp_path)).communicate()
    assert said == "['lab5_utils.GatedDecoder.price']\n"


STARTED_ELSEWHERE = """
import importlib
from conftest import VERBS, lab, lab5_figures, lab5_runs, lab5_train
import lab5_files
task = lab5_train.check_task(lab5_train.Config(), VERBS)
print(lab5_runs.reasons_not_to_keep(task))
print(lab5_runs.RUNS, lab5_figures.FIGURES, sep="\\n")
for module in (lab5_files, lab, lab5_train, lab5_runs):
    importlib.reload(module)
    print(len(lab5_runs.reasons_not_to_keep(task)) > 0)
"""


@pytest.mark.slow
def test_folders_are_beside_the_modules_and_after_a_reload_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {"LAB5_RUNS": "my/runs", "LAB5_FIGURES": "my/figures"}
    said, _ = start("-c", STARTED_ELSEWHERE, **folders).communicate()
    expected = [str(ROOT / folder) for folder in folders.values()]
    assert said.splitlines() == ["[]", *expected, "True", "True", "True", "True"]
