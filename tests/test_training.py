"""Training: what it optimizes, what it leaves alone, and that a seed gives the same run."""

import functools
import unicodedata

import numpy as np
import pytest
import torch
from conftest import SMALL, equal, lab, lab5_train, no_epoch, small

CLASSIC = lab5_train.Config.classic(**SMALL | {"epochs": 3})
RECIPES = {
    "gated": small(epochs=4, target_kl=0.1),
    "direct": small(epochs=4, decoding="direct", strategy="constant", tf_final=0.5, refine=0.5),
    "classic": CLASSIC,
}
GOLDEN = {  # of every epoch
    "gated": {
        "ce": [21.01654, 15.41357, 13.90164, 13.67058],
        "kl": [0.891293, 0.2553616, 0.2130821, 3.694516],
        "loss": [21.50901, 15.8254, 14.27368, 14.02829],
    },
    "direct": {
        "ce": [20.98436, 16.38332, 15.58831, 15.81489],
        "kl": [0.03005882, 0.007932147, 6.053692, 7.744566],
    },
    "classic": {
        "ce": [21.82905, 15.45643, 14.24706],
        "kl": [0.06546723, 0.005256063, 0.00243903],
        "loss": [2.733652, 1.902168, 1.771406],
        "beta": [7.33125, 8.25625, 8.25625],
    },
}
RENEW = "training computes something else: renew these numbers if that was meant"


def train(config, verbs, **options):
    return lab5_train.train(config, verbs, progress=False, **options)


@pytest.fixture(autouse=True)
def one_thread():
    with lab5_train.reproducible(seed=0):
        yield


@pytest.mark.parametrize("name", RECIPES)
def test_golden_losses(verbs, name):
    history = train(RECIPES[name], verbs[:40]).history
    for column, expected in GOLDEN[name].items():
        found = history[column].tolist()
        assert found == pytest.approx(expected, rel=1e-4), RENEW


# ---- Schedules and history ----
def test_schedules_are_taken_step_by_step_and_the_history_holds_means(verbs, monkeypatch):
    """Of 80 steps in the first phase, ten an epoch; each cycle begins near zero."""
    config = small(epochs=10, strategy="cyclical-trapezoid", kl_weight=0.5, refine=0.2)
    seen = []
    weigh = lab5_train.kl_weight

    def note(config, progress, kl):
        seen.append((progress, weigh(config, progress, kl)))
        return seen[-1][1]

    monkeypatch.setattr(lab5_train, "check_schedule", lambda config: None)
    monkeypatch.setattr(lab5_train, "kl_weight", note)
    history = train(config, verbs[:20]).history
    progress, weights = zip(*seen, strict=True)
    steps = np.arange(1, 81) / 80
    assert progress == pytest.approx(steps)
    expected = [0.5 * lab5_train.cyclical_trapezoid(step, 0.0) for step in steps]
    assert weights == pytest.approx(expected)
    assert weights[0] == pytest.approx(weights[40]) == 0.5 * 1.25 / 40
    means = [*np.reshape(weights, (8, 10)).mean(1), 0, 0]
    assert history["kl_weight"].tolist() == pytest.approx(means)
    assert history["beta"].tolist() == pytest.approx(means)
    ratios = [*(1 - 0.05 * steps).reshape(8, 10).mean(1), 0.95, 0.95]
    assert history["tf_ratio"].tolist() == pytest.approx(ratios)
    phases = [*np.arange(1, 9) / 8, 0.5, 1]
    rates = [lab5_train.learning_rate(config, share) for share in phases]
    assert history["learning_rate"].tolist() == rates
    assert list(history.index) == list(range(1, 11))


def test_history_holds_means_over_words(verbs, monkeypatch):
    """Of batches of unlike size; of one batch whole, the row is what its loss measures."""
    measured = []
    loss = lab5_train.Training.loss

    def note(self, batch, progress, refining):
        found = loss(self, batch, progress, refining)
        measured.append((len(batch.source.lengths), found[1]))
        return found

    monkeypatch.setattr(lab5_train.Training, "loss", note)
    history = train(small(epochs=1, batch_size=32, refine=0.0), verbs[:10]).history
    sizes = [size for size, _ in measured]
    assert sorted(sizes) == [8, 32]
    for column in measured[0][1]:
        values = [row[column] for _, row in measured]
        assert history[column].tolist() == [np.average(values, weights=sizes)], column


def test_the_gaussian_score_comes_eight_times_and_all_scores_where_a_phase_ends(verbs, monkeypatch):
    monkeypatch.setattr(lab5_train, "SCORED", 8)
    config = small(epochs=24, batch_size=40, refine=0.3)
    history = train(config, verbs[:10]).history
    noise = history["gaussian_exact"].dropna()
    assert list(noise.index) == [3, 6, 9, 12, 15, 17, 18, 21, 24]
    assert list(history["conversion"].dropna().index) == [17, 24]
    assert list(history["kl_table"].dropna().index) == [17, 24]


def width(model):
    assert not model.training, "scores are taken in eval mode"
    return model.encoder.mu.weight.norm()


def test_own_scores_and_pairs_come_every_epoch_and_reach_on_epoch(verbs):
    seen = []
    scores = {"width": width, "noise": lambda model: torch.rand(())}
    pairs = [lab.TestPair(verb[0], verb[3], 0, 3) for verb in verbs[:3]]
    run = train(small(), verbs[:20], pairs=pairs, scores=scores, on_epoch=seen.append)
    assert len(seen) == 6
    for epoch, history in enumerate(seen, 1):
        columns = ["ce", "kl", "bleu4", "width"]
        assert history[columns].equals(run.history[columns].head(epoch))
    last = run.history.iloc[-1]
    assert last["width"] == width(run.model).item()
    assert run.history["noise"].nunique() == 1, "each has a random state of its own"
    columns = run.history.columns.drop(["width", "noise"])
    without = train(small(), verbs[:20], pairs=pairs)
    assert without.history.equals(run.history[columns]), "scores change nothing"
    assert set(without.history) <= set(lab5_train.HISTORY.split()), "these names are taken"
    assert last["bleu4"] == lab.mean_bleu4(run.model, pairs)
    assert run.history[["bleu4", "width"]].notna().all(axis=None)


BAD_SCORES = {"ce": width, "epoch": width, 1: width, "x": 0.5}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_a_score_under_a_name_of_the_history_is_refused_before_any_epoch(verbs, name):
    scores = {name: BAD_SCORES[name]}
    with pytest.raises(ValueError, match=f"scores: found {name!r}.*; expected a function of"):
        train(small(), verbs[:5], scores=scores, on_epoch=no_epoch)


@pytest.mark.parametrize("value", [None, "0.5", [0.5], torch.ones(2)], ids=repr)
def test_a_score_that_is_no_number_is_named(verbs, value):
    with pytest.raises(TypeError, match=r"score 'x', epoch 1: found .*; expected a number"):
        train(small(), verbs[:5], scores={"x": lambda model: value})


def test_a_kept_run_has_the_scores_it_was_trained_with(verbs, runs_folder):
    numbers = {"numpy": np.float64(1), "torch": torch.nn.Parameter(torch.ones(1))}
    numbers["half"] = torch.ones((), dtype=torch.bfloat16)
    scores = {name: lambda model, number=number: number for name, number in numbers.items()}
    ask = functools.partial(lab5_train.load_or_train, small(epochs=2), verbs[:5], progress=False)
    run = ask(scores=scores)
    assert run.history[list(scores)].eq(1).all(axis=None)
    assert ask(scores={"half": lambda model: 2.0}).history["half"].eq(1).all(), "edited: kept"
    assert ask().history.equals(run.history)
    with pytest.raises(ValueError, match=r"run.pt: trained without the score 'mine': delete it"):
        ask(scores={"mine": width}, on_epoch=no_epoch)


class Dropout(lab.DirectDecoder):
    """Forgets a half of its context while it is trained."""

    def context(self, z, tense):
        return torch.nn.functional.dropout(super().context(z, tense), 0.5, self.training)


def test_a_decoder_with_dropout_answers_alike_and_resumes_bit_for_bit(verbs, tmp_path, monkeypatch):
    monkeypatch.setitem(lab.DECODERS, "dropout", Dropout)
    config = small(decoding="dropout", refine=0.5)
    whole = train(config, verbs[:20])

    def stop(history):
        if len(history) in (2, 4):
            raise InterruptedError

    for _ in range(2):
        with pytest.raises(InterruptedError):
            train(config, verbs[:20], run_dir=tmp_path, on_epoch=stop)
    resumed = train(config, verbs[:20], run_dir=tmp_path)
    assert equal(whole, resumed)
    assert equal(whole, train(config, verbs[:20], run_dir=tmp_path)), "loaded"
    for model in (whole.model, whole.before, resumed.model):
        answers = {tuple(model.convert(["walk"] * 9, 0, 3)) for _ in range(3)}
        assert len(answers) == 1


def test_target_rate_holds_the_rate(verbs):
    config = small(epochs=60, target_kl=3.0, refine=0.0)
    kl = train(config, verbs[:10], pairs=[]).history["kl"]
    assert kl.tail(20).mean() == pytest.approx(3.0, abs=0.7)


# ---- Steps ----
def test_what_the_second_phase_trains_and_the_model_before_it(verbs):
    config = small(epochs=4, refine=0.5)
    table = verbs[:60]
    run = train(config, table)
    kl = lab.information(run.before, table)["kl_table"]
    assert run.history["kl_table"].dropna().to_dict()[2] == pytest.approx(kl)
    before = run.before.state_dict()
    for name, weight in run.model.state_dict().items():
        assert torch.equal(before[name], weight) == name.startswith("decoder."), name
    assert train(small(epochs=1, refine=0.0), table).before is None


@pytest.mark.parametrize("config", [small(batch_size=64), CLASSIC])
def test_an_epoch_is_every_form_once_to_itself(verbs, config):
    training = lab5_train.new_training(config, verbs)
    epochs = []
    for epoch in (1, 2):
        seen = []
        for batch in training.make_epoch(epoch):
            assert batch.target is batch.source
            letters, lengths, tense = batch.source
            assert len(letters) <= config.batch_size
            assert lengths.sum() > 0.6 * letters.numel(), "of like length"
            words = training.model.vocabulary.to_words(letters)
            assert lengths.tolist() == [len(word) + 1 for word in words]
            seen += zip(words, tense.tolist(), strict=True)
        epochs.append(seen)
    forms = [(form, tense) for verb in verbs for tense, form in enumerate(verb)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(forms)
    assert epochs[0] != epochs[1], "shuffled"


@pytest.mark.parametrize("progress", [0.05, 1.0])
def test_the_loss_is_what_is_minimized_and_the_history_has_cross_entropy(verbs, progress):
    """The gate is flat at first and priced at last; `ce` is of neither."""
    training = lab5_train.new_training(small(tf_final=1.0, kl_weight=0.5), verbs[:5])
    decoder = training.model.decoder
    decoder.letter.weight.data *= 8  # so that the paths differ
    (batch, *_) = training.make_epoch(1)
    drawn = training.rng.get_state()
    _, measured = training.loss(batch, progress, refining=False)
    training.rng.set_state(drawn)
    mu, logvar = training.model.encoder(batch.source)
    z = lab.reparameterize(mu, logvar, training.rng)
    forced = torch.zeros(len(z), dtype=torch.bool)
    nats = decoder.nats(z, batch.target, forced, progress)
    kl = lab.kl_divergence(mu, logvar).mean().item()
    loss = nats.minimized.mean().item() + measured["kl_weight"] * kl
    assert measured["ce"] == pytest.approx(nats.ce.mean().item())
    assert measured["kl"] == pytest.approx(kl)
    assert measured["loss"] == pytest.approx(loss)
    assert abs(nats.minimized - nats.ce).mean() > 0.01, "the two differ"


# ---- Tables of other languages ----
STEMS = ["grüß", "şaş", "дела", "שמר", "été", "𐐨", "कर", "a"]
ENDINGS = ["", "ß", "й", "ना", "es"]


@pytest.mark.parametrize("forms", [1, 2, 5])
def test_any_letters_and_number_of_forms_are_trained_and_converted(forms):
    table = [tuple(stem + ending for ending in ENDINGS[:forms]) for stem in STEMS]
    run = train(small(epochs=2, refine=0.5), table)
    assert run.history[["ce", "kl", "kl_table"]].notna().all(axis=None)
    assert "bleu4" not in run.history
    letters = "".join(sorted(set("".join(STEMS + ENDINGS[:forms]))))
    assert run.model.vocabulary == (letters, forms)
    words = run.model.convert(STEMS, [0, forms - 1] * 4, forms - 1)
    assert set("".join(words)) <= set(letters)
    decomposed = [unicodedata.normalize("NFD", stem) for stem in STEMS]
    assert run.model.convert(decomposed, [0, forms - 1] * 4, forms - 1) == words
    assert {len(verb) for verb in lab.sample_prior(run.model, 5)} == {forms}
