"""Beyond the rules: the networks letter by letter, row training, and rehearsal of noise."""

from collections import Counter

import pytest
import torch
from by_letter import assert_close, read, spell, words_of
from conftest import ENGLISH, beyond, lab, lab5_train, no_epoch, small_beyond
from torch.distributions import Categorical, kl_divergence

WORDS = ["go", "abandon", "split", "function", "be"]
SPELLING = small_beyond(epochs=4, refine=0.5)
FEW = 60  # verbs, with two productive classes


@pytest.fixture(autouse=True)
def one_thread():
    with lab5_train.reproducible(seed=0):
        yield


def train(config, verbs, **options):
    options |= {"progress": False, "make_training": beyond.new_training}
    return lab5_train.train(config, verbs, **options)


# ---- Model ----
def test_encoder_is_letter_by_letter_from_both_ends():
    encoder = beyond.BidirectionalEncoder(small_beyond(), ENGLISH)
    tense = [0, 1, 2, 3, 0]
    ends = []
    for word, condition in zip(WORDS, encoder.condition.weight[tense], strict=True):
        h0 = torch.cat([torch.zeros(32 - 8), condition])
        forward = read(encoder.forward_lstm, encoder.embedding, word, h0)
        backward = read(encoder.backward_lstm, encoder.embedding, word[::-1], h0)
        ends.append(torch.cat([forward, backward]))
    end = torch.stack(ends)
    expected = (encoder.mu(end), encoder.logvar(end))
    for padding in (0, 4):
        assert_close(encoder(words_of(WORDS, tense, padding)), expected)


@pytest.fixture
def model():
    """Returns a model whose own words differ in length."""
    torch.manual_seed(1)
    model = beyond.make_model(small_beyond(), ENGLISH)
    model.decoder.letter.weight.data *= 4
    model.decoder.letter.bias.data[lab.EOS] += 0.4
    return model


def context_of_form(decoder, end, z, tense):
    condition = decoder.condition.weight[tense]
    return decoder.from_lemma(torch.cat([end, z, condition]))


def spell_row(decoder, z, lemma, form, tense):
    """Spells a lemma (T,) and a form of it letter by letter; returns their nats."""
    first = spell(decoder, decoder.from_z(z), lemma)
    second = spell(decoder, context_of_form(decoder, first.end, z, tense), form)
    return torch.stack([first.ce, second.ce])


def test_cross_entropy_and_gradients_are_those_of_letter_by_letter(model, verbs):
    training = beyond.RowTraining(small_beyond(), model, verbs[:5])
    lemmas = words_of(WORDS, [0] * 5)
    forms = words_of(WORDS[::-1], [1, 2, 3, 1, 2])
    row = beyond.Row(lemmas, forms)
    z = torch.randn(5, 16).requires_grad_()
    scores = model.decoder.scores(z, *row)
    fused = training.cross_entropy(scores, row, [words.letters for words in row])
    slow = []
    for i, code in enumerate(z):
        lemma, form = (words.letters[i, : words.lengths[i]] for words in row)
        slow.append(spell_row(model.decoder, code, lemma, form, row.form.tense[i]))
    slow = torch.stack(slow).mean()
    assert_close(fused, slow)
    weights = [*model.decoder.parameters(), z]
    assert_close(torch.autograd.grad(fused, weights), torch.autograd.grad(slow, weights), 1e-4)


@torch.no_grad()
def test_four_forms_from_one_z_go_on_from_one_lemma(model):
    """The lemma is spelled from z alone; a form goes on from the state the lemma ended in."""
    decoder = model.decoder
    z = torch.randn(6, 16)
    blank = torch.ones(lab.MAX_LETTERS + 1, dtype=torch.int64)
    for code, verb in zip(z, model.generate(z), strict=True):
        lemma = spell(decoder, decoder.from_z(code), blank, free=True)
        words = [lemma]
        for tense in (1, 2, 3):
            context = context_of_form(decoder, lemma.end, code, tense)
            words.append(spell(decoder, context, blank, free=True))
        for form, word in zip(verb, words, strict=True):
            fed = torch.tensor([[*word.fed[1:], lab.EOS]])
            assert ENGLISH.to_words(fed) == [form[: lab.MAX_LETTERS]]


# ---- Row training ----
def words_and_tenses(training, words):
    """Returns the pairs of word and tense of a batch; checks the lengths."""
    spelled = training.model.vocabulary.to_words(words.letters)
    assert words.lengths.tolist() == [len(word) + 1 for word in spelled]
    return list(zip(spelled, words.tense.tolist(), strict=True))


def rows_in(training, epoch):
    """Returns (word, tense) of source, lemma and form of every row of an epoch."""
    seen = []
    for batch in training.make_epoch(epoch):
        parts = [words_and_tenses(training, words) for words in (batch.source, *batch.target)]
        seen += zip(*parts, strict=True)
    return seen


def test_an_epoch_is_every_verb_once_a_form_to_lemma_and_another(verbs):
    training = beyond.new_training(small_beyond(batch_size=32), verbs)
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


@pytest.fixture
def spelling(verbs):
    """Returns a training in its second phase, in which teacher and model differ."""
    training = beyond.new_training(SPELLING, verbs[:FEW])
    training.start_second_phase()
    for parameter in training.model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return training


def test_an_epoch_of_spelling_has_irregular_verbs_eight_times_and_new_synthetic_ones(spelling):
    classes = beyond.productive_classes(spelling.verbs)
    real = Counter()
    for verb in spelling.verbs:
        real[verb[0]] = 2 if beyond.cut(verb).affixes in classes else 8
    assert 2 * FEW < real.total() < 8 * FEW
    epochs = []
    for epoch in (3, 4):
        lemmas = Counter(lemma for _, (lemma, _), _ in rows_in(spelling, epoch))
        assert lemmas.total() == real.total() + SPELLING.synthetic * FEW
        assert all(lemmas[lemma] >= real[lemma] for lemma in real)
        epochs.append(lemmas - real)
    assert len(epochs[0] - epochs[1]) > 20, "made anew in each epoch"
    synthetic = beyond.Synthesizer(SPELLING, spelling.verbs).draw(2 * FEW, seed=4)
    assert epochs[1] == Counter(verb[0] for verb in synthetic)


def test_noise_is_rehearsed_to_what_the_teacher_decodes_it_to(spelling):
    noise = [batch.noise for batch in spelling.make_epoch(3)]
    for z, row in noise[:5]:
        assert z.shape == (4, 16), "half as many draws as verbs in a batch"
        taught = spelling.before.generate(z)
        for words in row:
            pairs = words_and_tenses(spelling, words)
            for verb, (word, tense) in zip(taught, pairs, strict=True):
                assert word == verb[tense]
        assert row.lemma.tense.eq(lab.PRESENT).all()
    z = torch.cat([part.z for part in noise])
    assert z.mean().abs() < 0.1
    assert z.std() == pytest.approx(1, abs=0.1)


def test_rehearsal_is_cross_entropy_to_the_teachers_probabilities(spelling):
    """By torch: the entropy of the teacher and the divergence from it to the model."""
    noise = spelling.make_noise(1)[0]
    own = spelling.model.decoder.scores(noise.z, *noise.row)
    taught = spelling.before.decoder.scores(noise.z, *noise.row)
    nats = []
    for words, model, teacher in zip(noise.row, own, taught, strict=True):
        model, teacher = Categorical(logits=model), Categorical(logits=teacher)
        by_letter = teacher.entropy() + kl_divergence(teacher, model)
        for letters, length in zip(by_letter, words.lengths, strict=True):
            nats.append(letters[:length].sum())
    expected = torch.stack(nats).mean()
    assert_close(spelling.rehearsal(noise), expected, 1e-4)


# ---- What is refused ----
def test_a_table_that_cannot_be_spelled_is_refused_before_any_work(verbs, monkeypatch):
    monkeypatch.setattr(beyond, "RowTraining", None)
    refused = {
        "found 10 verbs, 5 like abandon, 3 like": verbs[:10],
        "verb 1: found 1 form; expected 2 or more": [("walk",)],
    }
    for message, table in refused.items():
        with pytest.raises(ValueError, match=message):
            train(SPELLING, table, on_epoch=no_epoch)
    monkeypatch.undo()
    run = train(small_beyond(epochs=1, refine=0.0), verbs[:10])
    assert len(run.history) == 1, "without spelling none is needed"
