"""The model of the lab, against an LSTM written out letter by letter."""

import copy
import math

import pytest
import torch
from by_letter import NO_GATE, assert_close, read, spell, spell_prefixed
from conftest import ENGLISH, lab, small, small_beyond
from torch.nn import functional as F

WORDS = ["go", "abandon", "split", "function", "be"]
TENSE = torch.arange(5) % 4
RECIPES = {
    "gated": small(),
    "direct": small(decoding="direct"),
    "prefixed": small(prefix_letters=4),
    "beyond": small_beyond(),
}


@pytest.fixture(autouse=True)
def one_thread():
    with lab.reproducible(seed=0):
        yield


def words_of(words, tense, padding=0):
    letters, lengths = ENGLISH.to_tensor(words)
    letters = F.pad(letters, (0, padding), value=lab.EOS)
    return lab.Words(letters, lengths, tense)


def draw(count, seed):
    """Returns codes (count, Z) from the prior."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 16, generator=rng)


def gradients(loss, weights):
    options = {"allow_unused": True, "materialize_grads": True}
    return torch.autograd.grad(loss, weights, retain_graph=True, **options)


def prefixed_decoder(letters, vocabulary=ENGLISH):
    """Returns a decoder whose prefixes have so many letters at most."""
    decoder = lab.PrefixedDecoder(small(prefix_letters=letters), vocabulary)
    decoder.prefix_mlp[2].weight.data *= 8
    decoder.prefix_mlp[2].bias.data[lab.EOS] -= 2.0
    return decoder


KINDS = ["direct", "gated", "gated, flat and priced"]
KINDS += ["prefix 1", "prefix 2", "prefix 4", "prefix 3, flat and priced"]


@pytest.fixture(params=KINDS)
def decoder_and_gate(request, monkeypatch):
    """Returns a decoder whose own words differ from the targets, some of them shorter."""
    monkeypatch.setattr(lab, "NEGLIGIBLE", math.inf)
    torch.manual_seed(1)
    if request.param == "direct":
        decoder = lab.DirectDecoder(small(decoding="direct"), ENGLISH)
    elif request.param.startswith("prefix"):
        decoder = prefixed_decoder(int(request.param[7]))
    else:
        decoder = lab.GatedDecoder(small(), ENGLISH)
    if request.param != "direct":
        decoder.gate_mlp[2].weight.data *= 8  # so that the tense decides
    decoder.letter.weight.data *= 4
    decoder.letter.bias.data[lab.EOS] += 0.4
    priced = request.param.endswith("priced")
    return decoder, lab.Gate(0.4, 0.1) if priced else NO_GATE


def spell_all(decoder, z, words, free, gate=NO_GATE):
    """Spells each word letter by letter from its z."""
    gated = isinstance(decoder, lab.GatedDecoder)
    spell_one = spell_prefixed if hasattr(decoder, "prefix_mlp") else spell
    contexts = decoder.context(z, words.tense)
    spelled = []
    for i, context in enumerate(contexts):
        tense = words.tense[i] if gated else None
        letters = words.letters[i, : words.lengths[i]]
        spelled.append(spell_one(decoder, context, letters, free[i], tense, gate))
    return spelled


@pytest.mark.parametrize("free", ["-----", "fffff", "f-ff-"])
def test_fused_nats_and_gradients_are_those_of_letter_by_letter(decoder_and_gate, free):
    decoder, gate = decoder_and_gate
    mask = torch.tensor([letter == "f" for letter in free])
    words = words_of(WORDS, TENSE)
    z = draw(5, seed=3).requires_grad_()
    nats = decoder.nats(z, words, mask, gate)
    slow = spell_all(decoder, z, words, mask, gate)
    minimized = torch.stack([word.minimized for word in slow])
    assert_close(nats.minimized, minimized)
    ce = torch.stack([word.ce for word in slow])
    assert_close(nats.ce, ce)
    weights = [*decoder.parameters(), z]
    unlike = torch.arange(1.0, 6)  # so that no two words can be mistaken for each other
    fused = gradients((nats.minimized * unlike).sum(), weights)
    stepped = gradients((minimized * unlike).sum(), weights)
    assert_close(fused, stepped, 1e-4)


@torch.no_grad()
def test_greedy_is_letter_by_letter(decoder_and_gate):
    decoder, _ = decoder_and_gate
    z = draw(20, seed=4)
    tense = torch.arange(20) % 4
    steps = lab.MAX_LETTERS + 1
    any_word = torch.ones(20, steps, dtype=torch.int64)
    words = lab.Words(any_word, torch.full((20,), steps), tense)
    slow = spell_all(decoder, z, words, [True] * 20)
    letters, end = decoder.greedy(decoder.context(z, tense), tense)
    for found, word in zip(letters.tolist(), slow, strict=True):
        spelled = word.fed[1:]  # up to EOS, or all but the last letter
        assert found[: len(spelled)] == spelled
        if len(word.fed) < steps:
            assert set(found[len(spelled) :]) == {lab.EOS}
    ends = [word.end for word in slow]
    assert_close(end, torch.stack(ends))
    lengths = {len(word.fed) for word in slow}
    assert len(lengths) > 3


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


@torch.no_grad()
def test_prefixes_that_are_left_out_weigh_next_to_nothing(monkeypatch):
    """At most e⁻⁷ of the likeliest path for each length of the prefix."""
    vocabulary = lab.Vocabulary("ab", 4)
    decoder = prefixed_decoder(4, vocabulary)
    letters = torch.randint(1, 3, (200, 4))
    letters[:, 3] = lab.EOS
    words = lab.Words(letters, torch.full((200,), 4), torch.arange(200) % 4)
    z = draw(200, seed=3)
    free = torch.zeros(200, dtype=torch.bool)
    ce = decoder.nats(z, words, free, NO_GATE).ce
    monkeypatch.setattr(lab, "NEGLIGIBLE", math.inf)
    more = ce - decoder.nats(z, words, free, NO_GATE).ce
    assert more.max() > 1e-5, "some are left out"
    assert more.min() > -1e-5
    assert more.max() < math.log1p(4 * math.exp(-7))


@pytest.mark.parametrize("name", ["gated", "direct", "prefixed"])
def test_nats_of_a_batch_are_those_of_its_words_alone(name):
    decoder = lab.CVAE(RECIPES[name], ENGLISH).decoder
    z = draw(5, seed=0)
    free = torch.tensor([True, False, True, False, True])
    gate = lab.Gate(0.5, 0.2)
    together = decoder.nats(z, words_of(WORDS, TENSE), free, gate)
    for i, word in enumerate(WORDS):
        one = slice(i, i + 1)
        words = words_of([word], TENSE[one])
        alone = decoder.nats(z[one], words, free[one], gate)
        for many, single in zip(together, alone, strict=True):
            assert_close(many[one], single)


@pytest.mark.parametrize("name", RECIPES)
def test_every_weight_is_there_for_something(name, verbs):
    """A gradient reaches every parameter; `from_lemma` exists beyond the rules alone."""
    training = RECIPES[name].new_training(verbs[:60])
    (batch, *_) = training.make_epoch(1)
    loss, _ = training.loss(batch, epoch=1)
    loss.backward()
    for parameter_name, parameter in training.model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any(), parameter_name
    assert hasattr(training.model.decoder, "from_lemma") == (name == "beyond")


def forms_of(verbs, tenses):
    return [verb[tense] for verb, tense in zip(verbs, tenses, strict=True)]


def test_generate_convert_and_decode_agree_in_chunks_too(learned, verbs, monkeypatch):
    model = learned.model
    tenses = [n % 4 for n in range(30)]
    words = forms_of(verbs[:30], tenses)
    mu, _ = model.encode(words, tenses)
    generated = model.generate(mu)
    for tense in range(4):
        forms = [verb[tense] for verb in generated]
        assert forms == model.decode(mu, tense)
        assert forms == model.convert(words, tenses, tense)
    own = forms_of(generated, tenses)
    monkeypatch.setattr(lab, "CHUNK", 4)
    assert model.convert(words, tenses, tenses) == own
    assert model.generate(mu) == generated
    assert model.convert([], 0, 1) == []
    assert model.generate(torch.empty(0, 16)) == []


@pytest.mark.parametrize("name", RECIPES)
def test_z_is_the_only_path_to_the_output(name, verbs):
    """A model without its encoder decodes the same z to the same words."""
    model = RECIPES[name].new_training(verbs).model
    words = [verb[1] for verb in verbs[7::41]]
    mu, _ = model.encode(words, 1)
    blind = copy.deepcopy(model)
    blind.encoder = None
    z = mu + torch.randn(mu.shape)
    expected = model.generate(z)
    assert blind.generate(z) == expected
    assert len(set(expected)) > 1


def test_decoding_stops_at_a_fixed_maximum():
    model = lab.CVAE(small(decoding="direct"), ENGLISH)
    model.decoder.letter.bias.data[lab.EOS] = -1e6
    words = model.decode(torch.randn(3, 16), 0)
    assert {len(word) for word in words} == {lab.MAX_LETTERS + 1}
