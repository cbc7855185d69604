"""Measures how the cost of a training grows, for results/cost.csv.

    .venv/bin/python -m experiments.cost

These are core-seconds of the plain model without scores, with other numbers of verbs, epochs and
hidden units, the least of three. Compare rows, not machines.
"""

import time

import pandas as pd
import torch

import lab5_utils as lab
from experiments import RESULTS
from experiments.own import Unscored
from lab5_runs import train
from lab5_train import Config

VERBS, EPOCHS, HIDDEN = 1227, 2, 256
CHANGES = [{}]
CHANGES += [{"verbs": verbs} for verbs in (300, 600)]
CHANGES += [{"epochs": epochs} for epochs in (1, 4)]
CHANGES += [{"hidden": hidden} for hidden in (128, 512)]


def seconds(verbs=VERBS, epochs=EPOCHS, hidden=HIDDEN):
    """Returns the core-seconds of a training."""
    table = lab.distinct_verbs()[:verbs]
    config = Config.plain(epochs=epochs, hidden_size=hidden)
    began = time.process_time()
    train(config, table, progress=False, make_training=Unscored)
    return time.process_time() - began


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = []
    for change in CHANGES:
        sizes = {"verbs": VERBS, "epochs": EPOCHS, "hidden": HIDDEN} | change
        rows.append(sizes | {"core_seconds": round(min(seconds(**sizes) for _ in range(3)), 1)})
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(RESULTS / "cost.csv", index=False)
