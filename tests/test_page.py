"""The page computes in JavaScript what Python does, and works in a browser without a network."""

import copy
import json
import os
import runpy
import shutil
import subprocess

import pytest
import torch
from conftest import ROOT, lab, lab5_runs, small

PAGE = runpy.run_path(str(ROOT / "page" / "page.py"))
PROGRAM = (ROOT / "page" / "network.js").read_text("utf-8")
ASK = """
const CASES = JSON.parse(require("fs").readFileSync(0));
const document = { getElementById: () => ({ textContent: JSON.stringify(CASES.data) }) };
%s
const answers = {};
for (const [name, model] of Object.entries(MODELS)) {
  const converted = CASES.words.map((word, n) =>
    wordOf(spell(model, encode(model, word, n %% 4), (n + 1) %% 4)));
  const generated = CASES.codes.map((z) => generate(model, Float32Array.from(z)));
  answers[name] = { converted, generated };
}
console.log(JSON.stringify(answers));
"""
RIGHTMOST = """Math.max(document.documentElement.scrollWidth,
    ...[...document.querySelectorAll("*")].map((x) => x.getBoundingClientRect().right))"""


def is_missing(what):
    """Skips a test that lacks something; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"missing: {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="module")
def models(learned, verbs):
    """Returns two models, by name, with the weights that the page has."""
    direct = small(decoding="direct", epochs=40, learning_rate=0.015, refine=0.0)
    conjugator = lab5_runs.train(direct, verbs[7::41], pairs=[], progress=False).model
    models = {"ours": copy.deepcopy(learned.model), "conjugator": conjugator}
    for weight in (weight for model in models.values() for weight in model.parameters()):
        scale = weight.data.abs().max() / 127
        weight.data = (weight.data / scale).round() * scale
    return models


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
    tense = torch.arange(len(words)) % 4
    for name, answers in json.loads(done.stdout).items():
        converted = models[name].convert(words, tense, (tense + 1) % 4)
        assert answers["converted"] == converted
        assert len(set(converted)) > 30, "a model that says the same to all tells nothing"
        assert answers["generated"] == [list(row) for row in models[name].generate(codes)]


@pytest.fixture(scope="module")
def path(models, verbs, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    table = list(dict.fromkeys(verbs))
    path.write_text(PAGE["page_of"](models, table[:30], table), encoding="utf-8")
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


@pytest.fixture(params=[390, 1280])
def page(request, browser, path):
    """Opens the page, narrow or wide. Nothing may be requested, and nothing may go wrong."""
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    heard = []
    page.on("request", lambda asked: heard.append(asked.url))
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(path.as_uri())
    yield page
    assert page.evaluate(RIGHTMOST) <= request.param
    assert heard == [path.as_uri()]
    page.close()


def spelled(page, name):
    """Returns the four forms that the page shows for a model."""
    labels = page.locator(f"#{name} .letters").evaluate_all("all => all.map((x) => x.ariaLabel)")
    return tuple(label.split(";")[0] for label in labels)  # after it: where the gate opens


def test_a_visitor_types_walks_and_draws(page, models):
    typed = {"stopped ": ("stopped", lab.PAST), "broke": ("broke", lab.PAST)}
    typed |= {"Wound": ("wound", lab.PRESENT), "vlogging": ("vlogging", lab.PROGRESSIVE)}
    for text, (word, tense) in typed.items():
        page.fill("#word", text)
        assert page.input_value("#tense") == str(tense)
        for name, model in models.items():
            assert [spelled(page, name)] == model.generate(model.encode([word], tense)[0])
        page.select_option("#tense", str(lab.THIRD))  # holds for this word only
    page.fill("#word", "e" * 32)
    assert page.is_visible("#ours")
    page.fill("#word", "two words")
    assert "One word at a time" in page.inner_text("#problem") and not page.is_visible("#ours")

    page.focus("#map")
    for key in 10 * ["ArrowLeft", "ArrowDown"] + 9 * ["ArrowLeft"]:
        page.keyboard.press(key)
    assert page.evaluate("place") == pytest.approx([-1.3, -0.6])  # from 0.6 and 0.4
    z = torch.zeros(1, 16)
    z[0, PAGE["axes_of"](models["ours"])] = torch.tensor([-1.3, -0.6])
    (forms,) = models["ours"].generate(z)
    assert ", ".join(forms) in page.inner_text("#here")
    page.click("#draw")
    assert page.locator("#draws li").count() == 10
    assert "of 10 draws" in page.inner_text("#tally")
    assert "sure of 30 of the 1,227 verbs" in page.inner_text("header")
