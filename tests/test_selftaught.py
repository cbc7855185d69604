"""Self-taught: costs, joins, rows, synthetic verbs, the conjugator; the order of lists is nothing.

Its conjugators are small and learn for a few epochs: a real one takes a minute.
"""

import itertools
import random

import numpy as np
import pytest
import torch
from conftest import lab, lab5_runs, small, taught, train
from scipy.optimize import linear_sum_assignment

from experiments.words import is_regular

ADDED = ("", "s", "ing", "ed")
VERBS = []
for endings in (ADDED, ("e", "es", "ing", "ed")):
    alike = [verb for verb in lab.load_verbs() if taught.cut(verb).endings == endings]
    VERBS += [verb for verb in alike if len(verb[0]) == 4][:20]
VERBS += [("go", "goes", "going", "went"), ("take", "takes", "taking", "took")]
LISTS = [sorted(words) for words in zip(*VERBS, strict=True)]


def shuffled(seed):
    rng = random.Random(seed)
    return [rng.sample(words, len(words)) for words in LISTS]


@pytest.fixture(scope="module")
def run():
    """Returns a run of the lab's model that knows the words of the lists, trained in seconds."""
    return train(small(epochs=60, batch_size=12, learning_rate=0.015), taught.table_of(LISTS))


@pytest.fixture
def model(run):
    return run.model


# ---- Lists ----
BAD_LISTS = {
    "lists: found 1; expected one per tense, at least 2": LISTS[:1],
    "list 2: found 41 words; expected at least 20, as many in each list": [LISTS[0], LISTS[1][1:]],
    "list 1: found 19 words; expected at least 20": [words[:19] for words in LISTS],
    "list 2: found 'backs' 2 times; expected each word once": [LISTS[0], ["backs", *LISTS[1][:-1]]],
    "list 2: found 'Ask'; expected 1 to 32 letters": [LISTS[0], ["Ask", *LISTS[1][1:]]],
}


@pytest.mark.parametrize("message", BAD_LISTS)
def test_bad_lists_are_refused_by_list_and_word_before_any_training(message):
    with pytest.raises(ValueError, match=f"^{message}"):
        taught.self_taught(BAD_LISTS[message])


def test_a_letter_that_the_model_lacks_is_refused(model):
    lists = [["zebra", *LISTS[0][1:]], *LISTS[1:]]
    with pytest.raises(ValueError, match=r"found 'z' in 'zebra'; expected letters"):
        taught.self_taught(lists, model=model)


# ---- Costs ----
def test_costs_are_those_of_each_pair_by_itself_both_ways(model):
    wanted = np.ones((3, 4), dtype=bool)
    wanted[1, 2] = False
    one = lab.as_words(LISTS[0][:3], 0, model.vocabulary)
    other = lab.as_words(LISTS[3][:4], 3, model.vocabulary)
    costs = taught.costs_between(model, one, other, wanted)

    def nats(word, tense, target, target_tense):
        mu, _ = model.encode([word], tense)
        letters = lab.as_words([target], target_tense, model.vocabulary)
        forced = torch.zeros(1, dtype=torch.bool)
        return model.decoder.nats(mu, letters, forced, 1.0).ce.item()

    for i, j in itertools.product(range(3), range(4)):
        lemma, past = LISTS[0][i], LISTS[3][j]
        both = nats(lemma, 0, past, 3) + nats(past, 3, lemma, 0)
        expected = both if wanted[i, j] else np.inf
        assert costs[i, j] == pytest.approx(expected, rel=1e-4)
    limit = np.median(costs)
    few = taught.costs_between(model, one, other, wanted, limit)
    assert few == pytest.approx(np.where(costs < limit, costs, np.inf), rel=1e-4)


def test_costs_are_computed_on_one_core_so_that_others_have_the_same_bits(model):
    """Since the rows that they choose are part of a run."""
    threads = []

    def choose(costs):
        threads.append(torch.get_num_threads())
        return taught.mutual(costs)

    torch.set_num_threads(3)
    taught.join(model, LISTS, taught.nothing_joined(LISTS), choose)
    torch.set_num_threads(1)
    assert threads == [1, 1, 1]


def test_near_are_the_nearest_codes_either_way(monkeypatch):
    monkeypatch.setattr(taught, "NEAREST", 1)
    one = torch.tensor([[0.0], [1.0], [5.0]])
    other = torch.tensor([[0.9], [1.2], [9.0]])
    near = taught.are_near(one, other).astype(int)
    assert [" ".join(map(str, row)) for row in near] == ["1 0 0", "1 1 0", "0 1 1"]
    monkeypatch.undo()
    assert taught.are_near(one, other).all(), "of three words"


# ---- Joins ----
def test_words_that_choose_each_other_are_mutual():
    def pairs(costs):
        return list(zip(*taught.mutual(costs), strict=True))

    costs = np.array([[0.3, 0.1], [0.8, 0.2]])
    assert pairs(costs) == [(0, 1)]
    costs[1, 0] = 0.15
    assert pairs(costs) == [(0, 1), (1, 0)]
    assert pairs(np.full((2, 2), np.inf)) == []
    assert pairs(np.zeros((0, 3))) == []


def test_sure_joins_are_right_since_words_that_cost_much_wait(model):
    sure = taught.sure_joins(model, LISTS)
    right = np.array([[*map(list.index, LISTS, verb)] for verb in sorted(VERBS)])
    assert (sure == right)[sure >= 0].all()
    assert (sure >= 0).all(1).mean() > 0.8


def test_words_that_are_joined_stay_and_the_rest_is_joined_one_to_one(model):
    joins = taught.nothing_joined(LISTS)
    joins[3, 1:] = [5, 6, 7]
    joined = taught.join(model, LISTS, joins, linear_sum_assignment)
    assert joined[3].tolist() == [3, 5, 6, 7]
    for column in joined.T:
        assert sorted(column) == list(range(len(LISTS[0])))


def test_the_rest_is_joined_one_to_one_and_most_rows_are_right(model):
    sure = taught.sure_joins(model, LISTS)
    rows = taught.rows_of(LISTS, taught.join(model, LISTS, sure, linear_sum_assignment))
    assert len(set(rows) & set(VERBS)) > 0.8 * len(VERBS), "given words and tenses alone"
    assert taught.check_lists(zip(*rows, strict=True)) == LISTS, "each word is in one row"


# ---- Cuts and classes ----
CUTS = {
    "stop stops stopping stopped": "stop: – s 2ing 2ed",
    "try tries trying tried": "tr: y ies ying ied",
    "agree agrees agreeing agreed": "agree: – s ing d",
    "go went": ": go went",
}


@pytest.mark.parametrize("row", CUTS)
def test_a_verb_is_cut_by_its_own_row(row):
    verb = tuple(row.split())
    stem, endings = taught.cut(verb)
    assert f"{stem}: {' '.join(ending or '–' for ending in endings)}" == CUTS[row]
    assert taught.inflect(stem, endings) == verb


def test_productive_classes_are_the_regular_ones(verbs):
    endings = {" ".join(endings) for endings in taught.productive_classes(verbs)}
    assert endings == {" s ing ed", "e es ing ed", " s 2ing 2ed", " es ing ed", "y ies ying ied"}


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


def test_synthetic_verbs_are_longer_and_nearly_all_regular_often_of_rare_classes(synthetic, verbs):
    """Since half have a prefix, and half have a model that was chosen by class first."""
    assert np.mean([len(verb[0]) for verb in synthetic]) > 6.5
    assert np.mean([is_regular(verb) for verb in synthetic]) > 0.9
    ours, theirs = ([taught.cut(verb).endings for verb in some] for some in (synthetic, verbs))
    classes = taught.productive_classes(verbs)
    assert np.mean([endings in classes for endings in ours]) > 0.96
    doubled = ("", "s", "2ing", "2ed")
    assert ours.count(doubled) / len(ours) > 1.5 * theirs.count(doubled) / len(theirs)


def test_lemmas_that_are_held_out_are_never_made(synthetic, verbs):
    held_out = {verb[0] for verb in synthetic[::2]}
    lemmas = {verb[0] for verb in taught.Synthesizer(verbs, held_out).draw(4000, seed=0)}
    assert not lemmas & held_out
    assert len(lemmas & {verb[0] for verb in synthetic[1::2]}) > 1000


def test_rows_that_no_verb_can_be_made_of_are_refused():
    with pytest.raises(ValueError, match="rows: found at most 1 verbs with the same endings"):
        taught.Synthesizer(VERBS[-2:])
    rows = [tuple("a" * n + ending for ending in ADDED) for n in range(1, 30)]
    with pytest.raises(ValueError, match="rows: found 0 new verbs in 2000 tries; expected 100"):
        taught.Synthesizer(rows).draw(100, seed=0)


# ---- The conjugator ----
ALPHABET = lab.vocabulary_of(VERBS).alphabet


def conjugation(**changes):
    return taught.Conjugation(small(**changes), VERBS, ALPHABET)


def test_an_epoch_asks_for_a_form_of_each_row_from_another_and_for_synthetic_verbs():
    training = conjugation(batch_size=16)
    rows = training.shown(1)
    assert len(rows) == 2 * 40 + 8 * 2 + 9 * 42
    assert rows.count(VERBS[0]) >= 2, "a synthetic verb may be equal to it"
    assert rows.count(VERBS[-1]) == rows.count(VERBS[-2]) == 8, "irregular"
    conversions = []
    for batch in training.make_epoch(1):
        words = [training.model.vocabulary.to_words(side.letters) for side in batch]
        conversions += zip(*words, *(side.tense.tolist() for side in batch), strict=True)
    pairs = list(itertools.permutations(range(4), 2))
    possible = {(verb[t], verb[u], t, u) for verb in rows for t, u in pairs}
    assert len(conversions) == len(rows)
    assert set(conversions) <= possible


def test_a_conjugator_learns_from_means():
    mu = torch.ones(2, 3)
    assert conjugation().sample(mu, mu) is mu


def test_synthetic_verbs_are_new_at_each_seed_and_epoch():
    drawn = set()
    for seed, epoch in itertools.product((0, 1), (1, 2)):
        drawn.add(tuple(conjugation(seed=seed).shown(epoch)))
    assert len(drawn) == 4


def test_all_of_it_from_lists_in_any_order(monkeypatch, run):
    seeds, held_out = [], []

    def train_quickly(config, verbs, make_training=None, **options):
        seeds.append(config.seed)
        if make_training is None:
            return run
        held_out.append(make_training.keywords["held_out"])
        options |= {"make_training": make_training, "progress": False}
        return lab5_runs.train(config, verbs, **options)

    size = {"hidden_size": 48, "latent_size": 16, "embedding_size": 16}
    monkeypatch.setattr(taught, "CONJUGATOR", taught.CONJUGATOR | size)
    monkeypatch.setattr(taught, "LESSONS", (3, 1, 1))
    monkeypatch.setattr(taught, "load_or_train", train_quickly)
    rows = taught.self_taught(LISTS, seed=1, held_out=["melk", "lalk"]).rows
    assert set(seeds) == {1}
    assert set(held_out) == {("lalk", "melk")}
    assert taught.check_lists(zip(*rows, strict=True)) == LISTS
    assert taught.self_taught(shuffled(1), seed=1, held_out=["lalk", "melk"]).rows == rows
