"""The tables of other languages: what make_table.py writes, and what it refuses."""

import re
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from conftest import ROOT, lab

from experiments import make_table
from experiments.make_table import LANGUAGES

TABLES = ROOT / "experiments" / "tables"
FORMS = {
    "german": "schließen schließt schloss geschlossen",
    "spanish": "ir va fue yendo",
    "italian": "prendere prende prese preso",
    "finnish": "tehdä tekee teki tehnyt",
    "turkish": "yemek yiyor yedi yiyecek",
    "russian": "идти идёт шёл иди",
    "swahili": "kupenda anapenda alipenda hapendi",
    "hebrew": "לכתוב כתב כותב יכתוב",
}
LEMMAS = {"swahili": "penda", "hebrew": "כתב"}  # what ablaut is asked for; of others the first form


def listed(text):
    return dict.fromkeys(text.split(), 3.0)


# ---- The files ----
@pytest.mark.parametrize("language", LANGUAGES)
def test_committed_tables_are_well_formed_and_no_form_is_of_two_verbs(language):
    path = TABLES / language / "train.txt"
    assert unicodedata.is_normalized("NFC", path.read_text("utf-8"))
    verbs = lab.load_verbs(path)
    assert verbs == sorted(set(verbs))
    for forms in zip(*verbs, strict=True):
        assert max(Counter(forms).values()) == 1


@pytest.mark.slow
def test_command_makes_rows_of_the_committed_table_and_says_of_what(tmp_path):
    pytest.importorskip("ablaut", reason="no package ablaut")
    command = [sys.executable, "-m", "experiments.make_table", "hebrew", tmp_path, "--rows", "30"]
    subprocess.run(command, cwd=ROOT, check=True)
    made, committed = said_of(tmp_path), said_of(TABLES / "hebrew")
    for words in (LANGUAGES["hebrew"].forms, "MIT or Apache-2.0", "CC BY-SA 4.0"):
        assert words in made
    verbs = lab.load_verbs(tmp_path / "train.txt")
    assert len(verbs) == 30
    if re.search(r"ablaut [\d.]+, wordfreq [\d.]+", made)[0] in committed:
        assert set(verbs) < set(lab.load_verbs(TABLES / "hebrew" / "train.txt"))


def said_of(folder):
    """Returns the text of a table's readme.txt, in one line."""
    return " ".join((folder / "readme.txt").read_text("utf-8").split())


# ---- Forms and verbs ----
@pytest.mark.parametrize("name", LANGUAGES)
def test_forms_are_right(name):
    pytest.importorskip("ablaut", reason="no package ablaut")
    verb = tuple(FORMS[name].split())
    table = make_table.conjugate(LEMMAS.get(name, verb[0]), LANGUAGES[name])
    assert make_table.verb_of(table, LANGUAGES[name]) == verb


def test_verb_of_two_words_is_left_out():
    pytest.importorskip("ablaut", reason="no package ablaut")
    table = make_table.conjugate("aufstehen", LANGUAGES["german"])
    assert make_table.verb_of(table, LANGUAGES["german"]) is None


def test_german_lemmas_have_sharp_s_and_no_comparatives():
    words = listed("heissen grüssen küssen besseren bessern scheren")
    found = " ".join(make_table.german_lemmas(words))
    assert found == "heißen grüßen küssen bessern scheren"


def test_russian_lemmas_have_their_yo():
    words = listed("дергать дёргать знать стол")
    assert set(make_table.russian_lemmas(words)) == {"дёргать", "знать"}


def test_swahili_lemmas_have_no_object():
    words = listed("kupenda kumpenda kuunda kunda anapenda")
    assert set(make_table.swahili_lemmas(words)) == {"penda", "unda", "nda"}


# ---- What is refused ----
def test_table_is_not_overwritten(tmp_path):
    (tmp_path / "train.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"train\.txt exists"):
        make_table.write("german", tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
