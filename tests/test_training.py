"""Training: what it optimises, what it leaves alone, and that the same seed gives the same run."""

import random

import numpy as np
import pytest
import torch
from conftest import SMALL, equal, lab, small


def test_a_run_is_its_configuration(verbs):
    table = verbs[:40]
    first = lab.train(small(), table, progress=False)
    torch.rand(3), np.random.rand(3), random.random()
    assert equal(first, lab.train(small(), table, progress=False))
    assert not equal(first, lab.train(small(seed=1), table, progress=False))


def test_global_random_state_is_left_as_found(verbs):
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    lab.train(small(epochs=1), verbs[:20], progress=False)
    assert (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()) == expected


def test_history_follows_the_schedules(verbs):
    config = small(epochs=10, strategy="cyclical-trapezoid", kl_weight=0.5, finish=0.2, tf_final=0.4)
    history = lab.train(config, verbs[:20], progress=False).history
    shape = lab.STRATEGIES["cyclical-trapezoid"]
    assert list(history.index) == list(range(1, 11)) and config.joint_epochs == 8
    assert list(history["kl_weight"]) == pytest.approx([0.5 * shape(e / 10) for e in range(1, 9)] + [0, 0])
    assert list(history["tf_ratio"]) == pytest.approx([1 - 0.06 * e for e in range(1, 11)])
    assert list(history["beta"]) == list(history["kl_weight"])
    assert {"ce", "kl", "learning_rate", "bleu4", "conversion", "gaussian_exact", "mutual_information"} <= set(history)


def test_effective_beta_of_the_classic_recipe(verbs):
    config = lab.Config.classic(**SMALL | dict(epochs=10))
    history = lab.train(config, verbs[:100], progress=False).history
    characters = np.mean([len(form) + 1 for verb in verbs[:100] for form in verb])
    assert list(history["beta"] / history["kl_weight"]) == pytest.approx([characters] * 10, rel=0.03)


def test_target_rate_holds_the_rate(verbs):
    config = small(epochs=120, rate_start=8.0, rate_end=3.0, finish=0.0)
    history = lab.train(config, verbs[:60], progress=False).history
    assert history["kl"].iloc[-20:].mean() == pytest.approx(3.0, abs=0.7)


def test_finishing_trains_the_encoder_alone(verbs):
    trainer = lab._Trainer(small(epochs=4, finish=0.5), verbs[:20], lab.load_test_pairs())
    trainer.train_epoch(1), trainer.train_epoch(2)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train_epoch(3), trainer.train_epoch(4)
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, before[name]) != name.startswith("encoder."), name
    assert trainer.history[-1]["beta"] == 0


def words_of(batch):
    """Returns (source, its tense, [(target, its tense), …]) of every verb of a batch."""
    sources = zip(lab.tensor_to_words(batch.source), batch.source_tense.tolist())
    targets = (
        zip(lab.tensor_to_words(words), tenses.tolist()) for words, tenses in zip(batch.target, batch.target_tense)
    )
    return [(*source, list(target)) for source, target in zip(sources, targets)]


@pytest.mark.parametrize("targets", [2, 3, 4])
def test_an_epoch_is_every_verb_once_with_its_lemma_and_others(verbs, targets):
    batches = list(lab.Table(verbs, small(batch_size=32, targets=targets)).batches(torch.Generator().manual_seed(0)))
    words = [verb for batch in batches for verb in words_of(batch)]
    row_of = {verb[0]: verb for verb in verbs}
    assert sorted(target[0][0] for *_, target in words) == sorted(row_of)
    for source, tense, target in words:
        row = row_of[target[0][0]]
        assert row[tense] == source and all(row[t] == form for form, t in target)
        assert target[0][1] == 0 and len({t for _, t in target}) == targets
    assert {t for _, t, _ in words} == {0, 1, 2, 3} == {t for *_, target in words for _, t in target}


def test_an_epoch_of_same_tense_training_is_every_form_to_itself(verbs):
    batches = lab.Table(verbs, lab.Config.classic(batch_size=32)).batches(torch.Generator().manual_seed(0))
    words = [verb for batch in batches for verb in words_of(batch)]
    assert sorted(words) == sorted((form, t, [(form, t)]) for verb in verbs for t, form in enumerate(verb))


@pytest.mark.parametrize("config", [small(batch_size=32), lab.Config.classic(batch_size=32)])
def test_batches_are_of_like_length(verbs, config):
    batches = list(lab.Table(verbs, config).batches(torch.Generator().manual_seed(0)))
    real = sum(batch.target_lengths.sum() for batch in batches)
    assert real / sum(batch.target.numel() for batch in batches) > 0.75, "batches of random words are filled to 0.6"


def test_repeated_rows_count_once(verbs):
    table = verbs[:20]
    assert equal(
        lab.train(small(epochs=2), table, progress=False), lab.train(small(epochs=2), table + table[:5], progress=False)
    )
