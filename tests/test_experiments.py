"""Experiments: scores of what converts, variants and their controls, tables over seeds."""

import copy
import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from by_letter import gate_paths
from conftest import ENGLISH, VERBS, lab, lab5_runs, lab5_train, small
from pytest import approx

import experiments
from experiments import count_baseline, paths, score_seeds, score_selftaught, scores, variants
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
            context = model.decoder.context(model.encode([word], tense)[0], tense)[0]
            fed = [ENGLISH.sos, *letters.tolist()]
            nats = gate_paths(model.decoder, context, letters, fed, tense)
            assert places[tense] == torch.stack(nats).argmin()


def test_rarer_verbs_are_not_in_the_table(monkeypatch, verbs):
    others = [tuple(form + "zz" for form in verb) for verb in verbs[:500]]
    monkeypatch.setattr(score_selftaught, "agreed_verbs", lambda: verbs + others)
    assert set(score_selftaught.rarer_verbs()) == set(others)


def test_schedules_are_compared_at_one_mean_weight_and_at_one_effective_weight():
    rates = [lab5_train.learning_rate(score_seeds.PLAIN(), n / 1000) for n in range(1, 1001)]
    names = ("slow rise", "four cycles", "backwards", "two sigmoids")
    compared = [(score_seeds.ANNEALING[name], None) for name in names]
    compared += [(recipe, rates) for recipe in score_seeds.FALLING.values()]
    for recipe, by in compared:
        weights = [lab5_train.kl_weight(recipe(), n / 1000) for n in range(1, 1001)]
        assert np.average(weights, weights=by) == approx(0.3, abs=2e-3), recipe


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


def test_a_word_counts_up_to_and_with_its_first_mistake(monkeypatch):
    decoder = variants.UpToAMistake(small(), ENGLISH)
    words = lab.as_words(["walks", "walked"], 1, ENGLISH)
    own = lab.as_words(["walled"], 1, ENGLISH)
    monkeypatch.setattr(decoder, "greedy", lambda *_: own.letters)
    _, mask = decoder.choose_fed(torch.zeros(2, 4), words, torch.tensor([False, True]))
    assert mask.sum(1).tolist() == [6, 4], "walks and its EOS; wal and the k that it missed"


def test_mistakes_in_place_are_as_many_as_the_decoders_own(monkeypatch):
    decoder = variants.MistakesInPlace(small(), ENGLISH)
    words = lab.as_words(["walks"] * 400, 1, ENGLISH)
    own = lab.as_words(["walls"] * 400, 1, ENGLISH)
    monkeypatch.setattr(decoder, "greedy", lambda *_: own.letters)
    fed, mask = decoder.choose_fed(torch.zeros(400, 4), words, torch.ones(400, dtype=torch.bool))
    assert mask.all(), "of 6 characters 1 was wrong, and all count"
    assert 0.8 < (fed != words.letters).sum(1).float().mean() < 1.2


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
    ce, spelled = decoder.nats(mu, words, free, 1.0).ce, decoder.spell(mu, words.tense)
    for tense, (read, write) in enumerate(zip(encoder.parts, decoder.parts, strict=True)):
        n = torch.nonzero(words.tense == tense).flatten()
        own = lab.select_words(words, n)
        (cost, _), form = write.nats(mu[n], own, free[n], 1.0), write.spell(mu[n], own.tense)
        right = (*read(own), cost, form)
        assert all(map(torch.equal, (mu[n], logvar[n], ce[n], spelled[n]), right))


def test_partners_are_nearest_if_no_other_code_of_their_tense_is_nearer(monkeypatch):
    codes = torch.tensor([[[0.0], [0.1]], [[1.0], [0.3]]])  # (N, F, Z)
    monkeypatch.setattr(lab, "encode_verbs", lambda model, verbs: (codes, None))
    assert scores.nearest_are_partners(None, None) == 3 / 4  # 0.3 is nearer to 0 than to 1


def test_a_constant_rate_warms_up_and_stays_at_half():
    training = variants.ConstantRate(small(learning_rate=0.01), VERBS)
    rates = [training.rate(progress) for progress in (0.01, 0.02, 0.5, 1)]
    assert rates == approx([0.0025, 0.005, 0.005, 0.005])


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


@pytest.mark.parametrize("part", ["Encoder", "Decoder"])
def test_a_part_that_waits_takes_one_step_in_five_in_the_first_three_tenths(part):
    training = getattr(paths, f"{part}Waits")(small(decoder=lab.DirectDecoder), VERBS)
    batch = training.make_epoch(1)[0]
    for progress, fewest, most in ((0.3, 2, 10), (0.31, 25, 25)):
        moves = []
        for _ in range(25):
            step = (training.loss(batch, progress)[0], 0.01, "a step")
            moves += parts_moved(training, training.descend, *step)
        assert fewest <= moves.count(part.lower()) <= most
        assert len(moves) - moves.count(part.lower()) == 25, "the other part learns"


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
def test_a_table_is_sorted_and_read_as_means_over_seeds(tmp_path, monkeypatch):
    rows = [("b", 0, 1), ("a", 1, 4), ("a", 0, 3)]
    rows = [dict(zip(("row", "seed", "score"), row, strict=True)) for row in rows]
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["script"])
    experiments.score_parts({"a part": ("table", lambda: rows)})
    assert (tmp_path / "table.csv").read_text() == "row,seed,score\na,0,3\na,1,4\nb,0,1\n"
    table = experiments.over_seeds("table.csv", {"a": "A", "b": "B"}, {"score": "s", "none": "n"})
    columns = {"seeds": [2, 1], "s": ["3.500 ± 0.707", "1.000"], "n": ["–"] * 2}
    assert table.to_dict("list") == columns
    with pytest.raises(KeyError, match="'c'"):
        experiments.over_seeds("table.csv", {"c": "C"}, {})


def test_a_path_holds_ce_and_kl_of_all_verbs_with_the_right_letters_fed():
    config = small(decoder=lab.DirectDecoder, epochs=4)
    run = lab5_runs.train(config, VERBS, make_training=paths.AlongThePath, progress=False)
    assert run.history["CE"].notna().tolist() == [False, False, True, True]
    last, model = run.history.iloc[-1], run.model
    words = lab.words_of(VERBS, model.vocabulary)
    z = lab.reparameterize(*model.encode_words(words), torch.Generator().manual_seed(0))
    hidden = model.decoder(words.letters, model.decoder.context(z, words.tense))
    mask = lab.up_to(words.lengths, words.letters.shape[1])
    nats = lab.letter_nats(model.decoder.letter(hidden), words.letters, mask)
    assert last["CE"] == approx(nats.sum(1).mean().item(), abs=1e-4)
    assert last["KL"] == approx(last["kl_table"], abs=1e-4)
    assert last["converted"] == lab.conversion_accuracy(model, VERBS[::4])
