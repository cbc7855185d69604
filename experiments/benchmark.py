"""Measures how fast training is, in words decoded a second, by the size of a batch (a minute).

    .venv/bin/python -m experiments.benchmark

Prints min, median and max of five rounds; in each round all sizes take their turn.
"""

import time
from itertools import cycle

import numpy as np
import torch

import lab5_train
import lab5_utils as lab

SIZES = (1, 16, 64, 256)
ROUNDS = 5
SECONDS = 2.0  # of each measurement


def updates(batch_size, verbs):
    """Yields the number of words of a batch after each update of a new model."""
    config = lab.Config(batch_size=batch_size)
    training = lab5_train.new_training(config, verbs)
    for batch in cycle(training.make_epoch(1)):
        loss, _ = training.loss(batch, progress=1.0, refining=False)
        training.descend(loss, 0.001, "the benchmark")
        yield len(batch.source.lengths)


def rate(work, seconds=SECONDS):
    """Works for so many seconds; returns words a second."""
    start = time.perf_counter()
    spent = 0.0
    done = 0
    while spent < seconds:
        done += next(work)
        spent = time.perf_counter() - start
    return done / spent


def main():
    """Times each size of a batch, and prints words a second."""
    verbs = lab.load_verbs()
    works = [updates(size, verbs) for size in SIZES]
    for work in works:
        rate(work, seconds=1.0)  # warm
    rounds = np.array([[rate(work) for work in works] for _ in range(ROUNDS)])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("words a batch: words decoded a second, min, median, max")
    for size, found in zip(SIZES, rounds.T, strict=True):
        print(f"{size:4}: {found.min():8,.0f} {np.median(found):8,.0f} {found.max():8,.0f}")


if __name__ == "__main__":
    main()
