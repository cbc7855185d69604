"""A sweep loses no finished run, and a run is the same bits wherever it is trained."""

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import like_a_notebook
import numpy as np
import pytest
import torch
from conftest import (
    ROOT,
    equal,
    fingerprint,
    keep,
    lab,
    lab5_runs,
    lab5_train,
    own,
    small,
    train,
    written,
)

VERBS = lab.load_verbs()[:10]
CONFIGS = [small(seed=seed, epochs=2, refine=0.5, tf_final=0.5) for seed in range(4)]


@pytest.fixture(scope="module")
def alone():
    """Returns the runs of all configurations, each trained by itself."""
    return [train(config, VERBS) for config in CONFIGS]


def sweep(tasks, **options):
    return lab5_runs.sweep(tasks, VERBS, jobs=1, make_training=own.unscored, **options)


def test_a_sweep_is_its_single_runs_and_trains_what_is_missing(alone, runs_folder):
    keep(CONFIGS[3], VERBS)
    first = written(runs_folder)
    swept = sweep(CONFIGS)
    complete = written(runs_folder)
    assert len(complete) == 4
    assert first.items() <= complete.items()
    again = sweep(CONFIGS)
    assert written(runs_folder) == complete, "nothing was left to train"
    for runs in (swept, again):
        assert all(map(equal, alone, runs))


def test_an_error_costs_no_finished_run(runs_folder):
    epochs = []

    def fail(model):
        epochs.append(model)
        return 1 / (7 - len(epochs))

    with pytest.raises(ZeroDivisionError):
        sweep(CONFIGS, scores={"mine": fail})
    finished = written(runs_folder)
    assert len(finished) == 3
    sweep(CONFIGS, scores={"mine": fail})
    assert finished.items() <= written(runs_folder).items(), "only what was missing is trained"


def test_a_sweep_with_a_wrong_task_trains_nothing(runs_folder):
    with pytest.raises(ValueError, match="verb 2: found 1 forms; expected 2"):
        sweep([CONFIGS[0], (CONFIGS[1], [("go", "goes"), ("be",)])])
    assert not runs_folder.exists()


def test_a_worker_with_other_files_refuses():
    task = lab5_train.check_task(CONFIGS[0], VERBS)
    store = lab5_runs.Store(task)
    store.key = "another key"
    registered = lab5_train.target_rate, lab.GatedDecoder
    with pytest.raises(RuntimeError, match="a worker's files are not those imported here"):
        lab5_runs.finish_in_worker(0, task, store, *registered, os.getpid())


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["", "dask"])
def test_what_a_notebook_defines_travels_and_what_it_sets_is_refused(tmp_path, cluster):
    """With the bits of single runs; those of the lab's files alone are kept."""
    if cluster:
        pytest.importorskip("distributed", reason="optional: see requirements.txt")
    environ = os.environ | {"LAB5_RUNS": str(tmp_path)}
    command = [sys.executable, ROOT / "tests" / "like_a_notebook.py", *cluster.split()]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "trained anew and not kept in runs/, because of decoding 'narrow' (Narrow), "
        "strategy 'steep' (steep)",
        f"{fingerprint(train(like_a_notebook.OURS, VERBS))} False",
        f"{fingerprint(train(like_a_notebook.THEIRS, VERBS))} True",
        f"{fingerprint(train(like_a_notebook.OURS, VERBS[:6]))} False",
        f"{fingerprint(train(like_a_notebook.THEIRS, VERBS[:6]))} True",
        "lab5_train.CLIP was set here, not in the workers: edit its file instead",
    ]
    assert len(written(tmp_path)) == 2


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
        run = train(CONFIGS[2], VERBS)
        lab.score(run.model, VERBS, draws=100)
        assert equal(alone[2], run)
        assert random_states() == before
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(found)


def test_trainings_in_threads_of_one_process_take_turns(alone):
    with ThreadPoolExecutor(4) as threads:
        runs = threads.map(lambda config: train(config, VERBS), CONFIGS)
        assert all(map(equal, alone, runs))
