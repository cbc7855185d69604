"""Experiments: verbs that are held out, scores of what converts, tables over seeds."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from conftest import lab, small
from pytest import approx

import experiments
from experiments import count_baseline, score_selftaught, scores
from experiments.held_out import exact_match, split_verbs
from experiments.make_train import first_rows
from experiments.words import is_regular


# ---- What is held out ----
@pytest.fixture(scope="module")
def parts(verbs):
    return [split_verbs(verbs, split) for split in range(10)]


def test_parts_are_disjoint_complete_of_about_a_tenth_and_the_same_everywhere(parts, verbs):
    for training, held in parts:
        assert sorted(training + held) == verbs
        assert abs(len(held) - len(verbs) / 10) <= 3
    assert sorted(verb for _, held in parts for verb in held) == verbs
    assert split_verbs(verbs + verbs) == parts[0], "repeated rows"


def test_what_a_prefix_makes_of_a_held_out_verb_is_held_out(parts, verbs):
    lemmas = {verb[0] for verb in verbs}
    prefixes = ("over", "under", "mis", "re", "out", "with")
    derived = {(root, prefix + root) for root in lemmas for prefix in prefixes}
    derived = {pair for pair in derived if pair[1] in lemmas}
    assert {("stand", "understand"), ("go", "undergo"), ("take", "mistake")} <= derived
    for _, held in parts:
        held_lemmas = {verb[0] for verb in held}
        for root, longer in derived:
            assert (root in held_lemmas) == (longer in held_lemmas)


def test_the_first_verbs_are_taken_and_no_form_twice_in_a_column():
    rows = ["see saw", "saw sawed", "behold saw", "go went", "be was"]
    found = first_rows([tuple(row.split()) for row in rows], rows=3)
    assert [" ".join(verb) for verb in found] == ["go went", "saw sawed", "see saw"]


# ---- English spelling rules ----
REGULAR = """stop stops stopping stopped
visit visits visiting visited
bake bakes baking baked
carry carries carrying carried
play plays playing played
watch watches watching watched
die dies dying died
agree agrees agreeing agreed
echo echoes echoing echoed"""
IRREGULAR = """bring brings bringing brought
cut cuts cutting cut
lie lies lying lay"""


def test_spelling_rules_give_the_rows_of_regular_verbs_alone(verbs):
    assert all(is_regular(row.split()) for row in REGULAR.splitlines())
    assert not any(is_regular(row.split()) for row in IRREGULAR.splitlines())
    assert sum(not is_regular(verb) for verb in verbs) == 120


# ---- Scores ----
ASKED = [
    ("go", "goes", "going", "went"),
    ("interview", "interviews", "interviewing", "interviewed"),
]
ANSWERS = [("", "goes", "going", "goed"), ("", "interviews", "interviewing", "interviewed")]


def test_the_form_that_was_given_does_not_count():
    assert exact_match(ANSWERS, ASKED) == {
        "forms": approx(5 / 6),
        "irregular_pasts": 0,
    }


def test_rows_are_scored_like_the_lab_scores_conversions(verbs):
    rows = count_baseline.rows_by_counting(zip(*verbs, strict=True))
    found = scores.score_conversions(scores.by_rows(rows), verbs)
    right = 0
    for source, target in permutations(range(4), 2):
        made = {row[source]: row[target] for row in rows}
        right += sum(made[verb[source]] == verb[target] for verb in verbs)
    assert found["conversions"] == approx(right / 12 / len(verbs))
    assert found["rows"] == approx(len(set(rows) & set(verbs)) / len(verbs))
    model = lab.make_model(small(), lab.vocabulary_of(verbs))
    right = scores.right_conversions(model.convert, verbs[:40])
    different = ~np.eye(4, dtype=bool)
    assert right[:, different].mean() == lab.conversion_accuracy(model, verbs[:40])


def test_a_model_answers_from_lemmas_and_copies_one_whose_letter_it_lacks(verbs):
    model = lab.make_model(small(), lab.vocabulary_of(verbs))
    unknown = ("ñu", "ñus", "ñuing", "ñued")
    *answered, copied = score_selftaught.answer(model, [*verbs[:40], unknown])
    mu, _ = model.encode([verb[0] for verb in verbs[:40]], 0)
    assert answered == model.generate(mu)
    assert copied == ("ñu",) * 4


def test_words_are_joined_if_their_longest_common_beginning_is_with_each_other_alone():
    lists = [["abc", "abd", "xyz"], ["abcs", "abds", "xabc"]]
    joins = score_selftaught.joins_of_beginnings(lists)
    assert joins.tolist() == [[0, 0], [1, 1], [2, 2]]


# ---- Tables ----
def test_rows_are_put_in_place_of_those_of_the_same_name_and_seed(tmp_path, monkeypatch):
    path = tmp_path / "new" / "table.csv"
    for line in ["b 0 1", "a 1 2", "a 0 3", "a 1 4"]:
        row, seed, score = line.split()
        table = pd.DataFrame({"row": [row], "seed": [int(seed)], "score": [score]})
        experiments.put_rows(path, table)
    assert path.read_text() == "row,seed,score\na,0,3\na,1,4\nb,0,1\n"
    monkeypatch.setattr(experiments, "RESULTS", path.parent)
    found = experiments.over_seeds("table.csv", {"a": "A", "b": "B"}, {"score": "s", "none": "n"})
    assert found.to_dict("list") == {
        "seeds": [2, 1],
        "s": ["3.500 ± 0.707", "1.000"],
        "n": ["–"] * 2,
    }
    with pytest.raises(ValueError, match=r"table\.csv: found no row 'c'"):
        experiments.over_seeds("table.csv", {"c": "C"}, {})
