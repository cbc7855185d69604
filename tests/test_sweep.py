"""A sweep loses no finished run, and a run is the same bits wherever it is trained."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import joblib
import nbclient
import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, lab5_train, small

VERBS = lab.load_verbs()[:10]
CONFIGS = [small(seed=seed, epochs=2, refine=0.5, tf_final=0.5) for seed in range(4)]
TRAIN = f"""
import sys
sys.path.append({str(ROOT / "tests")!r})
from conftest import fingerprint, lab, lab5_train, small
lab5_train.SCORED = 8
config = small(seed=2, epochs=2, refine=0.5, tf_final=0.5)
print(fingerprint(lab5_train.train(config, lab.load_verbs()[:10], progress=False)))
"""
SIZE = {"hidden_size": 18, "epochs": 3, "refine": 0.0}
SWEEP = f"""
import lab5_train, lab5_utils
configs = [lab5_train.Config(**{SIZE}, seed=seed) for seed in range(2)]
lab5_train.sweep(configs, lab5_utils.load_verbs()[:10], jobs=2)
"""


@pytest.fixture(scope="module", autouse=True)
def alone():
    """Returns the runs of all configurations, each trained by itself, as in a process of a sweep.

    There `conftest` has changed nothing.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab5_train, "SCORED", 8)
        yield [lab5_train.train(config, VERBS, progress=False) for config in CONFIGS]


def checkpoints(folder):
    """Returns when each checkpoint of a folder of runs was written."""
    paths = folder.glob(f"*/{lab5_train.CHECKPOINT}")
    return {path: path.stat().st_mtime_ns for path in paths}


def epochs_in(path):
    return len(torch.load(path, weights_only=True)["history"])


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_is_its_single_runs_and_a_damaged_one_is_trained_anew(alone, runs_folder, jobs):
    lab5_train.load_or_train(CONFIGS[3], VERBS, progress=False)
    (file,) = checkpoints(runs_folder)
    damaged = file.read_bytes()[:-1]
    file.write_bytes(damaged)
    swept = lab5_train.sweep(CONFIGS, VERBS, jobs)
    assert file.with_name("damaged-run.pt").read_bytes() == damaged
    complete = checkpoints(runs_folder)
    again = lab5_train.sweep(CONFIGS, VERBS, jobs)
    assert checkpoints(runs_folder) == complete, "nothing was left to train"
    assert len(complete) == len(swept) == len(again) == 4
    for runs in (swept, again):
        assert all(map(equal, alone, runs))


def test_an_error_costs_no_finished_run(alone, runs_folder):
    epochs = []

    def fail(model):
        epochs.append(model)
        return 1.0 if len(epochs) < 7 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        lab5_train.sweep(CONFIGS, VERBS, 1, scores={"mine": fail})
    written = checkpoints(runs_folder)
    assert [epochs_in(path) for path in written] == [2, 2, 2]
    assert equal(alone[3], lab5_train.sweep(CONFIGS, VERBS, 1)[3])
    assert written.items() <= checkpoints(runs_folder).items(), "only what was missing is trained"


def test_a_sweep_shows_its_epochs_says_that_it_resumes_and_an_interrupt_is_short(
    runs_folder, capsys
):
    def interrupt(model):
        raise KeyboardInterrupt

    config = small(epochs=3)

    def stop(history):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        lab5_train.load_or_train(config, VERBS, progress=False, on_epoch=stop)
    with pytest.raises(KeyboardInterrupt, match="what is trained is kept") as caught:
        lab5_train.sweep([small(seed=1)], VERBS, 1, scores={"mine": interrupt})
    assert len(caught.value._render_traceback_()) == 1
    lab5_train.sweep([config], VERBS, 1)
    shown = capsys.readouterr().err
    assert "0 of 1 runs" in shown
    assert "resumed: 1 of 1 runs" in shown


def power_of(power):
    """Returns a schedule as a notebook has it: no process can import it."""

    def shape(progress, excess):
        return progress**power

    return shape


@pytest.mark.slow
def test_own_schedules_and_the_verbs_of_each_task_reach_every_process(runs_folder, monkeypatch):
    """A changed schedule is trained anew; a task has verbs of its own, or those of the sweep."""
    for power in (1, 2):
        monkeypatch.setitem(lab5_train.STRATEGIES, "mine", power_of(power))
        config = small(strategy="mine", epochs=2, batch_size=64, refine=0.0)
        swept = lab5_train.sweep([(config, VERBS[:6]), config], VERBS, jobs=2)
        for run in swept:
            assert run.history["kl_weight"].tolist() == [0.5**power, 1.0]
    for verbs, run in zip((VERBS[:6], VERBS), swept, strict=True):
        assert equal(run, lab5_train.train(config, verbs, progress=False))


def test_a_sweep_with_a_wrong_task_trains_nothing(runs_folder, monkeypatch):
    monkeypatch.setitem(lab5_train.STRATEGIES, "steep", lambda progress, excess: 2 * progress)
    wrong = {"steep": small(strategy="steep"), "verb 2": (CONFIGS[1], [("go", "goes"), ("be",)])}
    for name, task in wrong.items():
        with pytest.raises(ValueError, match=rf"{name}.*: found .*; expected"):
            lab5_train.sweep([CONFIGS[0], task], VERBS, jobs=1)
    with pytest.raises(TypeError, match="config: found 'x'; expected a Config"):
        lab5_train.sweep([CONFIGS[0], "x"], VERBS, jobs=1)
    assert not checkpoints(runs_folder)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_an_interrupted_sweep_resumes_whatever_its_folder_is_called(tmp_path, monkeypatch):
    """Signals reach its workers, too, as Ctrl-C and the end of a machine do."""
    folder = tmp_path / "Größe und 動詞" / "a b"
    folder.mkdir(parents=True)
    for path in [*ROOT.glob("lab5_*.py"), *ROOT.glob("*.txt")]:
        shutil.copy(path, folder)
    options = {"cwd": folder, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    for how in ("SIGINT", "SIGKILL"):
        before = checkpoints(folder / "runs")
        process = subprocess.Popen([sys.executable, "-c", SWEEP], **options)
        while checkpoints(folder / "runs") == before:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, getattr(signal, how))
        _, errors = process.communicate(timeout=60)
        assert process.returncode
        assert how == "SIGKILL" or "what is trained is kept" in errors
    saved = sum(map(epochs_in, checkpoints(folder / "runs")))
    epochs = []
    monkeypatch.setattr(lab5_train, "RUNS", folder / "runs")
    for config in [lab5_train.Config(**SIZE, seed=seed) for seed in range(2)]:
        found = lab5_train.load_or_train(config, VERBS, on_epoch=epochs.append)
        assert equal(found, lab5_train.train(config, VERBS, progress=False))
    assert len(epochs) == 6 - saved < 6, "it goes on"


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits(alone, runs_folder):
    distributed = pytest.importorskip("distributed", reason="optional: see requirements.txt")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    # a cluster writes its workers' settings into our environment, too: kernels would be slow
    with mock.patch.dict(os.environ), distributed.Client(**options) as client:
        with joblib.parallel_config(backend="dask"):
            runs = lab5_train.sweep(CONFIGS, VERBS)
        tasks = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert all(map(equal, alone, runs))
    assert len(tasks) == 2
    assert all(tasks.values()), "both workers train"


@pytest.mark.slow
def test_the_same_bits_in_a_script_and_in_a_notebook(alone):
    script = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True)
    assert script.stdout.strip() == fingerprint(alone[2]), script.stderr
    cell = nbformat.v4.new_code_cell(TRAIN)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[0].outputs[0].text == script.stdout


def random_states():
    torch_state = torch.get_rng_state().tolist()
    return random.getstate(), repr(np.random.get_state()), torch_state


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_whatever_ran_before_and_all_left_as_found(alone, threads):
    found = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        before = random_states()
        run = lab5_train.train(CONFIGS[2], VERBS, progress=False)
        lab.score(run.model, VERBS, draws=100)
        assert equal(alone[2], run)
        assert random_states() == before
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(found)


def test_trainings_in_threads_of_one_process_take_turns(alone):
    def train(config):
        return lab5_train.train(config, VERBS, progress=False)

    with ThreadPoolExecutor(len(CONFIGS)) as threads:
        assert all(map(equal, alone, threads.map(train, CONFIGS)))
