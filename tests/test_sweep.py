"""A sweep loses no finished run, and a run is the same bits wherever it is trained."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import joblib
import nbclient
import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT, equal, fingerprint, lab, small

CONFIGS = [small(seed=seed, epochs=3, tf_final=0.5) for seed in range(4)]
VERBS = lab.load_verbs()[:40]
IMPORT = f"import sys; sys.path.append({str(ROOT / 'tests')!r})\nfrom conftest import fingerprint, lab, small\n"
TRAIN = "print(fingerprint(lab.train(small(seed=2, epochs=3, tf_final=0.5), lab.load_verbs()[:40], progress=False)))"
SWEEP = """
if __name__ == "__main__":
    lab.RUNS = lab.Path("runs")
    print(*map(fingerprint, lab.sweep([small(seed=seed, epochs=20) for seed in range(3)], lab.load_verbs()[:40], 2)))
"""


@pytest.fixture(scope="module")
def alone():
    return [lab.train(config, VERBS, progress=False) for config in CONFIGS]


def script(folder, code):
    """Starts a script in a folder, as leader of its processes."""
    (folder / "script.py").write_text(code, encoding="utf-8")
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    return subprocess.Popen([sys.executable, "script.py"], cwd=folder, **pipes)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_gives_what_single_runs_give_and_an_error_costs_no_finished_run(alone, runs_folder, monkeypatch, jobs):
    lab.load_or_train(CONFIGS[3], VERBS)
    (file,) = runs_folder.glob(f"*/{lab.CHECKPOINT}")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{file}: damaged"):
        lab.sweep(CONFIGS, VERBS, jobs)
    file.unlink()
    finished = lambda path: len(torch.load(path, weights_only=True)["history"]) == 3
    done = {path: path.stat().st_mtime_ns for path in runs_folder.glob(f"*/{lab.CHECKPOINT}") if finished(path)}
    assert len(done) >= 4 - jobs  # of two at once, one was stopped by the other's error
    swept = lab.sweep(CONFIGS, VERBS, jobs)
    assert all(path.stat().st_mtime_ns == time for path, time in done.items()), "only what was missing is trained"
    monkeypatch.setattr(lab, "train_epoch", None)  # nothing is left to train
    for runs in swept, lab.sweep(CONFIGS, VERBS, jobs=1):
        assert len(runs) == 4 and all(map(equal, alone, runs))


@pytest.mark.slow
def test_a_schedule_of_your_own_reaches_every_process_and_a_changed_one_is_trained_anew(runs_folder, monkeypatch):
    for power in 1, 2:
        monkeypatch.setitem(lab.STRATEGIES, "mine", lambda p: p**power)
        configs = [small(strategy="mine", seed=seed, epochs=2, refine=0.0) for seed in range(2)]
        for run in lab.sweep(configs, VERBS, jobs=2):
            assert run.history["kl_weight"].tolist() == [0.5 * 0.5**power, 0.5]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_an_interrupted_sweep_resumes(tmp_path):
    for how in ("SIGINT", "SIGKILL"):
        first, begun = script(tmp_path, IMPORT + SWEEP), time.time()
        while not any(path.stat().st_mtime > begun for path in tmp_path.glob(f"runs/*/{lab.CHECKPOINT}")):
            assert first.poll() is None and not time.sleep(0.01)
        os.killpg(first.pid, getattr(signal, how))  # with its workers, as Ctrl-C and the end of a machine do
        output, errors = first.communicate(timeout=60)
        assert first.returncode and not output and ("KeyboardInterrupt" in errors or how == "SIGKILL")
    again, errors = script(tmp_path, IMPORT + SWEEP).communicate(timeout=120)
    runs = [lab.train(small(seed=seed, epochs=20), VERBS, progress=False) for seed in range(3)]
    assert again.split() == [*map(fingerprint, runs)], errors


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits(alone, runs_folder):
    distributed = pytest.importorskip("distributed", reason="optional: see requirements.txt")
    # a cluster writes its workers' settings into our environment, too; with them, notebooks' kernels would be slow
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with mock.patch.dict(os.environ), distributed.Client(**options) as client:
        with joblib.parallel_config(backend="dask"):
            runs = lab.sweep(CONFIGS, VERBS)
        tasks = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert all(map(equal, alone, runs)) and len(tasks) == 2 and all(tasks.values()), "both workers train"


@pytest.mark.slow
def test_the_same_bits_in_a_script_and_in_a_notebook(alone, tmp_path):
    output, errors = script(tmp_path, IMPORT + TRAIN).communicate(timeout=120)
    assert output.strip() == fingerprint(alone[2]), errors
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(IMPORT + TRAIN)])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[0].outputs[0].text == output


def test_the_same_bits_whatever_ran_before_and_the_state_left_as_found(alone):
    state = lambda: (random.getstate(), repr(np.random.get_state()), str(torch.get_rng_state().tolist()))
    for n in (1, 3, torch.get_num_threads()):
        torch.set_num_threads(n), torch.manual_seed(n), np.random.seed(n), random.seed(n)
        torch.nn.LSTM(8, 8)(torch.randn(5, 7, 8))[0].sum().backward()
        before, run = state(), lab.train(CONFIGS[2], VERBS, progress=False)
        lab.score(run.model, VERBS, draws=100), lab.synthesize(VERBS, 20, seed=1)
        assert equal(alone[2], run) and state() == before and torch.get_num_threads() == n


@pytest.mark.slow
def test_a_folder_with_spaces_and_letters_of_other_scripts(tmp_path):
    (folder := tmp_path / "Größe und 動詞" / "a b").mkdir(parents=True)
    for name in ("lab5_utils.py", "train.txt", "test.txt"):
        shutil.copy(ROOT / name, folder)
    code = "from matplotlib.figure import Figure\nimport lab5_utils as lab\nif __name__ == '__main__':\n"
    code += "    lab.sweep([lab.Config(hidden_size=18, epochs=1)], lab.load_verbs()[:20], jobs=2)\n"
    (process := script(folder, code + "    lab.save_fig(Figure(), '00_empty')\n")).wait(timeout=120)
    assert process.returncode == 0 and (folder / "figures/00_empty.pdf").exists(), process.stderr.read()
    assert len(list(folder.glob("runs/*/run.pt"))) == 1
