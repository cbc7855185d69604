"""Synthetic verbs: where a verb is cut, its class, and what is made of a table's verbs."""

import random

import pytest
from conftest import lab, taught
from generated import attempt, cases, english
from hypothesis import strategies as st

from experiments.words import is_regular, regular_rows


def rows(lemmas, endings=("", "s", "ing", "ed")):
    return [tuple(lemma + ending for ending in endings) for lemma in lemmas]


# ---- English spelling rules ----
REGULAR = """
stop stops stopping stopped; visit visits visiting visited; bake bakes baking baked
carry carries carrying carried; play plays playing played; watch watches watching watched
die dies dying died; agree agrees agreeing agreed; echo echoes echoing echoed
"""
IRREGULAR = "bring brings bringing brought; cut cuts cutting cut; lie lies lying lay"


def test_spelling_rules_give_the_rows_of_regular_verbs_alone(verbs):
    assert all(is_regular(row.split()) for row in REGULAR.strip().replace("\n", "; ").split("; "))
    assert not any(is_regular(row.split()) for row in IRREGULAR.split("; "))
    assert sum(not is_regular(verb) for verb in verbs) == 121


# ---- Cuts and classes ----
def show(verb):
    """Returns a verb's stem and its endings."""
    stem, endings = taught.cut(verb)
    return f"{stem}: {' '.join(ending or '–' for ending in endings)}"


@pytest.mark.parametrize(
    "row, expected",
    [
        ("stop stops stopping stopped", "stop: – s 2ing 2ed"),
        ("try tries trying tried", "tr: y ies ying ied"),
        ("agree agrees agreeing agreed", "agree: – s ing d"),
        ("hablar habla habló hablando", "habl: ar a ó ando"),
        ("go went", ": go went"),
    ],
)
def test_a_verb_is_cut_by_its_own_row(row, expected):
    assert show(tuple(row.split())) == expected


similar = english | st.text("ab", min_size=1, max_size=5)


@cases(150, verb=st.lists(similar, min_size=2, max_size=4))
def test_stem_and_endings_make_the_row_again_and_no_longer_beginning_is_shared(verb):
    stem, endings = taught.cut(tuple(verb))
    assert taught.inflect(stem, endings) == tuple(verb)
    longer = verb[0][: len(stem) + 1]
    assert len(longer) == len(stem) or not all(form.startswith(longer) for form in verb)


def test_productive_classes_are_the_regular_ones(verbs):
    classes = taught.productive_classes(verbs)
    endings = {" ".join(endings) for endings in classes}
    assert endings == {" s ing ed", "e es ing ed", " s 2ing 2ed", " es ing ed", "y ies ying ied"}
    members = {verb for verb in verbs if taught.cut(verb).endings in classes}
    assert all(map(is_regular, members))
    assert len(members) > 0.98 * sum(map(is_regular, verbs))


def test_a_table_without_a_productive_class_is_refused():
    with pytest.raises(ValueError, match="rows: found 2 verbs at most with the same"):
        taught.Synthesizer(rows(["help", "bring"]))


# ---- Synthetic verbs ----
short = st.text("abdeot", min_size=1, max_size=4)
long = st.text("abdeot", min_size=26, max_size=32)
tables = st.lists(short | long, min_size=15, max_size=40)


@cases(100, lemmas=tables, count=st.integers(-2, 5))
def test_synthetic_verbs_of_any_table_are_verbs(lemmas, count):
    table = [regular_rows(lemma)[0] for lemma in lemmas]
    synthesizer = attempt(taught.Synthesizer, table)
    if isinstance(synthesizer, taught.Synthesizer):
        found = synthesizer.draw(count, seed=0)
        assert len(found) == max(0, count)
        assert not found or lab.check_verbs(found) == found


@pytest.fixture(scope="module")
def synthesizer(verbs):
    return taught.Synthesizer(verbs)


@pytest.fixture(scope="module")
def synthetic(synthesizer):
    return synthesizer.draw(4000, seed=0)


def test_synthetic_verbs_are_those_of_their_seed_differ_and_are_new(synthesizer, synthetic, verbs):
    assert synthetic == taught.Synthesizer(verbs).draw(4000, seed=0)
    assert synthetic != synthesizer.draw(4000, seed=1)
    assert len(set(synthetic)) > 0.9 * 4000
    assert not {verb[0] for verb in synthetic} & {verb[0] for verb in verbs}


def test_lemmas_that_are_held_out_are_never_made(synthetic, verbs):
    held_out = {verb[0] for verb in synthetic[::2]}
    made = taught.Synthesizer(verbs, held_out).draw(4000, seed=0)
    assert not {verb[0] for verb in made} & held_out
    assert len({verb[0] for verb in made} & {verb[0] for verb in synthetic[1::2]}) > 1000


def test_nearly_all_are_of_productive_classes_and_spelling_rules_agree_with_most(synthetic, verbs):
    classes = taught.productive_classes(verbs)
    assert sum(taught.cut(verb).endings in classes for verb in synthetic) > 0.96 * 4000
    assert sum(map(is_regular, synthetic)) > 0.9 * 4000


def test_half_stand_behind_the_beginning_of_a_stem(monkeypatch):
    lemmas = [a + b + c for a in "bdfg" for b in "aeiou" for c in "klm"]
    monkeypatch.setattr(taught, "RESAMPLED", 0.0)
    made = taught.Synthesizer(rows(lemmas)).draw(300, seed=0)
    for verb in made:  # what has no prefix is in the table
        prefix, known = verb[0][:-3], verb[0][-3:]
        assert known in lemmas
        assert any(lemma.startswith(prefix) for lemma in lemmas)
        assert prefix


def test_a_letter_is_resampled_to_one_that_has_stood_between_the_same_two(monkeypatch):
    lemmas = [letter + "alk" for letter in "bcdfghjkmnpqrstvwxyz"] + ["wilk"]
    monkeypatch.setattr(taught, "RESAMPLED", 1.0)
    synthesizer = taught.Synthesizer(rows(lemmas))
    rng = random.Random(0)
    made = {synthesizer.resample("wa", rng) for _ in range(500)}
    assert {word[1] for word in made} == {"a", "i"}, "w stood before either"
    assert {word[0] for word in made} == set("bcdfghjkmnpqrstvwxyz"), "all stood before a"


def test_a_table_of_which_no_new_verb_can_be_made_is_refused():
    lemmas = ["a" * length for length in range(1, 30)]
    with pytest.raises(ValueError, match="found 0 new ones in 2000 tries; expected 100"):
        taught.Synthesizer(rows(lemmas)).draw(100, seed=0)
