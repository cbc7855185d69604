"""The report and the page of all notebooks: the lab's own, and small ones as a student has them."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from html import unescape

import nbformat
import pandas as pd
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

FOLDER = ROOT / "notebooks"
sys.path.insert(0, str(FOLDER))
import placeholders  # noqa: E402

SCRIPT = FOLDER / "report.py"
PARTS = ("report.py", "notebook_page.py", "placeholders.py", "references.bib")
REPORT = (FOLDER / "report.md").read_text("utf-8")
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
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


def copy_script(folder, report="---\ntitle: A report\n---\n"):
    """Copies the script and what it needs beside a small report; returns the copy."""
    for name in PARTS:
        shutil.copy(FOLDER / name, folder)
    (folder / "report.md").write_text(report, "utf-8")
    return folder / SCRIPT.name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Returns a folder of all that the script makes."""
    folder = tmp_path_factory.mktemp("page")
    run(SCRIPT, folder)
    return folder


@pytest.fixture(scope="module")
def page(made):
    """Returns the page of the lab's notebooks."""
    return (made / "notebooks.html").read_text("utf-8")


@pytest.fixture(scope="module")
def report(made):
    """Returns the report as HTML."""
    return (made / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def small_script(tmp_path_factory):
    """Returns a copy of the script that stands beside the small notebooks."""
    folder = tmp_path_factory.mktemp("project") / "notebooks"
    folder.mkdir()
    for name, cells in SMALL.items():
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    return copy_script(folder)


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


# ---- The report ----
def captions(kind="new"):
    """Returns kind and name of each caption of the report, or of each reference to one."""
    return re.findall(r"\{\{" + kind + r" (\w+) (\w+)\}\}", REPORT)


@pytest.mark.parametrize(
    "placeholder",
    [
        "{{theirs / conversion}}",
        "{{ours / conversation}}",
        "{{ours / conversion / median}}",
        "{{ours = 05_seed.csv: row=Config()}}",
        "{{ours = 05_seeds.csv: row=Config}}",
        "{{show 05_seed.csv}}",
        "{{code lab5_utils.Encode}}",
        "{{see figure curve}}",
        "{{ours}}",
    ],
)
def test_an_unknown_placeholder_is_refused_by_name(placeholder):
    known = "{{ours = 05_seeds.csv: row=Config()}} {{new figure curves}} {{ours / conversion}}"
    placeholders.fill(known)
    with pytest.raises(ValueError, match=re.escape(placeholder)):
        placeholders.fill(f"{known} {placeholder}")


def test_a_number_is_what_pandas_computes():
    seeds = pd.read_csv(ROOT / "experiments" / "results" / "05_seeds.csv")
    by_row = seeds.groupby("row")["conversion"].agg(["mean", "std", "count"])
    known = by_row[by_row["count"] > 1]
    assert len(known) >= 3
    for row, (mean, sd, count) in known.iterrows():
        text = f"{{{{x = 05_seeds.csv: row={row}}}}}{{{{x / conversion}}}} {{{{x / seed / count}}}}"
        assert placeholders.fill(text) == f"{mean:.3f}\u00a0±\u00a0{sd:.3f} {count:.0f}"


def test_a_table_and_a_missing_number_say_how_much_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(placeholders, "FOLDERS", (tmp_path,))
    table = "who,score,draws\nwe,0.25,7\nwe,-0.5,8\nwe,,9\na|b,1.23456,10\n"
    (tmp_path / "small.csv").write_text(table, "utf-8")
    text = "{{we = small.csv: who=we}}{{we / score / mean / 2}}, {{we / draws / mean / 0}}"
    assert placeholders.fill(text) == "−0.12 (2\u00a0of\u00a03), 8"
    last = placeholders.fill("{{show small.csv}}").split("\n")[1:]
    assert last[0] == "| :-- | --: | --: |"
    assert last[3:] == ["| we | – | 9 |", r"| a\|b | 1.235 | 10 |"]


def test_code_is_that_of_the_module():
    shown = placeholders.fill("{{code lab5_train.Training.descend}}")
    assert shown.startswith("```python\ndef descend(self")
    source = (ROOT / "lab5_train.py").read_text("utf-8")
    lines = shown.removeprefix("```python\n").removesuffix("\n```").split("\n")
    assert "\n".join(f"    {line}" if line else line for line in lines) in source


def test_a_section_that_is_named_by_number_has_it():
    headings = re.findall(r"^# .*?(?:\{(.+)\})?$", REPORT, re.M)
    named = re.findall(r"\[[Ss]ection (\d+)\]\(#(\w+)\)", REPORT)
    assert len(named) > 5
    for number, name in named:
        assert headings[int(number) - 1] == f"#{name}"


def test_results_are_not_written_by_hand():
    assert set(re.findall(r"\d*\.\d{3}", REPORT)) == {"0.607"}, "what copying scores"


def test_captions_are_numbered_and_mentioned(report):
    assert len(captions()) == len(set(captions())) > 20
    assert set(captions()) == set(captions("see"))
    for kind in ("figure", "table", "listing"):
        found = re.findall(rf'id="{kind}-\w+"[^>]*>{kind.capitalize()}\s(\d+)\.', report)
        assert found == [str(n + 1) for n in range(len(found))] != []


def test_figures_exist_for_the_screen_and_for_print(report):
    pictures = re.findall(r"!\[\{\{new figure \w+\}\}.*\]\((.+?)\)", REPORT)
    assert len(pictures) == sum(kind == "figure" for kind, _ in captions()) > 10
    for name in pictures:
        path = (FOLDER / name).resolve()
        assert path.is_file() and (path.suffix == ".svg" or path.with_suffix(".pdf").is_file())
    assert report.count("<figure>") == len(pictures)


def test_what_is_cited_is_listed_and_what_is_listed_is_cited(report):
    listed = re.findall(r"^@\w+\{(\w+),", (FOLDER / "references.bib").read_text("utf-8"), re.M)
    cited = set(re.findall(r"@(\w+)", REPORT))
    assert sorted(cited) == sorted(listed)
    for name in listed:
        assert f'id="ref-{name}"' in report and f'href="#ref-{name}"' in report


def test_the_report_is_whole(report, made):
    text = text_of(re.sub(r"<(script|style)\b.*?</\1>", "", report, flags=re.DOTALL))
    assert "{{" not in text and "$" not in text and "[@" not in text
    assert report.count("<math") > 20
    places = re.findall(r'id="([^"]+)"', report)
    for target in re.findall(r'<a\s[^>]*href="#([^"]+)"', report):
        assert target in places
    assert re.findall(r'(?:src="|url\(|<link [^>]*href=")(?!data:|#)([^")]+)', report) == []
    pdf = (made / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and len(pdf) > 100_000


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


def test_without_typst_only_the_pdf_is_missing(small_script, tmp_path, monkeypatch, capsys):
    (tmp_path / "page.html").write_text("made by page.py")  # is no other thing
    monkeypatch.setitem(sys.modules, "typst", None)
    monkeypatch.setattr(sys, "argv", ["report.py", str(tmp_path)])
    runpy.run_path(str(small_script), run_name="__main__")
    assert "pip install typst" in capsys.readouterr().out
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"notebooks.html", "report.html", "page.html"}


def refused(script, folder):
    """Returns what the script says when it refuses to write into a folder."""
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


def test_a_folder_of_other_things_is_refused(small_script, tmp_path):
    (tmp_path / "thesis.html").write_text("mine")
    assert "thesis.html" in refused(small_script, tmp_path)
    assert "File exists" in refused(small_script, tmp_path / "thesis.html")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.html"]


def test_nothing_is_run_or_written_if_a_placeholder_is_unknown(tmp_path):
    script = copy_script(tmp_path, report="It is {{ours / conversion}}.")
    assert "{{ours / conversion}}" in refused(script, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_it_runs_notebooks_before_and_leaves_them_as_they_are(tmp_path):
    folder = tmp_path / "a project" / "notebooks"
    folder.mkdir(parents=True)
    cells = [new_code_cell("print('found', 6 * 7)"), new_code_cell("import os; os.getcwd()")]
    nbformat.write(new_notebook(cells=cells), folder / "01_sum.ipynb")
    before = (folder / "01_sum.ipynb").read_bytes()
    command = [sys.executable, copy_script(folder), tmp_path / "page", "--run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "TCP" not in done.stderr, "a warning that frightens"
    assert re.search(r"01_sum\.ipynb: 100%.* 2/2 ", done.stderr)
    page = text_of((tmp_path / "page" / "notebooks.html").read_text("utf-8"))
    assert "found 42" in page and "a project/notebooks" in page.replace("\\", "/")
    assert (folder / "01_sum.ipynb").read_bytes() == before


WAITS = """
import time
from pathlib import Path
end = time.time() + 60
while not Path("made").exists() and time.time() < end:
    time.sleep(0.1)
print("found it:", Path("made").exists())
"""


def write_notebook(path, code, **metadata):
    notebook = new_notebook(cells=[new_code_cell(code)], metadata=metadata)
    nbformat.write(notebook, path)


def test_notebooks_are_run_side_by_side_and_one_waits_for_what_it_reads(tmp_path):
    write_notebook(tmp_path / "01_waits.ipynb", WAITS)
    write_notebook(tmp_path / "02_makes.ipynb", "open('made', 'w').close()")
    write_notebook(tmp_path / "03_reads.ipynb", "open('made').read()", reads=["02_makes"])
    run(copy_script(tmp_path), tmp_path / "page", "--run")
    page = (tmp_path / "page" / "notebooks.html").read_text("utf-8")
    assert "found it: True" in text_of(page)
    assert headings(page) == ["01_waits", "02_makes", "03_reads"]


def test_a_notebook_that_reads_no_earlier_one_is_refused(tmp_path):
    write_notebook(tmp_path / "01_reads.ipynb", "1", reads=["02_makes"])
    write_notebook(tmp_path / "02_makes.ipynb", "1")
    script = copy_script(tmp_path)
    command = [sys.executable, script, tmp_path / "page", "--run"]
    done = subprocess.run(command, capture_output=True, text=True)
    message = "01_reads.ipynb: found '02_makes' under 'reads'; expected an earlier notebook"
    assert done.returncode != 0 and message in done.stderr


def test_an_error_in_one_notebook_stops_the_others_and_is_shown(tmp_path):
    write_notebook(tmp_path / "01_fails.ipynb", "1 / 0")
    write_notebook(tmp_path / "02_waits.ipynb", "import time; time.sleep(600)")
    command = [sys.executable, copy_script(tmp_path), tmp_path / "page", "--run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "ZeroDivisionError" in done.stderr
    assert not (tmp_path / "page" / "notebooks.html").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_an_interrupt_is_one_line_and_leaves_no_kernel(tmp_path):
    for name in ("01_waits", "02_waits"):
        code = f"import os, time; open('{name}', 'w').write(str(os.getpid())); time.sleep(600)"
        write_notebook(tmp_path / f"{name}.ipynb", code)
    command = [sys.executable, copy_script(tmp_path), tmp_path / "page", "--run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    kernels = [tmp_path / name for name in ("01_waits", "02_waits")]
    while not all(path.exists() and path.read_text() for path in kernels):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and errors.rstrip().endswith("goes on from there")
    assert "Traceback" not in errors and "never retrieved" not in errors
    for path in kernels:
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)
