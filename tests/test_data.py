"""The two files, their loaders, and words as tensors."""

import re
from collections import Counter

import make_train
import pytest
from conftest import ROOT, lab, no_epoch, small
from generated import attempt, cases, is_word, word
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
LETTERS = "expected 1 to 32 letters a-z"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"walk walks walking\n", "line 2: found 3 words; expected 4"),
        (b"walk  walks walking walked\n", f"line 2: found ''; {LETTERS}"),
        (b"a b c caf\xe9\n", rf"line 2: found 'caf\\xe9'; {LETTERS}"),
        (b"a" * 99, f"line 2: found '{'a' * 59}; {LETTERS}"),
    ],
)
def test_a_bad_row_is_named_with_what_was_found_and_expected(tmp_path, content, message):
    path = write(tmp_path, ROW + content)
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    assert str(caught.value) == f"{path}, {message}"


ODD = [b"\0", b"\t", b"\v", b"\f", b"\x1c", b"\xff", b"\xc3", b"A", b"1", b"`", b"{"]
ODD += [letter.encode() for letter in ("é", "א", "e\u0301", "\x85", "\u2028", "\ufeff")]
LINE_ENDS = [b"\n", b"\r\n", b"\r"]
GOOD = [b"", b" ", b"  ", b"\n\n", b"a", b"a" * 32, b"a b c d\n"]
chunk = st.sampled_from(ODD + LINE_ENDS + GOOD)
noise = st.binary() | st.lists(chunk, max_size=9).map(b"".join)


@st.composite
def tables(draw):
    """Draws a width, and a file of so many words a row, whole or damaged; or mere noise."""
    width = draw(st.sampled_from([2, 4]))
    if draw(st.integers(1, 7)) == 7:
        return width, draw(noise)
    row = st.lists(word, min_size=width, max_size=width)
    rows = draw(st.lists(row, max_size=2)) * draw(st.sampled_from([1, 2, 5]))
    lines = [" ".join(row).encode() for row in rows]
    lines += [b""] * draw(st.integers(0, 2))  # two leave a line without words at the end
    content = draw(st.sampled_from(LINE_ENDS)).join(lines)
    for damage in draw(st.lists(chunk, max_size=2)):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + damage + content[place + 1 :]
    return width, content


def specified_rows(content, width):
    """Returns the rows of a file, and the number of its first bad line, if any."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if len(lines) > 1 and lines[-1] == b"":
        lines = lines[:-1]
    rows = [tuple(line.decode("latin-1").split(" ")) for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != width or not all(is_word(part) for part in row):
            return rows, number
    return rows, None


@pytest.mark.slow
@cases(1500, table=tables())
def test_files_are_read_where_the_specification_has_them_and_refused_elsewhere(tmp_path, table):
    width, content = table
    path = write(tmp_path, content)
    load = lab.load_verbs if width == 4 else lab.load_test_pairs
    rows, bad_line = specified_rows(content, width)
    found = attempt(load, path)
    if bad_line is not None:
        assert str(found).startswith(f"{path}, line {bad_line}: found ")
    elif width == 4:
        assert found == rows
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


@pytest.mark.parametrize("left", ["train.txt", "test.txt"])
def test_a_data_folder_that_lacks_a_file_is_refused_before_any_epoch(tmp_path, monkeypatch, left):
    write(tmp_path, ROW if left == "train.txt" else 10 * PAIR, left)
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no file"):
        lab.train(small(), progress=False, on_epoch=no_epoch)


# ---- Tensors ----
def test_words_become_tensors_and_come_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, lengths = lab.words_to_tensor(words)
    assert lab.tensor_to_words(letters) == words
    assert lengths.tolist() == [len(word) + 1 for word in words]
    letters, lengths = lab.words_to_tensor(["az", "b"])
    assert letters.tolist() == [[1, 26, lab.EOS], [2, lab.EOS, lab.EOS]]
    assert lengths.tolist() == [3, 2]
