"""Unseen verbs: the split, the spelling rules, synthetic verbs, and the recipe that learns from them."""

import random

import pytest
from conftest import SMALL, from_notebook, lab
from score_unseen import by_rules

UNSEEN = lab.Config(**SMALL | dict(synthetic=2, epochs=4, refine=0.5))


def rows(*lemmas, endings=("", "s", "ing", "ed")):
    return [tuple(lemma + ending for ending in endings) for lemma in lemmas]


@pytest.fixture(scope="module")
def split_verbs():
    return from_notebook("05", "split_verbs")


def test_parts_are_disjoint_complete_and_of_about_a_tenth(split_verbs, verbs):
    parts = [split_verbs(verbs, split) for split in range(10)]
    assert sorted(verb for _, held in parts for verb in held) == sorted(verbs)
    for training, held in parts:
        assert not set(training) & set(held) and sorted(training + held) == sorted(verbs)
        assert abs(len(held) - len(verbs) / 10) <= 3


def test_a_split_is_always_the_same(split_verbs, verbs):
    held = [verb[0] for verb in split_verbs(verbs)[1]]
    random.seed(7)
    assert held == [verb[0] for verb in split_verbs(verbs + verbs)[1]]
    assert held[:3] == ["affirm", "alert", "anticipate"]  # as on every other machine


def test_no_derived_verb_is_seen_when_its_root_is_held_out(split_verbs, verbs):
    """By brute force: a lemma that ends in a held-out one, after a prefix of the list, is held out itself."""
    lemmas, prefixes = [verb[0] for verb in verbs], split_verbs.__globals__["PREFIXES"]
    pairs = {(a, b) for a in lemmas for b in lemmas if a != b and b.endswith(a) and b[: -len(a)] in prefixes}
    assert {("stand", "understand"), ("go", "undergo"), ("take", "mistake"), ("come", "overcome")} <= pairs
    for split in range(10):
        held = {verb[0] for verb in split_verbs(verbs, split)[1]}
        assert all((root in held) == (derived in held) for root, derived in pairs)


@pytest.mark.parametrize("count, split, splits", [(0, 0, 10), (5, 0, 10), (50, 10, 10), (50, -1, 10), (50, 0, 1)])
def test_a_split_that_leaves_a_side_empty_is_refused_with_the_numbers(split_verbs, verbs, count, split, splits):
    with pytest.raises(ValueError) as caught:
        split_verbs(verbs[:count], split, splits)
    assert not count or all(str(number) in str(caught.value) for number in (split, splits, count)), str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        "walk walks walking walked", "stop stops stopping stopped", "visit visits visiting visited",
        "bake bakes baking baked", "carry carries carrying carried", "play plays playing played",
        "pass passes passing passed", "watch watches watching watched", "die dies dying died",
        "agree agrees agreeing agreed", "dye dyes dyeing dyed", "echo echoes echoing echoed",
        "radio radios radioing radioed", "fix fixes fixing fixed", "argue argues arguing argued",
        "ski skis skiing skied",
        "irregular: bring brings bringing brought", "irregular: cut cuts cutting cut", "irregular: lie lies lying lay",
    ],
)  # fmt: skip
def test_spelling_rules(row):
    assert (tuple(row.split()[-4:]) in lab.regular_rows(row.split()[-4])) != row.startswith("irregular")


@pytest.mark.parametrize(
    "row, parts",
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
def test_segments(row, parts):
    assert lab.segment(tuple(row.split())) == parts


def test_synthetic_verbs_inflect_by_the_rules_and_are_new(verbs):
    synthetic = lab.synthesize(verbs, 4000, seed=0)
    assert len(synthetic) == 4000 and synthetic == lab.synthesize(verbs, 4000, seed=0)
    assert synthetic != lab.synthesize(verbs, 4000, seed=1)
    odd = [verb for verb in synthetic if verb not in lab.regular_rows(verb[0])]
    ends = {tuple(form[-3:] for form in verb) for verb in verbs if verb not in lab.regular_rows(verb[0])}
    assert 0.005 * 4000 < sum(tuple(form[-3:] for form in verb) in ends for verb in odd) > len(odd) - 0.003 * 4000
    assert sum(verb in set(verbs) for verb in synthetic) < 0.07 * 4000 and len(set(synthetic)) > 0.8 * 4000
    lemmas = [verb[0] for verb in synthetic[:400] if len(verb[0]) > 3]
    agree = [by_rules(lemma) in lab.regular_rows(lemma) for lemma in lemmas]  # as lemminflect's rules do
    assert sum(agree) / len(agree) > 0.95


def test_synthetic_verbs_come_from_the_given_ones_alone():
    """Of verbs that all take -ed after two vowels or two consonants, none comes that doubles or drops an e."""
    synthetic = lab.synthesize(rows("help", "look", "depart", "jump"), 500, seed=0)
    assert all(verb[3] == verb[0] + "ed" for verb in synthetic)
    assert {verb[0][-1] for verb in synthetic} == {"p", "k", "t"}


def test_a_fifth_of_the_letters_is_replaced_by_others_of_their_class():
    lemmas = [verb[0] for verb in lab.synthesize(rows("bananyquolk"), 3000, seed=0)]
    pairs = [pair for lemma in lemmas for pair in zip("bananyquol", lemma[-11:-1])]
    assert all((a in "aeiou") == (b in "aeiou") and (a == b or a not in "yq") for a, b in pairs)
    changed = sum(a != b for a, b in pairs) / sum(a not in "yq" for a, _ in pairs)
    assert 0.85 * 0.16 < changed < 0.85 * 0.2, "some are replaced by themselves, and three in twenty are compounds"


def test_a_stressed_ending_keeps_to_heads_that_stress_it():
    table = rows("com", "per", "sub", endings="mit mits mitting mitted".split())
    table += rows("re", "pre", endings="fer fers ferring ferred".split())
    synthetic = {verb[0] for verb in lab.synthesize(table, 300, seed=0)}
    bare = {head + tail for head in ("com", "per", "sub", "re", "pre") for tail in ("mit", "fer")}
    lemmas, beginnings = [verb[0] for verb in table], {verb[0][:n] for verb in table for n in range(7)}
    assert bare < synthetic <= bare | {before + lemma for before in beginnings for lemma in lemmas}, "or a compound"


def test_spliced_words_are_of_one_tense_and_end_as_most_of_it(verbs):
    splice = from_notebook("05", "splice")
    ciphers = [str.maketrans("abcdefghijklmnopqrstuvwxyz", letters * 4 + "xy") for letters in ("abcdef", "ghijkl")]
    table = [(*(form.translate(ciphers[0]) for form in verb[:3]), verb[3].translate(ciphers[1])) for verb in verbs]
    assert all(set(row[3]) <= set("ghijklxy") and not set(row[0]) & set("ghijkl") for row in splice(table, 200, 0))
    spliced = splice(verbs, 1000, seed=0)
    assert spliced == splice(verbs, 1000, seed=0) != splice(verbs, 1000, seed=1)
    for words, known, ending in zip(zip(*spliced), zip(*verbs), ("", "s", "ing", "ed")):
        triples = {f"^{word}$"[i : i + 3] for word in known for i in range(len(word))}
        assert all(f"^{word}$"[i : i + 3] in triples for word in words for i in range(len(word)))
        assert all(word.endswith(ending) for word in words) and len(set(words) - set(known)) > 600
    assert splice([("a", "b", "c", "d")], 2, 0) == [("a", "b", "c", "d")] * 2


def test_refining_with_synthetic_verbs_rehearses_what_noise_decoded_to(verbs, monkeypatch):
    made, kept, calls, synthesize, cross_entropy = [], set(), [], lab.synthesize, lab.CVAE.cross_entropy

    def record(model, z, targets, free, teacher=(None, None)):
        if teacher[0] is not None:
            rows = model.generator.generate(z)
            assert all((a == b).all() for a, b in zip(cross_entropy(model.generator, z, targets, free)[1], teacher))
            for words in targets:
                assert lab.tensor_to_words(words.letters) == [row[t] for row, t in zip(rows, words.tense)]
            made.append((len(z), free.any().item())), kept.add(model.generator.from_z.weight.sum().item())
        return cross_entropy(model, z, targets, free, teacher)

    monkeypatch.setattr(lab, "synthesize", lambda *args: calls.append(args) or synthesize(*args))
    monkeypatch.setattr(lab.CVAE, "cross_entropy", record)
    model = lab.train(UNSEEN, verbs[:20], progress=False).model
    assert [(table, n) for table, n, _ in calls] == [(verbs[:20], n) for n in (0, 40, 40)], "asked once, in two epochs"
    assert len({seed for *_, seed in calls[1:]}) == 2 and made == [(4, False)] * 26, "half a batch each, forced"
    assert len(kept) == 1 and model.generator is None and model.from_z.weight.sum().item() not in kept


def test_a_table_without_a_regular_verb_is_refused_before_any_epoch(monkeypatch):
    monkeypatch.setattr(lab, "train_epoch", lambda *_: pytest.fail("an epoch was trained"))
    for refine, error, message in (0.5, ValueError, "no regular one among 1"), (0.0, pytest.fail.Exception, "an epoch"):
        with pytest.raises(error, match=message):
            lab.train(lab.Config(**vars(UNSEEN) | dict(refine=refine)), [("bring", "brings", "bringing", "brought")])


def test_synthetic_verbs_teach_the_forms_of_unseen_ones(split_verbs, verbs):
    config = lab.Config(hidden_size=96, latent_size=32, epochs=14, refine=0.5, evaluate_every=1000)
    training, held = split_verbs([verb for verb in verbs if len(verb[0]) < 5])
    words = lab.convert_verbs(lab.train(config, training, progress=False).model, held)
    assert (words[:, lab.SP, 1:] == [verb[1:] for verb in held]).mean() > 0.25
