"""How the code reads: ruff, how dense it is, and what each module may import."""

import ast
import inspect
import re
import subprocess
import sys

import pytest
from conftest import ROOT, beyond, lab
from density import source_of, tokens_per_line

MODULES = sorted(path.stem for path in ROOT.glob("lab5_*.py"))
GROUPS = {  # files, and the tokens a line of code that they may have on average
    **{name: ([ROOT / f"{name}.py"], 11.0) for name in MODULES},
    "experiments": ([*(ROOT / "experiments").glob("*.py")], 11.0),
    "tests": ([*(ROOT / "tests").glob("*.py")], 11.5),
    "notebooks": ([*(ROOT / "notebooks").glob("*.ipynb")], 12.0),
}
USELESS = (ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp)


@pytest.mark.parametrize("command", ["format --check", "check"])
def test_ruff_finds_nothing(command):
    ruff = [sys.executable, "-m", "ruff", *command.split(), "."]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.mark.parametrize("name", GROUPS)
def test_code_is_plain(name):
    paths, limit = GROUPS[name]
    counts = []
    for path in paths:
        source = source_of(path)
        of_file = list(tokens_per_line(source).values())
        assert max(of_file, default=0) < 40, f"{path.name}: a line of {max(of_file)} tokens"
        for node in ast.walk(ast.parse(source)):
            is_useless = isinstance(node, ast.Expr) and isinstance(node.value, USELESS)
            assert not is_useless, f"{path.name}, line {node.lineno}: an expression"
        counts += of_file
    assert sum(counts) / len(counts) <= limit


@pytest.mark.parametrize("module", [lab, beyond])
def test_every_hyperparameter_is_explained(module):
    source = inspect.getsource(module.Config)
    explained = re.findall(r"^    (\w+): .* = .*  # .{6,}$", source, re.MULTILINE)
    assert explained == list(inspect.get_annotations(module.Config))


IMPORTS = """
import sys
not_for_training = ["matplotlib", "seaborn", "lab5_figures", "lab5_beyond"]
not_for_the_model = ["pandas", "joblib", "tqdm", "filelock", "lab5_train"]
sys.modules.update(dict.fromkeys(not_for_training + not_for_the_model))  # as if not installed
import lab5_utils
for name in not_for_the_model:
    del sys.modules[name]
import lab5_train
"""


def test_model_and_training_are_imported_without_what_they_do_not_need():
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
