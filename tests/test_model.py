"""The model, against an LSTM written out letter by letter."""

import copy

import pytest
import torch
from conftest import SMALL, lab
from torch.nn import functional as F

WORDS = ["go", "abandon", "split", "function", "be"]


def lstm_step(lstm, x, h, c):
    """Makes one step of an LSTM by its equations."""
    gates = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def decode_by_letter(decoder, context, target, length, free, tense=0):
    """Decodes one word letter by letter: returns its cross-entropy, the letters fed, and the state it ends in.
    With a gate, the cross-entropy is summed over the letters before which it may open, path by path."""
    h, c = (context.tanh(), context) if decoder.context_in == "cell" else (context, torch.zeros_like(context))
    letter, before, behind, opens, fed, opened = torch.tensor(lab.SOS), [], [], [], [], False
    for right in target[:length]:
        fed.append(letter.item())
        h, c = lstm_step(decoder.lstm, decoder.embedding(letter), h, c)
        logits = decoder.letter(h)
        before.append(F.cross_entropy(logits, right))
        opens.append(F.cross_entropy(logits, torch.tensor(lab.EOS)))
        own = logits.argmax()
        if decoder.gated:
            added = decoder.tensed(torch.cat([h, decoder.condition.weight[tense]]))
            logits = torch.cat([added[:1], logits[1:] + added[1:]])
            behind.append(F.cross_entropy(logits, right) + decoder.price)
            opened |= own.item() == lab.EOS
            own = logits.argmax() if opened else own
        letter = own if free else right
        if letter == lab.EOS:
            break
    if not decoder.gated:
        return sum(before), fed, h
    paths = torch.stack([sum(before[:k]) + opens[k] + sum(behind[k:]) for k in range(len(fed))])
    return -((-paths * decoder.temper).exp().mean() * len(fed) ** decoder.temper).log() / decoder.temper, fed, h


@pytest.fixture(params=["cell", "hidden", "gated", "tempered, priced gate"])
def decoder(request):
    torch.manual_seed(1)
    gated = "gate" in request.param
    changes = dict(decoding="gated", context_in="cell") if gated else dict(context_in=request.param)
    decoder = lab.Decoder(lab.Config.classic(**SMALL | changes))
    decoder.temper, decoder.price = (0.4, 0.1) if "priced" in request.param else (1.0, 0.0)
    if gated:
        decoder.tensed[2].weight.data *= 8  # so that the tense decides
    decoder.letter.weight.data *= 4  # so that free-running words differ, and some end early
    decoder.letter.bias.data[lab.EOS] += 0.4
    return decoder


@pytest.mark.parametrize("free", [[False] * 5, [True] * 5, [True, False, True, True, False]])
def test_fused_loss_equals_letter_by_letter(decoder, free):
    context = torch.randn(5, 64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    target, lengths = lab.words_to_tensor(WORDS)
    parameters = [p for name, p in decoder.named_parameters() if decoder.gated or "condition" not in name] + [context]
    tense = torch.arange(5) % 4
    ce, end, _ = decoder.loss(context, lab.Words(target, lengths, tense), torch.tensor(free))
    fused = torch.autograd.grad((ce * torch.arange(1.0, 6)).sum() + end.pow(2).sum(), parameters)
    slow = [decode_by_letter(decoder, *word) for word in zip(context, target, lengths, free, tense)]
    slow_ce, slow_end = torch.stack([word[0] for word in slow]), torch.stack([word[2] for word in slow])
    stepped = torch.autograd.grad((slow_ce * torch.arange(1.0, 6)).sum() + slow_end.pow(2).sum(), parameters)
    assert torch.allclose(ce, slow_ce, atol=1e-5) and torch.allclose(end, slow_end, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(fused, stepped))


def test_greedy_equals_letter_by_letter(decoder):
    context = torch.randn(40, 64, generator=torch.Generator().manual_seed(4))
    tense = torch.arange(40) % 4
    letters, end = decoder.greedy(context, tense)
    slow = [decode_by_letter(decoder, word, letters[0], 33, True, tense) for word, tense in zip(context, tense)]
    for word, state, (_, fed, h) in zip(letters.tolist(), end, slow):
        assert word == (fed[1:] + [lab.EOS] * 33)[:33] or len(fed) == 33 and word[:-1] == fed[1:]
        assert torch.allclose(state, h, atol=1e-5)
    assert len({len(fed) for _, fed, _ in slow}) > 3 and letters.shape == (40, lab.MAX_LETTERS + 1)


@pytest.mark.parametrize("directions", [1, 2])
def test_encoder_equals_letter_by_letter_at_any_padding(directions):
    torch.manual_seed(0)
    encoder = lab.Encoder(lab.Config(**SMALL, directions=directions))
    letters, lengths = lab.words_to_tensor(WORDS)
    for padding in (0, 4):
        mu, logvar = encoder(lab.Words(F.pad(letters, (0, padding), value=lab.EOS), lengths, torch.arange(5) % 4))
        for i, word in enumerate(WORDS):
            ends = []
            for lstm, read in zip(encoder.lstms, (word, word[::-1])):
                h, c = F.pad(encoder.condition.weight[i % 4], (64 // directions - 8, 0)), torch.zeros(64 // directions)
                for letter in lab.words_to_tensor([read])[0][0]:
                    h, c = lstm_step(lstm, encoder.embedding(letter), h, c)
                ends.append(h)
            assert torch.allclose(mu[i], encoder.mu(torch.cat(ends)), atol=1e-5)
            assert torch.allclose(logvar[i], encoder.logvar(torch.cat(ends)), atol=1e-5)


@pytest.mark.parametrize("decoding", ["lemma-first", "gated", "direct"])
def test_loss_of_a_batch_is_the_loss_of_its_words(decoding, verbs):
    torch.manual_seed(0)
    config = lab.Config(**SMALL, decoding=decoding)
    model, condition = lab.CVAE(config), lambda tense: model.decoder.condition.weight[tense]
    rng = torch.Generator().manual_seed(0)
    ((_, (_, *targets)),) = lab.make_batches(*lab.choose(verbs[:8], config, rng), 8, rng, "cpu")
    z, free, end = torch.randn(8, 16), torch.arange(16).view(8, 2) % 3 == 0, None
    together, scores = model.cross_entropy(z, targets, free)
    soft, own = model.cross_entropy(z, targets, free & False, teacher := [torch.randn_like(x) for x in scores])
    for words, ce, *logits in zip(targets, soft.T, teacher, own) if decoding != "gated" else ():
        p, q = (torch.distributions.Categorical(logits=x) for x in logits)
        by_letter = p.entropy() + torch.distributions.kl_divergence(p, q)  # of the teacher to the model (B, T)
        assert ce.tolist() == pytest.approx([row[:n].sum().item() for row, n in zip(by_letter, words.lengths)])
    for i in range(8):
        for k, (letters, lengths, tense) in enumerate(targets):
            context = model.from_z(torch.cat([z[i], condition(tense[i])]) if decoding == "direct" else z[i])
            if decoding == "lemma-first" and k:
                context = model.from_lemma(torch.cat([end, z[i], condition(tense[i])]))
            ce, _, end = decode_by_letter(model.decoder, context, letters[i], lengths[i], free[i, k], tense[i])
            assert together[i, k].item() == pytest.approx(ce.item(), abs=1e-4)


def test_learned_words_are_converted_and_the_tense_decides(learned, verbs):
    assert lab.convert_verbs(learned.model, verbs[::41]).tolist() == [[list(verb)] * 4 for verb in verbs[::41]]


def test_generate_convert_and_decode_agree(learned, verbs, monkeypatch):
    words, tenses = [verb[n % 4] for n, verb in enumerate(verbs[:99])], [n % 4 for n in range(99)]
    mu, _ = learned.model.encode(words, tenses)
    columns = list(zip(*learned.model.generate(mu)))
    for tense in range(4):
        assert list(columns[tense]) == learned.model.decode(mu, tense) == learned.model.convert(words, tenses, tense)
    monkeypatch.setattr(lab, "CHUNK", 2)
    assert learned.model.convert(words, tenses, tenses) == [columns[t][n] for n, t in enumerate(tenses)]
    assert learned.model.convert([], 0, 1) == [] and learned.model.generate(torch.empty(0, 16)) == []


def test_z_is_the_only_path_to_the_output(learned, verbs):
    torch.manual_seed(0)
    for model in (learned.model, lab.CVAE(lab.Config(**SMALL, directions=1))):
        mu, _ = model.encode([verb[1] for verb in verbs[::41]], 1)
        expected, blind = model.generate(mu), copy.deepcopy(model)
        blind.encoder = None  # z alone gives the same words
        assert blind.generate(mu) == expected and len(set(expected)) > 1


def test_decoding_stops_at_a_fixed_maximum():
    model = lab.CVAE(lab.Config(**SMALL))
    model.decoder.letter.bias.data[lab.EOS] = -1e6
    assert {len(word) for word in model.decode(torch.randn(3, 16), 0)} == {lab.MAX_LETTERS + 1}


@pytest.mark.parametrize(
    "words, tense, error, message",
    [
        ("walk", 0, TypeError, "'walk'; expected"), (["walk", 3], 0, ValueError, "found 3;"), (["ö"], 0, ValueError, "ö"),
        (["walk", ""], 0, ValueError, "''"), (["a" * 33], 0, ValueError, "1 to 32 letters"), (["b"], 4, ValueError, "4"),
        (["walk\n"], 0, ValueError, "walk"), (["walk"], -1, ValueError, "-1"), (["walk"], 0.5, ValueError, "0.5"),
        (["walk", "go"], [0, 1, 2], ValueError, "one for all or 2"), (["walk"], "sp", ValueError, "sp"),
        (["walk"], None, ValueError, "None"),
    ],
)  # fmt: skip
def test_what_convert_cannot_take(learned, words, tense, error, message):
    with pytest.raises(error, match=message):
        learned.model.convert(words, tense, 0)


@pytest.mark.parametrize("z", [torch.zeros(2, 5), torch.zeros(16), torch.zeros(1, 2, 16), torch.zeros(1, 16) / 0])
def test_z_of_a_wrong_shape_or_not_finite(learned, z):
    for use in (learned.model.generate, lambda z: learned.model.decode(z, 0)):
        with pytest.raises(ValueError, match=r"expected finite numbers of shape \(B, 16\)"):
            use(z)
