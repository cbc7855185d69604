"""Experiments: scores of what converts, variants and their controls, tables over seeds."""

import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from by_letter import first_state, gate_paths
from pytest import approx

from bonus.gate import OURS, gates
from conftest import ENGLISH, ROOT, VERBS, lab, small, written
from experiments import __main__ as program
from experiments import baselines, recipes, scores, tables, variants
from experiments.baselines import is_regular, neighbour, spelling_rule
from lab5_train import Training

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


def test_spelling_rules_give_the_rows_of_regular_verbs_alone():
    regular = [tuple(row.split()) for row in REGULAR.splitlines()]
    assert all(map(is_regular, regular))
    assert [spelling_rule(lemma) for lemma, *_ in regular] == regular
    assert not any(is_regular(row.split()) for row in IRREGULAR.splitlines())


def test_a_neighbour_has_the_longest_common_ending_and_then_the_nearest_length():
    verbs = [("string", "strung"), ("ping", "pinged"), ("go", "went")]
    assert neighbour("spring", verbs) == ("spring", "sprung")
    assert neighbour("ding", verbs) == ("ding", "dinged")


def test_likeness_counts_no_letter_twice():
    likeness = baselines.likeness("sing", ["sang", "singing", "si", "x"])
    assert likeness.tolist() == [6 - 4, 8 - 5.5, 4 - 3, -2.5]


# ---- Scores ----
def test_rows_are_scored_by_what_they_convert(verbs):
    rows = baselines.rows_by_counting(zip(*verbs, strict=True))
    shares = scores.score_conversions(scores.by_rows(rows), verbs)
    right = []
    for source, target in permutations(range(4), 2):
        partner = {row[source]: row[target] for row in rows}
        right += [partner[verb[source]] == verb[target] for verb in verbs]
    assert shares["conversions"] == approx(np.mean(right))
    assert shares["conversions"] > 0.95
    assert shares["rows"] == approx(len(set(rows) & set(verbs)) / len(verbs))


@torch.no_grad()
def test_a_gate_opens_where_its_path_is_likeliest():
    model = lab.make_model(dataclasses.replace(OURS, hidden_size=16), ENGLISH)
    for verb, places in zip(VERBS[:2], gates(model, VERBS[:2]), strict=True):
        for tense, word in enumerate(verb):
            (letters,) = ENGLISH.to_tensor([word])[0]
            state = first_state(model.decoder, model.encode([word], tense)[0][0], tense)
            fed = [ENGLISH.sos, *letters.tolist()]
            nats = gate_paths(model.decoder, state, letters, fed, tense)
            assert places[tense] == torch.stack(nats).argmin()


def test_hidden_forms_are_never_trained_on_and_scored_from_the_others():
    verbs = [(f"{stem}e", f"{stem}es", f"{stem}ing") for stem in "abcdefghijklmnop"]
    verbs[10] = ("ke", "kes", "ke")  # a form that is spelled like another isn't hidden
    training = variants.WithoutHiddenForms(small(), verbs)
    words = training.model.vocabulary.to_words(training.words.letters)
    seen = set(zip(words, training.words.tense.tolist(), strict=True))
    every = {(form, tense) for verb in verbs for tense, form in enumerate(verb)}
    assert every - seen == {("ae", 0), ("fes", 1), ("pe", 0)}
    right = np.zeros((16, 3, 3), dtype=bool)
    right[0, 1, 0] = True  # one of the six conversions into hidden forms
    right[5, 0] = True  # one into the hidden form, and one of the six between seen ones
    right[1] = True  # of a verb without a hidden form
    shares = scores.score_hidden(right, variants.hidden_forms(verbs))
    assert shares == approx({"seen": 1 / 6, "hidden": 2 / 6})


def test_secret_alphabets_keep_the_first_tense_and_give_each_other_tense_one_of_its_own():
    letters = ENGLISH.alphabet
    (secret,) = variants.in_secret([4 * (letters,)], seed=0)
    assert secret[0] == letters
    assert len(set(secret)) == 4
    assert {"".join(sorted(key)) for key in secret} == {letters}, "one to one"


def test_with_a_part_per_tense_words_go_through_that_of_their_tense_alone():
    parts = {"encoder": variants.EncoderPerTense, "decoder": variants.DecoderPerTense}
    training = Training(small(**parts), VERBS)
    encoder, decoder = training.model.encoder, training.model.decoder
    for parts in (encoder.parts, decoder.parts):
        assert len([*parts.parameters()]) == 4 * len([*parts[0].parameters()]), "none is shared"
    words = training.words.to(training.device)
    free = words.lengths % 2 == 0
    mu, logvar = encoder(words)
    ce, spelled = decoder.nats(mu, words, free), decoder.greedy(mu, words.tense)
    for tense, (read, write) in enumerate(zip(encoder.parts, decoder.parts, strict=True)):
        n = torch.nonzero(words.tense == tense).flatten()
        own = lab.select(words, n)
        cost, form = write.nats(mu[n], own, free[n]), write.greedy(mu[n], own.tense)
        right = (*read(own), cost, form)
        assert all(map(torch.equal, (mu[n], logvar[n], ce[n], spelled[n]), right))


def test_partners_are_nearest_if_no_other_code_of_their_tense_is_nearer(monkeypatch):
    codes = torch.tensor([[[0.0], [0.1]], [[1.0], [0.3]]])  # (N, F, Z)
    monkeypatch.setattr(lab, "encode_verbs", lambda model, verbs: (codes, None))
    assert scores.nearest_are_partners(None, None) == 3 / 4  # 0.3 is nearer to 0 than to 1


def test_a_training_that_is_told_the_pairs_meets_each_form_once_and_any_form_of_its_verb():
    training = variants.PairsTold(small(), VERBS)
    spell = training.model.vocabulary.to_words
    target_of = {}
    for batch in training.make_epoch(1):
        target_of |= zip(spell(batch.source.letters), spell(batch.target.letters), strict=True)
    verb_of = {form: verb for verb in VERBS for form in verb}
    assert target_of.keys() == verb_of.keys()
    assert all(target in verb_of[source] for source, target in target_of.items())
    assert any(source != target for source, target in target_of.items())


# ---- Tables ----
def test_a_row_takes_the_place_of_the_one_before_and_tables_are_means_over_seeds(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = [("b", 0, 1.0), ("a", 1, 4.0), ("a", 0, 9.0), ("a", 0, 3.0)]
    for row in rows:
        tables.add_rows("table", [dict(zip(("row", "seed", "score"), row, strict=True))])
    assert (tmp_path / "table.csv").read_text() == "row,seed,score\na,0,3.0\na,1,4.0\nb,0,1.0\n"
    assert tables.has_row("table", "a", 1)
    assert not tables.has_row("table", "b", 1)
    assert not tables.has_row("none", "b", 1)
    table = tables.over_seeds("table.csv", {"a": "A", "b": "B"}, {"score": "s", "none": "n"})
    columns = {"seeds": [2, 1], "s": ["3.500 ± 0.707", "1.000"], "n": ["–"] * 2}
    assert table.to_dict("list") == columns
    with pytest.raises(KeyError, match="'c'"):
        tables.over_seeds("table.csv", {"c": "C"}, {})


def test_only_rows_that_a_table_lacks_are_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    tables.add_rows("05_long", [{"row": "constant to 0.3", "seed": 1}])
    missing = [(row.name, seed) for row, seed in program.missing_rows(["05_long"])]
    assert len(missing) == len(set(missing)) == 8 * 3 - 1
    assert ("constant to 0.3", 1) not in missing


def test_two_processes_lose_no_row_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    rows = [{"row": "a", "seed": seed} for seed in range(20)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda row: tables.add_rows("table", [row]), rows))
    assert pd.read_csv(tmp_path / "table.csv")["seed"].tolist() == list(range(20))


def test_no_two_rows_of_a_table_have_one_name():
    names = [(row.part, row.name) for row in recipes.ROWS]
    assert len(names) == len({*names})


@pytest.mark.parametrize("name", ["04_hidden", "05_lab"])
def test_a_row_is_trained_and_scored_as_its_table_says(runs_folder, monkeypatch, name):
    """In small: of ten verbs, two epochs."""
    monkeypatch.setattr(lab, "distinct_verbs", lambda: VERBS)
    monkeypatch.setattr(scores, "DRAWS", 50)
    row = next(row for row in reversed(recipes.ROWS) if row.part == name)
    row = row._replace(config=dataclasses.replace(row.config, epochs=2, hidden_size=16))
    _, numbers, history = program.finish_row(row, seed=7)
    assert (numbers["row"], numbers["beta"]) == (row.name, row.config.kl_weight)
    assert len(history) == 2
    assert len(written(runs_folder)) == 1, "it is kept"
    shares = [numbers[name] for name in ("conversions", "lemma_first", "hidden") if name in numbers]
    assert shares and all(0 <= share <= 1 for share in shares)


# ---- Who imports whom ----
def test_nothing_of_the_lab_imports_the_bonus():
    may = {"recipes.py", "__main__.py"}
    files = [*ROOT.glob("*.py"), *ROOT.glob("experiments/*.py"), *ROOT.glob("notebooks/*")]
    texts = {
        file.name: file.read_text("utf-8") for file in files if file.suffix in (".py", ".ipynb")
    }
    assert {name for name, text in texts.items() if re.search(r"(from|import) bonus", text)} <= may
