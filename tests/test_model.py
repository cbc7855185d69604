"""The decoders and the encoder, against an LSTM written out letter by letter."""

import copy
import itertools

import pytest
import torch
from by_letter import assert_close, read, spell, words_of
from conftest import ENGLISH, lab, lab5_train, small

WORDS = ["go", "abandon", "split", "function", "be"]
TENSE = torch.arange(5) % 4
RECIPES = {
    "gated": small(),
    "direct": small(decoding="direct"),
}


@pytest.fixture(autouse=True)
def one_thread():
    with lab5_train.reproducible(seed=0):
        yield


class FlatDecoder(lab.GatedDecoder):
    """Sums over openings as at first, and asks a price as at last."""

    def pressure(self, progress):
        return 0.4, 0.2


KINDS = {"direct": lab.DirectDecoder, "gated": lab.GatedDecoder, "flat": FlatDecoder}


@pytest.fixture(params=KINDS)
def decoder(request):
    """Returns a decoder whose own words differ from the targets, some of them shorter."""
    torch.manual_seed(1)
    decoder = KINDS[request.param](small(), ENGLISH)
    if request.param != "direct":
        decoder.gate_mlp[2].weight.data *= 8  # so that the tense decides
    decoder.letter.weight.data *= 4
    decoder.letter.bias.data[lab.EOS] += 0.4
    return decoder


def spell_all(decoder, z, words, free):
    """Spells each word letter by letter from its z, at the end of training."""
    gated = isinstance(decoder, lab.GatedDecoder)
    pressure = decoder.pressure(1.0) if gated else None
    spelled = []
    for i, context in enumerate(decoder.context(z, words.tense)):
        tense = words.tense[i] if gated else None
        letters = words.letters[i, : words.lengths[i]]
        spelled.append(spell(decoder, context, letters, free[i], tense, pressure))
    return spelled


@pytest.mark.parametrize("free", ["-----", "fffff", "f-ff-"])
def test_fused_nats_and_gradients_are_those_of_letter_by_letter(decoder, free):
    mask = torch.tensor([letter == "f" for letter in free])
    words = words_of(WORDS, TENSE)
    z = torch.randn(5, 16).requires_grad_()
    nats = decoder.nats(z, words, mask, 1.0)
    slow = spell_all(decoder, z, words, mask)
    minimized = torch.stack([word.minimized for word in slow])
    assert_close(nats.minimized, minimized)
    ce = torch.stack([word.ce for word in slow])
    assert_close(nats.ce, ce)
    weights = [*decoder.parameters(), z]
    unlike = torch.arange(1.0, 6)  # so that no two words can be mistaken for each other
    fused = torch.autograd.grad((nats.minimized * unlike).sum(), weights)
    stepped = torch.autograd.grad((minimized * unlike).sum(), weights)
    assert_close(fused, stepped, 1e-4)


@torch.no_grad()
def test_greedy_is_letter_by_letter(decoder):
    z = torch.randn(20, 16)
    tense = torch.arange(20) % 4
    steps = lab.MAX_LETTERS + 1
    any_word = torch.ones(20, steps, dtype=torch.int64)
    words = lab.Words(any_word, torch.full((20,), steps), tense)
    slow = spell_all(decoder, z, words, [True] * 20)
    for found, word in zip(decoder.spell(z, tense).tolist(), slow, strict=True):
        spelled = word.fed[1:]  # up to EOS, or all but the last letter
        assert found[: len(spelled)] == spelled
        if len(word.fed) < steps:
            assert set(found[len(spelled) :]) == {lab.EOS}
    lengths = {len(word.fed) for word in slow}
    assert len(lengths) > 3


@torch.no_grad()
@pytest.mark.parametrize("kind", [lab.DirectDecoder, lab.GatedDecoder])
def test_the_likelihoods_of_all_words_sum_to_one(kind):
    """Summed over openings of a gate; words of nine letters are unlikely."""
    decoder = kind(small(), lab.Vocabulary("ab", forms=4))
    decoder.letter.bias.data[lab.EOS] += 3
    if kind is lab.GatedDecoder:
        decoder.gate_mlp[2].bias.data[lab.EOS] += 3
    words = [letters for n in range(9) for letters in itertools.product("ab", repeat=n)]
    letters, lengths = decoder.vocabulary.to_tensor(words)
    target = lab.Words(letters, lengths, torch.full_like(lengths, 2))
    z = torch.randn(1, 16).expand(len(words), -1)
    ce = decoder.nats(z, target, torch.zeros(len(words), dtype=torch.bool), 1.0).ce
    assert (-ce).exp().sum().item() == pytest.approx(1, abs=0.01)


def test_encoder_is_letter_by_letter_at_any_padding():
    encoder = lab.Encoder(small(), ENGLISH)
    ends = []
    for word, tense in zip(WORDS, TENSE, strict=True):
        condition = encoder.condition.weight[tense]
        h0 = torch.cat([torch.zeros(64 - 8), condition])
        ends.append(read(encoder.lstm, encoder.embedding, word, h0))
    end = torch.stack(ends)
    expected = (encoder.mu(end), encoder.logvar(end))
    for padding in (0, 4):
        posterior = encoder(words_of(WORDS, TENSE, padding))
        assert_close(posterior, expected)


def test_nats_of_a_batch_are_those_of_its_words_alone(decoder):
    z = torch.randn(5, 16)
    free = torch.tensor([True, False, True, False, True])
    together = decoder.nats(z, words_of(WORDS, TENSE), free, 0.5)
    for i, word in enumerate(WORDS):
        one = slice(i, i + 1)
        words = words_of([word], TENSE[one])
        alone = decoder.nats(z[one], words, free[one], 0.5)
        for many, single in zip(together, alone, strict=True):
            assert_close(many[one], single)


@pytest.mark.parametrize("name", RECIPES)
def test_every_weight_is_there_for_something(name, verbs):
    training = lab5_train.new_training(RECIPES[name], verbs[:60])
    (batch, *_) = training.make_epoch(1)
    loss, _ = training.loss(batch, 0.1, refining=False)
    loss.backward()
    for parameter_name, parameter in training.model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any(), parameter_name


def test_generate_convert_and_decode_agree_in_chunks_too(learned, verbs, monkeypatch):
    model = learned.model
    tenses = [n % 4 for n in range(30)]
    words = [verb[tense] for verb, tense in zip(verbs, tenses, strict=False)]
    mu, _ = model.encode(words, tenses)
    generated = model.generate(mu)
    for chunk in (512, 4):
        monkeypatch.setattr(lab, "CHUNK", chunk)
        assert model.generate(mu) == generated
        for tense in range(4):
            forms = [verb[tense] for verb in generated]
            assert forms == model.decode(mu, tense)
            assert forms == model.convert(words, tenses, tense)
    own = [verb[tense] for verb, tense in zip(generated, tenses, strict=True)]
    assert model.convert(words, tenses, tenses) == own
    assert model.convert([], 0, 1) == model.generate(torch.empty(0, 16)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_z_is_the_only_path_to_the_output(name, verbs):
    """A model without its encoder decodes the same z to the same words."""
    model = lab5_train.new_training(RECIPES[name], verbs).model
    words = [verb[1] for verb in verbs[7::41]]
    mu, _ = model.encode(words, 1)
    blind = copy.deepcopy(model)
    blind.encoder = None
    z = mu + torch.randn(mu.shape)
    expected = model.generate(z)
    assert blind.generate(z) == expected
    assert len(set(expected)) > 1


def test_decoding_stops_at_a_fixed_maximum():
    model = lab.make_model(small(decoding="direct"), ENGLISH)
    model.decoder.letter.bias.data[lab.EOS] = -1e6
    words = model.decode(torch.randn(3, 16), 0)
    assert {len(word) for word in words} == {lab.MAX_LETTERS + 1}
