"""The page computes in JavaScript what Python does, and works in a browser without a network."""

import base64
import copy
import io
import json
import os
import re
import runpy
import shutil
import subprocess
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT, lab, lab5_runs, small, taught

PAGE = runpy.run_path(str(ROOT / "page" / "page.py"))
PROGRAM = (ROOT / "page" / "network.js").read_text("utf-8")
ASK = """
const CASES = JSON.parse(require("fs").readFileSync(0));
const document = { getElementById: () => ({ textContent: JSON.stringify(CASES.data) }) };
%s
const answers = {};
for (const [name, model] of Object.entries(MODELS)) {
  const spelled = CASES.words.map((word, n) =>
    spell(model, encode(model, word, n %% 4), (n + 1) %% 4));
  const generated = CASES.codes.map((z) => generate(model, Float32Array.from(z)));
  answers[name] = { spelled, generated };
}
console.log(JSON.stringify(answers));
"""
RIGHTMOST = """Math.max(document.documentElement.scrollWidth,
    ...[...document.querySelectorAll("*")].map((x) => x.getBoundingClientRect().right))"""
LOWEST = """Math.max(...[...document.querySelectorAll("#word, #verdict, #ours .letters")]
    .map((x) => x.getBoundingClientRect().bottom))"""


def is_missing(what):
    """Skips a test that lacks something; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"missing: {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="module")
def models(learned, verbs):
    """Returns models, by name, with the weights that the page has; one of them ignores its code."""
    direct = small(decoding="direct", epochs=40, learning_rate=0.015, refine=0.0)
    conjugator = lab5_runs.train(direct, verbs[7::41], pairs=[], progress=False).model
    collapsed = copy.deepcopy(conjugator)
    collapsed.decoder.from_z.weight.data[:, : collapsed.latent_size] = 0
    models = {"ours": copy.deepcopy(learned.model), "conjugator": conjugator}
    models["collapsed"] = collapsed
    for weight in (weight for model in models.values() for weight in model.parameters()):
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


def test_javascript_converts_and_generates_as_python_does(models, verbs):
    if not shutil.which("node"):
        is_missing("Node.js: apt-get install nodejs")
    words = [form for verb in verbs[7::41] for form in verb]
    codes = torch.randn(100, 16, generator=torch.Generator().manual_seed(0))
    packed = {name: PAGE["packed"](model) for name, model in models.items()}
    data = {"tenses": lab.TENSES, "longest": lab.MAX_LETTERS, "models": packed}
    asked = json.dumps({"data": data, "words": words, "codes": codes.tolist()})
    node = ["node", "-e", ASK % PROGRAM]
    done = subprocess.run(node, input=asked, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    tense = torch.arange(len(words)) % 4
    for name, model in models.items():
        converted = model.convert(words, tense, (tense + 1) % 4)
        spelled = ["".join(letter["text"] for letter in word) for word in answers[name]["spelled"]]
        assert spelled == converted
        assert (len(set(converted)) > 30) == (name != "collapsed"), "else they tell nothing"
        assert answers[name]["generated"] == [list(row) for row in model.generate(codes)]
    mu, _ = models["ours"].encode(words, tense)
    for n, letters in enumerate(answers["ours"]["spelled"]):
        probabilities, opens = zip(*letters_of(models["ours"], mu[n], (n + 1) % 4), strict=True)
        assert [letter["probability"] for letter in letters] == pytest.approx(probabilities, 1e-3)
        assert [letter["opens"] for letter in letters] == list(opens)


def test_the_map_shows_what_is_spelled_and_its_dark_places_are_no_verb(models, verbs):
    model, lemmas = models["ours"], [verb[lab.LEMMA] for verb in verbs[7::41]]
    picture = plt.imread(io.BytesIO(base64.b64decode(PAGE["picture_of_map"](model, lemmas))))
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[10:height:40, 10:width:40].reshape(2, -1)
    codes = torch.zeros(len(rows), 16)
    shares = np.stack([2 * columns / width - 1, 1 - 2 * rows / height], 1)
    codes[:, PAGE["axes_of"](model)] = torch.from_numpy(shares * PAGE["SIDES"]).float()
    is_verb = np.isin(model.decode(codes, lab.LEMMA), lemmas)
    is_dark = np.abs(picture[rows, columns, :3] - 64 / 255).max(1) < 0.01  # as in the legend
    assert 10 < is_dark.sum() < len(is_dark) - 10
    assert (is_dark != is_verb).mean() > 0.95  # but for lines and letters


@pytest.fixture(scope="module")
def path(models, verbs, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    table = list(dict.fromkeys(verbs))
    text = PAGE["page_of"](table, models, sure=table[:30], joined=table[7::41])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    """Starts Debian's Chromium, or else Chrome."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        is_missing("Playwright: pip install playwright")
    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        options = {"executable_path": chromium} if chromium else {"channel": "chrome"}
        try:
            browser = playwright.chromium.launch(**options, args=["--no-sandbox"])
        except Error:
            is_missing("a browser: apt-get install chromium")
        yield browser
        browser.close()


@pytest.fixture(params=[(390, 844), (1280, 720)], ids=["narrow", "wide"])
def page(request, browser, path):
    """Opens the page, narrow or wide. Nothing may be requested, and nothing may go wrong."""
    width, height = request.param
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark")
    heard = []
    page.on("request", lambda asked: heard.append(asked.url))
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate(RIGHTMOST) <= width
    assert heard == [path.as_uri()]
    page.close()


def spelled(page, name):
    """Returns the four forms that the page shows for a model."""
    labels = page.locator(f"#{name} .letters").evaluate_all("all => all.map((x) => x.ariaLabel)")
    return tuple(label.split(";")[0] for label in labels)  # after it: where the gate opens


def test_a_visitor_types(page, models, verbs):
    typed = {"stopped ": ("stopped", lab.PAST), "broke": ("broke", lab.PAST)}
    typed |= {"Wound": ("wound", lab.PRESENT), "vlogging": ("vlogging", lab.PROGRESSIVE)}
    typed |= {"blorp": ("blorp", lab.PRESENT), "photobombs": ("photobombs", lab.THIRD)}
    for text, (word, tense) in typed.items():
        page.fill("#word", text)
        assert page.input_value("#tense") == str(tense)
        for name, model in models.items():
            assert [spelled(page, name)] == model.generate(model.encode([word], tense)[0])
        assert page.evaluate(LOWEST) <= page.viewport_size["height"], "without scrolling"
        page.select_option("#tense", str(lab.THIRD))  # holds for this word only
    page.fill("#word", "e" * 32)
    assert page.is_visible("#ours")
    page.fill("#word", "two words")
    assert "One word at a time" in page.inner_text("#verdict") and not page.is_visible("#ours")


def test_a_verdict_stands_beside_the_box_and_marks_beside_the_forms(page, models, verbs):
    right, wrong = verbs[7::41][0], verbs[0]
    page.fill("#word", right[lab.LEMMA])
    count = sum(a == b for a, b in zip(spelled(page, "ours"), right, strict=True))
    assert page.locator("#ours .form .right").count() == count > 0
    assert page.locator("#ours .form .wrong").count() == 4 - count
    assert f"It was taught the row {', '.join(right)}." in page.inner_text("#taught")
    page.fill("#word", wrong[lab.PROGRESSIVE])
    assert "0 of its 4 forms right" in page.inner_text("#verdict")
    assert page.locator("#ours .form .wrong").all_inner_texts() == [
        f"✗ should be {form}" for form in wrong
    ]
    page.fill("#word", "blorp")
    lemma = spelled(page, "ours")[lab.LEMMA]
    assert f"doesn’t know blorp. Nearest it knows: {lemma}" in page.inner_text("#verdict")
    assert page.locator("#ours .form .near").first.inner_text() == f"≈ of {lemma}"
    bars = page.locator("#ours .code rect").evaluate_all(
        "all => all.map((x) => +x.attributes.height.value)"
    )
    z = models["ours"].encode(["blorp"], lab.PRESENT)[0][0]
    assert bars == pytest.approx((20 * z.abs() / 8).clamp(max=20).tolist(), abs=1e-3)
    left, top = page.evaluate("[typed.style.left, typed.style.top].map(parseFloat)")
    at = (z[PAGE["axes_of"](models["ours"])] / torch.tensor(PAGE["SIDES"])).clamp(-1, 1)
    assert [left, top] == pytest.approx([50 + 50 * at[0].item(), 50 - 50 * at[1].item()], abs=0.01)


def test_a_visitor_walks_hovers_and_draws(page, models):
    ours, collapsed = models["ours"], models["collapsed"]
    page.locator(".end").first.fill("blogs")
    (start,), (end,) = (ours.encode([w], t)[0] for w, t in [("blogs", lab.THIRD), ("talk", 0)])
    for step in (0, 6, 24):
        page.locator("#share").fill(str(step))
        (forms,) = ours.generate((start + step / 24 * (end - start))[None])
        assert ", ".join(forms) in page.inner_text("#between")
    (same,) = set(collapsed.generate(torch.randn(9, 16)))
    assert ", ".join(same) in page.inner_text("#between")

    page.focus("#map")
    for key in 10 * ["ArrowLeft", "ArrowDown"] + 9 * ["ArrowLeft"]:
        page.keyboard.press(key)
    assert page.evaluate("place") == pytest.approx([-1.3, -0.6])  # from 0.6 and 0.4
    width, height = page.locator("#map").evaluate("x => [x.clientWidth, x.clientHeight]")
    page.hover("#map", position={"x": width / 4, "y": height / 8})
    at = page.evaluate("place")
    assert at == pytest.approx([-0.5 * PAGE["SIDES"][0], 0.75 * PAGE["SIDES"][1]], abs=0.05)
    z = torch.zeros(1, 16)
    z[0, PAGE["axes_of"](ours)] = torch.tensor(at)
    (forms,) = ours.generate(z)
    assert ", ".join(forms) in page.inner_text("#here")
    assert page.inner_text("#name") == forms[lab.LEMMA]
    swatch, picture = (
        page.locator(place).evaluate("x => [getComputedStyle(x).filter, x.className]")
        for place in (".swatch.none", "#map img")
    )
    assert swatch[0] == picture[0] != "none", "in the dark the legend changes as the map does"
    color = page.locator(".swatch.none").evaluate("x => getComputedStyle(x).backgroundColor")
    assert color == "rgb(64, 64, 64)"

    for count in (10, 20):
        page.click("#draw")
        assert f"of {count} draws" in page.inner_text("#tally")
    assert page.locator("#draws li").count() == 10
    assert f"spelled {', '.join(same)} 20 times" in page.inner_text("#tally")


def test_four_forms_are_right_near_or_wrong(page):
    near = ["walk", "goes", "walking", "walked"]
    assert page.evaluate("forms => kindOf(forms)", near) == "near"
    assert "(walk and go)" in page.evaluate("forms => formsAsHtml(forms)", near)
    assert page.evaluate("kindOf(['walk', 'walks', 'walking', 'walked'])") == "right"
    assert page.evaluate("kindOf(['walk', 'walks', 'walking', 'wolk'])") == "wrong"
    for kind, counts in (("near", 0), ("wrong", 0), ("right", 1)):
        page.evaluate(f"kindOf = () => '{kind}'")
        assert page.evaluate("[tally.right, drawOne(), tally.right]")[::2] == [0, counts]


def test_a_table_of_ones_own_has_a_page_of_its_own(tmp_path, monkeypatch):
    stems = [
        a + b for a in ("habl", "cant", "bail", "mir", "tom") for b in ("", "e", "i", "o", "u")
    ]
    verbs = [tuple(stem + end for end in ("ar", "o", "aba")) for stem in stems]
    folder = tmp_path / "regulares"
    folder.mkdir()
    (folder / "train.txt").write_text("\n".join(map(" ".join, verbs)), encoding="utf-8")
    monkeypatch.setenv("LAB5_DATA", str(folder))

    def untrained(config, *_, **__):
        model = lab.make_model(small(decoding=config.decoding), lab.vocabulary_of(verbs))
        return SimpleNamespace(model=model)

    space = PAGE["main"].__globals__
    monkeypatch.setitem(space, "BUILD", tmp_path / "build")
    monkeypatch.setitem(space, "load_or_train", untrained)
    monkeypatch.setattr(taught, "sure_joins", lambda _, lists: taught.nothing_joined(lists))
    PAGE["main"]()
    text = (tmp_path / "build" / "page_regulares.html").read_text("utf-8")
    assert "read 75 verb forms" in " ".join(text.split())
    assert "<i>hablar</i> and <i>hablo</i>" in " ".join(text.split())
    assert not re.search("English|<i>walk|>went|>walked|The conjugator", text)
    assert '"form 1", "form 2", "form 3"' in text
