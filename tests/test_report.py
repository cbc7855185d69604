"""The report and the page of notebooks: those of a small project, and the lab's own report."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from html import unescape

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

sys.path.insert(0, str(ROOT / "report"))
import report

TEXT = """---
title: A small report
---
{% set ours = rows("seeds.csv", row="ours") %}
Of {{ ours.seed.count() }}: {{ ours.right }} right, {{ ours.lost }} lost; {{ see("figure", "a") }}

{{ table("made.csv") }}

![{{ new("figure", "a") }} Letters](../figures/01_letters.png)
"""
SEEDS = "seed,row,right,lost\n0,ours,0.25,\n1,ours,0.5,\n0,theirs,0.1,7\n"
CODE = """import os
with open(os.environ["LAB5_FIGURES"] + "/made.csv", "w") as file:
    _ = file.write("who,share,draws\\nwe,0.1,5\\n")
print(6 * 7)"""
SLEEP = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
PICTURE = new_output("display_data", {"image/png": "aGVsbG8=", "text/plain": "<Figure>"})
FOLDED = {"jupyter": {"source_hidden": True}}
UNKNOWN = ['rows("seed.csv", row="ours")', 'rows("seeds.csv", row="our")', "ours.wright"]
UNKNOWN += ['table("make.csv")', 'code("lab5_utils.Encode")', 'see("figure", "b")']


def write_notebook(project, name, *cells):
    nbformat.write(new_notebook(cells=cells), project / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Returns a small project; the script works on it as if it stood there."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures").mkdir()
    for suffix in ("png", "pdf"):
        shutil.copy(ROOT / "figures" / f"01_letters.{suffix}", tmp_path / "figures")
    (tmp_path / "figures" / "made.csv").write_text("who,share,draws\nwe,0.25,4\n")
    shutil.copytree(ROOT / "report", tmp_path / "report")
    (tmp_path / "report" / "report.md").write_text(TEXT, "utf-8")
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "experiments" / "results" / "seeds.csv").write_text(SEEDS)
    write_notebook(tmp_path, "01_a", new_markdown_cell("[b](02_b.ipynb#x)"), new_code_cell(CODE))
    picture = new_code_cell("x = 1", outputs=[PICTURE], metadata={"alt": "a dot"})
    write_notebook(tmp_path, "02_b", picture, new_code_cell("claims = 1", metadata=FOLDED))
    folders = {"HERE": "report", "ROOT": ".", "BUILD": "build", "RESULTS": "experiments/results"}
    for name, path in folders.items():
        monkeypatch.setattr(report, name, tmp_path / path)
    monkeypatch.setenv("LAB5_FIGURES", "")  # is restored in the end
    return tmp_path


def make(project, monkeypatch, *flags):
    """Runs the script; returns what a reader sees of the report, and the page of notebooks."""
    monkeypatch.setattr(sys, "argv", ["report.py", *flags])
    report.main()
    html = (project / "build" / "report.html").read_text("utf-8")
    page = (project / "build" / "notebooks.html").read_text("utf-8")
    assert not re.search(r'(src="|url\(|<link [^>]*href=")(?!data:|#)', html + page), "a request"
    text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(text).split()), page


def files_of(project):
    """Returns what is committed of a project: the bytes of all files that are not in build/."""
    paths = [path for path in project.rglob("*") if path.is_file() and "build" not in path.parts]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths}


def test_without_flags_report_and_page_are_made_of_what_is_committed(project, monkeypatch):
    before = files_of(project)
    text, page = make(project, monkeypatch)
    assert files_of(project) == before
    assert "Of 2: 0.375 ± 0.177 right, – lost; Figure 1 " in text
    assert "we 0.250 4 Figure 1. Letters" in text
    assert (project / "build" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert 'href="#02_b"' in page and 'id="02_b"' in page
    assert 'alt="a dot"' in page and "claims" not in page and ">42" not in page


def test_a_run_shows_what_it_made_and_leaves_the_tree_as_it_was(project, monkeypatch):
    before = files_of(project)
    text, page = make(project, monkeypatch, "--run")
    assert files_of(project) == before
    assert "we 0.100 5 Figure 1. Letters" in text and ">42" in page


def test_an_update_writes_notebooks_and_tables_and_nothing_else(project, monkeypatch):
    before = files_of(project)
    make(project, monkeypatch, "--update")
    changed = {name for name, content in files_of(project).items() if content != before[name]}
    assert changed == {"figures/made.csv", "notebooks/01_a.ipynb", "notebooks/02_b.ipynb"}
    cell = nbformat.read(project / "notebooks" / "01_a.ipynb", 4).cells[1]
    assert cell.outputs[0].text == "42\n" and cell.metadata == {}


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_what_is_unknown_is_refused_before_anything_runs(project, monkeypatch, unknown):
    (project / "report" / "report.md").write_text(f"{TEXT}{{{{ {unknown} }}}}", "utf-8")
    with pytest.raises(Exception) as error:
        make(project, monkeypatch, "--run")
    lines = [entry.lineno + 1 for entry in error.traceback if entry.path.name == "report.md"]
    assert lines == [10] and not (project / "build" / "notebooks").exists()


def test_without_typst_only_the_pdf_is_missing(project, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typst", None)
    make(project, monkeypatch)
    assert "pip install typst" in capsys.readouterr().out
    assert not (project / "build" / "report.pdf").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_an_interrupt_is_one_line_and_leaves_no_kernel(project):
    write_notebook(project, "01_a", new_code_cell(SLEEP))
    pid = project / "notebooks" / "pid"
    command = [sys.executable, project / "report" / "report.py", "--run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    *bars, line = process.communicate(timeout=60)[1].rstrip().split("\n")
    assert process.returncode == 1 and line.startswith("stopped; the same command resumes")
    assert all("01_a.ipynb" in bar or not bar for bar in bars)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_labs_report_mentions_what_it_shows_and_cites_what_it_lists():
    source = (ROOT / "report" / "report.md").read_text("utf-8")
    references = (ROOT / "report" / "references.bib").read_text("utf-8")
    shown, seen = (set(re.findall(rf"\b{kind}\((.+?)\)", source)) for kind in ("new", "see"))
    assert shown == seen != set()
    assert set(re.findall(r"@(\w+)", source)) == set(re.findall(r"^@\w+\{(\w+),", references, re.M))
    assert "{{" not in report.report_text(ROOT)
