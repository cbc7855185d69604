"""Self-taught: costs, joins, rows and the conjugator, from lists whose order says nothing."""

import itertools
import random

import numpy as np
import pytest
import torch
from conftest import lab, lab5_train, no_epoch, small, taught
from generated import attempt
from scipy.optimize import linear_sum_assignment

ENDINGS = {"walk": ("", "s", "ing", "ed"), "bake": ("e", "es", "ing", "ed")}
STEMS = {
    "walk": "walk talk help ask call fill look lift jump kick melt mend pack park pick plant",
    "bake": "bak hat lik lov mov nam not sav shar smil stat trad us vot wast wip typ tim",
}
VERBS = []
for rule, endings in ENDINGS.items():
    VERBS += [tuple(stem + ending for ending in endings) for stem in STEMS[rule].split()]
VERBS += [("go", "goes", "going", "went"), ("take", "takes", "taking", "took")]
LEARNS = {"epochs": 60, "batch_size": 12, "learning_rate": 0.015, "target_kl": 10, "refine": 0.3}
LISTS = [sorted(words) for words in zip(*VERBS, strict=True)]


def shuffled(seed):
    rng = random.Random(seed)
    return [rng.sample(words, len(words)) for words in LISTS]


@pytest.fixture(scope="module")
def run():
    """Returns a run of the lab's model that knows the words of the lists, trained in seconds."""
    return lab5_train.train(small(**LEARNS), taught.table_of(LISTS), pairs=[], progress=False)


# ---- Lists ----
BAD_LISTS = {
    "lists: found 'walk'; expected lists of words": "walk",
    "lists: found 1; expected one a tense, at least 2": LISTS[:1],
    "list 2: found 35 words; expected at least 20, as many in each list": [LISTS[0], LISTS[1][1:]],
    "list 1: found 19 words; expected at least 20": [words[:19] for words in LISTS],
    "list 2: found 'asks' 2 times; expected each word once": [
        LISTS[0],
        ["asks", *LISTS[1][:-1]],
    ],
    "list 2: found 'A' .* in 'Ask'; expected 1 to 32 letters": [LISTS[0], ["Ask", *LISTS[1][1:]]],
    "list 1: found 3; expected a list of words": [3],
}


@pytest.mark.parametrize("message", BAD_LISTS)
def test_bad_lists_are_refused_by_list_and_word_before_any_training(message, monkeypatch, run):
    monkeypatch.setattr(taught, "load_or_train", no_epoch)
    for call in (taught.self_taught, lambda lists: taught.find_rows(run, lists)):
        with pytest.raises((ValueError, TypeError), match=f"^{message}"):
            call(BAD_LISTS[message])


def test_a_letter_that_the_model_lacks_and_a_run_that_was_not_refined_are_refused(run):
    lists = [["zebra", *LISTS[0][1:]], *LISTS[1:]]
    with pytest.raises(ValueError, match=r"found 'z' .* in 'zebra'; expected letters"):
        taught.find_rows(run, lists)
    with pytest.raises(ValueError, match="run: found no model before refining"):
        taught.find_rows(run._replace(before=None), LISTS)


# ---- Costs ----
def test_costs_are_those_of_each_pair_by_itself_both_ways(run):
    model = run.model
    one = taught.words_of(model, LISTS[0][:3], 0)
    other = taught.words_of(model, LISTS[3][:4], 3)
    asked = np.ones((3, 4), dtype=bool)
    asked[1, 2] = False
    costs = taught.costs_between(model, one, other, asked)
    for i, j in itertools.product(range(3), range(4)):
        nats = 0.0
        for (words, n, tense), (target, m, other_tense) in itertools.permutations(
            [(LISTS[0], i, 0), (LISTS[3], j, 3)]
        ):
            mu, _ = model.encode([words[n]], tense)
            letters = taught.words_of(model, [target[m]], other_tense)
            forced = torch.zeros(1, dtype=torch.bool)
            nats += model.decoder.nats(mu, letters, forced, 1.0).ce.item()
        assert costs[i, j] == (pytest.approx(nats, rel=1e-4) if asked[i, j] else np.inf)


@pytest.mark.parametrize("threads", [2, 3])
def test_costs_have_the_same_bits_on_any_number_of_cores(run, threads):
    costs = []

    def choose(found):
        costs.append(found)
        return taught.mutual(found)

    for count in (1, threads):
        torch.set_num_threads(count)
        taught.join(run.model, LISTS, taught.nothing_joined(LISTS), choose)
        assert torch.get_num_threads() == count
    torch.set_num_threads(1)
    for one, other in zip(costs[:3], costs[3:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_near_are_the_nearest_codes_either_way(monkeypatch):
    monkeypatch.setattr(taught, "NEAREST", 1)
    one = torch.tensor([[0.0], [1.0], [5.0]])
    other = torch.tensor([[0.9], [1.2], [9.0]])
    near = {tuple(map(int, pair)) for pair in np.argwhere(taught.are_near(one, other))}
    assert near == {(0, 0), (1, 0), (2, 1), (1, 1), (2, 2)}


# ---- Joins ----
def test_mutual_choices_by_brute_force():
    rng = np.random.default_rng(0)
    for shape in ((5, 5), (4, 7), (1, 1), (0, 3)):
        costs = rng.random(shape)
        expected = []
        for i, j in itertools.product(range(shape[0]), range(shape[1])):
            if costs[i, j] == costs[i].min() == costs[:, j].min() and costs[i, j] < 0.5:
                expected.append((i, j))
        rows, columns = taught.mutual(costs, 0.5)
        assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected


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
    for seed in range(2):
        assert taught.find_rows(run, shuffled(seed)) == rows


# ---- The conjugator ----
@pytest.fixture
def quick(monkeypatch, runs_folder):
    """Makes conjugators that are trained in a second, of small classes."""
    small_one = {"hidden_size": 48, "latent_size": 16, "embedding_size": 16, "epochs": 3}
    monkeypatch.setattr(taught, "CONJUGATOR", taught.CONJUGATOR | small_one)
    monkeypatch.setattr(taught, "PRODUCTIVE", 10)
    monkeypatch.setattr(taught, "Config", lambda **values: small(**LEARNS | values))


def test_an_epoch_shows_each_row_a_form_to_another_and_synthetic_verbs(monkeypatch):
    monkeypatch.setattr(taught, "PRODUCTIVE", 10)
    config = small(batch_size=16)
    model = lab.make_model(config, lab.vocabulary_of(VERBS))
    training = taught.Conjugation(config, model, lab.check_verbs(VERBS), held_out=["lalk"])
    pairs = []
    for batch in training.make_epoch(1):
        sides = [model.vocabulary.to_words(side.letters) for side in batch]
        tenses = [side.tense.tolist() for side in batch]
        assert len(sides[0]) <= 16
        pairs += zip(*sides, *tenses, strict=True)
    assert all(source_tense != target_tense for *_, source_tense, target_tense in pairs)
    row_of = {(form, tense): verb for verb in VERBS for tense, form in enumerate(verb)}
    known = [pair for pair in pairs if (pair[0], pair[2]) in row_of]
    shown = [row_of[source, tense] for source, _, tense, _ in known]
    for verb in VERBS[:2]:
        assert shown.count(verb) >= 2
    assert shown.count(VERBS[-1]) == shown.count(VERBS[-2]) == 8, "irregular"
    for source, target, source_tense, target_tense in known:
        row = row_of[source, source_tense]
        assert target == row[target_tense] or (target, target_tense) not in row_of
    assert len(pairs) == 2 * 34 + 8 * 2 + 9 * 36
    again = taught.Conjugation(config, model, lab.check_verbs(VERBS), held_out=["lalk"])
    assert len(again.make_epoch(2)) > 0


def test_the_conjugator_decodes_means_and_reads_every_letter_of_the_lists(quick):
    rows = lab.check_verbs(VERBS[:34])  # without the *g* of *go*
    model = taught.learn(rows, LISTS, seed=0)
    assert model.vocabulary == lab.vocabulary_of(VERBS)
    training = taught.Conjugation(small(), model, rows, ())
    mu = torch.ones(2, 3)
    assert training.sample(mu, mu) is mu
    assert training.evaluate(1, None) == {}
    assert set(taught.CONJUGATOR) <= set(vars(lab5_train.Config()))


def test_held_out_lemmas_and_rows_name_a_run(quick, runs_folder):
    rows = lab.check_verbs(VERBS)
    for held_out in ((), ["lalk"], {"lalk", "melk"}, ["melk", "lalk"]):
        taught.learn(rows, LISTS, seed=0, held_out=held_out)
    taught.learn(lab.check_verbs(VERBS[1:]), LISTS, seed=0)
    assert len(list(runs_folder.iterdir())) == 4


def test_all_of_it_from_lists_in_any_order(quick, runs_folder):
    found = taught.self_taught(LISTS)
    for words, column in zip(LISTS, zip(*found.rows, strict=True), strict=True):
        assert sorted(column) == words
    assert len(found.model.convert(["walk"], 0, 3)) == 1
    kept = sorted(runs_folder.iterdir())
    assert len(kept) == 3, "the lab's model and two conjugators"
    assert taught.self_taught(shuffled(1)).rows == found.rows
    assert sorted(runs_folder.iterdir()) == kept


def test_lists_without_a_productive_class_are_refused_by_their_classes():
    rows = lab.check_verbs(VERBS[-2:])
    with pytest.raises(ValueError, match="rows: found 1 verbs at most with the same"):
        taught.Conjugation(small(), lab.make_model(small(), lab.vocabulary_of(rows)), rows, ())
    assert attempt(taught.Synthesizer, rows).args
