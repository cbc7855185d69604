"""The tables of other languages: what make_table.py writes, and what it refuses."""

import re
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import permutations

import make_table
import pytest
from make_table import LANGUAGES

ROWS = 30
GERMAN = "abcdefghijklmnopqrstuvwxyzäöüß"
HEBREW = "אבגדהוזחטיךכלםמןנסעףפץצקרשת"
TABLES = {"german": GERMAN, "hebrew": HEBREW}  # two scripts
FORMS = {
    "german": {
        "machen": ("machen", "macht", "machte", "gemacht"),
        "schließen": ("schließen", "schließt", "schloss", "geschlossen"),
    },
    "spanish": {"ir": ("ir", "va", "fue", "yendo")},
    "italian": {"prendere": ("prendere", "prende", "prese", "preso")},
    "finnish": {"tehdä": ("tehdä", "tekee", "teki", "tehnyt")},
    "turkish": {"yemek": ("yemek", "yiyor", "yedi", "yiyecek")},
    "russian": {"идти": ("идти", "идёт", "шёл", "иди")},
    "swahili": {"penda": ("kupenda", "anapenda", "alipenda", "hapendi")},
    "hebrew": {"כתב": ("לכתוב", "כתב", "כותב", "יכתוב")},
}
VERBS = [("go", "goes", "went"), ("put", "puts", "put"), ("see", "sees", "saw")]


def listed(text):
    return dict.fromkeys(text.split(), 3.0)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module", params=TABLES)
def made(request, tmp_path_factory):
    """Returns a language and the folder of its small table."""
    pytest.importorskip("ablaut", reason="no package ablaut")
    folder = tmp_path_factory.mktemp("tables") / request.param
    make_table.write(request.param, folder, ROWS)
    return request.param, folder


# ---- The files ----
def test_table_has_a_header_and_rows_of_letters(made):
    language, folder = made
    header, *lines, end = (folder / "train.txt").read_text("utf-8").split("\n")
    assert re.fullmatch("# [a-z]+(, [a-z]+){3}", header)
    word = f"[{TABLES[language]}]{{1,32}}"
    assert all(re.fullmatch(f"{word}( {word}){{3}}", line) for line in lines)
    assert lines == sorted(set(lines))
    assert (len(lines), end) == (ROWS, "")


def test_table_is_composed_and_no_form_is_of_two_verbs(made):
    text = (made[1] / "train.txt").read_text("utf-8")
    assert unicodedata.is_normalized("NFC", text)
    verbs = [line.split(" ") for line in text.splitlines()[1:]]
    for forms in zip(*verbs, strict=True):
        assert max(Counter(forms).values()) == 1


def test_pairs_are_forms_of_one_verb(made):
    lines = (made[1] / "train.txt").read_text("utf-8").splitlines()
    verbs = [line.split(" ") for line in lines[1:]]
    pairs = (made[1] / "test.txt").read_text("utf-8").splitlines()
    columns = set()
    for pair in pairs:
        source, target, m, n = pair.split(" ")
        cells = [(verb[int(m) - 1], verb[int(n) - 1]) for verb in verbs]
        assert (source, target) in cells
        columns.add((m, n))
    assert len(pairs) == len(columns) == 10


def test_readme_names_the_forms_the_tools_and_their_licences(made):
    text = " ".join((made[1] / "readme.txt").read_text("utf-8").split())
    assert ", ".join(LANGUAGES[made[0]].forms) in text
    assert re.search(r"ablaut [\d.]+, wordfreq [\d.]+", text)
    assert "MIT or Apache-2.0" in text
    assert "CC BY-SA 4.0" in text


def test_command_makes_the_same_table(made, tmp_path):
    language, folder = made
    command = [sys.executable, make_table.__file__, language, tmp_path, "--rows", str(ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert contents(tmp_path) == contents(folder)
    assert f"{ROWS} verbs; asked for {ROWS}" in done.stdout


# ---- Forms and verbs ----
@pytest.mark.parametrize("name", LANGUAGES)
def test_forms_are_right(name):
    pytest.importorskip("ablaut", reason="no package ablaut")
    for lemma, verb in FORMS[name].items():
        table = make_table.conjugate(lemma, LANGUAGES[name])
        assert make_table.verb_of(table, LANGUAGES[name]) == verb


def test_verb_of_two_words_is_left_out():
    pytest.importorskip("ablaut", reason="no package ablaut")
    table = make_table.conjugate("aufstehen", LANGUAGES["german"])
    assert make_table.verb_of(table, LANGUAGES["german"]) is None


NO_FORMS = ["", "a", "Ab", "a b", "ab-c", "l'a", "e\u0301a", "a" * 33, None]


@pytest.mark.parametrize("form", NO_FORMS)
def test_other_than_a_plain_word_is_no_form(form):
    assert not make_table.is_word(form)


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


def test_pairs_go_round_three_columns_and_avoid_equal_forms():
    pairs = make_table.choose_pairs(VERBS)
    assert {pair[2:] for pair in pairs} == set(permutations((1, 2, 3), 2))
    assert all(source != target for source, target, *_ in pairs)


# ---- What is refused ----
def test_unknown_language_is_refused_and_the_known_are_listed(tmp_path, capsys):
    with pytest.raises(SystemExit):
        make_table.main(["klingon", str(tmp_path)])
    error = capsys.readouterr().err
    assert "klingon" in error
    assert all(name in error for name in LANGUAGES)


@pytest.mark.parametrize("rows", ["0", "-1", "many"])
def test_number_of_rows_is_checked(tmp_path, capsys, rows):
    with pytest.raises(SystemExit):
        make_table.main(["german", str(tmp_path), "--rows", rows])
    assert f"--rows: invalid count value: '{rows}'" in capsys.readouterr().err


def test_table_is_not_overwritten(tmp_path):
    (tmp_path / "train.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"train\.txt exists"):
        make_table.write("german", tmp_path)
    assert contents(tmp_path) == {"train.txt": b"mine"}


def test_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(make_table, "find_spec", lambda package: None)
    with pytest.raises(SystemExit, match="pip install gruut-lang-sw"):
        make_table.write("swahili", tmp_path / "new")
    assert not (tmp_path / "new").exists()
