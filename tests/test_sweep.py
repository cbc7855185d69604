"""A sweep loses no finished run, and a run is the same bits wherever it is trained."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cloudpickle
import joblib
import like_a_notebook
import numpy as np
import own
import psutil
import pytest
import torch
from conftest import VERBS, equal, fingerprint, keep, lab, small, start, train, written

import lab5_runs
import lab5_train

CONFIGS = [small(seed=seed, epochs=2, refine=0.5, tf_final=0.5) for seed in range(4)]


@pytest.fixture(scope="module")
def alone():
    """Returns the runs of all configurations, each trained by itself."""
    return [train(config, VERBS) for config in CONFIGS]


def sweep(tasks, **options):
    options |= {"make_training": own.Unscored, "progress": False}
    return lab5_runs.sweep(tasks, VERBS, jobs=1, **options)


def last_first(jobs, return_as):
    """Runs calls in place of joblib; the last one is the first to finish."""
    return lambda calls: [call(*args, **options) for call, args, options in reversed(calls)]


def test_a_sweep_is_its_single_runs_and_trains_what_is_missing(alone, runs_folder, monkeypatch):
    keep(CONFIGS[3], VERBS)
    first = written(runs_folder)
    swept = sweep(CONFIGS)
    complete = written(runs_folder)
    assert len(complete) == 4
    assert first.items() <= complete.items()
    monkeypatch.setattr(joblib, "Parallel", last_first)
    again = sweep(CONFIGS)
    assert written(runs_folder) == complete, "nothing was left to train"
    for runs in (swept, again):
        assert all(map(equal, alone, runs))


def test_an_error_costs_no_finished_run(runs_folder, monkeypatch):
    epochs = []

    def fail(model):
        epochs.append(model)
        return 1 / (7 - len(epochs))

    monkeypatch.setattr(torch, "does", fail, raising=False)
    with pytest.raises(ZeroDivisionError) as caught:
        sweep(CONFIGS, scores={"mine": own.mine})
    assert caught.value.__notes__ == [f"in task 3 of the sweep, counted from 0: {CONFIGS[3]}"]
    finished = written(runs_folder)
    assert len(finished) == 3
    sweep(CONFIGS, scores={"mine": own.mine})
    assert finished.items() <= written(runs_folder).items(), "only what was missing is trained"


def test_a_worker_with_other_files_refuses(monkeypatch):
    task = lab5_train.check_task(CONFIGS[0], VERBS)
    store = lab5_runs.Store(task)
    sent = lab5_train.target_rate, lab.GatedDecoder, os.getpid()
    theirs = lab5_runs.what_computes()
    monkeypatch.setattr(own, "RATE", 0.9, raising=False)  # a setting that is read anew
    for other in (theirs, {"lab5_train": "edited since"}, {"versions": "another"}):
        with pytest.raises(RuntimeError, match="a worker has other files"):  # kept or not
            lab5_runs.finish_in_worker(0, task, None, *sent, other)
    monkeypatch.setattr(lab5_train, "CLIP", 1.0)
    with pytest.raises(RuntimeError, match="a worker has other files"):
        lab5_runs.finish_in_worker(0, task, store, *sent, lab5_runs.what_computes())


def test_a_worker_that_lacks_a_file_is_told_so(runs_folder, monkeypatch):
    def break_off(calls):
        raise BrokenProcessPool

    monkeypatch.setattr(joblib, "Parallel", lambda jobs, return_as: break_off)
    with pytest.raises(BrokenProcessPool) as caught:
        sweep(CONFIGS)
    assert "a folder that is on sys.path" in caught.value.__notes__[0]


def test_a_folder_of_ones_own_refuses_no_worker(monkeypatch):
    before = lab5_runs.what_computes()
    monkeypatch.setattr(lab5_runs, "RUNS", "a text")
    assert lab5_runs.what_computes() == before


def test_a_sweep_starts_no_more_workers_than_it_has_runs_to_train(runs_folder, monkeypatch):
    asked = []
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda jobs: 64)
    monkeypatch.setattr(
        joblib, "Parallel", lambda n, return_as: asked.append(n) or last_first(n, "")
    )
    assert [len(sweep(CONFIGS[:count])) for count in (2, 3, 0)] == [2, 3, 0]
    assert asked == [2, 1, 1]


def test_files_that_are_neither_noted_nor_installed_travel_whole():
    """A worker may have imported an older version of them."""
    sweep([])
    travelling = cloudpickle.list_registry_pickle_by_value()
    assert {"conftest", "like_a_notebook"} <= travelling
    assert not {"own", "lab5_train", "numpy", "json", "__main__"} & travelling


def test_verbs_and_pairs_may_be_iterators(runs_folder):
    pairs = iter([(*VERBS[0][:2], 0, 1)])
    swept = lab5_runs.sweep(CONFIGS[:2], iter(VERBS), pairs=pairs, jobs=1, progress=False)
    assert ["bleu4" in run.history for run in swept] == 2 * [True]


def test_a_sweep_refuses_what_its_workers_would_not_have():
    with torch.autocast("cpu"), pytest.raises(ValueError, match="autocast isn't what it was at"):
        sweep(CONFIGS)


def test_a_pair_that_is_no_task_is_refused():
    with pytest.raises(ValueError, match="tasks: found one of 10 parts; expected a configuration"):
        sweep((CONFIGS[0], VERBS))  # without the brackets of a list


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["", "dask"])
def test_what_a_notebook_defines_travels(tmp_path, cluster):
    """With the bits of single runs; those of the lab's files alone are kept."""
    if cluster:
        pytest.importorskip("distributed", reason="optional: see requirements.txt")
    script = like_a_notebook.__file__
    said, _ = start(script, cluster, LAB5_RUNS=str(tmp_path)).communicate()
    assert said.splitlines() == [
        "trained anew and not kept in runs/, because of decoding 'narrow' (Narrow), "
        "strategy 'steep' (steep)",
        f"{fingerprint(train(like_a_notebook.OURS, VERBS))} False",
        f"{fingerprint(train(like_a_notebook.THEIRS, VERBS))} True",
        f"{fingerprint(train(like_a_notebook.OURS, VERBS[:6]))} False",
        f"{fingerprint(train(like_a_notebook.THEIRS, VERBS[:6]))} True",
    ]
    assert len(written(tmp_path)) == 2


SWEEPS = """
import os
from like_a_notebook import VERBS, lab5_runs, own, small
tasks = [small(epochs=9999, seed=seed) for seed in range(2)]
scores = {"mine": lambda model: print(os.getpid(), flush=True) or 0}
lab5_runs.sweep(tasks, VERBS, jobs=2, make_training=own.Unscored, scores=scores)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("is_early", [False, True])
def test_workers_end_with_the_process_that_sweeps(tmp_path, is_early):
    with start("-c", SWEEPS, LAB5_RUNS=str(tmp_path)) as process:
        if is_early:
            while len(psutil.Process(process.pid).children()) < 2:
                time.sleep(0.01)
            time.sleep(0.3)  # workers import what they need
        else:
            process.stdout.readline()  # a worker trains
        process.kill()
        process.communicate(timeout=60)  # returns once nobody can write to it


def random_states():
    torch_state = torch.get_rng_state().tolist()
    return random.getstate(), repr(np.random.get_state()), torch_state


def test_the_same_bits_whatever_ran_before_and_all_left_as_found(alone):
    torch.set_num_threads(3)
    torch.manual_seed(3)
    before = random_states()
    run = train(CONFIGS[2], VERBS)
    lab.score(run.model, VERBS, draws=100)
    assert equal(alone[2], run)
    assert random_states() == before
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)


def test_threads_of_one_process_take_turns():
    def draw(seed):
        with lab5_train.reproducible(seed):
            time.sleep(0.02)  # another thread may come in here
            return torch.rand(2).tolist()

    alone = [draw(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(draw, range(3))) == alone
