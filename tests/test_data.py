"""The two files and their loaders."""

import re
from collections import Counter

import make_train
import pytest
from conftest import ROOT, lab

GOOD = "walk walks walking walked\n"


def write(folder, content, name="train.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_train_file_is_what_the_script_makes(verbs):
    assert make_train.choose() == verbs


def test_train_file_is_as_specified(verbs):
    text = (ROOT / "train.txt").read_text()
    assert len(verbs) == len(set(verbs)) == 1227
    assert re.fullmatch(r"([a-z]+( [a-z]+){3}\n)+", text)
    assert verbs == sorted(verbs)
    forms = Counter((tense, form) for verb in verbs for tense, form in enumerate(verb))
    assert max(forms.values()) == 1, "an ambiguous form"


def test_test_pairs_are_forms_of_training_verbs(verbs):
    pairs = lab.load_test_pairs()
    asked = [f"{p.source}→{p.target}" for p in pairs]
    assert (
        asked
        == (
            "abandon→abandoned abet→abetting begin→begins expend→expends sent→sends split→splitting "
            "flared→flare functioning→function functioning→functioned healing→heals"
        ).split()
    )
    for p in pairs:
        assert any(verb[p.source_tense] == p.source and verb[p.target_tense] == p.target for verb in verbs)


def test_readme_txt_counts(verbs):
    text = (ROOT / "readme.txt").read_text()
    for number in (f"{len(verbs):,}", f"{len(lab.load_test_pairs())} rows", *lab.TENSES):
        assert number in text
    order = re.findall(r"^ +\d+ +(\S+ -> \S+) ", text, re.M)
    short = ("sp", "tp", "pg", "p")
    assert order == [f"{short[s]} -> {short[t]}" for s, t in lab.TEST_TENSES]


@pytest.mark.parametrize(
    "content, line, found",
    [
        ("", "", "empty"),
        (GOOD + "walk walks walking\n", "line 2", "found 3 words"),
        (GOOD + "a b c d e\n", "line 2", "found 5 words"),
        ("\n" + GOOD, "line 1", "found 0 words"),
        ("   \n", "line 1", "found 0 words"),
        ("Walk walks walking walked\n", "line 1", "'W' (U+0057)"),
        ("w4lk walks walking walked\n", "line 1", "'4'"),
        ("wálk walks walking walked\n", "line 1", "'á' (U+00E1)"),
        ("walk\twalks walking walked\n", "line 1", r"'\t' (U+0009)"),
        ("wa\0lk walks walking walked\n", "line 1", r"'\x00' (U+0000)"),
        ("\ufeff" + GOOD, "line 1", r"(U+FEFF)"),
        (b"caf\xe9 walks walking walked\n", "line 1", "0xe9, which is not UTF-8"),
        ("walk  walks walking walked\n", "line 1", "a space too many"),
        ("walk walks walking walked \n", "line 1", "a space too many"),
        ("a" * 40 + " b c d\n", "line 1", "a word of 40 letters"),
    ],
)
def test_bad_rows_are_named(tmp_path, content, line, found):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    message = str(caught.value)
    assert str(path) in message and line in message and found in message and "expected" in message


@pytest.mark.parametrize("content", [GOOD * 2, GOOD.replace("\n", "\r\n") * 2, (GOOD * 2).rstrip("\n")])
def test_line_ends_and_repeats_are_fine(tmp_path, content):
    assert lab.load_verbs(write(tmp_path, content)) == [("walk", "walks", "walking", "walked")] * 2


def test_a_test_file_of_another_length_is_refused(tmp_path):
    path = write(tmp_path, "walk walked\n" * 9, "test.txt")
    with pytest.raises(ValueError, match="found 9 rows; expected 10"):
        lab.load_test_pairs(path)


def test_missing_file_names_folder_and_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB5_DATA", str(tmp_path / "elsewhere"))
    for load, name in ((lab.load_verbs, "train.txt"), (lab.load_test_pairs, "test.txt")):
        with pytest.raises(FileNotFoundError) as caught:
            load()
        assert all(part in str(caught.value) for part in (name, str(tmp_path / "elsewhere"), "LAB5_DATA"))


def test_data_folder(tmp_path, monkeypatch):
    folder = tmp_path / "my verbs"
    folder.mkdir()
    write(folder, GOOD)
    write(folder, "walk walked\n" * 10, "test.txt")
    monkeypatch.setenv("LAB5_DATA", str(folder))
    assert lab.load_verbs() == [("walk", "walks", "walking", "walked")]
    assert lab.load_test_pairs()[0] == ("walk", "walked", 0, 3)


def test_data_folder_is_found_from_the_notebooks_too(tmp_path, monkeypatch):
    """A relative name means a folder below the working directory or, if there is none, beside the module."""
    for place in ("beside", "below/notebooks"):
        (tmp_path / place / "mine").mkdir(parents=True)
    write(tmp_path / "beside" / "mine", GOOD)
    monkeypatch.setattr(lab, "HERE", tmp_path / "beside")
    monkeypatch.setenv("LAB5_DATA", "mine")
    monkeypatch.chdir(tmp_path / "below")
    assert lab.load_verbs() == [("walk", "walks", "walking", "walked")]
    monkeypatch.chdir(tmp_path / "below" / "notebooks")
    write(tmp_path / "below" / "notebooks" / "mine", GOOD * 3)
    assert len(lab.load_verbs()) == 3


def test_packages_that_are_missing_or_too_old_are_named_in_a_sentence(tmp_path, monkeypatch):
    lab.check_packages(ROOT / "requirements.txt")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("torch>=99.1\nno-such-package>=2\nnumpy>=1.26\n\n# notebooks\nnot-needed-here>=5\n")
    with pytest.raises(ImportError) as caught:
        lab.check_packages(requirements)
    said = str(caught.value)
    assert said.startswith("lab5_utils needs torch 99.1 or newer (this is 2.")
    assert ", no-such-package 2 or newer (not installed). Install it with" in said and str(tmp_path) in said
    assert "numpy" not in said and "not-needed-here" not in said
    monkeypatch.setattr("sys.version_info", (3, 10, 4))
    with pytest.raises(ImportError, match="needs Python 3.11 or newer"):
        lab.check_packages(ROOT / "requirements.txt")


def test_words_to_numbers_and_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, lengths = lab.words_to_tensor(words)
    assert lab.tensor_to_words(letters) == words
    assert lengths.tolist() == [len(word) + 1 for word in words]
    assert letters.min() == lab.EOS and letters.max() < lab.SOS
    assert lab.words_to_tensor(["az"])[0].tolist() == [[1, 26, lab.EOS]]
