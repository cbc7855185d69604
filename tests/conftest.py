"""Gives the tests both modules, small configurations, and a learned model."""

import hashlib
import signal
import string
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT, ROOT / "tests", ROOT / "tests" / "experiments")
sys.path[:0] = [str(folder) for folder in FOLDERS]

import lab5_beyond as beyond  # noqa: E402 (the path above comes first)
import lab5_utils as lab  # noqa: E402 (likewise)

torch.set_num_threads(1)  # on two busy cores a second thread costs more than it brings

ENGLISH = lab.Vocabulary(string.ascii_lowercase, forms=4)
SMALL = {  # trains forty verbs in a fraction of a second
    "hidden_size": 64,
    "latent_size": 16,
    "embedding_size": 16,
    "batch_size": 8,
    "evaluate_every": 1000,
}


def small(**changes):
    """Returns a small configuration by the lab's rules."""
    return lab.Config(**(SMALL | {"epochs": 6} | changes))


def small_beyond(**changes):
    """Returns a small configuration beyond the rules."""
    return beyond.Config(**(SMALL | {"epochs": 6, "synthetic": 2} | changes))


def fingerprint(run):
    """Returns a digest of every bit of weights and history, to compare across processes."""
    weights = [weight.cpu().numpy().tobytes() for weight in run.model.state_dict().values()]
    history = run.history.to_numpy().tobytes()
    return hashlib.sha256(b"".join(weights) + history).hexdigest()


def equal(a, b):
    """Tells whether two runs are the same, bit for bit, and can be trained on alike."""
    trainable = [[p.requires_grad for p in run.model.parameters()] for run in (a, b)]
    same_history = a.history.equals(b.history)
    return fingerprint(a) == fingerprint(b) and same_history and trainable[0] == trainable[1]


def no_epoch(history):
    """Is given to `train` as `on_epoch` where it must raise before any work."""
    pytest.fail("an epoch was trained")


def pytest_configure(config):
    marker = "slow: takes more than five seconds; left out by -m 'not slow'"
    config.addinivalue_line("markers", marker)
    # a shell's background job ignores Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    """Sends what `load_or_train` saves to a folder of the test's own."""
    monkeypatch.setattr(lab, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def verbs():
    return lab.load_verbs()


@pytest.fixture(scope="session")
def learned(verbs):
    """Returns a run that has learned thirty verbs, trained in a few seconds."""
    config = small_beyond(epochs=150, rate_end=10.0, refine=0.0)
    return lab.train(config, verbs[7::41], progress=False)
