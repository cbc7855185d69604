"""The site: no warning, no link that leads nowhere, no formula that needs a network or is wrong."""

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT

import report

pytestmark = pytest.mark.slow
FORGE = {"SERVER_URL": "https://example.org", "REPOSITORY": "some/lab", "REF_NAME": "main"}
LIVE = '<title>live</title><a data-site="index.html">back</a> <a data-forge>source</a>'
FORMULAS = """() => MathJax.startup.promise.then(() => ({
    formulas: document.querySelectorAll(".math").length,
    shown: document.querySelectorAll(".math mjx-container").length,
    wrong: document.querySelectorAll("[data-mml-node=merror], mjx-container [fill=red]").length
}))"""


class Page(HTMLParser):
    """A page's ids and links, and the texts of its pictures."""

    def __init__(self, text):
        super().__init__()
        self.text, self.ids, self.links, self.pictures = text, set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.add(values.get("id"))
        self.links += [urlsplit(values[name]) for name in ("href", "src") if values.get(name)]
        self.pictures += [values.get("alt", "")] if tag == "img" else []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Builds the site as in the forge's workflow; a warning is an error."""
    build = tmp_path_factory.mktemp("build")
    (build / "page.html").write_text(LIVE, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "BUILD", build)
        for name, value in FORGE.items():
            patch.setenv(f"GITHUB_{name}", value)
        report.write_report(ROOT)
        report.write_site(ROOT)
    return build / "site"


@pytest.fixture(scope="module")
def pages(site):
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path: Page(path.read_text("utf-8")) for path in files}


def test_links_lead_somewhere(pages):
    for path, page in pages.items():
        for link in page.links:
            if not link.scheme and not link.netloc:
                target = (path.parent / unquote(link.path)).resolve() if link.path else path
                assert target.exists(), (path, link)
                known = pages[target].ids if target in pages else {link.fragment}
                assert unquote(link.fragment) in known | {""}, (path, link)


def test_pages_have_pictures_with_a_text_and_nothing_that_needs_a_kernel(pages):
    for path, page in pages.items():
        assert all(text and not text.endswith((".png", ".svg")) for text in page.pictures), path
        assert "widget-view" not in page.text
        assert str(ROOT) not in page.text


def test_every_page_leads_to_the_live_one_and_to_its_source(site, pages):
    for path, page in pages.items():
        if path.parent.name == "notebooks":
            links = [link.geturl() for link in page.links]
            source = f"/some/lab/blob/main/notebooks/{path.stem}.ipynb"
            assert f"https://example.org{source}?plain=1" in links
            assert "../page.html" in links
            assert f"https://colab.research.google.com/github{source}" in links
    back, source = [link.geturl() for link in pages[site / "page.html"].links]
    assert (back, source) == ("index.html", "https://example.org/some/lab")
    front = pages[site / "index.html"]
    assert '<a href="page.html">open the page</a>' in front.text
    assert 'href="page.html"><img' in front.text


def test_pages_need_no_network_and_no_more_than_a_phones_width(pages, browser):
    tab = browser.new_page()
    urls, messages, formulas = [], [], 0
    tab.on("request", lambda request: urls.append(request.url))
    tab.on("console", lambda message: messages.append(message.type))
    for path, page in pages.items():
        tab.goto(path.as_uri())
        for width in (1280, 390):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
        if "MathJax" in page.text:
            count = tab.evaluate(FORMULAS)
            assert count["formulas"] == count["shown"], path
            assert count["wrong"] == 0, path
            formulas += count["shown"]
    tab.close()
    assert formulas > 50
    assert "error" not in messages
    assert not [url for url in urls if url.startswith("http")]
