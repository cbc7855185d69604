"""The page of all notebooks: of the lab's own, and of small ones such as a student might add."""

import re
import runpy
import shutil
import subprocess
import sys
from html import unescape

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

SCRIPT = ROOT / "notebooks" / "report.py"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SMALL = {
    "04_annealing": [new_markdown_cell("# 04 · Annealing\n\nThe course's text.")],
    "04_annealing-Copy1": [new_markdown_cell("# 04 · Annealing\n\nA copy's text.")],
    "04_mine": [new_code_cell("beta = 0.5"), new_raw_cell("A raw text.")],
    "05_links": [
        new_markdown_cell(
            "# 05 · Links\n\n"
            "[annealing](04_annealing.ipynb), [my own](04_mine.ipynb#results),\n"
            "[a drive](D:/lab/seeds.csv), [a table](../figures/seeds.csv),\n"
            "[no section](mine.ipynb), [a paper](https://arxiv.org/abs/1312.6114)"
        )
    ],
}


def run(script, *arguments, cwd=ROOT):
    """Runs the script as a user does; returns what it printed."""
    command = [sys.executable, "-W", "ignore", script, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Returns the page of the lab's notebooks."""
    folder = tmp_path_factory.mktemp("page")
    run(SCRIPT, folder)
    return (folder / "notebooks.html").read_text("utf-8")


@pytest.fixture(scope="module")
def small_script(tmp_path_factory):
    """Returns a copy of the script that stands beside the small notebooks."""
    folder = tmp_path_factory.mktemp("project") / "notebooks"
    folder.mkdir()
    for name, cells in SMALL.items():
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    return shutil.copy(SCRIPT, folder / SCRIPT.name)


@pytest.fixture(scope="module")
def small_page(small_script):
    """Returns the page of the small notebooks, from the default folder."""
    run(small_script)
    made = small_script.parent.parent / "report" / "notebooks.html"
    return made.read_text("utf-8")


def text_of(html):
    """Returns what a reader sees of HTML, in one line."""
    return " ".join(unescape(re.sub("<[^>]+>", "", html)).split())


def headings(page):
    """Returns the titles of the page's sections."""
    return [text_of(html) for html in re.findall(r"<h1 id=.+?</h1>", page, re.DOTALL)]


def links(page):
    """Returns the targets of links by their text; of links with the same text, the last."""
    found = re.findall(r'<a\s+href="([^"]+)"[^>]*>(.*?)</a>', page, re.DOTALL)
    return {text_of(html): target for target, html in found}


# ---- The lab's notebooks ----
def test_every_notebook_is_a_section_in_the_order_of_names(page):
    numbers = [title.split(" · ")[0] for title in headings(page)]
    assert numbers == [path.name[:2] for path in NOTEBOOKS]
    contents = re.search(r"<nav .+?</nav>", page, re.DOTALL)[0]
    assert all(f'href="#notebook-{path.stem}"' in contents for path in NOTEBOOKS)


def test_links_lead_within_the_page_or_to_the_web(page):
    places = re.findall(r'id="([^"]+)"', page)
    assert len(places) == len(set(places))
    for target in re.findall(r'<a\s[^>]*href="([^"]+)"', page):
        assert target.startswith("http") or target.removeprefix("#") in places, target


def test_every_cell_is_there_with_its_outputs(page):
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, 4).cells]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    kinds = [output.get("data", {}).keys() for output in outputs]
    code = sum(cell.cell_type == "code" for cell in cells)
    assert page.count('<pre class="sourceCode python">') == code
    assert page.count('class="dataframe"') == sum("text/html" in kind for kind in kinds)
    assert page.count('src="data:image/png') == sum("image/png" in kind for kind in kinds)


def test_pictures_are_parts_of_the_page_and_have_alt_texts(page):
    images = re.findall(r"<img\b[^>]*>", page)
    assert len(images) >= 10
    for image in images:
        assert 'src="data:' in image
        assert re.search(r'alt="[^"]{5,}"', image)
    assert "No description has been provided" not in page


def test_it_needs_no_network(page):
    loaded = re.findall(r'(?:src="|url\(|<link [^>]*href=")(?!data:|#)([^")]+)', page)
    assert loaded == []


def test_formulas_are_set(page):
    assert page.count("<math") > 40
    text = re.sub(r"<(pre|code|script|style)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert "$" not in text


# ---- Notebooks that somebody adds ----
def test_no_notebook_replaces_another(small_page):
    assert headings(small_page) == ["04 · Annealing", "04 · Annealing", "04_mine", "05 · Links"]
    for text in ("The course’s text.", "A copy’s text.", "beta = 0.5", "A raw text."):
        assert text_of(small_page).count(text) == 1
    for name in SMALL:
        assert small_page.count(f'<h1 id="notebook-{name}">') == 1
        assert f"<code>{name}.ipynb</code>" in small_page


def test_a_link_to_a_notebook_leads_to_its_section(small_page):
    assert links(small_page)["annealing"] == "#notebook-04_annealing"
    assert links(small_page)["my own"] == "#notebook-04_mine"


def test_a_link_to_a_file_is_left_out_and_its_text_stays(small_page):
    for text in ("a drive", "a table", "no section"):
        assert text not in links(small_page), "a drive's letter is no scheme of a URL"
        assert text in text_of(small_page)
    assert links(small_page)["a paper"] == "https://arxiv.org/abs/1312.6114"


# ---- The folder ----
def test_help_is_printed_and_nothing_is_written(tmp_path):
    assert "usage: report.py" in run(SCRIPT, "--help", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exists", [True, False])
def test_the_folder_may_be_a_link(small_script, tmp_path, exists):
    target = tmp_path / "far" / "away"
    if exists:
        target.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(target, target_is_directory=True)
    run(small_script, "link", cwd=tmp_path)
    assert (target / "notebooks.html").stat().st_size > 1000


def test_the_folder_may_be_on_another_drive(small_script, tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")  # as on Windows

    monkeypatch.setattr("os.path.relpath", refuse)
    monkeypatch.setattr("os.path.commonpath", refuse)
    monkeypatch.setattr(sys, "argv", ["report.py", str(tmp_path)])
    runpy.run_path(str(small_script), run_name="__main__")
    assert (tmp_path / "notebooks.html").stat().st_size > 1000


def test_it_runs_notebooks_before_and_leaves_them_as_they_are(tmp_path):
    folder = tmp_path / "a project" / "notebooks"
    folder.mkdir(parents=True)
    cells = [new_code_cell("print('found', 6 * 7)"), new_code_cell("import os; os.getcwd()")]
    nbformat.write(new_notebook(cells=cells), folder / "01_sum.ipynb")
    before = (folder / "01_sum.ipynb").read_bytes()
    command = [sys.executable, shutil.copy(SCRIPT, folder), tmp_path / "page", "--run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "TCP" not in done.stderr, "a warning that frightens"
    assert re.search(r"^01_sum\.ipynb: \d+ s$", done.stdout, re.M)
    page = text_of((tmp_path / "page" / "notebooks.html").read_text("utf-8"))
    assert "found 42" in page and "a project/notebooks" in page.replace("\\", "/")
    assert (folder / "01_sum.ipynb").read_bytes() == before
