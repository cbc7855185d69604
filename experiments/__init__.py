"""Scripts that make the tables of the notebooks; each runs as `python -m experiments.NAME`."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parent / "results"


def replace_rows(path, rows, column):
    """Puts rows into a CSV, in place of those with the same values of a column."""
    written = pd.read_csv(path)
    kept = written[~written[column].isin(rows[column])]
    together = pd.concat([kept, rows]).sort_values([column, "seed"])
    together.to_csv(path, index=False)
