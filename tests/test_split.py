"""The split: verbs held out, with what prefixes make of them; how what is found is scored."""

from itertools import permutations

import pandas as pd
import pytest
from conftest import lab, small
from pytest import approx

from experiments import count_full, replace_rows, score_selftaught, scores
from experiments.held_out import exact_match, find_root, split_verbs

EMPTY = [(5, 0, 10), (50, 10, 10), (50, -1, 10), (50, 0, 1)]


@pytest.fixture(scope="module")
def parts(verbs):
    return [split_verbs(verbs, split) for split in range(10)]


def test_parts_are_disjoint_complete_of_about_a_tenth_and_the_same_everywhere(parts, verbs):
    for training, held in parts:
        assert sorted(training + held) == verbs
        assert abs(len(held) - len(verbs) / 10) <= 3
    assert sorted(verb for _, held in parts for verb in held) == verbs
    assert split_verbs(verbs + verbs) == parts[0], "repeated rows"
    assert [verb[0] for verb in parts[0][1][:3]] == ["affirm", "alert", "anticipate"]


def test_what_a_prefix_makes_of_a_held_out_verb_is_held_out(parts, verbs):
    lemmas = [verb[0] for verb in verbs]
    derived = {
        (root, prefix + root)
        for root in lemmas
        for prefix in ("over", "under", "mis", "re", "out", "with")
        if prefix + root in lemmas
    }
    assert {("stand", "understand"), ("go", "undergo"), ("take", "mistake")} <= derived
    for _, held in parts:
        held_lemmas = {verb[0] for verb in held}
        for root, longer in derived:
            assert (root in held_lemmas) == (longer in held_lemmas)


@pytest.mark.parametrize("count, split, splits", EMPTY)
def test_a_split_that_leaves_a_side_empty_is_refused(verbs, count, split, splits):
    with pytest.raises(ValueError) as caught:
        split_verbs(verbs[:count], split, splits)
    for number in (count, split, splits):
        assert str(number) in str(caught.value)


def test_without_a_list_of_prefixes_whatever_stands_in_front_is_one():
    lemmas = {"kaufen", "verkaufen", "weiterverkaufen", "en"}
    assert find_root("weiterverkaufen", lemmas, None) == "kaufen"
    assert find_root("kaufen", lemmas, None) == "kaufen", "en is too short to be a root"
    assert find_root("verkaufen", lemmas, ["un"]) == "verkaufen"


# ---- Scores ----
ASKED = [
    ("go", "goes", "going", "went"),
    ("interview", "interviews", "interviewing", "interviewed"),
]
ANSWERS = [("", "goes", "going", "goed"), ("", "interviews", "interviewing", "interviewed")]


def test_the_form_that_was_given_does_not_count_and_kinds_are_told_apart():
    assert exact_match(ANSWERS, ASKED) == {"forms": approx(5 / 6), "rows": 0.5}
    kinds = exact_match(ANSWERS, ASKED, [False, True])
    assert kinds.items() >= {"regular": 1, "irregular": approx(2 / 3), "irregular_pasts": 0}.items()
    assert kinds["long"] == 1, "interviewing alone has twelve letters"


def test_rows_and_models_are_scored_like_the_count_and_the_lab(verbs):
    rows = count_full.rows_by_counting(verbs)
    found = scores.score_english(scores.by_rows(rows), verbs)
    right = 0
    for source, target in permutations(range(4), 2):
        made = {row[source]: row[target] for row in rows}
        right += sum(made[verb[source]] == verb[target] for verb in verbs)
    assert found["conversions"] == approx(right / 12 / len(verbs))
    assert found["rows"] == approx(len(set(rows) & set(verbs)) / len(verbs))
    assert found["bleu4"] == 1, "sent and sends are in one row"
    endings = count_full.rows_of_endings(score_selftaught.lists_of(verbs))
    assert rows[: len(endings)] == endings
    model = lab.make_model(small(), lab.vocabulary_of(verbs))
    found = scores.score_any(model.convert, verbs[:40])
    assert found["conversions"] == lab.conversion_accuracy(model, verbs[:40])
    answered = score_selftaught.answer(model, [*verbs[:40], ("ñu", "ñus", "ñuing", "ñued")])
    assert answered[:40] == model.generate(model.encode([verb[0] for verb in verbs[:40]], 0)[0])
    assert answered[40] == ("ñu",) * 4, "has not the letter"


def test_differences_are_paired_by_tenth():
    shares = {"self-taught": [0.5, 0.7, 0.9], "rival": [0.4, 0.6, 0.8]}
    rows = [
        {"tenth": tenth, "system": system, "forms": score}
        for system, of_system in shares.items()
        for tenth, score in enumerate(of_system)
    ]
    (lead,) = score_selftaught.leads(pd.DataFrame(rows), "forms").to_numpy()
    assert lead == approx([0.1, 0.1, 0.1]), "the same lead in each"


def test_a_table_grows_item_by_item(tmp_path):
    path = tmp_path / "scores.csv"
    items = ["b 0 1", "a 1 2", "a 0 3", "a 1 4"]
    for language, seed, score in map(str.split, items):
        row = {"language": language, "seed": int(seed), "score": score}
        replace_rows(path, pd.DataFrame([row]), ["language", "seed"])
    assert path.read_text() == "language,seed,score\na,0,3\na,1,4\nb,0,1\n"
