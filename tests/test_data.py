"""The two files, their loaders, verbs and pairs, and words as tensors."""

import pytest

from conftest import ENGLISH, ROOT, lab
from experiments import make_train

WALK = ("walk", "walks", "walking", "walked")
ROW = "walk walks walking walked\n"
PAIR = "walk walked\n"


def write(folder, text, name="train.txt"):
    (folder / name).write_bytes(text.encode())
    return folder / name


# ---- The files ----
def test_train_file_is_what_the_script_makes(verbs):
    ranked = sorted(make_train.agreed_verbs(), key=make_train.rank)
    assert make_train.first_rows(ranked) == verbs
    lines = [" ".join(verb) + "\n" for verb in verbs]
    assert (ROOT / "train.txt").read_text() == "".join(lines)


# ---- What is refused: file, line, what was found and expected ----
BAD_LINES = {
    "a,b,c,d": "found 1 words; expected 4, one space apart",
    "a  b c d": "found 5 words; expected 4, one space apart",
    "": "found 1 words; expected 4, one space apart",
    "a b C d": "found 'C'; expected 1 to 32 letters in lower case",
    f"a b c {33 * 'd'}": f"found {33 * 'd'!r}; expected 1 to 32 letters in lower case",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_refused_with_what_was_found_and_expected(tmp_path, line):
    path = write(tmp_path, ROW + line + "\n" + ROW)
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    assert str(caught.value) == f"{path}, line 2 ({line!r}): {BAD_LINES[line]}"


def test_test_pairs_are_ten_rows_of_two_words(tmp_path):
    bad = {9 * PAIR: "9 rows; expected 10", PAIR + "walk\n": "1 words; expected 2"}
    for content, problem in bad.items():
        with pytest.raises(ValueError, match=f"test.txt.*: found {problem}"):
            lab.load_test_pairs(write(tmp_path, content, "test.txt"))


BAD_VERBS = {
    "verbs: found none; expected at least one": [],
    "verb 2: found 1 forms; expected 2": [("a", "b"), ["a"]],
    "verb 2: found 'aB'; expected 1 to 32 letters": [("a", "b"), ("a", "aB")],
    "verb 1: found 'walk'; expected a list of words": ["walk", "walked"],
}


@pytest.mark.parametrize("message", BAD_VERBS)
def test_bad_verbs_are_refused_with_their_number(message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        lab.check_verbs(BAD_VERBS[message])


# ---- What is read ----
def test_a_table_decides_letters_and_forms(tmp_path):
    verbs = lab.load_verbs(write(tmp_path, "\ufeffgröße ĳs\r\ns'asseoir e-mail\r\nкी 𐐨"))
    assert verbs == [("größe", "ĳs"), ("s'asseoir", "e-mail"), ("кी", "𐐨")]
    letters = set("größeĳss'asseoire-mailкी𐐨")
    assert lab.vocabulary_of(verbs) == ("".join(sorted(letters)), 2)


def test_repeats_are_kept_by_the_loader_and_dropped_where_each_verb_counts_once(tmp_path):
    verbs = lab.load_verbs(write(tmp_path, 2 * ROW + "a b c d\n"))
    assert verbs == [WALK, WALK, ("a", "b", "c", "d")]
    assert lab.distinct_verbs(verbs) == [WALK, ("a", "b", "c", "d")]


def test_the_data_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    write(tmp_path, ROW)
    write(tmp_path, 10 * PAIR, "test.txt")
    monkeypatch.setattr(lab, "HERE", tmp_path.parent)  # as if the module was there
    for folder in (tmp_path.name, str(tmp_path)):
        monkeypatch.setenv("LAB5_DATA", folder)
        assert lab.load_verbs() == [WALK]
        assert lab.load_test_pairs()[0] == ("walk", "walked", lab.PRESENT, lab.PAST)


# ---- Pairs ----
def own_pairs(verbs):
    """Returns conversions of the first ten verbs, form by form."""
    pairs = []
    for n, verb in enumerate(verbs[:10]):
        source, target = n % len(verb), (n + 1) % len(verb)
        pairs.append((verb[source], verb[target], source, target))
    return pairs


def test_the_table_is_asked_the_ten_pairs_of_its_test_file(verbs, tmp_path, monkeypatch):
    assert lab.pairs_of(verbs) == lab.load_test_pairs()
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    assert lab.pairs_of(verbs) == own_pairs(verbs), "without the file, its own"


def test_a_part_of_the_table_and_a_table_of_ones_own_are_asked_ten_pairs_of_their_own(verbs):
    three_forms = [verb[:3] for verb in verbs]
    other_tenses = [verb[::-1] for verb in verbs]
    for table in (verbs[::10], verbs[1:], three_forms, other_tenses):
        assert lab.pairs_of(table) == own_pairs(table)


# ---- Tensors ----
def test_words_become_tensors_and_come_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, _ = ENGLISH.to_tensor(words)
    assert ENGLISH.to_words(letters) == words
    letters, lengths = ENGLISH.to_tensor(["az", "b"])
    assert letters.tolist() == [[1, 26, 0], [2, 0, 0]], "padded with EOS"
    assert lengths.tolist() == [3, 2]
