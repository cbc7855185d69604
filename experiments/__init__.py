"""Scripts that make the tables of the notebooks; each runs as `python -m experiments.NAME`."""
