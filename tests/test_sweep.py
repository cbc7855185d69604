"""Sweeps, and the same bits wherever a run is trained."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest import mock

import joblib
import numpy as np
import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, small
from joblib import parallel_config

CONFIGS = [small(seed=seed, epochs=3, tf_final=0.5) for seed in range(4)]


@pytest.fixture(scope="module")
def table():
    return lab.load_verbs()[:40]


@pytest.fixture(scope="module")
def alone(table):
    """Returns the runs trained here, one after the other."""
    return [lab.train(config, table, progress=False) for config in CONFIGS]


def all_equal(some, others):
    return len(some) == len(others) and all(map(equal, some, others))


# -- sweeps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_gives_what_single_runs_give_and_keeps_it(table, alone, runs_folder, monkeypatch, jobs):
    assert all_equal(alone, lab.sweep(CONFIGS, table, jobs=jobs))
    monkeypatch.setattr(lab._Trainer, "train_epoch", None)  # nothing is left to train
    assert all_equal(alone, [lab.load_or_train(config, table, progress=False) for config in CONFIGS])
    assert all_equal(alone, lab.sweep(CONFIGS, table, jobs=1))


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_fails_is_named_and_the_others_are_kept(table, alone, runs_folder, jobs):
    folder = lab.run_folder(CONFIGS[1], table, lab.load_test_pairs())
    folder.mkdir(parents=True)
    (folder / lab.FINISHED).write_bytes(b"nonsense")
    with pytest.raises(RuntimeError) as caught:
        lab.sweep(CONFIGS, table, jobs=jobs)
    message = str(caught.value)
    assert message.startswith("1 of 4 runs failed; the others are kept in ") and str(runs_folder) in message
    assert f"\n{CONFIGS[1]}: ValueError: {folder / lab.FINISHED}" in message and "seed=1" in message
    assert len(list(runs_folder.glob(f"*/{lab.FINISHED}"))) == 4
    shutil.rmtree(folder)
    assert all_equal(alone, lab.sweep(CONFIGS, table, jobs=jobs))


def test_the_same_run_twice_in_a_sweep(table, alone, runs_folder):
    assert all_equal([alone[0]] * 3, lab.sweep([CONFIGS[0]] * 3, table, jobs=2))


def test_a_worker_with_another_version_is_refused(table, runs_folder, monkeypatch):
    """Workers outlive a change of the module: they would give the old version's result under the new one's name."""
    lab.sweep(CONFIGS[:1], table, jobs=2)
    monkeypatch.setattr(lab, "CODE", lab.CODE + "# changed")
    with pytest.raises(RuntimeError, match="(?s)2 of 2 runs failed.*another version of lab5_utils.py loaded"):
        lab.sweep(iter(CONFIGS[:2]), table, jobs=2)


def die_or_train(i, config, *task):
    """Stands in for a run that takes all memory: the system kills its worker."""
    if config.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return lab._member(i, config, *task)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX'")
def test_a_killed_worker_is_named_and_the_others_are_kept(table, alone, runs_folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(
            lab, "joblib", SimpleNamespace(Parallel=joblib.Parallel, delayed=lambda _: joblib.delayed(die_or_train))
        )
        with pytest.raises(RuntimeError) as caught:
            lab.sweep(CONFIGS, table, jobs=2)
    assert str(caught.value).startswith("1 of 4 runs failed") and f"\n{CONFIGS[1]}: TerminatedWorkerError" in str(
        caught.value
    )
    assert len(list(runs_folder.glob(f"*/{lab.FINISHED}"))) == 3
    assert all_equal(alone, lab.sweep(CONFIGS, table, jobs=2))


SWEEP = """
import sys
from pathlib import Path
from conftest import fingerprint, lab, small
lab.RUNS = Path(sys.argv[1])
if __name__ == "__main__":
    runs = lab.sweep([small(seed=seed, epochs=30) for seed in range(3)], lab.load_verbs()[:40], jobs=2)
    print(*map(fingerprint, runs))
"""


def script(tmp_path, code, *arguments):
    """Starts a script as a user would, one that imports the module."""
    path = tmp_path / "script.py"
    path.write_text(f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'tests')]}\n{code}", encoding="utf-8")
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    return subprocess.Popen([sys.executable, path, *arguments], start_new_session=True, **pipes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_sweep_goes_on(table, tmp_path, how):
    first = script(tmp_path, SWEEP, str(tmp_path / "runs"))
    while not list((tmp_path / "runs").glob(f"*/{lab.CHECKPOINT}")):
        assert first.poll() is None
        time.sleep(0.01)
    os.killpg(first.pid, how)  # it and its workers, as a terminal's Ctrl-C and the end of a machine do
    _, said = first.communicate(timeout=60)
    if how == signal.SIGINT:
        assert re.search("KeyboardInterrupt: stopped; [0-2] of 3 runs are done; the same call goes on", said)
    again, _ = script(tmp_path, SWEEP, str(tmp_path / "runs")).communicate(timeout=120)
    whole = [lab.train(small(seed=seed, epochs=30), table, progress=False) for seed in range(3)]
    assert again.split() == list(map(fingerprint, whole))


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_numbers(table, alone, runs_folder):
    distributed = pytest.importorskip("distributed", reason="optional: see requirements.txt")
    # A cluster writes its workers' settings into our environment too; the notebooks' kernels would train slowly with them.
    with mock.patch.dict(os.environ):
        with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
            with parallel_config(backend="dask"):
                swept = lab.sweep(CONFIGS, table)
            logs = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert all_equal(alone, swept) and len(list(runs_folder.glob(f"*/{lab.FINISHED}"))) == 4
    assert len(logs) == 2 and all(logs.values()), "both workers had work"


# -- the same bits --------------------------------------------------------------------------------------------------

TELL = "from conftest import fingerprint, lab, small\nprint(fingerprint(lab.train(small(seed=2, epochs=3, tf_final=0.5), lab.load_verbs()[:40], progress=False)))"


def test_the_same_bits_in_a_script(alone, tmp_path):
    said, errors = script(tmp_path, TELL).communicate(timeout=120)
    assert said.strip() == fingerprint(alone[2]), errors


@pytest.mark.slow
def test_the_same_bits_in_a_notebook(alone, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    path = f"import sys; sys.path[:0] = {json.dumps([str(ROOT), str(ROOT / 'tests')])}"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"{path}\n{TELL}")])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[0].outputs[0].text.strip() == fingerprint(alone[2])


def test_the_same_bits_whatever_ran_before(table, alone):
    threads = torch.get_num_threads()
    for before in (1, 2, 3):
        torch.set_num_threads(before)
        torch.manual_seed(before), np.random.seed(before), random.seed(before)
        torch.nn.LSTM(8, 8)(torch.randn(5, 7, 8))[0].sum().backward()
        assert equal(alone[2], lab.train(CONFIGS[2], table, progress=False))
        assert torch.get_num_threads() == before, "left as found"
    torch.set_num_threads(threads)


def test_global_random_states_are_left_as_found(table):
    def state():
        return random.getstate(), [list(map(str, np.random.get_state()))], torch.get_rng_state().tolist()

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    before = state()
    run = lab.train(CONFIGS[0], table, progress=False)
    lab.score(run.model, table, draws=100)
    lab.split_verbs(table), lab.make_up(table, 20, seed=1)
    assert state() == before


def test_a_folder_with_spaces_and_letters_of_other_scripts(tmp_path):
    folder = tmp_path / "Größe und 動詞" / "a b"
    folder.mkdir(parents=True)
    for name in ("lab5_utils.py", "train.txt", "test.txt"):
        shutil.copy(ROOT / name, folder)
    code = (
        "import lab5_utils as lab\n"
        "config = lab.Config(hidden_size=16, embedding_size=8, epochs=1, evaluate_every=9)\n"
        "if __name__ == '__main__':\n"
        "    lab.sweep([config], lab.load_verbs()[:20], jobs=2)\n"
        "    lab.save_fig(lab.plt.figure(), '00_empty')\n"
    )
    (folder / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "runs").glob("*/run.pt"))) == 1 and (folder / "figures" / "00_empty.pdf").exists()
