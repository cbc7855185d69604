"""The page computes in JavaScript what Python does, and works in a browser without a network."""

import json
import re

import numpy as np
import pytest
import torch

from bonus.gate import OURS
from bonus.page import page as script
from conftest import ROOT, lab, small, train

ASK = """([name, words, codes]) => ({
  spelled: words.map((word, n) =>
    spell(MODELS[name], encode(MODELS[name], word, n % 4), (n + 1) % 4)),
  generated: codes.map((z) => generate(MODELS[name], Float32Array.from(z))),
})"""
RIGHTMOST = """Math.max(document.documentElement.scrollWidth,
    ...[...document.querySelectorAll("*")].map((x) => x.getBoundingClientRect().right))"""
HEIGHTS = "all => all.map((x) => x.height.baseVal.value)"


@pytest.fixture(scope="module")
def models(thirty):
    """Returns both kinds of model, with the weights that the page has."""
    parts = {name: getattr(OURS, name) for name in ("encoder", "decoder", "training")}
    changes = {"epochs": 50, "batch_size": 10, "learning_rate": 0.015}
    configs = {"plain": small(**changes), "ours": small(**parts, **changes)}
    models = {name: train(config, thirty).model for name, config in configs.items()}
    for weight in torch.nn.ModuleDict(models).parameters():
        scale = weight.data.abs().amax(-1, keepdim=True) / 127
        weight.data = (weight.data / scale).round() * scale
    return models


@torch.no_grad()
def letters_of(model, z, tense):
    """Returns for each letter of a form its probability, and whether the gate opens before it."""
    tense = torch.tensor([tense])
    state = model.decoder.first_state(z[None], tense)
    letter = torch.tensor([model.vocabulary.sos])
    letters, was_open = [], False
    while letter != lab.EOS and len(letters) <= lab.MAX_LETTERS:
        logits, state = model.decoder.step(letter[:, None], state, tense)
        letter = logits.argmax(1)
        is_open = bool(state[2])
        letters.append((logits.softmax(1).max().item(), is_open and not was_open))
        was_open = is_open
    return letters


@pytest.fixture(scope="module")
def path(models, verbs, tmp_path_factory):
    """Writes a page, with a film of two epochs."""
    films = np.random.default_rng(0).normal(size=(2, 2, 12, 4, 2))
    film = script.packed_films(films, verbs[::103], 2 * [{"repeated": 1.0, "converted": 0.5}])
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(script.filled(script.data_of(verbs, models, film)), "utf-8")
    return path


@pytest.fixture(params=[390, 1280])
def page(request, browser, path):
    """Opens the page, narrow or wide. Nothing may be requested, and nothing may go wrong."""
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    events = []
    page.on("request", lambda request: events.append(request.url))
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate(RIGHTMOST) <= request.param
    assert events == [path.as_uri()]
    page.close()


@pytest.mark.parametrize("page", [1280], indirect=True)
def test_the_numbers_in_the_browser_are_those_of_python(page, models, thirty):
    codes = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    words = [form for verb in thirty for form in verb]
    tense = torch.arange(len(words)) % 4
    for name, model in models.items():
        answers = page.evaluate(ASK, [name, words, codes.tolist()])
        converted = model.convert(words, tense, (tense + 1) % 4)
        spelled = ["".join(letter["text"] for letter in word) for word in answers["spelled"]]
        assert spelled == converted
        assert len(set(converted)) > 30, "else they tell nothing"
        assert answers["generated"] == [list(row) for row in model.generate(codes)]
    mu, _ = models["ours"].encode(words, tense)
    for n, letters in enumerate(answers["spelled"]):  # of ours, the last one
        probabilities, opens = zip(*letters_of(models["ours"], mu[n], (n + 1) % 4), strict=True)
        assert [letter["probability"] for letter in letters] == pytest.approx(probabilities, 1e-3)
        assert [letter["opens"] for letter in letters] == list(opens)


def test_a_visitor_types_a_verb_sees_the_film_and_draws_from_noise(page, models):
    page.fill("#word", "two words")
    assert "One word" in page.inner_text("#problem")
    page.fill("#word", "e" * lab.MAX_LETTERS)
    page.fill("#word", "Stopped ")
    assert page.input_value("#tense") == str(lab.PAST)
    for name, model in models.items():
        z, _ = model.encode(["stopped"], lab.PAST)
        heights = page.locator(f"#{name} .code rect").evaluate_all(HEIGHTS)
        assert heights == pytest.approx((20 * z[0].abs() / 3).clamp(max=20).tolist(), abs=0.1)
    page.set_checked("#in-secret", True)
    page.locator("#epoch").fill("2")
    assert "after epoch 2 of 2" in page.inner_text("#epochs")
    page.click("#draw")
    assert "of 10" in page.inner_text("#ours-count")


def test_the_committed_page_is_what_the_command_makes_of_its_weights(verbs):
    text = (ROOT / "bonus" / "page" / "page.html").read_text("utf-8")
    data = json.loads(re.search(r'<script id="data".*?>(.*?)</script>', text, re.DOTALL)[1])
    stale = "stale: .venv/bin/python -m bonus.page.page"
    new = {name: lab.make_model(c, lab.vocabulary_of(verbs)) for name, c in script.CONFIGS.items()}
    made = script.data_of(lab.distinct_verbs(verbs), new, data["film"])
    for name, model in made["models"].items():
        known = data["models"][name]
        for part, weight in model["weights"].items():
            assert known["weights"][part]["shape"] == list(weight["shape"]), stale
        model["weights"] = known["weights"]
    assert script.filled(made) == text, stale
