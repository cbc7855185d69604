"""Scripts that make the tables of the notebooks; each runs as `python -m experiments.NAME`."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parent / "results"


def replace_rows(path, rows, column):
    """Puts rows into a CSV, new or not, in place of those with the same values of a column.

    Or of several, if it is a list.
    """
    columns = [column] if isinstance(column, str) else column
    if path.exists():
        written = pd.read_csv(path)
        is_replaced = written.set_index(columns).index.isin(rows.set_index(columns).index)
        rows = pd.concat([written[~is_replaced], rows])
    rows.sort_values([*columns, "seed"]).to_csv(path, index=False)
