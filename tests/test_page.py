"""The page computes in JavaScript what Python does, and works in a browser without a network."""

import copy
import json
import re
import sys

import pytest
import torch
from conftest import ROOT, lab, lab5_train, small, train

from page import page as script

ASK = """([name, words, codes]) => ({
  spelled: words.map((word, n) =>
    spell(MODELS[name], encode(MODELS[name], word, n % 4), (n + 1) % 4)),
  generated: codes.map((z) => generate(MODELS[name], Float32Array.from(z))),
})"""
RIGHTMOST = """Math.max(document.documentElement.scrollWidth,
    ...[...document.querySelectorAll("*")].map((x) => x.getBoundingClientRect().right))"""
LOWEST = """Math.max(...[...document.querySelectorAll("#word, #verdict, #ours .letters")]
    .map((x) => x.getBoundingClientRect().bottom))"""


@pytest.fixture(scope="module")
def models(learned, thirty):
    """Returns models, by name, with the weights that the page has; one of them ignores its code."""
    direct = small(decoder=lab.DirectDecoder, epochs=40, learning_rate=0.015)
    models = {"ours": copy.deepcopy(learned.model), "conjugator": train(direct, thirty).model}
    models["collapsed"] = copy.deepcopy(models["conjugator"])
    models["collapsed"].decoder.from_z.weight.data[:, :16] = 0
    for weight in torch.nn.ModuleDict(models).parameters():
        scale = weight.data.abs().amax(-1, keepdim=True) / 127
        weight.data = (weight.data / scale).round() * scale
    return models


@torch.no_grad()
def letters_of(model, z, tense):
    """Returns for each letter of a form its probability, and whether the gate opens before it."""
    tense = torch.tensor([tense])
    state = model.decoder.start(model.decoder.context(z[None], tense))
    letter = torch.tensor([model.vocabulary.sos])
    letters, was_open = [], False
    while letter != lab.EOS and len(letters) <= lab.MAX_LETTERS:
        scores, state = model.decoder.step(letter[:, None], state, tense)
        letter = scores.argmax(1)
        is_open = bool(state[1])
        letters.append((scores.softmax(1).max().item(), is_open and not was_open))
        was_open = is_open
    return letters


@pytest.fixture(scope="module")
def path(models, verbs, thirty, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(script.page_of(verbs, models, sure=verbs[:30], joined=thirty), "utf-8")
    return path


@pytest.fixture(params=[(390, 844), (1280, 720)], ids=["narrow", "wide"])
def page(request, browser, path):
    """Opens the page, narrow or wide. Nothing may be requested, and nothing may go wrong."""
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark")
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
def test_javascript_converts_and_generates_as_python_does(page, models, thirty):
    words = [form for verb in thirty for form in verb]
    codes = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    answers = {name: page.evaluate(ASK, [name, words, codes.tolist()]) for name in models}
    tense = torch.arange(len(words)) % 4
    for name, model in models.items():
        converted = model.convert(words, tense, (tense + 1) % 4)
        words_shown = [[letter["text"] for letter in word] for word in answers[name]["spelled"]]
        assert ["".join(letters) for letters in words_shown] == converted
        assert (len(set(converted)) > 30) == (name != "collapsed"), "else they tell nothing"
        assert answers[name]["generated"] == [list(row) for row in model.generate(codes)]
    mu, _ = models["ours"].encode(words, tense)
    for n, letters in enumerate(answers["ours"]["spelled"]):
        probabilities, opens = zip(*letters_of(models["ours"], mu[n], (n + 1) % 4), strict=True)
        assert [letter["probability"] for letter in letters] == pytest.approx(probabilities, 1e-3)
        assert [letter["opens"] for letter in letters] == list(opens)


def spelled(page, name):
    """Returns the four forms that the page shows for a model."""
    labels = page.locator(f"#{name} .letters").evaluate_all("all => all.map((x) => x.ariaLabel)")
    return tuple(label.split(";")[0] for label in labels)  # after it: where the gate opens


def test_a_visitor_types(page, models):
    typed = {"stopped ": ("stopped", lab.PAST), "broke": ("broke", lab.PAST)}
    typed |= {"Wound": ("wound", lab.PRESENT), "vlogging": ("vlogging", lab.PROGRESSIVE)}
    typed |= {"blorp": ("blorp", lab.PRESENT), "photobombs": ("photobombs", lab.THIRD)}
    for text, (word, tense) in typed.items():
        page.fill("#word", text)
        assert page.input_value("#tense") == str(tense)
        for name, model in models.items():
            forms = list(model.generate(model.encode([word], tense)[0])[0])
            if name == "conjugator":
                forms[tense] = word  # it learned to spell the others
            assert spelled(page, name) == tuple(forms)
        assert page.evaluate(LOWEST) <= page.viewport_size["height"], "without scrolling"
        page.select_option("#tense", str(lab.THIRD))  # holds for this word only
    page.fill("#word", "e" * 32)
    assert page.is_visible("#ours")
    page.fill("#word", "two words")
    assert "One word at a time" in page.inner_text("#verdict")
    assert not page.is_visible("#ours")


def test_a_verdict_stands_beside_the_box_and_marks_beside_the_forms(page, verbs, thirty):
    right, wrong = thirty[0], verbs[0]
    page.fill("#word", right[lab.LEMMA])
    count = sum(a == b for a, b in zip(spelled(page, "ours"), right, strict=True))
    assert page.locator("#ours .form .right").count() == count > 0
    assert f"It was taught the row {', '.join(right)}." in page.inner_text("#taught")
    page.fill("#word", wrong[lab.PROGRESSIVE])
    assert "0 of its 4 forms right" in page.inner_text("#verdict")
    marks = page.locator("#ours .form .wrong").all_inner_texts()
    assert marks == [f"✗ should be {form}" for form in wrong]
    page.fill("#word", "blorp")
    lemma = spelled(page, "ours")[lab.LEMMA]
    assert f"doesn’t know blorp. It spells {lemma} instead" in page.inner_text("#verdict")
    assert page.locator("#ours .form .near").first.inner_text() == f"≈ of {lemma}"


def test_a_word_has_a_bar_for_each_number_of_its_code_and_a_place_on_the_map(page, models):
    page.fill("#word", "blorp")
    z = models["ours"].encode(["blorp"], lab.PRESENT)[0][0]
    assert page.locator("#ours .code rect").count() == len(z)
    place = page.evaluate("[typed.style.left, typed.style.top].map(parseFloat)")
    right, up = (z[script.axes_of(models["ours"])] / torch.tensor(script.SIDES)).clamp(-1, 1)
    assert place == pytest.approx([50 + 50 * right.item(), 50 - 50 * up.item()], abs=1)


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
    page.keyboard.press("ArrowUp")
    assert page.evaluate("place[0]") < right
    assert page.evaluate("place[1]") > up
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


def test_a_visitor_draws_and_a_collapsed_model_spells_one_verb(page, models):
    ((lemma, *_),) = set(models["collapsed"].generate(torch.randn(9, 16)))
    for count in (10, 20):
        page.click("#draw")
        assert f"of {count} draws" in page.inner_text("#tally")
    assert page.locator("#draws li").count() == 10
    assert f"verb was {lemma} 20 times" in page.inner_text("#tally")


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
    for name, config in {"ours": lab5_train.Config(), "collapsed": script.COLLAPSED}.items():
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
