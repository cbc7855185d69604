"""Lets the tests import the module and the notebooks' functions; gives them small configurations and a learned run."""

import functools
import hashlib
import json
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import lab5_utils as lab  # noqa: E402

SMALL = dict(hidden_size=64, latent_size=16, embedding_size=16, batch_size=8, evaluate_every=1000, synthetic=0)
small = functools.partial(lab.Config, **SMALL, epochs=6)  # trains forty verbs in a fraction of a second


def equal(a, b):
    """Tells whether two runs have the same weights and history, bit for bit, and models that go on alike."""
    state = lambda model: [model.decoder.price, model.decoder.temper, *(p.requires_grad for p in model.parameters())]
    return fingerprint(a) == fingerprint(b) and a.history.equals(b.history) and state(a.model) == state(b.model)


def fingerprint(run):
    """Returns a digest of every bit of a run's weights and history, to compare across processes."""
    weights = b"".join(weight.cpu().numpy().tobytes() for weight in run.model.state_dict().values())
    return hashlib.sha256(weights + run.history.to_numpy().tobytes()).hexdigest()


def from_notebook(number, name):
    """Returns a function that a notebook defines, from the one cell that defines it."""
    cells = json.loads(next((ROOT / "notebooks").glob(f"{number}_*.ipynb")).read_text("utf-8"))["cells"]
    (source,) = [source for cell in cells if f"def {name}(" in (source := "".join(cell["source"]))]
    exec(source, namespace := {"lab": lab, "random": random, "Counter": Counter})
    return namespace[name]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than five seconds; left out by -m 'not slow'")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C


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
    """Returns a run that has learned thirty verbs by heart, trained in a few seconds."""
    return lab.train(lab.Config(epochs=250, rate_end=10.0, **SMALL), verbs[::41], progress=False)
