"""The two files and their loaders."""

import re
from collections import Counter

import make_train
import pytest
import score_seeds
from conftest import ROOT, lab

WALK = ("walk", "walks", "walking", "walked")
GOOD = " ".join(WALK) + "\n"


def write(folder, content, name="train.txt"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def test_train_file_is_what_the_script_makes(verbs):
    assert make_train.choose() == verbs


def test_train_file_is_as_specified(verbs):
    assert len(verbs) == len(set(verbs)) == 1227
    assert re.fullmatch(r"([a-z]+( [a-z]+){3}\n)+", (ROOT / "train.txt").read_text()) and verbs == sorted(verbs)
    forms = Counter((tense, form) for verb in verbs for tense, form in enumerate(verb))
    assert max(forms.values()) == 1, "an ambiguous form"


def test_test_pairs_are_forms_of_training_verbs(verbs):
    pairs = lab.load_test_pairs()
    expected = "abandon→abandoned abet→abetting begin→begins expend→expends sent→sends split→splitting flared→flare"
    expected += " functioning→function functioning→functioned healing→heals"
    assert [f"{p.source}→{p.target}" for p in pairs] == expected.split()
    for p in pairs:
        assert any(verb[p.source_tense] == p.source and verb[p.target_tense] == p.target for verb in verbs)


def test_readme_txt_counts(verbs):
    text = (ROOT / "readme.txt").read_text()
    for number in (f"{len(verbs):,}", f"{len(lab.load_test_pairs())} rows", *lab.TENSES):
        assert number in text
    order, short = re.findall(r"^ +\d+ +(\S+ -> \S+) ", text, re.M), ("sp", "tp", "pg", "p")
    assert order == [f"{short[s]} -> {short[t]}" for s, t in lab.TEST_TENSES]


@pytest.mark.parametrize(
    "content, line, found",
    [
        ("", 1, "''"), (GOOD + "walk walks walking\n", 2, "3 words"), (GOOD + "a b c d e\n", 2, "5 words"),
        ("\n" + GOOD, 1, "''"), ("   \n", 1, "''"), (GOOD.title(), 1, "'Walk'"), (GOOD + "w4lk b c d\n", 2, "'w4lk'"),
        ("ä b c d\n", 1, "'ä'"), ("walk\tb c d e\n", 1, r"'walk\tb'"), (GOOD + "w\0 b c d\n", 2, r"'w\x00'"),
        ("\ufeff" + GOOD, 1, r"'\ufeffwalk'"), (b"a b c caf\xe9\n", 1, r"'caf\\xe9'"), ("a  b c d\n", 1, "''"),
        ("a b c d \n", 1, "''"), ("a" * 40 + " b c d\n", 1, f"'{'a' * 40}'"), ("a" * 99 + " b c d\n", 1, f"'{'a' * 59}"),
    ],
)  # fmt: skip
def test_bad_rows_are_named(tmp_path, content, line, found):
    expected = "4" if "words" in found else "1 to 32 letters a-z"
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path := write(tmp_path, content))
    assert str(caught.value) == f"{path}, line {line}: found {found}; expected {expected}"


@pytest.mark.parametrize("content", [GOOD * 2, GOOD.replace("\n", "\r\n") * 2, (GOOD * 2).rstrip("\n")])
def test_line_ends_and_repeats_are_fine(tmp_path, content):
    assert lab.load_verbs(write(tmp_path, content)) == [WALK] * 2


def test_a_test_file_of_another_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match="test.txt: found 9 rows; expected 10"):
        lab.load_test_pairs(write(tmp_path, "walk walked\n" * 9, "test.txt"))


def test_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB5_DATA", str(tmp_path / "my verbs"))
    for load, name in ((lab.load_verbs, "train.txt"), (lab.load_test_pairs, "test.txt")):
        with pytest.raises(FileNotFoundError) as caught:
            load()
        assert all(part in str(caught.value) for part in (name, str(tmp_path / "my verbs"), "LAB5_DATA"))
    write(tmp_path / "my verbs", GOOD), write(tmp_path / "my verbs", "walk walked\n" * 10, "test.txt")
    assert lab.load_verbs() == [WALK] and lab.load_test_pairs()[0] == ("walk", "walked", 0, 3)


def test_data_folder_is_found_from_the_notebooks_too(tmp_path, monkeypatch):
    """A relative name is a folder in the working directory or, if there is none, beside the module."""
    write(tmp_path / "module" / "mine", GOOD), write(tmp_path / "work" / "mine", GOOD * 3)
    monkeypatch.setattr(lab, "HERE", tmp_path / "module")
    monkeypatch.setenv("LAB5_DATA", "mine")
    for folder, count in ((tmp_path, 1), (tmp_path / "work", 3)):
        monkeypatch.chdir(folder)
        assert len(lab.load_verbs()) == count


def test_words_to_numbers_and_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, lengths = lab.words_to_tensor(words)
    assert lab.tensor_to_words(letters) == words and lengths.tolist() == [len(word) + 1 for word in words]
    assert letters.min() == lab.EOS and letters.max() < lab.SOS
    assert lab.words_to_tensor(["az", "b"])[0].tolist() == [[1, 26, lab.EOS], [2, lab.EOS, lab.EOS]]


@pytest.mark.parametrize("name", ["train.txt", "test.txt"])
def test_the_score_table_refuses_a_folder_without_its_files_before_any_training(tmp_path, monkeypatch, name):
    write(tmp_path, GOOD if name == "test.txt" else "walk walks\n", "train.txt" if name == "test.txt" else "test.txt")
    monkeypatch.setattr(lab, "sweep", None)
    monkeypatch.setenv("LAB5_DATA", "")
    with pytest.raises(SystemExit, match=f"no file {name} in {tmp_path}"):
        score_seeds.main([str(tmp_path)])
