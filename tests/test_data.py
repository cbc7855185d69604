"""The two files, their loaders, and words as tensors."""

import re
import string
import unicodedata
from collections import Counter

import make_train
import numpy as np
import pytest
from conftest import ENGLISH, ROOT, lab, no_epoch, small
from generated import attempt, cases, compose, is_word, word
from hypothesis import strategies as st

WALK = ("walk", "walks", "walking", "walked")
ROW = b"walk walks walking walked\n"
PAIR = b"walk walked\n"


def write(folder, content, name="train.txt"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


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


def test_readme_txt_says_what_is_in_the_files(verbs):
    text = (ROOT / "readme.txt").read_text()
    for fact in (f"{len(verbs):,}", f"{len(lab.load_test_pairs())} rows", *lab.TENSES):
        assert fact in text
    tenses = ("sp", "tp", "pg", "p")
    order = [f"{tenses[source]} -> {tenses[target]}" for source, target in lab.TEST_TENSES]
    assert re.findall(r"^ +\d+ +(\S+ -> \S+) ", text, re.M) == order


# ---- Loading ----
LETTERS = "expected 1 to 32 letters in lower case"
FOUND = {  # in a row of four: what is found, in what column or word
    "a b c x\u0301x": r"column 8: found '\u0301' (COMBINING ACUTE ACCENT)",
    "a b c d1": "column 8: found '1' (DIGIT ONE)",
    "a b C d": "column 5: found 'C' (LATIN CAPITAL LETTER C)",
    "a b\u00a0c d": r"column 4: found '\xa0' (NO-BREAK SPACE)",
    "a b\tc d": r"column 4: found '\t' (no name)",
    "a b c \u200fש": r"column 7: found '\u200f' (RIGHT-TO-LEFT MARK)",
    "a b c \ufeffd": r"column 7: found '\ufeff' (ZERO WIDTH NO-BREAK SPACE)",
    "a b c \u0958": r"column 8: found '\u093c' (DEVANAGARI SIGN NUKTA)",  # composed, it is two
}


@pytest.mark.parametrize("row", FOUND)
def test_a_character_that_is_no_letter_is_named_with_its_column(tmp_path, row):
    path = write(tmp_path, ROW + row.encode())
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    found = f"{path}, line 2, {FOUND[row]} in {compose(row)!r}; "
    assert str(caught.value) == found + "expected letters in lower case"


BAD_TABLES = {
    ROW + b"walk walks walking": ", line 2: found 3 words; expected 4",
    ROW + b"walk  walks walking walked": f", line 2: found ''; {LETTERS}",
    ROW + b"a" * 200: f", line 2: found '{'a' * 59}; {LETTERS}",
    ROW + b"a b c d-e": f", line 2: found '-' (HYPHEN-MINUS) in 'd-e'; {LETTERS}",
    ROW + b"- - - -": ", line 2: found no word; expected one form at least",
    ROW + b"caf\xe9": r", line 2, column 4: found '\\' (REVERSE SOLIDUS) in 'caf\\xe9'; ",
    b"": ", line 1: found 1 form a verb; expected 2 or more",
    b"walk\ngo": ", line 1: found 1 form a verb; expected 2 or more",
    b"walk walks\ngo": ", line 2: found 1 words; expected 2",
    b"# a, b, c\nwalk walks": ", line 2: found 2 words; expected 3",
    b"# a\nwalk": ", line 1: found 1 form a verb; expected 2 or more",
    b"# a, b\n": ": found no row; expected a verb a row",
    b"# a, b,a\nx y z": ", line 1: found '# a, b,a'; expected different names, with commas",
    b"#a,,b\nx y z": ", line 1: found '#a,,b'; expected different names, with commas",
}


@pytest.mark.parametrize("content", BAD_TABLES)
def test_a_bad_table_is_refused_with_what_was_found_and_expected(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as caught:
        lab.load_tenses(path)
    assert str(caught.value).startswith(f"{path}{BAD_TABLES[content]}")


def test_a_table_decides_letters_and_forms_whatever_the_script(tmp_path):
    text = "\ufeff# present,  simple past\ngröße şaş\nдуй 𐐨\nשמר -\n"
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    path = write(tmp_path, decomposed.encode())
    rows = [("größe", "şaş"), ("дуй", "𐐨"), ("שמר", "-")]
    assert lab.read_table(path) == (("present", "simple past"), rows)
    alphabet = sorted("agröşeßдуйשמר𐐨")
    assert lab.vocabulary_of(rows) == ("".join(alphabet), 2)


def test_forms_without_names_are_the_courses_four_or_numbered(tmp_path):
    assert lab.load_tenses(write(tmp_path, ROW)) == lab.TENSES
    assert lab.load_tenses(write(tmp_path, b"a b - d e")) == tuple(f"form {n}" for n in range(1, 6))


ODD = [b"\0", b"\t", b"\v", b"\f", b"\x1c", b"\xff", b"\xc3", b"A", b"1", b"`", b"{", b"#"]
ODD += [letter.encode() for letter in ("é", "א", "e\u0301", "\x85", "\u2028", "\ufeff", "\u0958")]
LINE_ENDS = [b"\n", b"\r\n", b"\r"]
GOOD = [b"", b" ", b"  ", b"\n\n", b"a", b"a" * 32, b"a b c d\n", b" - "]
HEADERS = [b"", b"", b"\xef\xbb\xbf", b"# a, b\n", b"#a b,c,d,e\n", b"# a,a\n"]
chunk = st.sampled_from(ODD + LINE_ENDS + GOOD)
noise = st.binary() | st.lists(chunk, max_size=9).map(b"".join)


@st.composite
def tables(draw, widths=(2, 3, 4), headers=HEADERS):
    """Draws a file with as many words in each row, whole or damaged; or mere noise."""
    width = draw(st.sampled_from(widths))
    if draw(st.integers(1, 7)) == 7:
        return draw(noise)
    row = st.lists(word, min_size=width, max_size=width)
    rows = draw(st.lists(row, max_size=2)) * draw(st.sampled_from([1, 2, 5]))
    lines = [" ".join(row).encode() for row in rows]
    lines += [b""] * draw(st.integers(0, 2))  # two leave a line without words at the end
    content = draw(st.sampled_from(headers))
    content += draw(st.sampled_from(LINE_ENDS)).join(lines)
    for damage in draw(st.lists(chunk, max_size=2)):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + damage + content[place + 1 :]
    return content


def specified_lines(content):
    """Returns the words of each line of a file."""
    text = compose(content.decode("utf-8", "backslashreplace")).removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > 1 and lines[-1] == "":
        lines = lines[:-1]
    return [tuple(line.split(" ")) for line in lines]


def bad_line(lines, width, holes, first=1):
    """Returns the number of the first line that is no row of so many words, if any."""
    for number, row in enumerate(lines, first):
        known = [part for part in row if not (holes and part == "-")]
        if len(row) != width or not known or not all(is_word(part) for part in known):
            return number
    return None


def check_named(error, path, line):
    place = rf"{re.escape(str(path))}, line {line}(, column \d+)?: found "
    assert re.match(place, str(error))


@pytest.mark.slow
@cases(1500, content=tables())
def test_tables_are_read_where_the_specification_has_them_and_refused_elsewhere(tmp_path, content):
    path = write(tmp_path, content)
    found = attempt(lab.load_verbs, path)
    rows = specified_lines(content)
    width = len(rows[0])
    begins = 1
    if rows[0][0].startswith("#"):
        names = " ".join(rows.pop(0))[1:].split(",")
        names = [name.strip() for name in names]
        width = len(names) if "" not in names and len(set(names)) == len(names) else 0
        begins = 2
    bad = bad_line(rows, width, holes=True, first=begins)
    if width < 2 and (width == 0 or rows):
        check_named(found, path, 1)
    elif not rows:
        assert str(found).startswith(f"{path}: found no row")
    elif bad is not None:
        check_named(found, path, bad)
    else:
        assert found == rows


@pytest.mark.slow
@cases(1000, content=tables(widths=[2], headers=HEADERS[:3]))
def test_test_pairs_are_read_where_the_specification_has_them(tmp_path, content):
    path = write(tmp_path, content, "test.txt")
    found = attempt(lab.load_test_pairs, path)
    rows = specified_lines(content)
    bad = bad_line(rows, 2, holes=False)
    if bad is not None:
        check_named(found, path, bad)
    elif len(rows) != 10:
        assert str(found) == f"{path}: found {len(rows)} rows; expected 10"
    else:
        assert found == [(*row, *lab.TEST_TENSES[n]) for n, row in enumerate(rows)]


@cases(200, name=st.text(st.characters(exclude_characters="/\\"), min_size=1, max_size=400))
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    missing = attempt(lab.load_verbs, tmp_path / "none" / name, errors=FileNotFoundError)
    assert f"no file {name} in {tmp_path}" in str(missing)


def test_repeats_are_kept_by_the_loader_and_dropped_where_each_verb_counts_once(tmp_path):
    verbs = lab.load_verbs(write(tmp_path, 2 * ROW + b"a b c d\n"))
    assert verbs == [WALK, WALK, ("a", "b", "c", "d")]
    assert lab.distinct_verbs(verbs) == [WALK, ("a", "b", "c", "d")]
    assert repr(lab.check_verbs(np.array([["a", "-"]]))) == "[('a', '-')]"
    with pytest.raises(ValueError, match=r"verb 1: found array.*; expected 1 to 32 letters"):
        lab.check_verbs([["a", np.zeros(2)]])


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


def test_a_relative_data_folder_is_here_or_beside_the_module(tmp_path, monkeypatch):
    write(tmp_path / "module" / "mine", ROW)
    write(tmp_path / "work" / "mine", 3 * ROW)
    monkeypatch.setattr(lab, "HERE", tmp_path / "module")
    monkeypatch.setenv("LAB5_DATA", "mine")
    for folder, count in ((tmp_path, 1), (tmp_path / "work", 3)):
        monkeypatch.chdir(folder)
        assert len(lab.load_verbs()) == count


def test_a_data_folder_that_lacks_its_table_is_refused_before_any_epoch(tmp_path, monkeypatch):
    write(tmp_path, 10 * PAIR, "test.txt")
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no file"):
        lab.train(small(), progress=False, on_epoch=no_epoch)


def test_test_pairs_with_a_letter_of_no_verb_are_refused_before_any_epoch(tmp_path, monkeypatch):
    write(tmp_path, ROW)
    write(tmp_path, 9 * PAIR + "wålk walked".encode(), "test.txt")
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    found = r"test pairs: found '\xe5' (LATIN SMALL LETTER A WITH RING ABOVE) in 'wålk'"
    with pytest.raises(ValueError, match=re.escape(f"{found}; expected letters adegiklnsw")):
        lab.train(small(), progress=False, on_epoch=no_epoch)


# ---- Test pairs ----
NAMES = b"# base, third person, past, past tense\n"
TENSES_OF = {
    "base third person": (0, 1),
    "third person past tense": (1, 3),
    "past tense past": (3, 2),
    "1 4": (0, 3),
    "3 3": (2, 2),
}
NO_TENSES = ["base 2", "past", "base person", "0 1", "1 5", "base  past", "1 2 3", ""]


def test_test_pairs_name_or_number_their_tenses(tmp_path):
    write(tmp_path, NAMES + ROW)
    lines = [f"go gone {tenses}" for tenses in TENSES_OF]
    path = write(tmp_path, "\n".join(lines).encode(), "test.txt")
    expected = [("go", "gone", *tenses) for tenses in TENSES_OF.values()]
    assert lab.load_test_pairs(path) == expected
    for tenses in NO_TENSES:
        write(tmp_path, f"go gone 1 2\ngo gone {tenses}".encode(), "test.txt")
        found = f"{path}, line 2: found tenses '{tenses}'; expected two of base, third person, past"
        with pytest.raises(ValueError, match=re.escape(found)):
            lab.load_test_pairs(path)
    write(tmp_path, b"# 2, 1\nwalk walked")
    write(tmp_path, b"go gone 1 2", "test.txt")
    with pytest.raises(ValueError, match="found tenses '1 2'"):
        lab.load_test_pairs(path)
    write(tmp_path, b"go gone", "test.txt")
    with pytest.raises(ValueError, match="line 1: found 2 words; expected 2 and their tenses"):
        lab.load_test_pairs(path)


CHOSEN = {  # source and target of the ten, by number of forms
    2: "01 10 01 10 01 10 01 10 01 10",
    3: "01 02 10 12 20 21 01 02 10 12",
    4: "01 02 03 10 12 20 21 23 30 31",
}


@pytest.mark.parametrize("forms", CHOSEN)
def test_without_test_pairs_ten_are_chosen_from_all_over_the_table(tmp_path, monkeypatch, forms):
    rows = [[a + b for b in "abcd"[:forms]] for a in string.ascii_lowercase[:25]]
    rows[5][0] = "-"  # the third pair has it, and takes the row behind
    write(tmp_path, "\n".join(" ".join(row) for row in rows).encode())
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    numbers = [0, 2, 6, 7, 10, 12, 15, 17, 20, 22]
    expected = []
    for row, (source, target) in zip(numbers, CHOSEN[forms].split(), strict=True):
        tenses = int(source), int(target)
        expected.append((*(rows[row][tense] for tense in tenses), *tenses))
    assert lab.load_test_pairs() == expected
    with pytest.raises(ValueError, match="found no two forms of a verb"):
        lab.choose_pairs([("a", "-"), ("-", "b")])


# ---- Tensors ----
def test_words_become_tensors_and_come_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, lengths = ENGLISH.to_tensor(words)
    assert ENGLISH.to_words(letters) == words
    assert lengths.tolist() == [len(word) + 1 for word in words]
    letters, lengths = ENGLISH.to_tensor(["az", "b"])
    assert letters.tolist() == [[1, 26, lab.EOS], [2, lab.EOS, lab.EOS]]
    assert lengths.tolist() == [3, 2]


def test_an_unknown_letter_is_named_briefly_however_many_are_known():
    letters = "".join(map(chr, range(0x4E00, 0x5800)))
    with pytest.raises(ValueError, match=r"^here: found 'q' \(LATIN SMALL LETTER Q\).{,90}$"):
        lab.Vocabulary(letters, 2).check([letters[0], "q"], "here")
