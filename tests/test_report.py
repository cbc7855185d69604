"""The lab report and the whole book, made by one command."""

import re
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from conftest import ROOT

SECTIONS = (
    "Introduction and task",
    "Derivation of the CVAE",
    "Implementation",
    "Results",
    "Discussion",
    "References",
)
RESULTS = ("Training", "BLEU-4 and conversions", "Gaussian score", "Comparison of annealing")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes the report; returns its folder."""
    folder = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-W", "ignore", "notebooks/report.py", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def report(made):
    return (made / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def book(made):
    return (made / "notebooks.html").read_text("utf-8")


def headings(page, level):
    found = re.findall(rf"<h{level}\b[^>]*>(.+?)</h{level}>", page, re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", "", heading).split()) for heading in found]


def test_sections_come_in_the_order_of_a_lab_report_and_none_is_empty(report):
    first, *sections = headings(report, 1)
    assert "VAE" in first
    assert [re.sub(r"^\d ", "", section) for section in sections] == list(SECTIONS)
    results = [heading for heading in headings(report, 2) if heading.startswith("4.")]
    for heading, expected in zip(results, RESULTS, strict=True):
        assert expected in heading
    for section in re.split("<h1[^>]*>", report)[2:]:
        words = re.sub("<[^>]+>", " ", section).split()
        assert len(words) > 60, " ".join(words[:5])
    for heading, section in zip(
        results, re.split("<h2[^>]*>", report)[-len(results) :], strict=True
    ):
        assert section.count("<figure") + section.count("<table") >= 2, heading


def test_on_paper_it_has_at_most_fifteen_pages(made):
    pdf = (made / "report.pdf").read_bytes()
    pages = len(re.findall(rb"/Type ?/Page\b", pdf))
    assert pdf.startswith(b"%PDF")
    assert 6 <= pages <= 15


@pytest.mark.parametrize(("kind", "fewest"), [("Figure", 10), ("Table", 5)])
def test_figures_and_tables_are_numbered_and_have_captions(report, kind, fewest):
    form = rf"<strong>{kind} (\d+)\.</strong>\s(.+?)</(?:fig)?caption>"
    captions = re.findall(form, report, re.DOTALL)
    numbers = [int(number) for number, _ in captions]
    assert numbers == list(range(1, len(captions) + 1))
    assert len(captions) >= fewest
    for number, text in captions:
        assert len(text) >= 6 and not re.match(r"\d\d_", text), f"{kind} {number} has no caption"
    assert "#." not in re.sub("<[^>]+>", "", report)


def test_captions_and_numbers_are_those_of_the_gallery(report):
    gallery = (ROOT / "figures" / "README.md").read_text("utf-8")
    shown = " ".join(re.sub("<[^>]+>", "", report).split())
    for name in ("03_conversions.pdf", "03_pairs.csv"):
        text = re.search(rf"\]\({name}\): (.+)", gallery)[1]
        assert text.replace("'", "’") in shown
    rows = pd.read_csv(ROOT / "figures" / "03_pairs.csv", dtype=str).fillna("")
    cells = re.findall(r"<td[^>]*>(.*?)</td>", report, re.DOTALL)
    assert set(rows.to_numpy().flatten()) <= {" ".join(cell.split()) for cell in cells}


def test_no_code_and_no_file_stands_in_the_report(report):
    assert "<pre" not in report
    assert ".ipynb" not in report
    assert not re.search(r'href="(?!http|#)', report), "links lead to pages, not to files"
    assert "@ 0" not in report
    text = re.sub("<[^>]+>", "", report)
    assert not re.search(r"\bsections? \d", text, re.IGNORECASE), "its sections are others"


def test_figures_are_parts_of_the_pages_and_have_alt_texts(report, book):
    for page in (report, book):
        images = re.findall(r"<img\b[^>]*>", page)
        assert len(images) >= 10
        for image in images:
            alt = re.search(r'alt="([^"]*)"', image)
            assert alt and len(alt[1]) >= 5
            assert 'src="data:' in image
        assert "No description has been provided" not in page


def test_the_book_has_all_notebooks_in_order_and_links_within_it(book):
    titles = [re.match(r"0\d", heading) for heading in headings(book, 1)]
    assert [title[0] for title in titles if title] == ["01", "02", "03", "04", "05", "06"]
    targets = re.findall(r'href="#([^"]+)"', book)
    places = re.findall(r'id="([^"]+)"', book)
    assert set(targets) <= set(places)
    assert len(places) == len(set(places))
    assert ".ipynb" not in book
    contents = re.search(r"<nav .+?</nav>", book, re.DOTALL)[0]
    assert all(f'href="#notebook-0{n}"' in contents for n in range(1, 7))


def test_pages_need_no_network_and_show_formulas(report, book):
    for page in (report, book):
        loaded = re.findall(r'(?:src="|url\(|<link [^>]*href=")(?!data:|#)([^")]+)', page)
        assert loaded == []
        assert page.count("<math") > 40
        text = re.sub(r"<(pre|code|script|style)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
        assert "$" not in text, "a formula that was not set"


def test_the_book_has_every_cell_and_its_outputs(book):
    code, tables = 0, 0
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, 4).cells:
            code += cell.cell_type == "code"
            tables += sum("text/html" in out.get("data", {}) for out in cell.get("outputs", []))
    assert book.count('<pre class="sourceCode python">') == code
    assert book.count('class="dataframe"') == tables
