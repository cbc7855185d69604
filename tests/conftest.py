"""Lets the tests import the module from the repository's root, and gives them small things to work on."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lab5_utils as lab  # noqa: E402

SMALL = dict(hidden_size=64, latent_size=16, embedding_size=16, batch_size=8, evaluate_every=1000)


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
