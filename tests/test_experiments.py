"""Experiments: scores of what converts, variants and their controls, tables over seeds."""

import argparse
import copy
import dataclasses
from itertools import permutations

import numpy as np
import pytest
import torch
from by_letter import first_state, gate_paths
from conftest import ENGLISH, VERBS, lab, small, written
from pytest import approx

import experiments
from experiments import count_baseline, paths, recipes, score_seeds, scores, variants
from experiments.words import is_regular, neighbour, spelling_rule

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
    likeness = count_baseline.likeness("sing", ["sang", "singing", "si", "x"])
    assert likeness.tolist() == [6 - 4, 8 - 5.5, 4 - 3, -2.5]


# ---- Scores ----
def test_the_form_that_was_given_does_not_count():
    answers = [("", "goes", "going", "goed")]
    assert scores.exact_match(answers, [("go", "goes", "going", "went")]) == approx(2 / 3)


def test_rows_are_scored_by_what_they_convert(verbs):
    rows = count_baseline.rows_by_counting(zip(*verbs, strict=True))
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
    model = lab.make_model(small(), ENGLISH)
    for verb, places in zip(VERBS[:2], scores.gates(model, VERBS[:2]), strict=True):
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


def test_an_ablation_lacks_the_part_that_names_it():
    _, price = variants.GateWithoutPrice(small(), ENGLISH).tau_and_price(1.0)
    tau, _ = variants.GateNotTempered(small(), ENGLISH).tau_and_price(0.0)
    assert (price, tau) == (0, 1)


def test_alphabets_keep_the_first_tense_and_give_each_other_tense_letters_of_its_own():
    letters = ENGLISH.alphabet
    (secret,) = variants.in_secret([4 * (letters,)], seed=0)
    (disjoint,) = variants.disjoint([4 * (letters,)])
    assert len(set(secret)) == 4
    assert {"".join(sorted(key)) for key in secret} == {letters}, "one to one"
    assert len(set("".join(disjoint))) == 4 * len(letters), "no letter twice"
    assert secret[0] == disjoint[0] == letters
    assert lab.check_verbs([secret, disjoint]) == [secret, disjoint]


def test_a_training_from_one_table_to_another_writes_the_same_form_of_the_same_verb():
    targets, met = variants.disjoint(VERBS), []
    training = variants.FromTo(small(), VERBS, targets)
    spell = training.model.vocabulary.to_words
    for batch in training.make_epoch(1):
        met += zip(*(spell(part.letters) for part in batch), strict=True)
    assert sorted(met) == sorted(zip(np.ravel(VERBS), np.ravel(targets), strict=True))


def test_with_a_part_per_tense_words_go_through_that_of_their_tense_alone():
    training = variants.PartsPerTense(small(), VERBS, VERBS, encoder=True, decoder=True)
    encoder, decoder = training.model.encoder, training.model.decoder
    for parts in (encoder.parts, decoder.parts):
        assert len([*parts.parameters()]) == 4 * len([*parts[0].parameters()]), "none is shared"
    words = training.words.to(training.device)
    free = words.lengths % 2 == 0
    mu, logvar = encoder(words)
    ce, spelled = decoder.nats(mu, words, free, 1.0).ce, decoder.greedy(mu, words.tense)
    for tense, (read, write) in enumerate(zip(encoder.parts, decoder.parts, strict=True)):
        n = torch.nonzero(words.tense == tense).flatten()
        own = lab.select(words, n)
        (cost, _), form = write.nats(mu[n], own, free[n], 1.0), write.greedy(mu[n], own.tense)
        right = (*read(own), cost, form)
        assert all(map(torch.equal, (mu[n], logvar[n], ce[n], spelled[n]), right))


def test_partners_are_nearest_if_no_other_code_of_their_tense_is_nearer(monkeypatch):
    codes = torch.tensor([[[0.0], [0.1]], [[1.0], [0.3]]])  # (N, F, Z)
    monkeypatch.setattr(lab, "encode_verbs", lambda model, verbs: (codes, None))
    assert scores.nearest_are_partners(None, None) == 3 / 4  # 0.3 is nearer to 0 than to 1


def parts_moved(training, act, *arguments):
    """Returns which parts of the model an action moves."""
    before = copy.deepcopy(training.model.state_dict())
    act(*arguments)
    after = training.model.state_dict()
    return {name.split(".")[0] for name in before if not before[name].equal(after[name])}


@pytest.mark.parametrize("kind, other", [(paths.EncoderAhead, []), (paths.BothAhead, ["decoder"])])
def test_extra_steps_move_what_is_ahead_in_the_first_three_tenths(kind, other):
    training = kind(small(), VERBS)
    batch = training.make_epoch(1)[0]
    for progress, ahead in ((0.3, {"encoder", *other}), (0.31, set())):
        assert parts_moved(training, training.loss, batch, progress) == ahead
        assert all(weight.requires_grad for weight in training.model.parameters())


def test_a_training_that_is_told_the_pairs_meets_each_form_once_and_any_form_of_its_verb():
    training = variants.PairsTold(small(), VERBS, VERBS)
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
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    rows = [("b", 0, 1.0), ("a", 1, 4.0), ("a", 0, 9.0), ("a", 0, 3.0)]
    for row in rows:
        experiments.add_rows("table", [dict(zip(("row", "seed", "score"), row, strict=True))])
    assert (tmp_path / "table.csv").read_text() == "row,seed,score\na,0,3.0\na,1,4.0\nb,0,1.0\n"
    assert experiments.has_row("table", "a", 1)
    assert not experiments.has_row("table", "b", 1)
    assert not experiments.has_row("none", "b", 1)
    table = experiments.over_seeds("table.csv", {"a": "A", "b": "B"}, {"score": "s", "none": "n"})
    columns = {"seeds": [2, 1], "s": ["3.500 ± 0.707", "1.000"], "n": ["–"] * 2}
    assert table.to_dict("list") == columns
    with pytest.raises(KeyError, match="'c'"):
        experiments.over_seeds("table.csv", {"c": "C"}, {})


def test_only_rows_that_a_table_lacks_are_trained_unless_again_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    experiments.add_rows("06_seeds", [{"row": "our model", "seed": 1}])
    asked = {"parts": ["06_seeds"], "row": "our model", "seed": None, "again": False}
    seeds = [seed for _, seed in score_seeds.asked_rows(argparse.Namespace(**asked))]
    assert seeds == [0, 2, 3, 4]
    seeds = [seed for _, seed in score_seeds.asked_rows(argparse.Namespace(**asked | {"again": 1}))]
    assert seeds == [0, 1, 2, 3, 4]


def test_no_two_rows_of_a_table_have_one_name():
    names = [(row.part, row.name) for row in recipes.ROWS]
    assert len(names) == len({*names})


@pytest.mark.parametrize("name", ["03_controls", "04_hidden", "05_lab", "06_seeds"])
def test_a_row_is_trained_and_scored_as_its_table_says(runs_folder, monkeypatch, name):
    """In small: of ten verbs, two epochs."""
    monkeypatch.setattr(lab, "distinct_verbs", lambda: [verb for verb in VERBS for _ in range(10)])
    monkeypatch.setattr(scores, "DRAWS", 50)
    row = next(row for row in reversed(recipes.ROWS) if row.part == name)
    row = row._replace(config=dataclasses.replace(row.config, epochs=2, hidden_size=16), every=10)
    _, numbers, history = score_seeds.finish_row(row, 7, again=False)
    assert numbers["row"] == row.name
    assert numbers["beta"] == row.config.kl_weight
    assert len(history) == 2
    assert len(written(runs_folder)) == 1, "it is kept"
    shares = [
        numbers[score] for score in ("conversions", "lemma_first", "hidden") if score in numbers
    ]
    assert shares
    assert all(0 <= share <= 1 for share in shares)


def test_a_place_in_the_plane_is_that_of_all_verbs_with_the_right_letters_fed():
    torch.manual_seed(0)
    model = lab.make_model(small(decoder=lab.DirectDecoder), lab.vocabulary_of(VERBS))
    ce, kl = paths.ce_and_kl(model, VERBS)
    words = lab.words_of(VERBS, model.vocabulary)
    z = lab.reparameterize(*model.encode_words(words), torch.Generator().manual_seed(0))
    logits = model.decoder(z, words.tense, words.letters)
    mask = lab.up_to(words.lengths, words.letters.shape[1])
    nats = lab.letter_nats(logits, words.letters, mask)
    assert ce == approx(nats.sum(1).mean().item(), abs=1e-4)
    assert kl == approx(lab.information(model, VERBS)["kl_table"], abs=1e-4)
