"""A sweep loses no finished run, and a run is the same bits wherever it is trained."""

import random

import joblib
import numpy as np
import own
import pytest
import torch

from conftest import VERBS, equal, keep, lab, lab5_runs, small, train, written

CONFIGS = [small(seed=seed, epochs=2, tf_final=0.5) for seed in range(4)]


@pytest.fixture(scope="module")
def alone():
    """Returns the runs of all configurations, each trained by itself."""
    return [train(config, VERBS) for config in CONFIGS]


def sweep(configs, jobs=1):
    return lab5_runs.sweep(configs, VERBS, jobs=jobs, progress=False)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_is_its_single_runs_and_trains_what_is_missing(alone, runs_folder, jobs):
    keep(CONFIGS[1], VERBS)
    first = written(runs_folder)
    swept = sweep(CONFIGS, jobs)
    complete = written(runs_folder)
    assert len(complete) == 4
    assert first.items() <= complete.items()
    again = sweep(CONFIGS, jobs)
    assert written(runs_folder) == complete, "nothing was left to train"
    for runs in (swept, again):
        assert all(map(equal, alone, runs))


def test_equal_configurations_are_trained_once(alone, runs_folder):
    first, second = sweep([CONFIGS[0], small(**vars(CONFIGS[0]))])
    assert first.model is second.model
    assert equal(first, alone[0])


def test_an_error_costs_no_finished_run(runs_folder, monkeypatch):
    configs = [small(seed=seed, epochs=2, training=own.Reporting) for seed in range(3)]
    epochs = []

    def fail(training, epoch):
        epochs.append(epoch)
        if len(epochs) == 5:
            raise ZeroDivisionError

    monkeypatch.setattr(own.Reporting, "report", fail)
    with pytest.raises(ZeroDivisionError) as caught:
        sweep(configs)
    assert caught.value.__notes__ == [f"in epoch 1 of {configs[2]}"]
    finished = written(runs_folder)
    assert len(finished) == 2
    sweep(configs)
    assert finished.items() <= written(runs_folder).items(), "only what was missing is trained"
    assert len(epochs) == 7


# ---- A notebook's own classes ----
def of_a_notebook():
    """Returns a configuration that no file defines."""

    class Early(lab.Encoder):
        """An encoder which reads only a word's first letter."""

        def forward(self, words):
            return super().forward(words._replace(lengths=words.lengths.clamp(max=1)))

    return small(epochs=2, encoder=Early, schedule=lambda progress: progress**2)


def assert_that_it_travels(jobs):
    config = of_a_notebook()
    for run in sweep([config, config, CONFIGS[0]], jobs)[1:]:
        assert equal(run, train(run.config, VERBS))


def test_what_a_notebook_defines_travels_to_other_cores(runs_folder):
    assert_that_it_travels(jobs=2)


@pytest.mark.slow
def test_it_travels_to_a_dask_cluster(runs_folder):
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None):  # noqa: SIM117
        with joblib.parallel_config(backend="dask"):
            assert_that_it_travels(jobs=-1)


# ---- The same bits ----
def random_states():
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()


def test_the_same_bits_whatever_ran_before_and_all_left_as_found(alone):
    torch.set_num_threads(3)
    torch.manual_seed(3)
    before = random_states()
    assert equal(alone[2], train(CONFIGS[2], VERBS))
    assert random_states() == before
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
