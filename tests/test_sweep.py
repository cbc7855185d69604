"""A sweep loses no finished run, and a run is the same bits wherever it is trained."""

import os
import random

import like_a_notebook
import numpy as np
import pytest
import torch
from conftest import VERBS, equal, fingerprint, keep, lab, own, small, start, train, written

import lab5_runs
import lab5_train

CONFIGS = [small(seed=seed, epochs=2, tf_final=0.5) for seed in range(4)]


@pytest.fixture(scope="module")
def alone():
    """Returns the runs of all configurations, each trained by itself."""
    return [train(config, VERBS) for config in CONFIGS]


def sweep(configs, jobs=1, **options):
    options |= {"make_training": own.Unscored, "progress": False}
    return lab5_runs.sweep(configs, VERBS, jobs=jobs, **options)


def test_a_sweep_is_its_single_runs_and_trains_what_is_missing(alone, runs_folder):
    keep(CONFIGS[1], VERBS)
    first = written(runs_folder)
    swept = sweep(CONFIGS)
    complete = written(runs_folder)
    assert len(complete) == 4
    assert first.items() <= complete.items()
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
    assert caught.value.__notes__[-1] == f"in {CONFIGS[3]}"
    finished = written(runs_folder)
    assert len(finished) == 3
    sweep(CONFIGS, scores={"mine": own.mine})
    assert finished.items() <= written(runs_folder).items(), "only what was missing is trained"


def test_a_worker_that_would_compute_something_else_refuses(alone, runs_folder, monkeypatch):
    task = lab5_train.check_task(CONFIGS[0], VERBS, make_training=own.Unscored)
    files = lab5_runs.files_of(task)
    sent = lab5_runs.Store(task, ""), files, lab5_runs.computed_by(files)
    assert equal(lab5_runs.finish_in_worker(*sent), alone[0])
    monkeypatch.setattr(torch, "__version__", "another")
    with pytest.raises(RuntimeError, match="a worker has other files or versions"):
        lab5_runs.finish_in_worker(*sent)


def test_equal_configurations_are_trained_once(alone, runs_folder):
    first, second = sweep([CONFIGS[0], small(**vars(CONFIGS[0]))], jobs=2)
    assert first.model is second.model
    assert equal(first, alone[0])


def test_each_run_of_a_sweep_is_scored_by_all_pairs_even_if_they_come_from_an_iterator(runs_folder):
    pairs = zip(["abet"], ["abets"], [0], [1], strict=True)
    options = {"pairs": pairs, "progress": False, "jobs": 1}
    runs = lab5_runs.sweep(CONFIGS[:2], VERBS, **options)
    assert all(run.history["bleu4"].notna().all() for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["", "dask"])
def test_what_a_notebook_defines_travels(tmp_path, cluster):
    """With the bits of single runs; those of the lab's files alone are kept."""
    script = like_a_notebook.__file__
    output, _ = start(script, cluster, LAB5_RUNS=str(tmp_path)).communicate()
    assert output.splitlines() == [
        "trained anew and not kept in runs/: "
        "the encoder isn't defined in a file of the project's folder or of experiments/",
        f"{fingerprint(train(like_a_notebook.OURS, VERBS))} False",
        f"{fingerprint(train(like_a_notebook.THEIRS, VERBS))} True",
    ]
    assert len(written(tmp_path)) == 1


SWEEPS = """
from conftest import VERBS, lab5_runs, own, small

def report(model):
    print("an epoch", flush=True)
    return 0.0

configs = [small(epochs=9999, seed=seed) for seed in range(2)]
options = {"make_training": own.Unscored, "scores": {"reported": report}}
lab5_runs.sweep(configs, VERBS, jobs=2, **options)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_workers_end_with_the_process_that_sweeps(tmp_path):
    with start("-c", SWEEPS, LAB5_RUNS=str(tmp_path)) as process:
        process.stdout.readline()  # a worker trains
        process.kill()
        process.communicate(timeout=300)  # returns once nobody can write to it


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
