"""How the code reads: ruff, how dense it is, and what each of the two rooms may know."""

import ast
import inspect
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from density import source_of, tokens_per_line

import lab5_beyond as beyond
import lab5_utils as lab

TESTS = [*(ROOT / "tests").glob("*.py"), *(ROOT / "tests" / "experiments").glob("*.py")]
NOTEBOOKS = list((ROOT / "notebooks").glob("*.ipynb"))
GROUPS = {  # files, and the tokens a line of code that they may have on average
    "the lab": ([ROOT / "lab5_utils.py"], 10.5),
    "beyond": ([ROOT / "lab5_beyond.py"], 10.5),
    "tests": (TESTS, 11.5),
    "notebooks": (NOTEBOOKS, 12.0),
}
USELESS = (ast.BoolOp, ast.IfExp, ast.Lambda, ast.ListComp)


@pytest.mark.parametrize("command", ["format --check", "check"])
def test_ruff_finds_nothing(command):
    ruff = [sys.executable, "-m", "ruff", *command.split(), "."]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_tokens_are_counted_by_line():
    source = '"""Says."""\n\n\ndef f(x):\n    """Says."""\n    return x + 1, f"{x:{x}}"  # more\n'
    assert tokens_per_line(source) == {4: 6, 6: 6}


@pytest.mark.parametrize("name", GROUPS)
def test_code_is_plain(name):
    paths, limit = GROUPS[name]
    counts = []
    for path in paths:
        source = source_of(path)
        of_file = list(tokens_per_line(source).values())
        assert max(of_file) < 40, f"{path.name}: a line of {max(of_file)} tokens"
        for node in ast.walk(ast.parse(source)):
            is_useless = isinstance(node, ast.Expr) and isinstance(node.value, USELESS)
            assert not is_useless, f"{path.name}, line {node.lineno}: an expression"
        counts += of_file
    assert sum(counts) / len(counts) <= limit


def test_the_lab_has_no_word_of_what_goes_beyond_it():
    words = "lab5_beyond|row training|lemma.first|synthetic|rehears|teacher(?![-_ ]forcing)"
    source = (ROOT / "lab5_utils.py").read_text(encoding="utf-8")
    assert not re.findall(words, source, re.IGNORECASE)


@pytest.mark.parametrize("room", [lab, beyond], ids=["the lab", "beyond"])
def test_every_hyperparameter_is_explained(room):
    source = inspect.getsource(room.Config)
    explained = re.findall(r"^    (\w+): .* = .*  # .{6,}$", source, re.MULTILINE)
    assert explained == list(inspect.get_annotations(room.Config))
