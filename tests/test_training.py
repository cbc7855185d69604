"""Training: what it optimises, what it leaves alone, and that the same seed gives the same run."""

import random

import numpy as np
import pytest
import torch
from conftest import SMALL, lab


def small(**changes):
    return lab.Config(**SMALL | dict(epochs=6) | changes)


def equal(a, b):
    """Tells whether two runs have the same weights and the same history, bit for bit."""
    weights = zip(a.model.state_dict().values(), b.model.state_dict().values())
    return all(torch.equal(*pair) for pair in weights) and a.history.equals(b.history)


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


@pytest.mark.parametrize("changes", [{}, dict(finish=0.5), dict(tf_final=0.3, decoding="direct"), dict(made_up=2)])
def test_an_interrupted_run_equals_an_uninterrupted_one(verbs, tmp_path, monkeypatch, changes):
    config, table = small(**changes), verbs[:40]
    whole = lab.train(config, table, progress=False)
    train_epoch = lab._Trainer.train_epoch

    def stop_before(last):
        def epoch_or_stop(self, epoch):
            if epoch == last:
                raise KeyboardInterrupt
            train_epoch(self, epoch)

        return epoch_or_stop

    for last in (2, 4, 5):
        monkeypatch.setattr(lab._Trainer, "train_epoch", stop_before(last))
        with pytest.raises(KeyboardInterrupt):
            lab.train(config, table, run_dir=tmp_path / "run", progress=False)
    monkeypatch.setattr(lab._Trainer, "train_epoch", train_epoch)
    assert equal(whole, lab.train(config, table, run_dir=tmp_path / "run", progress=False))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"lock", "run.pt"}
    monkeypatch.setattr(lab._Trainer, "train_epoch", None)  # a finished run trains nothing
    assert equal(whole, lab.train(config, table, run_dir=tmp_path / "run", progress=False))


def test_a_folder_of_another_run_is_refused(verbs, tmp_path):
    lab.train(small(epochs=1), verbs[:20], run_dir=tmp_path, progress=False)
    others = {
        r"another configuration \(epochs 1, here 2; hidden_size 64, here 48\)": (
            small(epochs=2, hidden_size=48),
            verbs[:20],
        ),
        "other verbs or test pairs": (small(epochs=1), verbs[:21]),
    }
    for said, (config, table) in others.items():
        with pytest.raises(ValueError, match=said):
            lab.train(config, table, run_dir=tmp_path, progress=False)


def test_load_or_train_keeps_and_sweep_agrees(verbs, runs_folder, monkeypatch):
    configs = [small(seed=seed, epochs=2) for seed in (0, 1)]
    swept = lab.sweep(configs, verbs[:30], jobs=1)
    assert len(list(runs_folder.iterdir())) == 2
    monkeypatch.setattr(lab._Trainer, "train_epoch", None)
    assert all(equal(run, lab.load_or_train(run.config, verbs[:30], progress=False)) for run in swept)


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


def test_a_loss_that_is_not_finite_stops_the_run(verbs, monkeypatch):
    monkeypatch.setattr(lab, "kl_divergence", lambda mu, logvar: (mu * torch.nan).sum(1))
    with pytest.raises(FloatingPointError, match="epoch 1, step 1"):
        lab.train(small(strategy="constant"), verbs[:20], progress=False)


def test_repeated_rows_count_once(verbs):
    table = verbs[:20]
    assert equal(
        lab.train(small(epochs=2), table, progress=False), lab.train(small(epochs=2), table + table[:5], progress=False)
    )
