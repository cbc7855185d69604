"""Lets the tests import the module from the repository's root, and gives them small things to work on."""

import hashlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.gettempdir() + "/hypothesis")  # not in the repository

import lab5_utils as lab  # noqa: E402

SMALL = dict(hidden_size=64, latent_size=16, embedding_size=16, batch_size=8, evaluate_every=1000)


def small(**changes):
    """Returns a configuration that trains forty verbs in a fraction of a second."""
    return lab.Config(**SMALL | dict(epochs=6) | changes)


def equal(a, b):
    """Tells whether two runs have the same weights and the same history, bit for bit."""
    weights = zip(a.model.state_dict().values(), b.model.state_dict().values())
    return all(torch.equal(*pair) for pair in weights) and a.history.equals(b.history)


def fingerprint(run):
    """Returns a digest of every bit of a run's weights and history, to compare with another process'."""
    weights = b"".join(weight.cpu().numpy().tobytes() for weight in run.model.state_dict().values())
    return hashlib.sha256(weights + run.history.to_numpy().tobytes()).hexdigest()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than five seconds; left out by -m 'not slow'")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts deaf to Ctrl-C


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    """Sends what `load_or_train` keeps to a folder of the test's own."""
    monkeypatch.setattr(lab, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def verbs():
    return lab.load_verbs()


@pytest.fixture(scope="session")
def learned(verbs):
    """Returns a run that has learned thirty verbs by heart, made in a few seconds."""
    return lab.train(lab.Config(epochs=250, rate_end=10.0, **SMALL), verbs[::41], progress=False)
