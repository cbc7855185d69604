"""The model, against an LSTM written out letter by letter."""

import pytest
import torch
from conftest import SMALL, lab
from torch.nn import functional as F

WORDS = ["go", "abandon", "split", "function", "be"]


def cell_step(lstm, x, h, c):
    """One step of an LSTM by its equations."""
    gates = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def spell_by_letter(decoder, told, target, length, free):
    """Spells one word letter by letter: returns its cross-entropy, the letters fed, and the last state."""
    h, c = (state[0, 0] for state in decoder.start(told[None]))
    letter, ce, fed = torch.tensor(lab.SOS), 0.0, []
    for right in target[:length]:
        fed.append(letter.item())
        h, c = cell_step(decoder.lstm, decoder.embedding(letter), h, c)
        scores = decoder.letter(h)
        ce = ce + F.cross_entropy(scores, right)
        letter = scores.argmax() if free else right
        if letter == lab.EOS:
            break
    return ce, fed, h


@pytest.fixture(params=["cell", "hidden"])
def decoder(request):
    torch.manual_seed(1)
    config = lab.Config.classic(**SMALL, starts_in=request.param)
    decoder = lab.Decoder(config)
    with torch.no_grad():
        decoder.letter.weight *= 4  # so that free words spell different things, and some say EOS early
        decoder.letter.bias[lab.EOS] += 0.4
    return decoder


@pytest.mark.parametrize("free", [[False] * 5, [True] * 5, [True, False, True, True, False]])
def test_fused_pass_equals_letter_by_letter(decoder, free):
    told = torch.randn(5, 64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    target, lengths = lab.words_to_tensor(WORDS)
    parameters = [*decoder.parameters(), told]

    ce, end = decoder.spell(told, target, lengths, torch.tensor(free))
    fused = torch.autograd.grad((ce * torch.arange(1.0, 6)).sum() + end.pow(2).sum(), parameters)
    slow = [spell_by_letter(decoder, *word) for word in zip(told, target, lengths, free)]
    slow_ce, slow_end = torch.stack([word[0] for word in slow]), torch.stack([word[2] for word in slow])
    stepped = torch.autograd.grad((slow_ce * torch.arange(1.0, 6)).sum() + slow_end.pow(2).sum(), parameters)

    assert torch.allclose(ce, slow_ce, atol=1e-5) and torch.allclose(end, slow_end, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(fused, stepped))


def test_greedy_equals_letter_by_letter(decoder):
    told = torch.randn(40, 64, generator=torch.Generator().manual_seed(4))
    letters, end = decoder.greedy(told)
    anything = torch.zeros(lab.MAX_LETTERS + 1, dtype=torch.long)
    spelled = [spell_by_letter(decoder, word, anything, len(anything), True) for word in told]
    for word, state, (_, fed, h) in zip(lab.tensor_to_words(letters), end, spelled):
        assert lab.words_to_tensor([word])[0][0, :-1].tolist() == fed[1:]
        assert torch.allclose(state, h, atol=1e-5)
    assert len({len(fed) for _, fed, _ in spelled}) > 3, "the check needs words that end at different places"


def test_encoder_equals_letter_by_letter_at_any_padding():
    torch.manual_seed(0)
    encoder = lab.Encoder(lab.Config(**SMALL))
    letters, lengths = lab.words_to_tensor(WORDS)
    tense = torch.tensor([0, 1, 2, 3, 0])
    mu, logvar = encoder(letters, lengths, tense)
    for i, word in enumerate(WORDS):
        h, c = torch.cat([torch.zeros(64 - 8), encoder.condition(tense[i])]), torch.zeros(64)
        for letter in letters[i, : len(word) + 1]:
            h, c = cell_step(encoder.lstm, encoder.embedding(letter), h, c)
        assert torch.allclose(mu[i], encoder.mu(h), atol=1e-5) and torch.allclose(
            logvar[i], encoder.logvar(h), atol=1e-5
        )


@pytest.mark.parametrize(
    "decoding, form_from", [("lemma-first", "lemma"), ("lemma-first", "lemma and z"), ("direct", "lemma")]
)
def test_loss_of_a_batch_is_the_loss_of_its_words(decoding, form_from, verbs):
    torch.manual_seed(0)
    config = lab.Config(decoding=decoding, form_from=form_from, targets=4, **SMALL)
    model, table = lab.CVAE(config), lab.Table(verbs[:8], config)
    (batch,) = table.batches(torch.Generator().manual_seed(0))
    z = torch.randn(8, 16)
    together = model.cross_entropy(z, batch, torch.zeros(8, 4, dtype=torch.bool))
    for i in range(8):
        for k, tense in enumerate(batch.target_tense[i].tolist()):
            told = model.tell_first(z[i : i + 1], torch.tensor([tense]))[0]
            word = lambda k: (batch.target[i, k], batch.target_lengths[i, k])
            if decoding == "lemma-first" and tense:
                _, _, end = spell_by_letter(model.decoder, told, *word(0), False)
                known = model.known_after_lemma(end[None], z[i : i + 1])
                told = model.tell_form(known, torch.tensor([tense]))[0]
            ce, _, _ = spell_by_letter(model.decoder, told, *word(k), False)
            assert together[i, k].item() == pytest.approx(ce.item(), abs=1e-4)


def test_learned_words_are_converted_and_the_tense_decides(learned, verbs):
    model, table = learned.model, verbs[::41]
    for source in range(4):
        outputs = [model.convert([verb[source] for verb in table], source, target) for target in range(4)]
        assert list(zip(*outputs)) == table, "changing only the target's tense changes the form"


def test_generate_convert_and_decode_agree(learned, verbs):
    words = [verb[1] for verb in verbs[:100]]
    mu, _ = learned.model.encode(words, 1)
    columns = list(zip(*learned.model.generate(mu)))
    for tense in range(4):
        assert list(columns[tense]) == learned.model.decode(mu, tense) == learned.model.convert(words, 1, tense)


def test_any_number_of_words_and_a_tense_for_each(learned, monkeypatch):
    words, tenses = ["abet", "went", "split"] * 5, [0, 3, 0] * 5
    whole = learned.model.convert(words, tenses, tenses[::-1])
    monkeypatch.setattr(lab, "CHUNK", 2)
    assert learned.model.convert(words, tenses, tenses[::-1]) == whole
    assert learned.model.convert([], 0, 1) == [] and learned.model.generate(torch.empty(0, 16)) == []


def test_output_depends_on_z_and_tense_alone(learned):
    """No leak: with the encoder gone, z alone gives the same words, of lengths nobody told."""
    mu, _ = learned.model.encode(["abet", "abetting", "abetted"], [0, 2, 3])
    expected = learned.model.generate(mu)
    blind = lab.CVAE(learned.config)
    blind.load_state_dict(learned.model.state_dict())
    del blind.encoder.lstm, blind.encoder.embedding
    assert blind.generate(mu) == expected


def test_decoding_stops_at_a_fixed_maximum():
    model = lab.CVAE(lab.Config(**SMALL))
    with torch.no_grad():
        model.decoder.letter.bias[lab.EOS] = -1e6
    assert {len(word) for word in model.decode(torch.randn(3, 16), 0)} == {lab.MAX_LETTERS + 1}


@pytest.mark.parametrize(
    "words, tense, error, message",
    [
        ("walk", 0, TypeError, r"\['walk'\]"),
        (["walk", 3], 0, TypeError, "3"),
        (["walk", "Größe"], 0, ValueError, "Größe"),
        (["walk", ""], 0, ValueError, "''"),
        (["a" * 33], 0, ValueError, "1 to 32 letters"),
        (["walk\n"], 0, ValueError, "walk"),
        (["walk"], 4, ValueError, "4"),
        (["walk"], -1, ValueError, "-1"),
        (["walk"], 0.5, ValueError, "0.5"),
        (["walk", "go"], [0, 1, 2], ValueError, "2, one per word"),
        (["walk"], "sp", (TypeError, ValueError), "sp"),
        (["walk"], None, (TypeError, ValueError), "None"),
    ],
)
def test_what_convert_cannot_take(learned, words, tense, error, message):
    with pytest.raises(error, match=message):
        learned.model.convert(words, tense, 0)


@pytest.mark.parametrize("z", [torch.zeros(2, 5), torch.zeros(16), torch.zeros(1, 2, 16)])
def test_z_of_a_wrong_width(learned, z):
    for use in (learned.model.generate, lambda z: learned.model.decode(z, 0)):
        with pytest.raises(ValueError, match=r"expected z of shape \(B, 16\)"):
            use(z)
