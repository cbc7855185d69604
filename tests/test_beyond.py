"""Beyond the rules: the networks letter by letter, row training, and rehearsal of noise."""

import copy
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from by_letter import assert_close, read, spell
from conftest import ENGLISH, beyond, lab, no_epoch, small_beyond
from torch.distributions import Categorical, kl_divergence

WORDS = ["go", "abandon", "split", "function", "be"]
SPELLING = small_beyond(epochs=4, refine=0.5)
FEW = 60  # verbs, with two productive classes


@pytest.fixture(autouse=True)
def one_thread():
    with lab.reproducible(seed=0):
        yield


@pytest.fixture
def rows(verbs):
    """Returns rows of a lemma and a form, of many lengths."""
    training = small_beyond(refine=0.0).new_training(verbs[:5])
    ((_, target),) = training.make_pairs(verbs[:5])
    return target


def rows_of(words, tense):
    letters, lengths = ENGLISH.to_tensor(words)
    table = lab.Words(letters, lengths, torch.tensor(tense))
    return lab.select_words(table, torch.arange(len(words))[None])


@pytest.fixture
def decoder():
    """Returns a decoder whose own words differ from the targets."""
    torch.manual_seed(1)
    decoder = beyond.LemmaFirstDecoder(small_beyond(), ENGLISH)
    decoder.letter.weight.data *= 4
    decoder.letter.bias.data[lab.EOS] += 0.4
    return decoder


def test_encoder_is_letter_by_letter_from_both_ends():
    torch.manual_seed(0)
    encoder = beyond.BidirectionalEncoder(small_beyond(), ENGLISH)
    tense = torch.arange(5) % 4
    ends = []
    for word, condition in zip(WORDS, encoder.condition(tense), strict=True):
        h0 = torch.cat([torch.zeros(32 - 8), condition])
        forward = read(encoder.forward_lstm, encoder.embedding, word, h0)
        backward = read(encoder.backward_lstm, encoder.embedding, word[::-1], h0)
        ends.append(torch.cat([forward, backward]))
    end = torch.stack(ends)
    expected = (encoder.mu(end), encoder.logvar(end))
    for padding in (0, 4):
        letters, lengths = ENGLISH.to_tensor(WORDS)
        letters = torch.nn.functional.pad(letters, (0, padding), value=lab.EOS)
        assert_close(encoder(lab.Words(letters, lengths, tense)), expected)


def spell_row(decoder, z, row, free):
    """Spells the lemma (T,) and the form of a row letter by letter; returns their nats."""
    lemma, form = row.letters
    lemma_length, form_length = row.lengths
    first = spell(decoder, decoder.from_z(z), lemma[:lemma_length], free[0])
    condition = decoder.condition.weight[row.tense[1]]
    context = decoder.from_lemma(torch.cat([first.end, z, condition]))
    second = spell(decoder, context, form[:form_length], free[1])
    return torch.stack([first.ce, second.ce])


@pytest.mark.parametrize("free", ["-----", "fffff", "f-ff-"])
def test_fused_nats_and_gradients_are_those_of_letter_by_letter(decoder, rows, free):
    lemma_free = torch.tensor([letter == "f" for letter in free])
    masks = torch.stack([lemma_free, lemma_free.flip(0)], 1)  # (B, 2)
    z = torch.randn(5, 16).requires_grad_()
    nats = decoder.nats(z, rows, masks)
    slow = []
    for code, mask, *row in zip(z, masks, *rows, strict=True):
        slow.append(spell_row(decoder, code, lab.Words(*row), mask))
    slow = torch.stack(slow)
    assert_close(nats.ce, slow)
    assert nats.minimized is nats.ce
    weights = [*decoder.parameters(), z]
    unlike = torch.arange(1.0, 11).view(5, 2)
    fused = torch.autograd.grad((nats.ce * unlike).sum(), weights)
    stepped = torch.autograd.grad((slow * unlike).sum(), weights)
    assert_close(fused, stepped, 1e-4)


@torch.no_grad()
def test_four_forms_from_one_z_go_on_from_one_lemma(decoder):
    """The lemma is spelled from z alone; a form goes on from the state the lemma ended in."""
    model = beyond.CVAE(small_beyond(), ENGLISH)
    model.decoder = decoder
    z = torch.randn(6, 16)
    blank = torch.ones(lab.MAX_LETTERS + 1, dtype=torch.int64)
    for code, verb in zip(z, model.generate(z), strict=True):
        lemma = spell(decoder, decoder.from_z(code), blank, free=True)
        words = [lemma]
        for condition in decoder.condition.weight[1:]:
            told = torch.cat([lemma.end, code, condition])
            words.append(spell(decoder, decoder.from_lemma(told), blank, free=True))
        for form, word in zip(verb, words, strict=True):
            fed = torch.tensor([[*word.fed[1:], lab.EOS]])
            assert ENGLISH.to_words(fed) == [form[: lab.MAX_LETTERS]]


def test_a_row_of_three_words_is_refused(decoder):
    z = torch.zeros(1, 16)
    forced = torch.zeros(1, 3, dtype=torch.bool)
    words = ["go", "goes", "went"]
    two = rows_of(words[:2], [0, 1])
    three = rows_of(words, [0, 1, 3])
    assert decoder.nats(z, two, forced[:, :2]).ce.shape == (1, 2)
    with pytest.raises(ValueError, match="found 3 words of a verb; expected 2"):
        decoder.nats(z, three, forced)


def words_and_tenses(training, words):
    """Returns the pairs of word and tense of a batch; checks the lengths."""
    spelled = training.vocabulary.to_words(words.letters)
    assert words.lengths.tolist() == [len(word) + 1 for word in spelled]
    return list(zip(spelled, words.tense.tolist(), strict=True))


def rows_in(training, epoch):
    """Returns (word, tense) of source, lemma and form of every row of an epoch."""
    seen = []
    for batch in training.make_epoch(epoch):
        lemma = beyond.word_of(batch.target, 0)
        form = beyond.word_of(batch.target, 1)
        parts = [words_and_tenses(training, words) for words in (batch.source, lemma, form)]
        seen += zip(*parts, strict=True)
    return seen


def test_an_epoch_is_every_verb_once_a_form_to_lemma_and_another(verbs):
    training = small_beyond(batch_size=32).new_training(verbs)
    seen = rows_in(training, 1)
    verb_of = {}
    for verb in verbs:
        verb_of |= dict.fromkeys(zip(verb, range(4), strict=True), verb)
    for source, lemma, form in seen:
        assert verb_of[source] == verb_of[lemma] == verb_of[form]
    sources, lemmas, forms = zip(*seen, strict=True)
    expected = [(verb[0], lab.PRESENT) for verb in verbs]
    assert sorted(lemmas) == sorted(expected)
    assert {tense for _, tense in sources} == {0, 1, 2, 3}
    assert {tense for _, tense in forms} == {1, 2, 3}
    assert rows_in(training, 2) != seen, "shuffled"


def test_an_epoch_of_spelling_has_irregular_verbs_four_times_and_new_synthetic_ones(verbs):
    table = verbs[:FEW]
    classes = beyond.productive_classes(table)
    config = replace(SPELLING, seed=5)
    training = config.new_training(table)
    training.start_second_phase()
    real = Counter()
    for verb in table:
        real[verb[0]] = 2 if beyond.cut(verb).affixes in classes else 4
    assert 2 * FEW < real.total() < 4 * FEW
    epochs = []
    for epoch in (3, 4):
        rows = rows_in(training, epoch)
        lemmas = Counter(lemma for _, (lemma, _), _ in rows)
        assert lemmas.total() == real.total() + config.synthetic * FEW
        assert all(lemmas[lemma] >= real[lemma] for lemma in real)
        epochs.append(lemmas - real)
    assert len(epochs[0] - epochs[1]) > 20, "made anew in each epoch"
    synthetic = beyond.Synthesizer(config, table).draw(2 * FEW, seed=5004)
    assert epochs[1] == Counter(verb[0] for verb in synthetic)


def test_the_teacher_is_the_model_as_it_was_when_spelling_began(verbs):
    training = SPELLING.new_training(verbs[:FEW])
    models = []
    for epoch in range(1, 5):
        training.run_epoch(epoch)
        models.append(copy.deepcopy(training.model.state_dict()))
    for a, b in pairwise(models):
        for name, weight in a.items():
            assert not torch.equal(weight, b[name]), f"all of the model learns: {name}"
    for name, weight in training.teacher.state_dict().items():
        assert torch.equal(weight, models[1][name]), name


@pytest.fixture
def spelling(verbs):
    """Returns a training in which teacher and model differ."""
    training = SPELLING.new_training(verbs[:FEW])
    training.start_second_phase()
    for parameter in training.model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return training


def test_noise_is_rehearsed_to_what_the_teacher_decodes_it_to(spelling):
    batches = spelling.make_epoch(3)
    noise = [batch.noise for batch in batches]
    for z, target in noise:
        assert z.shape == (4, 16), "half as many draws as verbs in a batch"
        taught = spelling.teacher.generate(z)
        for k in range(2):
            pairs = words_and_tenses(spelling, beyond.word_of(target, k))
            for verb, (word, tense) in zip(taught, pairs, strict=True):
                assert word == verb[tense]
        assert target.tense[:, 0].eq(lab.PRESENT).all()
    z = torch.cat([z for z, _ in noise])
    assert z.mean().abs() < 0.1
    assert z.std() == pytest.approx(1, abs=0.1)


def test_rehearsal_is_cross_entropy_to_the_teachers_probabilities(spelling):
    """By torch: the entropy of the teacher and the divergence from it to the model."""
    noise = spelling.make_noise(1)[0]
    forced = torch.zeros(4, 2, dtype=torch.bool)
    own = spelling.model.decoder.row_scores(noise.z, noise.target, forced)
    taught = spelling.teacher.decoder.row_scores(noise.z, noise.target, forced)
    nats = []
    for k in range(2):
        teacher = Categorical(logits=taught[k][0])
        model = Categorical(logits=own[k][0])
        by_letter = teacher.entropy() + kl_divergence(teacher, model)
        lengths = noise.target.lengths[:, k]
        for letters, length in zip(by_letter, lengths, strict=True):
            nats.append(letters[:length].sum())
    expected = torch.stack(nats).mean()
    assert_close(spelling.rehearsal(noise), expected, 1e-4)


def test_rehearsal_is_added_to_the_loss_and_not_to_ce(spelling):
    (batch, *_) = spelling.make_epoch(3)
    drawn = spelling.rng.get_state()
    loss, measured = spelling.loss(batch, epoch=3)
    spelling.rng.set_state(drawn)
    without, measured_without = spelling.loss(batch._replace(noise=None), epoch=3)
    assert_close(loss - without, spelling.rehearsal(batch.noise), 1e-4)
    assert measured["ce"] == measured_without["ce"]
    assert measured["loss"] == loss.item()


def test_a_table_without_a_productive_class_is_refused_before_any_work(verbs, monkeypatch):
    monkeypatch.setattr(beyond, "RowTraining", None)
    with pytest.raises(ValueError, match="found 10 verbs without holes, 5 like abandon, 3 like"):
        lab.train(SPELLING, verbs[:10], progress=False)
    monkeypatch.undo()
    run = lab.train(small_beyond(epochs=1, refine=0.0), verbs[:10], progress=False)
    assert len(run.history) == 1, "without spelling none is needed"


def test_of_a_table_with_holes_the_complete_rows_teach(verbs):
    whole = verbs[:FEW]
    holes = [(*verb[:3], lab.HOLE) for verb in verbs[FEW : 2 * FEW]]
    with pytest.warns(UserWarning, match=f"{FEW} of {2 * FEW} verbs are complete and teach"):
        training = SPELLING.new_training(holes + whole)
    taught = [lemma for _, (lemma, _), _ in rows_in(training, 1)]
    assert sorted(taught) == sorted(verb[0] for verb in whole)
    training.start_second_phase()
    assert training.synthesizer.draw(40, seed=3) == beyond.Synthesizer(beyond.Config(), whole).draw(
        40, seed=3
    )
    with pytest.raises(ValueError, match=f"found a hole in each of {FEW}; expected one without"):
        lab.train(small_beyond(), holes, progress=False, on_epoch=no_epoch)


@pytest.mark.slow
def test_synthetic_verbs_teach_the_forms_of_unseen_ones(verbs):
    short = [verb for verb in verbs if len(verb[0]) < 5]
    held = short[::10]
    table = [verb for verb in short if verb not in held]
    config = beyond.Config(
        hidden_size=96,
        latent_size=32,
        epochs=14,
        refine=0.5,
        evaluate_every=1000,
    )
    model = lab.train(config, table, progress=False).model
    lemmas = [verb[lab.PRESENT] for verb in held]
    right = 0
    for tense in (lab.THIRD, lab.PROGRESSIVE, lab.PAST):
        forms = model.convert(lemmas, lab.PRESENT, tense)
        for form, verb in zip(forms, held, strict=True):
            right += form == verb[tense]
    assert right / (3 * len(held)) > 0.5
