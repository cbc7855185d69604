"""The page computes in JavaScript what Python does, and works in a browser without a network."""

import base64
import copy
import json
import re
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, lab, lab5_train, small, train

from experiments import language
from experiments.words import is_regular
from page import page as script

ASK = """([name, words, codes]) => ({
  spelled: words.map((word, n) =>
    spell(MODELS[name], encode(MODELS[name], word, n % 4), (n + 1) % 4)),
  generated: codes.map((z) => generate(MODELS[name], Float32Array.from(z))),
})"""
RIGHTMOST = """Math.max(document.documentElement.scrollWidth,
    ...[...document.querySelectorAll("*")].map((x) => x.getBoundingClientRect().right))"""
PLACES = "all => all.map((x) => [x.cx.baseVal.value, x.cy.baseVal.value])"
HEIGHTS = "all => all.map((x) => x.height.baseVal.value)"
LOWEST = """Math.max(...[...document.querySelectorAll("#word, #verdict, #ours .letters")]
    .map((x) => x.getBoundingClientRect().bottom))"""


@pytest.fixture(scope="module")
def keys(thirty):
    return script.keys_of(lab.vocabulary_of(thirty).alphabet, forms=4)


@pytest.fixture(scope="module")
def in_secret(thirty, keys):
    return language.rewrite(thirty, script.cipher(keys))


@pytest.fixture(scope="module")
def models(learned, thirty, in_secret):
    """Returns models, by name, with the weights that the page has."""
    plain = small(encoder=lab.Encoder, decoder=lab.DirectDecoder, epochs=40, learning_rate=0.015)
    models = {"ours": copy.deepcopy(learned.model)}
    models |= {"secret": train(plain, in_secret).model, "conjugator": train(plain, thirty).model}
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
def film(verbs):
    """Returns two films of two epochs, in which the second verb stands still."""
    one = np.random.default_rng(0).normal(size=(2, 12, 4, 2))
    one[1, 1] = one[0, 1]
    scores = 2 * [{"repeated": 1.0, "converted": 0.5}]
    return script.packed_films([one, one[::-1]], verbs[::103], scores)


@pytest.fixture(scope="module")
def path(models, verbs, thirty, in_secret, film, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(script.page_of(verbs, models, thirty, in_secret, film), "utf-8")
    return path


@pytest.fixture(params=[(390, 844), (1280, 720)], ids=["narrow", "wide"])
def page(request, browser, path):
    """Opens the page, narrow or wide. Nothing may be requested, and nothing may go wrong."""
    width, height = request.param
    looks = {"color_scheme": "dark", "reduced_motion": "reduce"}  # so that no film starts by itself
    page = browser.new_page(viewport={"width": width, "height": height}, **looks)
    events = []
    page.on("request", lambda request: events.append(request.url))
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate(RIGHTMOST) <= width
    assert events == [path.as_uri()]
    page.close()


@pytest.mark.parametrize("page", [(1280, 720)], indirect=True)
def test_javascript_converts_and_generates_as_python_does(page, models, thirty, in_secret):
    codes = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    tense = torch.arange(4 * len(thirty)) % 4
    for name, model in models.items():
        verbs = in_secret if name == "secret" else thirty
        words = [form for verb in verbs for form in verb]
        answers = page.evaluate(ASK, [name, words, codes.tolist()])
        converted = model.convert(words, tense, (tense + 1) % 4)
        words_shown = [[letter["text"] for letter in word] for word in answers["spelled"]]
        assert ["".join(letters) for letters in words_shown] == converted
        assert len(set(converted)) > 30, "else they tell nothing"
        assert answers["generated"] == [list(row) for row in model.generate(codes)]
    words = [form for verb in thirty for form in verb]
    mu, _ = models["ours"].encode(words, tense)
    answers = page.evaluate(ASK, ["ours", words, []])
    for n, letters in enumerate(answers["spelled"]):
        probabilities, opens = zip(*letters_of(models["ours"], mu[n], (n + 1) % 4), strict=True)
        assert [letter["probability"] for letter in letters] == pytest.approx(probabilities, 1e-3)
        assert [letter["opens"] for letter in letters] == list(opens)


def spelled(page, name):
    """Returns the four forms that the page shows for a model."""
    labels = page.locator(f"#{name} .letters").evaluate_all("all => all.map((x) => x.ariaLabel)")
    return tuple(label.split(";")[0] for label in labels)  # after it: where the gate opens


def test_a_visitor_types(page, models, keys):
    typed = {"stopped ": ("stopped", lab.PAST), "broke": ("broke", lab.PAST)}
    typed |= {"Wound": ("wound", lab.PRESENT), "vlogging": ("vlogging", lab.PROGRESSIVE)}
    typed |= {"blorp": ("blorp", lab.PRESENT), "photobombs": ("photobombs", lab.THIRD)}
    for text, (word, tense) in typed.items():
        page.fill("#word", text)
        assert page.input_value("#tense") == str(tense)
        assert page.is_visible("#guess") == (word in ("vlogging", "blorp", "photobombs"))
        for name, model in models.items():
            read = script.cipher(keys)(word, tense) if name == "secret" else word
            forms = list(model.generate(model.encode([read], tense)[0])[0])
            if name == "conjugator":
                forms[tense] = word  # it learned to spell the others
            if name == "secret":
                assert page.inner_text("#written") == read
                tables = [str.maketrans(key, keys[0]) for key in keys]
                forms = map(str.translate, forms, tables)
            assert spelled(page, name) == tuple(forms)
        assert page.evaluate(LOWEST) <= page.viewport_size["height"], "without scrolling"
        page.select_option("#tense", str(lab.THIRD))  # holds for this word only
        assert not page.is_visible("#guess")
    assert page.url.endswith("#photobombs")
    page.fill("#word", "e" * 32)
    assert page.is_visible("#ours")
    page.fill("#word", "two words")
    assert "One word at a time" in page.inner_text("#verdict")
    assert not page.is_visible("#ours")


def test_a_verdict_stands_beside_the_box_and_marks_beside_the_forms(page, verbs, thirty):
    right, wrong = thirty[0], verbs[0]
    page.fill("#word", right[lab.LEMMA])
    count = sum(a == b for a, b in zip(spelled(page, "ours")[1:], right[1:], strict=True))
    assert f"our model spells {count}, the one in secret 0" in page.inner_text("#verdict")
    assert page.locator("#ours .form .right").count() == count + 1 > 1
    assert page.inner_text("#taught") == f"Was taught {', '.join(right)}"
    page.fill("#word", wrong[lab.PROGRESSIVE])
    assert "our model spells 0" in page.inner_text("#verdict")
    marks = page.locator("#ours .form .wrong").all_inner_texts()
    assert marks == [f"✗ should be {form}" for form in wrong]
    page.fill("#word", "blorp")
    lemma = spelled(page, "ours")[lab.LEMMA]
    assert f"knows only what it read, here {lemma}" in page.inner_text("#verdict")
    assert page.locator("#ours .form .near").first.inner_text() == f"≈ of {lemma}"


def test_a_new_verb_is_a_success_if_it_is_spelled_by_the_rules(page, verbs):
    assert page.evaluate("DATA.verbs.map(isRegular)") == [is_regular(verb) for verb in verbs]
    for spells, regular, marks in (("tries", "false", 0), ("spells it", "true", 3)):
        page.evaluate(f"isRegular = () => {regular}")
        page.fill("#word", "zoom")
        assert f"zoom is new. The conjugator {spells}: zoom," in page.inner_text("#verdict")
        assert page.locator("#conjugator .right").all_inner_texts() == ["✓ by the rules"] * marks


def test_a_word_has_a_bar_for_each_number_of_its_code(page, models):
    page.fill("#word", "blorp")
    z = models["ours"].encode(["blorp"], lab.PRESENT)[0][0]
    heights = page.locator("#ours .code rect").evaluate_all(HEIGHTS)
    assert heights == pytest.approx((20 * z.abs() / 3).clamp(max=20).tolist(), abs=0.1)


def test_a_film_shows_codes_epoch_by_epoch(page, film):
    films = [
        np.frombuffer(base64.b64decode(points), dtype=np.int8).reshape(2, 48, 2)
        for points in film["points"]
    ]
    for epoch in (2, 1):
        page.locator("#epoch").fill(str(epoch))
        assert f"after epoch {epoch} of 2" in page.inner_text("#epochs")
        for secret in (False, True):
            page.set_checked("#in-secret", secret)
            places = page.locator("#screen circle").evaluate_all(PLACES)
            assert places == films[secret][epoch - 1].tolist()
            assert page.is_visible(".if-secret") == secret != page.is_visible(".if-plain")
    page.click("#play")
    assert page.inner_text("#play") == "Pause"
    page.evaluate("pause()")
    assert page.inner_text("#play") == "Play"


def test_a_visitor_walks_from_verb_to_verb(page, models):
    page.locator(".end").first.fill("blogs")
    ours = models["ours"]
    start, end = ours.encode(["blogs", "hate"], [lab.THIRD, lab.PRESENT])[0]
    for step in (0, 6, 24):
        page.locator("#share").fill(str(step))
        (forms,) = ours.generate((start + step / 24 * (end - start))[None])
        assert ", ".join(forms) in page.inner_text("#between")


def test_a_visitor_explores_the_map_by_keys_and_pointer(page, models):
    page.focus("#map")
    right, up = page.evaluate("place")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    assert page.evaluate("place") == pytest.approx([right - 0.1, up + 0.5])
    width, height = page.locator("#map").evaluate("x => [x.clientWidth, x.clientHeight]")
    page.hover("#map", position={"x": width / 4, "y": height / 8})
    at = page.evaluate("place")
    assert at == pytest.approx([-0.5 * script.SIDES[0], 0.75 * script.SIDES[1]], abs=0.05)
    z = torch.zeros(1, 16)
    z[0, script.axes_of(models["ours"])] = torch.tensor(at)
    (forms,) = models["ours"].generate(z)
    assert ", ".join(forms) in page.inner_text("#here")
    filters = "all => all.map((x) => getComputedStyle(x).filter)"
    legend, picture = page.locator(".swatch.none, #map img").evaluate_all(filters)
    assert legend == picture != "none", "in the dark the legend changes as the map does"


def test_a_visitor_draws_from_noise(page):
    for count in (10, 20):
        page.click("#draw")
        assert f"of {count} draws" in page.inner_text("#tally")
    assert page.locator("#draws li").count() == 10


def test_four_forms_are_right_near_or_wrong(page):
    near = ["walk", "goes", "walking", "walked"]
    assert page.evaluate("forms => kindOf(forms)", near) == "near"
    assert "(walk and go)" in page.evaluate("forms => formsAsHtml(forms)", near)
    assert page.evaluate("kindOf(['walk', 'walks', 'walking', 'walked'])") == "right"
    assert page.evaluate("kindOf(['walk', 'walks', 'walking', 'wolk'])") == "wrong"
    for kind, counts in (("near", 0), ("wrong", 0), ("right", 1)):
        page.evaluate(f"kindOf = () => '{kind}'")
        assert page.evaluate("[tally.right, drawOne(), tally.right]")[::2] == [0, counts]


def test_the_committed_page_is_what_its_sources_make_of_its_weights(verbs):
    text = (ROOT / "page" / "page.html").read_text("utf-8")
    data = json.loads(re.search(r'<script id="data".*?>(.*?)</script>', text, re.DOTALL)[1])
    picture = re.search(r"data:image/png;base64,([^\"]+)", text)[1]
    stale = "stale: .venv/bin/python page/page.py --update"
    assert script.filled(data | script.facts_of(verbs), picture) == text, stale
    assert data["map"]["sides"] == list(script.SIDES), stale
    for name, config in {"ours": lab5_train.Config(), "secret": script.SECRET}.items():
        weights = script.packed(lab.make_model(config, lab.vocabulary_of(verbs)))["weights"]
        shapes = {part: list(weight["shape"]) for part, weight in weights.items()}
        known = data["models"][name]["weights"]
        assert {part: weight["shape"] for part, weight in known.items()} == shapes, stale


def test_a_table_of_ones_own_has_no_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["page.py"])
    with pytest.raises(SystemExit):
        script.main()
    assert "the page is about the project's table" in capsys.readouterr().err
