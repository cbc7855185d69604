"""Gives the tests the modules, small configurations, and a learned model."""

import functools
import hashlib
import signal
import string
import sys
from pathlib import Path

import nbformat
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lab5_figures  # noqa: E402, F401 (the path above comes first; tests import it from here)
import lab5_selftaught as taught  # noqa: E402, F401 (likewise)
import lab5_train  # noqa: E402
import lab5_utils as lab  # noqa: E402

torch.set_num_threads(1)  # on two busy cores a second thread costs more than it brings
lab5_train.SCORED = 1  # all scores where a phase ends: they take most of a small run's time

ENGLISH = lab.Vocabulary(string.ascii_lowercase, forms=4)
SMALL = {  # trains forty verbs in a fraction of a second
    "epochs": 6,
    "batch_size": 8,
    "hidden_size": 64,
    "latent_size": 16,
    "embedding_size": 16,
}


def small(**changes):
    """Returns a small configuration by the lab's rules."""
    return lab5_train.Config.miniature(**(SMALL | changes))


def fingerprint(run):
    """Returns a digest of every bit of history and weights, to compare across processes."""
    content = [run.history.to_numpy().tobytes()]
    for model in (run.model, run.before):
        weights = model.state_dict().values() if model is not None else []
        content += [weight.cpu().numpy().tobytes() for weight in weights]
    return hashlib.sha256(b"".join(content)).hexdigest()


def equal(a, b):
    """Tells whether two runs are the same, bit for bit, and can be trained on alike."""
    trainable = [[p.requires_grad for p in run.model.parameters()] for run in (a, b)]
    same_history = a.history.equals(b.history)
    return fingerprint(a) == fingerprint(b) and same_history and trainable[0] == trainable[1]


def no_epoch(history):
    """Is given to `train` as `on_epoch` where it must raise before any work."""
    pytest.fail("an epoch was trained")


@functools.cache
def group_of(path):
    """Returns the name of what one worker does: a file, or a notebook and those that read it."""
    reads = nbformat.read(path, 4).metadata.get("reads") if path.suffix == ".ipynb" else None
    return reads[0] if reads else path.stem


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """Gives each of several workers (-n) whole groups."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(ROOT / nodeid.split("::")[0])

    return ByGroup(config, log)


def pytest_configure(config):
    marker = "slow: takes more than five seconds; left out by -m 'not slow'"
    config.addinivalue_line("markers", marker)
    # a shell's background job ignores Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    """Sends what `load_or_train` saves to a folder of the test's own."""
    monkeypatch.setattr(lab5_train, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def verbs():
    return lab.load_verbs()


@pytest.fixture(scope="session")
def learned(verbs):
    """Returns a run that has learned thirty verbs, trained in a few seconds."""
    changes = {"epochs": 60, "batch_size": 10, "learning_rate": 0.015}
    config = small(**changes, target_kl=10.0, refine=0.3)
    return lab5_train.train(config, verbs[7::41], progress=False)
