"""Unseen verbs: the split, the spelling rules, made-up verbs, and the recipe that learns from them."""

import random

import pytest
import torch
from conftest import SMALL, lab
from score_unseen import by_rules

UNSEEN = dict(SMALL, made_up=2, epochs=4)


def regular(verb):
    return verb in lab.regular_rows(verb[0])


# -- the split ------------------------------------------------------------------------------------------------------


def test_parts_are_disjoint_complete_and_of_about_a_tenth(verbs):
    parts = [lab.split_verbs(verbs, split) for split in range(10)]
    assert sorted(verb for _, held in parts for verb in held) == sorted(verbs)
    for training, held in parts:
        assert not set(training) & set(held) and sorted(training + held) == sorted(verbs)
        assert abs(len(held) - len(verbs) / 10) <= 3


def test_a_split_is_always_the_same(verbs):
    held = [verb[0] for verb in lab.split_verbs(verbs)[1]]
    random.seed(7)
    assert held == [verb[0] for verb in lab.split_verbs(verbs + verbs)[1]]
    assert held[:3] == ["affirm", "alert", "anticipate"]  # as on every other machine


def test_no_derived_verb_is_seen_when_its_root_is_held_out(verbs):
    """By brute force: a lemma that ends in a held-out one, after a prefix of the list, is held out itself."""
    lemmas = [verb[0] for verb in verbs]
    pairs = {(a, b) for a in lemmas for b in lemmas if a != b and b.endswith(a) and b[: -len(a)] in lab.PREFIXES}
    assert {("stand", "understand"), ("go", "undergo"), ("take", "mistake"), ("come", "overcome")} <= pairs
    for split in range(10):
        held = {verb[0] for verb in lab.split_verbs(verbs, split)[1]}
        assert all((root in held) == (derived in held) for root, derived in pairs)


def test_families_chain():
    rows = [tuple(lemma + end for end in ("", "s", "ing", "ed")) for lemma in ("act", "react", "overreact", "help")]
    for split in range(2):
        assert {len(side) for side in lab.split_verbs(rows, split, 2)} == {1, 3}


@pytest.mark.parametrize("count, split, splits", [(0, 0, 10), (5, 0, 10), (50, 10, 10), (50, -1, 10), (50, 0, 1)])
def test_a_split_that_leaves_a_side_empty_is_refused_with_the_numbers(verbs, count, split, splits):
    with pytest.raises(ValueError, match=f"part {split} of {splits} of {count} verbs in [0-9]+ families"):
        lab.split_verbs(verbs[:count], split, splits)


# -- spelling rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        "walk walks walking walked", "stop stops stopping stopped", "visit visits visiting visited", "bake bakes baking baked",
        "carry carries carrying carried", "play plays playing played", "pass passes passing passed", "watch watches watching watched",
        "die dies dying died", "agree agrees agreeing agreed", "dye dyes dyeing dyed", "echo echoes echoing echoed", "radio radios radioing radioed",
        "fix fixes fixing fixed", "argue argues arguing argued", "ski skis skiing skied",
    ],
)  # fmt: skip
def test_regular_verbs(row):
    assert regular(tuple(row.split()))


@pytest.mark.parametrize("row", ["bring brings bringing brought", "cut cuts cutting cut", "lie lies lying lay"])
def test_irregular_verbs(row):
    assert not regular(tuple(row.split()))


def test_rules_agree_with_those_of_lemminflect(verbs):
    """Lemminflect's rules for words outside its dictionary, on words that are no verbs at all."""
    made_up = [verb[0] for verb in lab.make_up(verbs, 400, seed=3) if len(verb[0]) > 3]
    agree = [by_rules(lemma) in lab.regular_rows(lemma) for lemma in made_up]
    assert sum(agree) / len(agree) > 0.95


# -- made-up verbs --------------------------------------------------------------------------------------------------


def test_pieces_make_the_verb_again(verbs):
    for verb in filter(regular, verbs):
        parts = lab.take_apart(verb)
        assert tuple(parts.head + parts.vowels + parts.coda + ending for ending in parts.endings) == verb


@pytest.mark.parametrize(
    "row, pieces",
    [
        ("stop stops stopping stopped", ("short", "st", "o", "", ("p", "ps", "pping", "pped"))),
        ("bake bakes baking baked", ("short", "b", "a", "k", ("e", "es", "ing", "ed"))),
        ("help helps helping helped", ("short", "h", "e", "l", ("p", "ps", "ping", "ped"))),
        ("rush rushes rushing rushed", ("short", "r", "u", "", ("sh", "shes", "shing", "shed"))),
        ("equip equips equipping equipped", ("stressed", "eq", "", "", ("uip", "uips", "uipping", "uipped"))),
        ("submit submits submitting submitted", ("stressed", "sub", "", "", ("mit", "mits", "mitting", "mitted"))),
        ("enjoy enjoys enjoying enjoyed", ("long", "enj", "", "", ("oy", "oys", "oying", "oyed"))),
        ("hmm hmms hmming hmmed", None),
    ],
)
def test_a_verb_taken_apart(row, pieces):
    assert lab.take_apart(tuple(row.split())) == pieces


def test_made_up_verbs_inflect_by_the_rules_and_are_new(verbs):
    made_up = lab.make_up(verbs, 4000, seed=0)
    assert len(made_up) == 4000 and made_up == lab.make_up(verbs, 4000, seed=0) != lab.make_up(verbs, 4000, seed=1)
    assert sum(map(regular, made_up)) > 0.998 * 4000
    assert sum(verb in set(verbs) for verb in made_up) < 0.05 * 4000
    assert len(set(made_up)) > 0.8 * 4000


def test_made_up_verbs_come_from_the_given_ones_alone():
    """Of verbs that all take -ed after two vowels or two consonants, none is made up that doubles or drops an e."""
    rows = [tuple(lemma + end for end in ("", "s", "ing", "ed")) for lemma in ("help", "look", "depart", "jump")]
    made_up = lab.make_up(rows, 500, seed=0)
    assert all(verb[3] == verb[0] + "ed" for verb in made_up)
    assert {verb[0][-1] for verb in made_up} == {"p", "k", "t"}


def test_a_fifth_of_the_letters_is_exchanged_for_others_of_their_class():
    word = "bananyquo" * 500
    other = lab._exchange_letters(word, random.Random(0))
    changed = sum(a != b for a, b in zip(word, other)) / sum(letter not in "yq" for letter in word)
    assert 0.14 < changed < 0.2, "some are exchanged for themselves"
    assert all((a in lab.VOWELS) == (b in lab.VOWELS) and (a == b or a not in "yq") for a, b in zip(word, other))


def test_a_stressed_ending_keeps_to_heads_that_stress_it():
    rows = [tuple(head + form for form in "mit mits mitting mitted".split()) for head in ("com", "per", "sub")]
    rows += [tuple(head + form for form in "fer fers ferring ferred".split()) for head in ("re", "pre")]
    made_up = {verb[0] for verb in lab.make_up(rows, 300, seed=0)}
    assert made_up == {head + tail for head in ("com", "per", "sub", "re", "pre") for tail in ("mit", "fer")}


def test_made_up_verbs_are_not_too_long():
    rows = [tuple("b" * 20 + vowel + "lk" + end for end in ("", "s", "ing", "ed")) for vowel in "ao"]
    rows += [tuple("ab" * 12 + "ilk" + end for end in ("", "s", "ing", "ed"))]
    assert max(len(form) for verb in lab.make_up(rows, 300, seed=0) for form in verb) <= lab.MAX_LETTERS


def test_nothing_to_make_verbs_from():
    with pytest.raises(ValueError, match="expected a regular one among 1, found none"):
        lab.train(lab.Config.unseen(**UNSEEN), [("bring", "brings", "bringing", "brought")], progress=False)


# -- the recipe -----------------------------------------------------------------------------------------------------


def test_training_makes_up_new_verbs_in_every_epoch_from_its_own_table(verbs, monkeypatch):
    calls, make_up = [], lab.make_up
    monkeypatch.setattr(lab, "make_up", lambda *args: calls.append(args) or make_up(*args))
    lab.train(lab.Config.unseen(**UNSEEN), verbs[:20], progress=False)
    assert [(table, count) for table, count, _ in calls] == [(verbs[:20], 40)] * 4
    assert len({seed for *_, seed in calls}) == 4


def test_steps_are_counted_with_the_made_up_verbs(verbs):
    """The learning rate comes down to 0 at the last step of the last epoch, not before and not after."""
    trainer = lab._Trainer(lab.Config.unseen(**UNSEEN), verbs[:20], lab.load_test_pairs())
    batches = list(trainer._table_with_made_up().batches(trainer.generator))
    assert trainer.steps_per_epoch == len(batches) == 8  # 60 verbs, 8 a batch
    assert trainer._learning_rate(4, 8) == pytest.approx(0) and trainer._learning_rate(4, 7) > 0


def test_backward():
    letters, lengths = lab.words_to_tensor(["go", "abandon", "a"])
    assert lab.tensor_to_words(lab.backward(letters, lengths)) == ["og", "nodnaba", "a"]


def test_reading_both_ways_is_two_readings_at_any_padding():
    torch.manual_seed(0)
    encoder = lab.Encoder(lab.Config(**SMALL, reads="both ways"))
    letters, lengths = lab.words_to_tensor(["go", "abandon", "be"])
    tense = torch.tensor([0, 2, 1])
    mu, _ = encoder(letters, lengths, tense)
    for i, word in enumerate(["go", "abandon", "be"]):
        h0 = torch.cat([torch.zeros(64 - 8), encoder.condition(tense[i])])[None, None]
        ends = []
        for lstm, spelled in ((encoder.lstm, word), (encoder.lstm_back, word[::-1])):
            inputs = encoder.embedding(lab.words_to_tensor([spelled])[0])
            ends.append(lstm(inputs, (h0, torch.zeros_like(h0)))[1][0][0, 0])
        assert torch.allclose(mu[i], encoder.mu(torch.cat(ends)), atol=1e-6)


def test_form_is_told_z_where_the_recipe_says_so():
    z, tense = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)), torch.full((3,), lab.P)
    for form_from, told in (("lemma and z", True), ("lemma", False)):
        model = lab.CVAE(lab.Config.unseen(form_from=form_from))
        end = torch.zeros(3, 128)
        one, other = (model.tell_form(model.known_after_lemma(end, code), tense) for code in (z, -z))
        assert torch.equal(one, other) != told


@pytest.fixture(scope="module")
def speller(verbs):
    """Returns a small model that has learned to spell short verbs for a few seconds."""
    table = [verb for verb in verbs if len(verb[0]) < 5]
    config = lab.Config.unseen(hidden_size=96, latent_size=32, embedding_size=32, epochs=6, evaluate_every=1000)
    training, held = lab.split_verbs(table)
    return lab.train(config, training, progress=False).model, held


def test_made_up_verbs_teach_the_forms_of_unseen_ones(speller):
    model, held = speller
    answers = model.generate(model.encode([verb[0] for verb in held], lab.SP)[0])
    right = [a == b for answer, verb in zip(answers, held) for a, b in zip(answer[1:], verb[1:])]
    assert sum(right) / len(right) > 0.25


def test_z_is_the_only_way_to_the_output(speller):
    model, held = speller
    mu, _ = model.encode([verb[lab.PG] for verb in held], lab.PG)
    expected = model.generate(mu)
    blind = lab.CVAE(model.config)
    blind.load_state_dict(model.state_dict())
    del blind.encoder.lstm, blind.encoder.lstm_back, blind.encoder.embedding
    assert blind.generate(mu) == expected
    assert [answer[lab.P] for answer in expected] == model.convert([verb[lab.PG] for verb in held], lab.PG, lab.P)


@pytest.mark.parametrize("word", ["a", "zzzz", "the", "antidisestablishmentarianism", "q" * lab.MAX_LETTERS])
def test_what_is_no_verb_gets_an_answer(speller, word):
    for tense in range(4):
        (answer,) = speller[0].convert([word], tense, lab.P)
        assert len(answer) <= lab.MAX_LETTERS + 1 and set(answer) <= set(lab.LETTERS)


@pytest.mark.parametrize("word", ["", "Stop", "to stop", "naïve", "x" * (lab.MAX_LETTERS + 1)])
def test_what_is_no_word_is_refused(speller, word):
    with pytest.raises(ValueError, match="cannot take the word"):
        speller[0].convert([word], lab.SP, lab.P)
