"""Tables: of other languages, of the verbs that are most frequent, and of what experiments find."""

import unicodedata
from collections import Counter

import pandas as pd
import pytest
from conftest import ROOT, lab

from experiments import replace_rows
from experiments.make_train import first_rows

TABLES = sorted((ROOT / "experiments" / "tables").glob("*/train.txt"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_committed_tables_are_well_formed_and_no_form_is_of_two_verbs(path):
    assert unicodedata.is_normalized("NFC", path.read_text("utf-8"))
    verbs = lab.load_verbs(path)
    assert verbs == sorted(set(verbs))
    for forms in zip(*verbs, strict=True):
        assert max(Counter(forms).values()) == 1
    readme = path.with_name("readme.txt").read_text("utf-8")
    assert f"{len(verbs):,} verbs" in readme
    assert "ab0b36b" in readme, "the commit that has the script"


def test_the_first_verbs_are_taken_and_no_form_twice_in_a_column():
    verbs = [("see", "saw"), ("saw", "sawed"), ("behold", "saw"), ("go", "went"), ("be", "was")]
    assert first_rows(verbs, rows=3) == [("go", "went"), ("saw", "sawed"), ("see", "saw")]


def test_new_rows_take_the_place_of_those_of_the_same_language_alone(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("language,seed,score\nenglish,0,0.1\nturkish,0,0.2\nturkish,1,0.3\n")
    row = {"language": "turkish", "seed": 0, "score": 0.9, "example": "bat|mak"}
    replace_rows(path, pd.DataFrame([row]), column="language")
    assert path.read_text() == (
        "language,seed,score,example\nenglish,0,0.1,\nturkish,0,0.9,bat|mak\n"
    )
