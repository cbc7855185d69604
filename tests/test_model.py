"""The networks, against an LSTM written out letter by letter; which words and codes they take."""

import numpy as np
import own
import pytest
import torch
from by_letter import assert_close, first_state, nats_of, read, spell
from torch.nn import functional as F

from bonus.gate import BackwardEncoder, GatedDecoder, GatedTraining
from conftest import ENGLISH, lab, lab5_train, small

WORDS = ["go", "abandon", "split", "function", "be"]
TENSE = torch.arange(5) % 4


@pytest.fixture(autouse=True)
def seeded():
    with lab5_train.reproducible(seed=1):
        yield


@pytest.fixture(params=[lab.DirectDecoder, lab.CodeInH0, GatedDecoder])
def decoder(request):
    """Returns a decoder whose own words differ from the targets, some of them shorter."""
    decoder = request.param(small(), ENGLISH)
    if request.param is GatedDecoder:
        decoder.gate_mlp[2].weight.data *= 8  # so that the tense decides
    decoder.letter.weight.data *= 4
    decoder.letter.bias.data[lab.EOS] += 0.4
    return decoder


# ---- Letter by letter ----
def slow_nats(decoder, z, words, free, tau=1.0, price=0.0):
    """Returns the nats of words (B,), letter by letter; those marked `f` run free."""
    nats = []
    for way, code, letters, length, tense in zip(free, z, *words, strict=True):
        state = first_state(decoder, code, tense)
        word = letters[:length]
        fed = [ENGLISH.sos, *word[:-1]]
        if way == "f":
            fed = spell(decoder, state, length, tense)
        nats.append(nats_of(decoder, state, word, fed, tense, tau, price))
    return torch.stack(nats)


def assert_gradients_are_close(nats, expected, weights):
    unlike = torch.arange(1.0, 6)  # so that no two words can be mistaken for each other
    gradients = [torch.autograd.grad((each * unlike).sum(), weights) for each in (nats, expected)]
    assert_close(*gradients, 1e-4)


@pytest.mark.parametrize("free", ["-----", "fffff", "f-ff-"])
def test_fused_nats_and_gradients_are_those_of_letter_by_letter(decoder, free):
    words = lab.as_words(WORDS, TENSE, ENGLISH)
    z = torch.randn(5, 16).requires_grad_()
    nats = decoder.nats(z, words, torch.tensor([way == "f" for way in free]))
    expected = slow_nats(decoder, z, words, free)
    assert_close(nats, expected)
    assert_gradients_are_close(nats, expected, [*decoder.parameters(), z])


@pytest.mark.parametrize("decoder", [GatedDecoder], indirect=True)
@pytest.mark.parametrize("progress", [0.1, 1.0])
def test_what_a_gates_training_minimizes_is_tempered_and_priced_path_by_path(decoder, progress):
    training = GatedTraining(small(decoder=GatedDecoder), [("a", "b", "c", "d")])
    training.model.decoder = decoder
    words = lab.as_words(WORDS, TENSE, ENGLISH)
    z = torch.randn(5, 16)
    free_running = torch.tensor([False, True, True, False, True])
    minimized, ce = training.nats(z, words, free_running, progress)
    expected = slow_nats(decoder, z, words, "-ff-f", *training.tau_and_price(progress))
    assert_close(minimized, expected)
    assert_close(ce, slow_nats(decoder, z, words, "-ff-f"))
    assert_gradients_are_close(minimized, expected, list(decoder.parameters()))


@torch.no_grad()
def test_greedy_decoding_is_letter_by_letter(decoder):
    z = torch.randn(20, 16)
    tense = torch.arange(20) % 4
    steps = lab.MAX_LETTERS + 1
    lengths = set()
    for n, letters in enumerate(decoder.greedy(z, tense).tolist()):
        state = first_state(decoder, z[n], tense[n])
        spelled = spell(decoder, state, steps + 1, tense[n])[1:]
        assert letters == spelled + (steps - len(spelled)) * [lab.EOS]
        lengths.add(len(spelled))
    assert len(lengths) > 3


@pytest.mark.parametrize("kind", [lab.Encoder, BackwardEncoder])
def test_encoding_is_letter_by_letter_at_any_padding(kind):
    encoder = kind(small(), ENGLISH)
    words = lab.as_words(WORDS, TENSE, ENGLISH)
    ends = []
    for letters, length, tense in zip(*words, strict=True):
        h0 = torch.cat([torch.zeros(64 - 8), encoder.condition.weight[tense]])
        word = letters[: length - 1]
        read_in_order = word.flip(0) if kind is BackwardEncoder else word
        steps = [*read_in_order, torch.tensor(lab.EOS)]
        ends.append(read(encoder, steps, h0, torch.zeros(64))[-1])
    end = torch.stack(ends)
    padded = words._replace(letters=F.pad(words.letters, (0, 4), value=lab.EOS))
    for batch in (words, padded):
        assert_close(encoder(batch), (encoder.mu(end), encoder.logvar(end)))


# ---- A model ----
def test_generate_convert_and_decode_agree_in_chunks_too(learned, thirty, monkeypatch):
    model = learned.model
    tenses = [n % 4 for n in range(30)]
    words = [verb[tense] for verb, tense in zip(thirty, tenses, strict=True)]
    mu, _ = model.encode(words, tenses)
    generated = model.generate(mu)
    monkeypatch.setattr(lab, "CHUNK", 7)  # so that no chunk begins as another
    assert_close(model.encode(words, tenses)[0], mu)
    for tense in range(4):
        forms = [verb[tense] for verb in generated]
        assert forms == model.decode(mu, tense) == model.convert(words, tenses, tense)
    own = [verb[tense] for verb, tense in zip(generated, tenses, strict=True)]
    assert model.convert(iter(words), tenses, tenses) == own
    assert model.convert([], 0, 1) == []


def test_a_decoder_with_one_state_spells_a_word_in_a_batch_as_it_does_alone():
    decoder = own.GRUDecoder(small(), ENGLISH)
    model = lab.CVAE(lab.Encoder(small(), ENGLISH), decoder).eval()
    model.decoder.letter.weight.data *= 4
    model.decoder.letter.bias.data[lab.EOS] += 0.4
    z = 3 * torch.randn(9, model.latent_size)
    words = model.decode(z, 2)
    assert len({*map(len, words)}) > 1, "some end before others"
    assert words == [model.decode(one[None], 2)[0] for one in z]


def test_z_is_the_only_path_to_the_output(decoder):
    """Words that have the same code are spelled alike, whatever else the encoder knows of them."""
    model = lab.CVAE(lab.Encoder(small(), ENGLISH), decoder)
    model.encoder.mu.weight.data *= 20
    assert len(set(model.convert(WORDS, 1, 2))) > 1
    model.encoder.mu.weight.data.zero_()
    assert len(set(model.convert(WORDS, 1, 2))) == 1


# ---- What is taken and refused ----
TENSES = [0, np.int64(3), torch.tensor(2), [0, 1, 3]]
BAD_TENSES = [-1, 4, [0, 1, 4]]
BAD_WORDS = {
    "words: found 'walk'; expected a list of words": "walk",
    "words: found 'Walk'; expected 1 to 32 letters in lower case": ["Walk"],
    "words: found ''; expected 1 to 32 letters": [""],
    "words: found 'é' in 'été'; expected letters abcdefgh": ["walk", "été"],
}


def test_a_tense_is_one_for_all_words_or_one_each():
    for tense in TENSES:
        assert lab.check_tense(tense, 3, 4).tolist() == np.broadcast_to(tense, 3).tolist()
    for tense in BAD_TENSES:
        with pytest.raises(ValueError, match=r"tense: found .*; expected 0\.\.3"):
            lab.check_tense(tense, 3, 4)


@pytest.mark.parametrize("message", BAD_WORDS)
def test_what_is_no_word_is_refused(message):
    model = lab.make_model(small(), ENGLISH)
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        model.encode(BAD_WORDS[message], 0)
