"""The split: verbs held out, with what prefixes make of them."""

import pytest

from experiments.held_out import find_root, split_verbs

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
