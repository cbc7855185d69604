"""A script as a notebook is: its encoder and schedule are its own. Sweeps in two processes.

python tests/like_a_notebook.py [dask]
"""

import sys

import joblib
from conftest import VERBS, fingerprint, lab, lab5_runs, own, small

POWER = 2


class Early(lab.Encoder):
    """An encoder of a notebook, which reads only a word's first letter."""

    def forward(self, words):
        return super().forward(words._replace(lengths=words.lengths.clamp(max=1)))


def steep(progress):
    """A schedule of a notebook."""
    return progress**POWER


OURS = small(epochs=2, tf_final=0.5)
THEIRS = small(epochs=2, encoder=Early, schedule=steep)


def use_dask():
    from distributed import Client

    Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    joblib.parallel_config(backend="dask")


def main():
    """Prints what came of a sweep."""
    for run in lab5_runs.sweep([OURS, THEIRS], VERBS, jobs=2, make_training=own.Unscored):
        print(fingerprint(run), type(run.model.encoder) is Early)


if __name__ == "__main__":
    if sys.argv[1:] == ["dask"]:
        use_dask()
    main()
