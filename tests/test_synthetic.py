"""Synthetic verbs: the spelling rules, where they cut a verb, and what is made of the parts."""

import string

import pytest
from conftest import beyond, lab
from generated import attempt, cases, english, is_word, text
from hypothesis import strategies as st
from lemminflect import getAllInflectionsOOV


def rows(*lemmas, endings=("", "s", "ing", "ed")):
    return [tuple(lemma + ending for ending in endings) for lemma in lemmas]


# ---- Spelling rules ----
REGULAR = """
walk walks walking walked; stop stops stopping stopped; visit visits visiting visited
bake bakes baking baked; carry carries carrying carried; play plays playing played
pass passes passing passed; watch watches watching watched; die dies dying died
agree agrees agreeing agreed; dye dyes dyeing dyed; echo echoes echoing echoed
radio radios radioing radioed; fix fixes fixing fixed; argue argues arguing argued
ski skis skiing skied
"""
IRREGULAR = "bring brings bringing brought; cut cuts cutting cut; lie lies lying lay"


def test_spelling_rules_give_the_rows_of_regular_verbs_alone(verbs):
    for row in REGULAR.strip().replace("\n", "; ").split("; "):
        assert beyond.is_regular(row.split()), row
    for row in IRREGULAR.split("; "):
        assert not beyond.is_regular(row.split()), row
    irregular = [verb for verb in verbs if not beyond.is_regular(verb)]
    assert len(irregular) == 121


@pytest.mark.parametrize(
    "row, parts",
    [
        ("stop stops stopping stopped", "short|st|o||p ps pping pped"),
        ("bake bakes baking baked", "short|b|a|k|e es ing ed"),
        ("help helps helping helped", "short|h|e|l|p ps ping ped"),
        ("rush rushes rushing rushed", "short|r|u||sh shes shing shed"),
        ("equip equips equipping equipped", "stressed|eq|||uip uips uipping uipped"),
        ("submit submits submitting submitted", "stressed|sub|||mit mits mitting mitted"),
        ("enjoy enjoys enjoying enjoyed", "long|enj|||oy oys oying oyed"),
    ],
)
def test_a_verb_is_cut_where_spelling_rules_look(row, parts):
    *stem, endings = parts.split("|")
    assert beyond.segment(tuple(row.split())) == (*stem, tuple(endings.split()))
    without_a_syllable = ("hmm", "hmms", "hmming", "hmmed")
    assert beyond.segment(without_a_syllable) is None


lemma = english.filter(lambda word: len(word) < 29)
lemma |= st.text("aeiouyqhstxz", min_size=1, max_size=6)


@cases(600, lemma=lemma, doubled=st.integers(0, 1), anything=text)
def test_any_lemma_is_inflected_and_cut_into_what_makes_its_row_again(lemma, doubled, anything):
    row = beyond.regular_rows(lemma)[doubled]
    assert row[0] == lemma
    for form, ending in zip(row, ("", "s", "ing", "ed"), strict=True):
        assert form.endswith(ending)
    parts = beyond.segment(row)
    if parts is None:
        assert "q" in lemma or not set(lemma) & set("aeiouy")
    else:
        stem = parts.head + parts.vowels + parts.coda
        assert tuple(stem + ending for ending in parts.endings) == row
    found = attempt(beyond.regular_rows, anything)
    assert isinstance(found, Exception) != is_word(anything)


# ---- Synthetic verbs ----
long_lemma = st.text("abdeot", min_size=25, max_size=32)


@cases(300, lemmas=st.lists(lemma | long_lemma, max_size=5), count=st.integers(-2, 5))
def test_synthetic_verbs_of_any_table_are_verbs(lemmas, count):
    table = [beyond.regular_rows(lemma)[0] for lemma in lemmas]
    found = attempt(beyond.synthesize, table, count, 0)
    if isinstance(found, list):
        assert len(found) == max(0, count)
        assert not found or lab.check_verbs(found) == found


@pytest.fixture(scope="module")
def synthetic(verbs):
    return beyond.synthesize(verbs, 4000, seed=0)


def test_synthetic_verbs_are_those_of_their_seed_and_most_are_new(synthetic, verbs):
    assert synthetic == beyond.synthesize(verbs, 4000, seed=0)
    assert synthetic != beyond.synthesize(verbs, 4000, seed=1)
    assert len(set(synthetic)) > 0.8 * 4000
    known = set(verbs)
    assert sum(verb in known for verb in synthetic) < 0.07 * 4000


def last_letters(verb):
    return tuple(form[-3:] for form in verb)


def test_synthetic_verbs_are_regular_but_for_compounds_of_irregular_ones(synthetic, verbs):
    known = {last_letters(verb) for verb in verbs if not beyond.is_regular(verb)}
    irregular = [verb for verb in synthetic if not beyond.is_regular(verb)]
    compounds = [verb for verb in irregular if last_letters(verb) in known]
    assert len(compounds) > 0.005 * 4000
    assert len(irregular) - len(compounds) < 0.003 * 4000


def test_another_set_of_spelling_rules_agrees(synthetic):
    """lemminflect's, for words outside its dictionary."""
    agreed = []
    for verb in synthetic[:400]:
        forms = getAllInflectionsOOV(verb[0], "VERB")
        row = (verb[0], *(forms[tag][0] for tag in ("VBZ", "VBG", "VBD")))
        agreed.append(beyond.is_regular(row))
    assert sum(agreed) > 0.95 * 400


def test_synthetic_verbs_come_from_the_given_ones_alone():
    """Of verbs that all take a bare -ed, none comes that doubles a letter or drops an e."""
    made = beyond.synthesize(rows("help", "look", "depart", "jump"), 500, seed=0)
    assert all(verb[3] == verb[0] + "ed" for verb in made)
    assert {verb[0][-1] for verb in made} == {"p", "k", "t"}


def test_a_fifth_of_the_letters_is_replaced_by_others_of_their_class():
    replaced = []
    all_letters = (string.ascii_lowercase, "b", "c", "d")  # irregular: in compounds alone
    made = beyond.synthesize([*rows("bananyquolk"), all_letters], 3000, seed=0)
    for verb in filter(beyond.is_regular, made):
        stem = verb[0][-11:-1]
        for old, new in zip("bananyquol", stem, strict=True):
            assert (old in "aeiou") == (new in "aeiou")
            if old in "yq":
                assert new == old
            else:
                replaced.append(new != old)
    # some are replaced by themselves, and one in twelve of these verbs is a compound
    assert 0.92 * 0.16 < sum(replaced) / len(replaced) < 0.92 * 0.2


def test_a_stressed_ending_keeps_to_heads_that_stress_it():
    table = rows("com", "per", "sub", endings=("mit", "mits", "mitting", "mitted"))
    table += rows("re", "pre", endings=("fer", "fers", "ferring", "ferred"))
    lemmas = {verb[0] for verb in table}
    heads = ("com", "per", "sub", "re", "pre")
    recombined = {head + end for head in heads for end in ("mit", "fer")}
    prefixes = {lemma[:length] for lemma in lemmas for length in range(7)}
    compounds = {prefix + lemma for prefix in prefixes for lemma in lemmas}
    made = {lemma for lemma, *_ in beyond.synthesize(table, 300, seed=0)}
    assert recombined < made <= recombined | compounds


def test_a_table_without_a_regular_verb_is_refused():
    with pytest.raises(ValueError, match="found no regular one among 1; expected one"):
        beyond.synthesize([("bring", "brings", "bringing", "brought")], 3, seed=0)
