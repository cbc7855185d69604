"""The report and the notebooks: those of a small project, and the lab's own report."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from conftest import ROOT
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import report

TEXT = """---
title: A small report
bibliography: references.bib
link-citations: true
---
{% set ours = rows("seeds.csv", row="ours") %}
Of {{ ours.seed.count() }}: {{ ours.right }} right, {{ ours.lost }} lost; {{ see("figure", "a") }};
theirs {{ rows("seeds.csv", row="theirs", seed=0).right }}, as in @bowman2016

{{ table("made.csv") }}

![{{ new("figure", "a") }} Letters](../figures/02_plain.png){width=100% alt="letters"}

# References {-}

::: {#refs}
:::
"""
SEEDS = "seed,row,right,lost\n0,ours,0.25,\n1,ours,0.5,\n0,theirs,-0.1,7\n"
CODE = """import os
with open(os.environ["LAB5_FIGURES"] + "/made.csv", "w") as file:
    _ = file.write("who,share,draws\\nwe,0.1,5\\n")
print(6 * 7)"""
UNKNOWN = ['rows("seed.csv", row="ours")', 'rows("seeds.csv", row="our")', "ours.wright"]
UNKNOWN += ['code("lab5_utils.Encode")', 'see("figure", "b")']


def write_notebook(project, name, *cells):
    nbformat.write(new_notebook(cells=cells), project / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Returns a small project; the script works on it as if it stood there."""
    for name in (".devcontainer", "notebooks", "figures", "assignment", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("# A page")
    for suffix in ("png", "pdf"):
        shutil.copy(ROOT / "figures" / f"02_plain.{suffix}", tmp_path / "figures")
    (tmp_path / "figures" / "made.csv").write_text("who,share,draws\nwe,0.25,4\n")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "page.html").write_text("<title>live</title>")
    for name in ("report", "experiments", "website"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    (tmp_path / "README.md").write_text("# The lab\n[The report](report/report.pdf)")
    (tmp_path / "report" / "template.md").write_text(TEXT, "utf-8")
    (tmp_path / "experiments" / "results" / "seeds.csv").write_text(SEEDS)
    write_notebook(tmp_path, "01_a", new_markdown_cell("# A"), new_code_cell(CODE))
    folded = new_code_cell("claims = 1", metadata={"jupyter": {"source_hidden": True}})
    write_notebook(tmp_path, "02_b", new_markdown_cell("# B"), folded)
    folders = {"HERE": "report", "ROOT": ".", "BUILD": "build", "RESULTS": "experiments/results"}
    for name, path in folders.items():
        monkeypatch.setattr(report, name, tmp_path / path)
    for name, value in {"LAB5_FIGURES": "", "LOKY_MAX_CPU_COUNT": "2"}.items():
        monkeypatch.setenv(name, value)  # is restored in the end
    return tmp_path


def make(monkeypatch, *flags, write_site=lambda root: None):
    """Runs the script, without its site unless that is asked for."""
    monkeypatch.setattr(sys, "argv", ["report.py", *flags])
    monkeypatch.setattr(report, "write_site", write_site)
    report.main()


def files_of(project):
    """Returns what is committed of a project: the bytes of all files that are not in build/."""
    paths = [path for path in project.rglob("*") if path.is_file() and "build" not in path.parts]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in paths}


def test_the_report_is_filled_from_what_is_committed(project, monkeypatch):
    before = files_of(project)
    make(monkeypatch)
    text, digest = report.pdf_text(project)
    assert files_of(project) == before
    assert "Of 2: 0.375 ± 0.177 right, – lost; [Figure\u00a01](#figure-a);\ntheirs −0.100" in text
    assert "| we | 0.250 | 4 |" in text
    assert "02_plain.pdf" in text
    assert digest.encode() in (project / "build" / "report.pdf").read_bytes()


def test_the_text_on_a_forge_has_links_to_what_it_cites_and_shows(project, monkeypatch):
    before = files_of(project)
    make(monkeypatch, "--report")
    after = files_of(project)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"report/report.md", "report/report.pdf"}
    text = after["report/report.md"].decode()
    assert text.startswith("<!-- Made by report.py") and "# A small report" in text
    assert "Bowman et al. ([2016](https://arxiv.org/abs/1511.06349))" in text
    assert '<img src="../figures/02_plain.png" alt="letters" />' in text
    assert '<span id="figure-a">' in text and "[Figure\u00a01](#figure-a)" in text
    assert "References" not in text


@pytest.mark.parametrize("name", ["report/references.bib", "figures/02_plain.pdf"])
def test_the_digest_of_the_report_changes_with_all_that_it_is_made_of(project, name):
    before = report.pdf_text(project)
    (project / name).write_bytes((project / name).read_bytes() + b"\n% changed")
    assert report.pdf_text(project) != before


@pytest.mark.slow
def test_a_run_shows_what_it_made_and_leaves_the_tree_as_it_was(project, monkeypatch):
    before = files_of(project)
    make(monkeypatch, "--run", write_site=report.write_site)
    assert files_of(project) == before
    site = project / "build" / "site"
    expected = {
        "index.html": ["notebooks/02_b.html", 'report.pdf"'],
        "notebooks/01_a.html": ["42"],
        "notebooks/02_b.html": ["tag_hide-input", "claims"],
    }
    for name, texts in expected.items():
        page = (site / name).read_text("utf-8")
        assert all(text in page for text in texts), name


def test_an_update_writes_notebooks_and_tables_and_the_pdf(project, monkeypatch):
    before = files_of(project)
    make(monkeypatch, "--update")
    after = files_of(project)
    changed = {name for name in after if after[name] != before.get(name)}
    notebooks = {"notebooks/01_a.ipynb", "notebooks/02_b.ipynb"}
    reports = {"report/report.md", "report/report.pdf"}
    assert changed == notebooks | reports | {"figures/made.csv"}
    cell = nbformat.read(project / "notebooks" / "01_a.ipynb", 4).cells[1]
    assert cell.outputs[0].text == "42\n"
    assert cell.metadata == {}


def test_an_error_in_a_notebook_ends_the_run_with_its_message(project, monkeypatch):
    write_notebook(project, "01_a", new_code_cell("1 / 0"))
    with pytest.raises(CellExecutionError, match="division by zero"):
        make(monkeypatch, "--run")


@pytest.mark.slow
def test_ctrl_c_ends_kernels_and_the_pages_process_and_says_one_line(project):
    code = "import os, time; print(os.getpid(), file=open({!r}, 'w', buffering=1)); time.sleep(60)"
    files = [project / "kernel", project / "page" / "process"]
    codes = [code.format(str(file)) for file in files]
    write_notebook(project, "01_a", new_code_cell(codes[0]))
    (project / "page" / "page.py").write_text(codes[1])
    script = [sys.executable, project / "report" / "report.py", "--run"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(script, env=environ, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and not all(file.exists() and file.read_text() for file in files):
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    _, text = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "Traceback" not in text
    assert text.endswith("\nstopped; the same command resumes with what is trained\n")
    assert not any(psutil.pid_exists(int(file.read_text())) for file in files)


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_what_is_unknown_is_refused_before_anything_runs(project, monkeypatch, unknown):
    (project / "report" / "template.md").write_text(f"{TEXT}{{{{ {unknown} }}}}", "utf-8")
    with pytest.raises(Exception) as error:
        make(monkeypatch, "--run")
    lines = [entry.lineno + 1 for entry in error.traceback if entry.path.name == "template.md"]
    assert lines == [TEXT.count("\n") + 1]
    assert not (project / "build" / "notebooks").exists()


STALE = "stale: .venv/bin/python report/report.py --report"


def test_the_labs_report_is_that_of_its_template_numbers_and_pictures():
    _, digest = report.pdf_text(ROOT)
    assert digest.encode() in (ROOT / "report" / "report.pdf").read_bytes(), STALE
    assert report.forge_text(ROOT) == (ROOT / "report" / "report.md").read_text("utf-8"), STALE


def test_the_labs_report_mentions_what_it_shows_and_cites_what_it_lists():
    source = (ROOT / "report" / "template.md").read_text("utf-8")
    references = (ROOT / "report" / "references.bib").read_text("utf-8")
    new, seen = (set(re.findall(rf"\b{kind}\((.+?)\)", source)) for kind in ("new", "see"))
    assert new == seen != set()
    assert set(re.findall(r"@(\w+)", source)) == set(re.findall(r"^@\w+\{(\w+),", references, re.M))


GALLERY = (ROOT / "figures" / "README.md").read_text("utf-8")


def test_the_gallery_names_every_figure_and_table_and_nothing_else():
    shown = set(re.findall(r"\]\((\w+\.\w+)\)", GALLERY)) | set(re.findall(r'src="(.+?)"', GALLERY))
    assert shown == {path.name for path in (ROOT / "figures").iterdir()} - {"README.md"}
