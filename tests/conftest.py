"""Gives the tests the modules, small configurations, a learned model, and a browser."""

import hashlib
import os
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "", "bonus/assignment", "report")]

import own  # noqa: E402

import lab5_figures  # noqa: E402, F401 (the path above comes first; tests import it from here)
import lab5_runs  # noqa: E402
import lab5_train  # noqa: E402
import lab5_utils as lab  # noqa: E402

torch.set_num_threads(1)  # on two busy cores a second thread costs more than it brings

VERBS = lab.load_verbs()[:10]  # five steps an epoch
ENGLISH = lab.Vocabulary(string.ascii_lowercase, forms=4)
SMALL = {  # trains ten verbs in a fraction of a second
    "epochs": 6,
    "batch_size": 8,
    "hidden_size": 64,
    "latent_size": 16,
    "embedding_size": 16,
}


def small(**changes):
    """Returns a small configuration, without the lab's scores."""
    values = {"learning_rate": 0.01, "kl_weight": 0.1, "training": own.Unscored}
    return lab5_train.Config(**(values | SMALL | changes))


def train(config, verbs):
    """Trains without a bar."""
    return lab5_runs.train(config, verbs, progress=False)


def keep(config, verbs):
    """Loads or trains the same run, from runs/."""
    return lab5_runs.load_or_train(config, verbs, progress=False)


def written(folder):
    """Returns when each run in a folder was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/run.pt")}


def fingerprint(run):
    """Returns a digest of every bit of history and weights, to compare across processes."""
    content = [run.history.to_csv().encode()]
    content += [weight.cpu().numpy().tobytes() for weight in run.model.state_dict().values()]
    return hashlib.sha256(b"".join(content)).hexdigest()


def equal(a, b):
    """Tells whether two runs are the same, bit for bit."""
    return fingerprint(a) == fingerprint(b)


def start(*arguments, **variables):
    """Starts a Python of its own, which finds the tests' files, with variables of the shell."""
    fixed = {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1"}
    environ = os.environ | fixed | variables
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command, cwd=ROOT / "tests", env=environ, stdout=subprocess.PIPE, text=True
    )


def pytest_configure(config):
    marker = "slow: takes more than five seconds; left out by -m 'not slow'"
    config.addinivalue_line("markers", marker)


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    """Sends kept runs to a folder of the test's own."""
    monkeypatch.setattr(lab5_runs, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def verbs():
    return lab.load_verbs()


@pytest.fixture(scope="session")
def thirty(verbs):
    return verbs[7::41]


@pytest.fixture(scope="session")
def learned(thirty):
    """Returns a run that has learned thirty verbs, trained in a few seconds."""
    return train(small(epochs=60, batch_size=10, learning_rate=0.015), thirty)


@pytest.fixture(scope="module")  # where it runs, no notebook does
def browser():
    """Starts Debian's Chromium, or else Chrome."""
    from playwright.sync_api import Error, sync_playwright

    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        options = {"executable_path": chromium} if chromium else {"channel": "chrome"}
        try:
            browser = playwright.chromium.launch(**options, args=["--no-sandbox"])
        except Error:
            if os.environ.get("CI"):  # where nothing may be missing
                raise
            pytest.skip("needs a browser: apt-get install chromium")
        yield browser
        browser.close()
