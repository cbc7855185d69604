"""The two files, their loaders, pairs, and words as tensors."""

import re
from collections import Counter

import numpy as np
import pytest
from conftest import ENGLISH, ROOT, lab, lab5_train, no_epoch, small
from generated import attempt, compose, is_word

from experiments import make_train

WALK = ("walk", "walks", "walking", "walked")
ROW = b"walk walks walking walked\n"
PAIR = b"walk walked\n"


def write(folder, content, name="train.txt"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """Returns an empty folder that the loaders read from."""
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    return tmp_path


# ---- The files ----
def test_train_file_is_what_the_script_makes(verbs):
    assert make_train.choose() == verbs


def test_train_file_is_as_specified(verbs):
    assert len(verbs) == len(set(verbs)) == 1227
    assert verbs == sorted(verbs)
    content = (ROOT / "train.txt").read_text()
    assert re.fullmatch(r"([a-z]+( [a-z]+){3}\n)+", content)
    for forms in zip(*verbs, strict=True):
        assert max(Counter(forms).values()) == 1, "a form is of one verb"


PAIRS = """
abandon→abandoned abet→abetting begin→begins expend→expends sent→sends
split→splitting flared→flare functioning→function functioning→functioned healing→heals
"""


def test_test_pairs_are_forms_of_training_verbs(verbs):
    pairs = lab.load_test_pairs()
    assert [f"{pair.source}→{pair.target}" for pair in pairs] == PAIRS.split()
    for pair in pairs:
        (verb,) = [verb for verb in verbs if verb[pair.source_tense] == pair.source]
        assert verb[pair.target_tense] == pair.target


# ---- What is refused ----
SEPARATOR = "; expected words of lower-case letters with one space between them"
LINES = {  # a line that is no row of four words: what is found
    "a,b,c,d": ", column 2: found ',' (COMMA) in 'a,b,c,d'",
    "a; b; c; d": ", column 2: found ';' (SEMICOLON) in 'a; b; c; d'",
    "a b\tc d": r", column 4: found '\t' (TAB) in 'a b\tc d'",
    "a b\0 c d": r", column 4: found '\x00' (NUL) in 'a b\x00 c d'",
    "a b C d": ", column 5: found 'C' (LATIN CAPITAL LETTER C) in 'a b C d'",
    "a b c d1": ", column 8: found '1' (DIGIT ONE) in 'a b c d1'",
    "a b c -": ", column 7: found '-' (HYPHEN-MINUS) in 'a b c -'",
    "# a, b": ", column 1: found '#' (NUMBER SIGN) in '# a, b'",
    "a b\u00a0c d": r", column 4: found '\xa0' (NO-BREAK SPACE) in 'a b\xa0c d'",
    "": ": found an empty line",
    " a b c d": ": found a space too many",
    "a b c d ": ": found a space too many",
    "a  b c d": ": found a space too many",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_no_row_is_refused_with_its_fault(tmp_path, line):
    path = write(tmp_path, ROW + line.encode() + b"\n" + ROW)
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    assert str(caught.value) == f"{path}, line 2{LINES[line]}{SEPARATOR}"


TABLES = {
    b"": f", line 1: found an empty line{SEPARATOR}",
    b"walk\ngo": ", line 1: found 1 words; expected 2, one space apart",
    ROW + b"walk walks walking": ", line 2: found 3 words; expected 4, one space apart",
    ROW + b"a" * 33: f", line 2: found '{'a' * 33}'; expected 1 to 32 letters in lower case",
    ROW + b"caf\xe9": ", line 2: found the byte 0xe9; expected a text in UTF-8",
    ROW.decode().encode("utf-16"): ", line 1: found the byte 0xff; expected a text in UTF-8",
}


@pytest.mark.parametrize("content", TABLES)
def test_a_bad_table_is_refused_with_what_was_found_and_expected(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    assert str(caught.value) == f"{path}{TABLES[content]}"


TESTS = {
    b"walk walked \n" + 9 * PAIR: ", line 1: found a space too many",
    PAIR + b"walk\n": ", line 2: found 1 words; expected 2",
    9 * PAIR: ": found 9 rows; expected 10",
    11 * PAIR: ": found 11 rows; expected 10",
}


@pytest.mark.parametrize("content", TESTS)
def test_bad_test_pairs_are_refused(tmp_path, content):
    path = write(tmp_path, content, "test.txt")
    with pytest.raises(ValueError) as caught:
        lab.load_test_pairs(path)
    assert str(caught.value).startswith(f"{path}{TESTS[content]}")


ODD = ["\0", "\t", " ", "\n", "\r", "\v", "\x85", "\u2028", "\u0301", "\ufeff", "A", "1", "b"]


def is_table(rows):
    """Tells whether rows are words, two or more, as many in each."""
    widths = {len(row) for row in rows}
    return len(widths) == 1 and widths != {1} and all(map(is_word, sum(rows, ())))


@pytest.mark.parametrize("character", ODD, ids=ascii)
def test_a_character_anywhere_is_read_as_specified_or_refused_with_its_line(tmp_path, character):
    text = "ab ß\nа é\n"
    for place in range(len(text) + 1):
        path = write(tmp_path, (text[:place] + character + text[place:]).encode())
        found = attempt(lab.load_verbs, path)
        lines = compose(path.read_text("utf-8-sig")).removesuffix("\n").split("\n")
        expected = [tuple(line.split(" ")) for line in lines]
        if is_table(expected):
            assert found == expected
        else:
            named = rf"{re.escape(str(path))}, line \d(, column \d+)?: found "
            assert re.match(named, str(found))


# ---- What is read ----
def test_a_table_decides_letters_and_forms(tmp_path):
    text = "\ufeffgro\u0308ße s\u0327as\u0327\r\nдуй 𐐨"  # letters with marks, composed by NFC
    verbs = lab.load_verbs(write(tmp_path, text.encode()))
    assert verbs == [("größe", "şaş"), ("дуй", "𐐨")]
    assert lab.vocabulary_of(verbs) == ("".join(sorted("größeşaдуй𐐨")), 2)


SCRIPTS = {
    "Hindi": "चलना चलता चला\nकरना करता किया",
    "Tamil": "செல் செல்கிறான் சென்றான்\nபடி படிக்கிறான் படித்தான்",
    "Arabic, with its vowels": "كَتَبَ يَكْتُبُ\nدَرَسَ يَدْرُسُ",
}


@pytest.mark.parametrize("language", SCRIPTS)
def test_a_language_of_any_script_is_trained(tmp_path, language):
    verbs = lab.load_verbs(write(tmp_path, SCRIPTS[language].encode()))
    run = lab5_train.train(small(epochs=1), verbs, progress=False)
    converted = lab.convert_verbs(run.model, verbs)
    assert set("".join(converted.flat)) <= set(SCRIPTS[language])
    assert "bleu4" not in run.history, "there are no test pairs of it"


def test_repeats_are_kept_by_the_loader_and_dropped_where_each_verb_counts_once(tmp_path):
    verbs = lab.load_verbs(write(tmp_path, 2 * ROW + b"a b c d\n"))
    assert verbs == [WALK, WALK, ("a", "b", "c", "d")]
    assert lab.distinct_verbs(verbs) == [WALK, ("a", "b", "c", "d")]
    assert repr(lab.check_verbs(np.array([["a", "b"]]))) == "[('a', 'b')]", "words of Python"


def test_a_loaded_table_may_be_added_to_and_what_was_added_is_checked(verbs):
    mine = lab.load_verbs()
    mine.append(["vape", "vapes", "vaping", "vaped"])
    assert lab.distinct_verbs(mine)[-1] == ("vape", "vapes", "vaping", "vaped")
    mine.append(("Vape", "vapes", "vaping", "vaped"))
    with pytest.raises(ValueError, match="verb 1229: found 'V'"):
        lab5_train.train(small(), mine, on_epoch=no_epoch)


def test_the_data_folder_is_an_environment_variable(tmp_path, monkeypatch):
    folder = tmp_path / "my verbs"
    monkeypatch.setenv("LAB5_DATA", str(folder))
    with pytest.raises(FileNotFoundError) as caught:
        lab.load_verbs()
    message = f"no file train.txt in {folder} (LAB5_DATA sets another folder)"
    assert str(caught.value) == message
    write(folder, ROW)
    write(folder, 10 * PAIR, "test.txt")
    assert lab.load_verbs() == [WALK]
    assert lab.load_test_pairs()[0] == ("walk", "walked", lab.PRESENT, lab.PAST)


def test_a_file_that_was_named_is_missed_without_a_word_of_the_data_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        lab.load_verbs(tmp_path / "mine.txt")
    assert str(caught.value) == f"no file mine.txt in {tmp_path}"


def test_a_relative_data_folder_is_here_or_beside_the_module(tmp_path, monkeypatch):
    write(tmp_path / "module" / "mine", ROW)
    write(tmp_path / "work" / "mine", 3 * ROW)
    monkeypatch.setattr(lab, "HERE", tmp_path / "module")
    monkeypatch.setenv("LAB5_DATA", "mine")
    for folder, count in ((tmp_path, 1), (tmp_path / "work", 3)):
        monkeypatch.chdir(folder)
        assert len(lab.load_verbs()) == count


# ---- Test pairs ----
def test_known_pairs_are_those_whose_source_is_a_form_of_the_verbs(data_folder, verbs):
    assert lab.known_pairs(verbs) == [], "no test.txt here"
    write(data_folder, (ROOT / "test.txt").read_bytes(), "test.txt")
    assert lab.known_pairs(verbs) == lab.load_test_pairs()
    abandon = verbs[0]
    assert lab.known_pairs([abandon]) == [("abandon", "abandoned", lab.PRESENT, lab.PAST)]
    assert lab.known_pairs([WALK]) == []
    assert lab.known_pairs([abandon[:3]]) == [], "they are for tables of four forms"


THREE_FORMS = [("go", "goes", "went"), ("see", "sees", "saw")]


def test_pairs_of_ones_own_are_scored_whatever_the_number_of_forms():
    run = lab5_train.train(small(epochs=1), THREE_FORMS, pairs=[("goes", "went", 1, 2)])
    (output,) = run.model.convert(["goes"], 1, 2)
    assert run.history["bleu4"].tolist() == [lab.bleu4(output, "went")]


BAD_PAIRS = {
    ("go", "went", 0, 3): r"tense: found \[0, 3\]; expected 0..2",
    ("go", "Went", 0, 2): "pairs: found 'W' .* in 'Went'",
    ("walk", "went", 0, 2): "words: found 'k' .* in 'walk'; expected letters aegnostw",
}


@pytest.mark.parametrize("pair", BAD_PAIRS)
def test_bad_pairs_are_refused_before_any_epoch(pair):
    with pytest.raises(ValueError, match=BAD_PAIRS[pair]):
        lab5_train.train(small(), THREE_FORMS, pairs=[pair], progress=False, on_epoch=no_epoch)


# ---- Tensors ----
def test_words_become_tensors_and_come_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, lengths = ENGLISH.to_tensor(words)
    assert ENGLISH.to_words(letters) == words
    assert lengths.tolist() == [len(word) + 1 for word in words]
    letters, lengths = ENGLISH.to_tensor(["az", "b"])
    assert letters.tolist() == [[1, 26, lab.EOS], [2, lab.EOS, lab.EOS]]
    assert lengths.tolist() == [3, 2]
    letters, lengths = ENGLISH.to_tensor([])
    assert len(letters) == len(lengths) == 0


def test_an_unknown_letter_is_named_briefly_however_many_are_known():
    letters = "".join(map(chr, range(0x4E00, 0x5800)))
    with pytest.raises(ValueError, match=r"^words: found 'q' \(LATIN SMALL LETTER Q\).{,100}$"):
        lab.Vocabulary(letters, 2).to_tensor([letters[0], "q"])
