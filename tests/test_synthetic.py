"""Synthetic verbs: where a verb is cut, its class, and what is made of a table's verbs."""

import pytest
from conftest import ROOT, beyond, lab
from english import is_regular, regular_rows
from generated import attempt, cases, english
from hypothesis import strategies as st
from lemminflect import getAllInflectionsOOV


def rows(lemmas, endings=("", "s", "ing", "ed")):
    return [tuple(lemma + ending for ending in endings) for lemma in lemmas]


# ---- English spelling rules ----
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
        assert is_regular(row.split()), row
    for row in IRREGULAR.split("; "):
        assert not is_regular(row.split()), row
    irregular = [verb for verb in verbs if not is_regular(verb)]
    assert len(irregular) == 121


# ---- Cuts and classes ----
def show(verb):
    """Returns a verb's stem and its affixes, ~ where the stem stands behind something."""
    stem, affixes = beyond.cut(verb)
    shown = [f"{before}~{after}" if before else after for before, after in affixes]
    return f"{stem}: {' '.join(after or '–' for after in shown)}"


@pytest.mark.parametrize(
    "row, expected",
    [
        ("walk walks walking walked", "walk: – s ing ed"),
        ("stop stops stopping stopped", "stop: – s 2ing 2ed"),
        ("love loves loving loved", "lov: e es ing ed"),
        ("try tries trying tried", "tr: y ies ying ied"),
        ("agree agrees agreeing agreed", "agree: – s ing d"),
        ("machen macht machte gemacht", "mach: en t te ge~t"),
        ("abonar abona abonó abonando", "abon: ar a ó ando"),
        ("kuacha anaacha aliacha haachi", "ach: ku~a ana~a ali~a ha~i"),
        ("go went", ": go went"),
    ],
)
def test_a_verb_is_cut_by_its_own_row(row, expected):
    assert show(tuple(row.split())) == expected


similar = english | st.text("ab", min_size=1, max_size=5)


@cases(600, verb=st.lists(similar, min_size=2, max_size=4))
def test_stem_and_affixes_make_the_row_again_and_no_longer_part_is_shared(verb):
    stem, affixes = beyond.cut(tuple(verb))
    assert beyond.inflect(stem, affixes) == tuple(verb)
    first = verb[0]
    longer = len(stem) + 1
    for start in range(len(first) - len(stem)):
        part = first[start : start + longer]
        assert not all(part in form for form in verb)


def test_productive_classes_are_the_regular_ones(verbs):
    classes = beyond.productive_classes(verbs)
    endings = {" ".join(after for _, after in affixes) for affixes in classes}
    assert endings == {" s ing ed", "e es ing ed", " s 2ing 2ed", " es ing ed", "y ies ying ied"}
    members = {verb for verb in verbs if beyond.cut(verb).affixes in classes}
    assert all(map(is_regular, members))
    assert len(members) > 0.98 * sum(map(is_regular, verbs))


def test_letters_fall_into_vowels_and_consonants_by_their_neighbours(verbs):
    for folder, vowels in {".": "aeiou", "tests/experiments/tables/turkish": "aeiouöüı"}.items():
        table = lab.load_verbs(ROOT / folder / "train.txt")
        kinds = beyond.letter_kinds([form for verb in table for form in verb])
        of_a = {chr(letter) for letter, kind in kinds.items() if kind == kinds[ord("a")]}
        assert of_a == set(vowels)


HOLES = [("walk", "-", "walking", "walked")] * 30


@pytest.mark.parametrize(
    "table, message",
    [
        (rows(["help", "bring"]), "found 2 verbs without holes, 2 like help; expected 20"),
        (HOLES + rows(["a"]), "found 1 verbs without holes, 1 like a; expected 20"),
        (HOLES, "found a hole in each of 1; expected one without"),
    ],
)
def test_a_table_without_a_productive_class_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        beyond.synthesize(table, 3, seed=0)


# ---- Synthetic verbs ----
short = st.text("abdeot", min_size=1, max_size=4)
long = st.text("abdeot", min_size=26, max_size=32)
tables = st.lists(short | long, min_size=15, max_size=40)


@cases(100, lemmas=tables, count=st.integers(-2, 5))
def test_synthetic_verbs_of_any_table_are_verbs(lemmas, count):
    table = [regular_rows(lemma)[0] for lemma in lemmas]
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
    assert len(set(synthetic)) > 0.9 * 4000
    known = set(verbs)
    assert sum(verb in known for verb in synthetic) < 0.16 * 4000


def test_spelling_rules_agree_with_synthetic_verbs_of_productive_classes(synthetic, verbs):
    classes = beyond.productive_classes(verbs)
    made = [verb for verb in synthetic if beyond.cut(verb).affixes in classes]
    assert 0.95 * 4000 < len(made) < 4000
    assert sum(map(is_regular, made)) > 0.995 * len(made)
    agreed = []
    for verb in made[:400]:  # with lemminflect's, which double a letter by rule
        forms = getAllInflectionsOOV(verb[0], "VERB")
        agreed.append(verb == (verb[0], *(forms[tag][0] for tag in ("VBZ", "VBG", "VBD"))))
    assert sum(agreed) > 0.95 * 400


def test_no_synthetic_verb_contradicts_the_table(synthetic, verbs):
    known = {verb[0] for verb in verbs}
    of_table = [verb for verb in synthetic if verb[0] in known]
    assert set(of_table) <= set(verbs)


def test_a_class_is_kept_where_verbs_that_end_and_begin_alike_are_of_it():
    """Prefixed verbs take no ge-: told by the beginning alone."""
    stems = [a + b for a in "bdfghlmr" for b in ("auf", "eck", "ell", "imm")]
    plain = [(f"{s}en", f"{s}t", f"{s}te", f"ge{s}t") for s in stems]
    prefixed = [(f"ver{s}en", f"ver{s}t", f"ver{s}te", f"ver{s}t") for s in stems]
    made = beyond.synthesize(plain + prefixed, 400, seed=0)
    new = set(made) - set(plain + prefixed)
    right = [verb[3].startswith("ge") != verb[0].startswith("ver") for verb in new]
    assert len(new) > 150, "by the end alone no class is sure"
    assert sum(right) > 0.75 * len(new)


def test_letters_are_resampled_among_those_of_like_places():
    table = rows(a + b + c for a in "bdfg" for b in "aeo" for c in "klm")
    made = beyond.Synthesizer(table)
    assert sorted(made.letters["b", "k"]) == ["a", "e", "o"]
    for verb in made.draw(300, seed=0):
        stem = verb[0]
        assert stem[-1] in "klm"
        assert set(stem[-2]) <= set("aeo")
