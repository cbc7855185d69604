"""Self-taught: costs, joins, rows, synthetic verbs, the conjugator; the order of lists is nothing.

Its kept runs are asked for, not trained: a real conjugator takes a minute.
"""

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import lab, lab5_runs, lab5_train, small, taught, train
from scipy.optimize import linear_sum_assignment

from experiments.words import is_regular

ENDINGS = {"walk": ("", "s", "ing", "ed"), "bake": ("e", "es", "ing", "ed")}
STEMS = {
    "walk": "walk talk help ask call fill look lift jump kick melt mend pack park pick plant "
    "print push turn want",
    "bake": "bak hat lik lov mov nam not sav shar smil stat trad us vot wast wip typ tim clos danc",
}
VERBS = []
for rule, endings in ENDINGS.items():
    VERBS += [tuple(stem + ending for ending in endings) for stem in STEMS[rule].split()]
VERBS += [("go", "goes", "going", "went"), ("take", "takes", "taking", "took")]
LISTS = [sorted(words) for words in zip(*VERBS, strict=True)]


def shuffled(seed):
    rng = random.Random(seed)
    return [rng.sample(words, len(words)) for words in LISTS]


@pytest.fixture(scope="module")
def run():
    """Returns a run of the lab's model that knows the words of the lists, trained in seconds."""
    learns = {"epochs": 60, "batch_size": 12, "learning_rate": 0.015, "target_kl": 10}
    return train(small(**learns, refine=0.3), taught.table_of(LISTS))


# ---- Lists ----
BAD_LISTS = {
    "lists: found 1; expected one per tense, at least 2": LISTS[:1],
    "list 2: found 41 words; expected at least 20, as many in each list": [LISTS[0], LISTS[1][1:]],
    "list 1: found 19 words; expected at least 20": [words[:19] for words in LISTS],
    "list 2: found 'asks' 2 times; expected each word once": [LISTS[0], ["asks", *LISTS[1][:-1]]],
    "list 2: found 'Ask'; expected 1 to 32 letters": [LISTS[0], ["Ask", *LISTS[1][1:]]],
    "list 1: found 3; expected a list of words": [3],
}


@pytest.mark.parametrize("message", BAD_LISTS)
def test_bad_lists_are_refused_by_list_and_word_before_any_training(message):
    for call in (taught.self_taught, lambda lists: taught.find_rows(None, lists)):
        with pytest.raises((ValueError, TypeError), match=f"^{message}"):
            call(BAD_LISTS[message])


def test_a_letter_that_the_model_lacks_and_a_run_that_was_not_refined_are_refused(run):
    lists = [["zebra", *LISTS[0][1:]], *LISTS[1:]]
    with pytest.raises(ValueError, match=r"found 'z' in 'zebra'; expected letters"):
        taught.find_rows(run, lists)
    with pytest.raises(ValueError, match="run: found no model before refining"):
        taught.find_rows(run._replace(before_refining=None), LISTS)


# ---- Costs ----
def test_costs_are_those_of_each_pair_by_itself_both_ways(run):
    model = run.model
    asked = np.ones((3, 4), dtype=bool)
    asked[1, 2] = False
    one = lab.as_words(LISTS[0][:3], 0, model.vocabulary)
    other = lab.as_words(LISTS[3][:4], 3, model.vocabulary)
    costs = taught.costs_between(model, one, other, asked)

    def nats(word, tense, target, target_tense):
        mu, _ = model.encode([word], tense)
        letters = lab.as_words([target], target_tense, model.vocabulary)
        forced = torch.zeros(1, dtype=torch.bool)
        return model.decoder.nats(mu, letters, forced, 1.0).ce.item()

    for i, j in itertools.product(range(3), range(4)):
        lemma, past = LISTS[0][i], LISTS[3][j]
        both = nats(lemma, 0, past, 3) + nats(past, 3, lemma, 0)
        expected = both if asked[i, j] else np.inf
        assert costs[i, j] == pytest.approx(expected, rel=1e-4)


def test_costs_have_the_same_bits_on_any_number_of_cores(run):
    """Since the rows that they choose are part of a run."""
    costs = []

    def choose(found):
        assert torch.get_num_threads() == 1
        costs.append(found)
        return taught.mutual(found)

    for threads in (1, 3):
        torch.set_num_threads(threads)
        taught.join(run.model, LISTS, taught.nothing_joined(LISTS), choose)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(costs[:3], costs[3:])


def test_near_are_the_nearest_codes_either_way(monkeypatch):
    monkeypatch.setattr(taught, "NEAREST", 1)
    one = torch.tensor([[0.0], [1.0], [5.0]])
    other = torch.tensor([[0.9], [1.2], [9.0]])
    near = taught.are_near(one, other).astype(int)
    assert [" ".join(map(str, row)) for row in near] == ["1 0 0", "1 1 0", "0 1 1"]


# ---- Joins ----
def test_words_that_choose_each_other_below_a_limit_are_mutual():
    costs = np.array(
        [
            [0.1, 0.3, 0.9],
            [0.2, 0.8, 0.7],
            [0.9, 0.6, 0.8],
        ]
    )
    assert [chosen.tolist() for chosen in taught.mutual(costs)] == [[0], [0]]
    costs[2, 2] = 0.5
    assert [chosen.tolist() for chosen in taught.mutual(costs)] == [[0, 2], [0, 2]]
    assert [chosen.tolist() for chosen in taught.mutual(costs, 0.5)] == [[0], [0]]
    rows, columns = taught.mutual(np.zeros((0, 3)))
    assert len(rows) == len(columns) == 0


def test_near_is_what_was_near_before_refining(run, monkeypatch):
    monkeypatch.setattr(taught, "NEAREST", 1)
    untrained = lab.make_model(run.config, run.model.vocabulary)
    joins = taught.sure_joins(run, LISTS)
    assert (joins != taught.sure_joins(run._replace(before_refining=untrained), LISTS)).any()


def test_words_that_are_joined_stay_and_the_rest_is_joined_one_to_one(run):
    joins = taught.nothing_joined(LISTS)
    joins[3, 1:] = [5, 6, 7]
    joined = taught.join(run.model, LISTS, joins, linear_sum_assignment)
    assert joined[3].tolist() == [3, 5, 6, 7]
    for column in joined.T:
        assert sorted(column) == list(range(len(LISTS[0])))


def test_rows_are_found_whatever_the_order_of_the_lists(run):
    rows = taught.find_rows(run, LISTS)
    assert len(set(rows) & set(VERBS)) > 0.8 * len(VERBS), "told words and tenses alone"
    for words, column in zip(LISTS, zip(*rows, strict=True), strict=True):
        assert sorted(column) == words, "each word is in one row"
    assert taught.find_rows(run, shuffled(0)) == rows


# ---- Cuts and classes ----
CUTS = {
    "stop stops stopping stopped": "stop: – s 2ing 2ed",
    "try tries trying tried": "tr: y ies ying ied",
    "agree agrees agreeing agreed": "agree: – s ing d",
    "hablar habla habló hablando": "habl: ar a ó ando",
    "go went": ": go went",
}


@pytest.mark.parametrize("row", CUTS)
def test_a_verb_is_cut_by_its_own_row(row):
    verb = tuple(row.split())
    stem, endings = taught.cut(verb)
    assert f"{stem}: {' '.join(ending or '–' for ending in endings)}" == CUTS[row]
    assert taught.inflect(stem, endings) == verb


def test_productive_classes_are_the_regular_ones(verbs):
    classes = taught.productive_classes(verbs)
    endings = {" ".join(endings) for endings in classes}
    assert endings == {" s ing ed", "e es ing ed", " s 2ing 2ed", " es ing ed", "y ies ying ied"}
    members = {verb for verb in verbs if taught.cut(verb).endings in classes}
    assert all(map(is_regular, members))
    assert len(members) > 0.98 * sum(map(is_regular, verbs))


# ---- Synthetic verbs ----
@pytest.fixture(scope="module")
def synthetic(verbs):
    return taught.Synthesizer(verbs).draw(4000, seed=0)


def test_synthetic_verbs_are_those_of_their_seed_and_new(synthetic, verbs):
    synthesizer = taught.Synthesizer(verbs)
    assert synthesizer.draw(4000, seed=0) == synthetic != synthesizer.draw(4000, seed=1)
    assert len(set(synthetic)) > 0.9 * 4000
    assert not {verb[0] for verb in synthetic} & {verb[0] for verb in verbs}
    assert lab.distinct_verbs(synthetic), "they are verbs"
    prefixes = {synthesizer.prefix(random.Random(n)) for n in range(100)}
    stems = tuple(synthesizer.stems)
    assert all(any(stem.startswith(prefix) for stem in stems) for prefix in prefixes)


def test_synthetic_verbs_are_longer_and_more_often_of_rare_classes(synthetic, verbs):
    """Since half have a prefix, and half have a model that was chosen by class first."""

    def share_doubled(verbs):
        return np.mean([taught.cut(verb).endings == ("", "s", "2ing", "2ed") for verb in verbs])

    assert np.mean([len(verb[0]) for verb in synthetic]) > 6.5
    assert share_doubled(synthetic) > 1.5 * share_doubled(verbs)


def test_lemmas_that_are_held_out_are_never_made(synthetic, verbs):
    held_out = {verb[0] for verb in synthetic[::2]}
    made = {verb[0] for verb in taught.Synthesizer(verbs, held_out).draw(4000, seed=0)}
    assert not made & held_out
    assert len(made & {verb[0] for verb in synthetic[1::2]}) > 1000


def test_nearly_all_are_of_productive_classes_and_spelling_rules_agree_with_most(synthetic, verbs):
    classes = taught.productive_classes(verbs)
    assert sum(taught.cut(verb).endings in classes for verb in synthetic) > 0.96 * 4000
    assert sum(map(is_regular, synthetic)) > 0.9 * 4000


def test_a_letter_is_resampled_to_one_that_has_stood_between_the_same_two(monkeypatch):
    monkeypatch.setattr(taught, "RESAMPLED", 1.0)
    lemmas = [letter + "alk" for letter in "bcdfghjkmnpqrstvwxyz"] + ["wilk"]
    rows = [tuple(lemma + ending for ending in ENDINGS["walk"]) for lemma in lemmas]
    synthesizer = taught.Synthesizer(rows)
    rng = random.Random(0)
    made = {synthesizer.resample("wa", rng) for _ in range(500)}
    assert {word[1] for word in made} == {"a", "i"}, "w stood before either"
    assert {word[0] for word in made} == set("bcdfghjkmnpqrstvwxyz"), "all stood before a"


def test_rows_that_no_verb_can_be_made_of_are_refused():
    with pytest.raises(ValueError, match="rows: found at most 1 verbs with the same endings"):
        taught.Synthesizer(VERBS[-2:])
    rows = [tuple("a" * n + ending for ending in ENDINGS["walk"]) for n in range(1, 30)]
    with pytest.raises(ValueError, match="rows: found 0 new verbs in 2000 tries; expected 100"):
        taught.Synthesizer(rows).draw(100, seed=0)


# ---- The conjugator ----
def test_an_epoch_shows_each_row_a_form_to_another_and_synthetic_verbs():
    model = lab.make_model(small(), lab.vocabulary_of(VERBS))
    training = taught.Conjugation(small(batch_size=16), model, VERBS)
    pairs = []
    for batch in training.make_epoch(1):
        words = [model.vocabulary.to_words(side.letters) for side in batch]
        pairs += zip(*words, *(side.tense.tolist() for side in batch), strict=True)
    assert len(pairs) == 2 * 40 + 8 * 2 + 9 * 42
    row_of = {(form, tense): verb for verb in VERBS for tense, form in enumerate(verb)}
    shown = []
    for source, target, tense, target_tense in pairs:
        assert tense != target_tense
        row = row_of.get((source, tense))
        if row and row[target_tense] == target:
            shown.append(row)
    assert shown.count(VERBS[0]) >= 2, "synthetic forms may be equal to its own"
    assert shown.count(VERBS[-1]) == shown.count(VERBS[-2]) == 8, "irregular"
    mu = torch.ones(2, 3)
    assert training.sample(mu, mu) is mu
    drawn = set()
    for seed, epoch in itertools.product((0, 1), (1, 2)):
        training = taught.Conjugation(small(seed=seed), model, VERBS)
        drawn.add(tuple(training.shown(epoch)[2 * 40 + 8 * 2 :]))
    assert len(drawn) == 4, "new ones at each seed and epoch"


def task_of_conjugator(monkeypatch, rows, held_out=()):
    """Returns the task of the run that `learn` asks for."""
    tasks = []

    def load_or_train(*args, **options):
        tasks.append(lab5_train.check_task(*args, **options))
        return SimpleNamespace(model=None)

    with monkeypatch.context() as patch:
        patch.setattr(taught, "load_or_train", load_or_train)
        taught.learn(rows, LISTS, seed=0, held_out=held_out)
    return tasks[0]


def test_a_conjugator_is_kept_by_its_rows_and_held_out_lemmas(monkeypatch):
    rows = [verb for verb in VERBS if verb[0] != "jump"]  # the only one with a *j*
    held_out = [(), ["lalk"], ["lalk", "melk"], ["melk", "lalk"]]
    tasks = [task_of_conjugator(monkeypatch, rows, lemmas) for lemmas in held_out]
    tasks.append(task_of_conjugator(monkeypatch, VERBS))
    assert len({lab5_runs.run_key(task) for task in tasks}) == 4
    assert lab5_runs.reasons_not_to_keep(tasks[0]) == []
    training = tasks[0].make_training(tasks[0].config, rows)
    assert training.model.vocabulary == lab.vocabulary_of(VERBS), "it reads all of the lists"


def test_each_round_starts_from_the_sure_joins_and_the_last_conjugator_from_all(monkeypatch):
    sure = taught.nothing_joined(LISTS)
    started, learned = [], []

    def join(model, lists, joins, choose):
        started.append(joins)
        return np.tile(joins[:, :1], 4)

    monkeypatch.setattr(taught, "join", join)
    monkeypatch.setattr(taught, "learn", lambda rows, *rest, **more: learned.append(len(rows)))
    assert taught.teach(LISTS, sure, seed=0).rows == taught.table_of(LISTS)
    assert [joins is sure for joins in started] == [True, True, False]
    assert learned == [0, 42, 42]


def test_all_of_it_from_lists_in_any_order(monkeypatch, run):
    seeds, held_out = [], []

    def train_quickly(config, verbs, make_training=None, **options):
        seeds.append(config.seed)
        if make_training is None:
            return run
        held_out.append(make_training.keywords["held_out"])
        options |= {"make_training": make_training, "progress": False}
        return lab5_runs.train(config, verbs, **options)

    size = {"hidden_size": 48, "latent_size": 16, "embedding_size": 16, "epochs": 3}
    monkeypatch.setattr(taught, "CONJUGATOR", taught.CONJUGATOR | size)
    monkeypatch.setattr(taught, "load_or_train", train_quickly)
    found = taught.self_taught(LISTS, seed=1, held_out=["lalk"])
    assert set(seeds) == {1} and set(held_out) == {("lalk",)}
    for words, column in zip(LISTS, zip(*found.rows, strict=True), strict=True):
        assert sorted(column) == words
    assert len(found.model.convert(["walk"], 0, 3)) == 1
    assert taught.self_taught(shuffled(1), seed=1, held_out=["lalk"]).rows == found.rows
