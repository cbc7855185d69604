"""The two files, their loaders, verbs and pairs, and words as tensors."""

import re

import pytest
from conftest import ENGLISH, ROOT, lab, lab5_runs, small

from experiments import make_train

WALK = ("walk", "walks", "walking", "walked")
ROW = "walk walks walking walked\n"
PAIR = "walk walked\n"


def write(folder, text, name="train.txt"):
    folder.mkdir(parents=True, exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).write_bytes(content)
    return folder / name


# ---- The files ----
def test_train_file_is_what_the_script_makes(verbs):
    ranked = sorted(make_train.agreed_verbs(), key=make_train.rank)
    assert make_train.first_rows(ranked) == verbs
    lines = [" ".join(verb) + "\n" for verb in verbs]
    assert (ROOT / "train.txt").read_text() == "".join(lines)


# ---- What is refused: file, line, what was found and expected ----
SPACE = "expected words one space apart"
WORD = "expected 1 to 32 letters in lower case"
BAD_LINES = {  # in the middle of a good table
    "a,b,c,d": f"line 2 ('a,b,c,d'): found 'a,b,c,d'; {WORD}",
    "a b C d": f"line 2 ('a b C d'): found 'C'; {WORD}",
}
BAD_LINES |= {
    line: f"line 2: found {line!r}; {SPACE}"
    for line in ("a  b c d", " a b c d", "a b c d ", "a\tb c d", "")
}
BAD_TABLES = {
    ROW + "\n": f"line 2: found ''; {SPACE}",
    "walk\ngo": "line 1: found 1 words; expected 2, one space apart",
    "a b c\n" + 2 * ROW: "line 1: found 3 words; expected 4, one space apart",
    ROW.encode() + b"caf\xe9": "line 2: found the byte 0xe9; expected UTF-8",
}
BAD_TABLES |= {ROW + line + "\n" + ROW: message for line, message in BAD_LINES.items()}


@pytest.mark.parametrize("content", BAD_TABLES)
def test_a_bad_table_is_refused_with_what_was_found_and_expected(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(ValueError) as caught:
        lab.load_verbs(path)
    assert str(caught.value) == f"{path}, {BAD_TABLES[content]}"


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
        lab.distinct_verbs(BAD_VERBS[message])


BAD_PAIRS = {
    "found 'Go'": ("walk", "Go", 0, 0),
    "found 'o'": ("walk", "go", 0, 0),
    "found .0, 4.": ("walk", "a", 0, 4),
    "not enough values": ("walk",),
}


@pytest.mark.parametrize("problem", BAD_PAIRS)
def test_pairs_that_are_not_of_a_table_are_refused_before_any_work(problem):
    pairs = [("walk", "walks", 0, 1), BAD_PAIRS[problem]]
    with pytest.raises(ValueError, match=f"^pair 2, .*{problem}"):
        lab5_runs.train(small(), [WALK], pairs=pairs)


# ---- What is read ----
def test_a_table_decides_letters_and_forms(tmp_path):
    text = "\ufeffgro\u0308ße ĳs\r\nкी 𐐨\n" + 32 * "o\u0308" + " a"  # marks are composed by NFC
    verbs = lab.load_verbs(write(tmp_path, text))
    assert verbs == [("größe", "ĳs"), ("кी", "𐐨"), (32 * "ö", "a")]
    assert lab.vocabulary_of(verbs) == ("".join(sorted("größeĳsкी𐐨a")), 2)


def test_an_apostrophe_a_hyphen_and_persians_joiner_stand_between_letters_alone(tmp_path):
    verbs = [("s'asseoir", "l’ai"), ("e-mailen", "می\u200cروم")]
    text = "\n".join(map(" ".join, verbs))
    assert lab.load_verbs(write(tmp_path, text)) == verbs
    for joiner in "'’-\u200c":
        for word in (joiner, joiner + "a", "a" + joiner):
            with pytest.raises(ValueError, match=f"verb 1: found .*; {WORD}"):
                lab.check_verbs([("a", word)])


def test_repeats_are_kept_by_the_loader_and_dropped_where_each_verb_counts_once(tmp_path):
    verbs = lab.load_verbs(write(tmp_path, 2 * ROW + "a b c d\n"))
    assert verbs == [WALK, WALK, ("a", "b", "c", "d")]
    assert lab.distinct_verbs(verbs) == [WALK, ("a", "b", "c", "d")]


def test_the_data_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    write(tmp_path / "my verbs", ROW)
    write(tmp_path / "my verbs", 10 * PAIR, "test.txt")
    monkeypatch.setattr(lab, "HERE", tmp_path)  # as if the module was there
    for home in ("HOME", "USERPROFILE"):  # the second on Windows
        monkeypatch.setenv(home, str(tmp_path))
    (tmp_path / "link").symlink_to("my verbs")
    for folder in ("my verbs", "~/my verbs", str(tmp_path / "my verbs"), "link"):
        monkeypatch.setenv("LAB5_DATA", folder)
        assert lab.data_folder() == tmp_path / "my verbs"
        assert lab.load_verbs() == [WALK]
        assert lab.load_test_pairs()[0] == ("walk", "walked", lab.PRESENT, lab.PAST)
    monkeypatch.setenv("LAB5_DATA", "none")
    expected = re.escape(f"LAB5_DATA: found no folder {tmp_path / 'none'}; expected one with train")
    with pytest.raises(FileNotFoundError, match=expected):
        lab.load_verbs()


def test_test_pairs_are_those_whose_words_are_forms_of_the_verbs(verbs):
    abandon = verbs[0]
    assert lab.test_pairs(verbs) == lab.load_test_pairs()
    assert lab.test_pairs([abandon]) == [("abandon", "abandoned", lab.PRESENT, lab.PAST)]


def test_a_table_without_a_test_pair_is_asked_its_first_ten_verbs_form_by_form(verbs):
    swapped = (verbs[0][1], verbs[0][0], *verbs[0][2:])
    assert lab.test_pairs([swapped]) == [(*swapped[:2], 0, 1)], "a source has its tense"
    dutch = ("begin", "begint", "beginnend", "begon")
    assert lab.test_pairs([dutch]) == [("begin", "begint", 0, 1)], "begins is no form of it"
    three = [verb[:3] for verb in verbs]  # test.txt is for tables of four forms
    pairs = []
    for n, verb in enumerate(three[:10]):
        source, target = n % 3, (n + 1) % 3
        pairs.append((verb[source], verb[target], source, target))
    assert lab.test_pairs(three) == pairs


def test_a_folder_without_a_test_file_has_pairs_too(tmp_path, monkeypatch, verbs):
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    assert len(lab.test_pairs(verbs)) == 10


# ---- Tensors ----
def test_words_become_tensors_and_come_back(verbs):
    words = [form for verb in verbs for form in verb]
    letters, _ = ENGLISH.to_tensor(words)
    assert ENGLISH.to_words(letters) == words
    letters, lengths = ENGLISH.to_tensor(["az", "b"])
    assert letters.tolist() == [[1, 26, 0], [2, 0, 0]], "padded with EOS"
    assert lengths.tolist() == [3, 2]
