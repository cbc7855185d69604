"""How the code reads: ruff, hyperparameters, and what each module may import."""

import inspect
import re
import subprocess
import sys

import pytest
from conftest import ROOT, lab5_train


@pytest.mark.parametrize("command", ["format --check", "check"])
def test_ruff_finds_nothing(command):
    ruff = [sys.executable, "-m", "ruff", *command.split(), "."]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_every_hyperparameter_is_explained():
    source = inspect.getsource(lab5_train.Config)
    explained = re.findall(r"^    (\w+): .* = .*  # .{6,}$", source, re.MULTILINE)
    assert explained == list(inspect.get_annotations(lab5_train.Config))


IMPORTS = """
import sys
not_for_training = ["matplotlib", "seaborn", "lab5_figures", "lab5_selftaught"]
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
