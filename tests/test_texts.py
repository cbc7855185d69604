"""Notebooks as committed and on a table of one's own, READMEs and claims."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from conftest import ROOT, lab5_figures
from experiments import tables

README = (ROOT / "README.md").read_text("utf-8")
NOTEBOOKS = sorted([*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("bonus/*.ipynb")])


# ---- Notebooks ----
@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request):
    return nbformat.read(request.param, 4)


def test_a_notebook_was_run_in_one_go(notebook):
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_metadata_are_those_of_any_machine(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not {"execution", "ExecuteTime"} & set(cell.metadata)


def test_outputs_have_no_errors_and_no_paths_of_a_machine(notebook):
    for output in [output for cell in notebook.cells for output in cell.get("outputs", [])]:
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not re.search(r"/(?:root|home|tmp|work|usr|Users)/", json.dumps(output))


GERMAN = """sagen sagt sagend sagte
machen macht machend machte
kaufen kauft kaufend kaufte
spielen spielt spielend spielte
hören hört hörend hörte
lernen lernt lernend lernte
kochen kocht kochend kochte
fragen fragt fragend fragte
gehen geht gehend ging
sehen sieht sehend sah
"""


@pytest.mark.slow
def test_notebooks_run_on_a_small_table_of_ones_own_and_its_model_learns_to_convert(tmp_path):
    (tmp_path / "train.txt").write_text(GERMAN, "utf-8")
    variables = {"LAB5_DATA": tmp_path, "LAB5_RUNS": tmp_path / "runs", "LAB5_FIGURES": tmp_path}
    environ = os.environ | {name: str(value) for name, value in variables.items()}
    for path in sorted(ROOT.glob("notebooks/0[1-5]_*.ipynb")):
        notebook = nbformat.read(path, 4)
        resources = {"metadata": {"path": path.parent}}
        NotebookClient(notebook, resources=resources).execute(env=environ)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        if path.name.startswith("02"):
            printed = "".join(output.get("text", "") for output in outputs)
            (bleu4,) = re.findall(r"^BLEU-4: (\S+)$", printed, re.MULTILINE)
            assert float(bleu4) > 0.9


# ---- READMEs ----
def test_readmes_table_is_that_of_the_files():
    assert README.count("<!-- results -->\n|") == README.count("|\n<!-- /results -->") == 1
    assert tables.with_tables(README, {"results": tables.results()}) == README


@pytest.mark.slow
def test_readmes_example_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    environ = os.environ | {"LAB5_RUNS": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert printed.stdout.count("schedule=") == 2


def test_links_lead_to_files():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *NOTEBOOKS]:
        for link in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
            assert link.startswith("http") or (path.parent / link).exists(), (path.name, link)


# ---- Claims ----
CLAIMS = [("a half", 0.5, 0.4, 0.6), ("a third", 0.3, 0.4, 0.6)]


def test_claims_are_a_table_and_one_out_of_its_range_is_named():
    assert lab5_figures.check_claims(CLAIMS[:1]).to_numpy().tolist() == [list(CLAIMS[0])]
    with pytest.raises(AssertionError, match="a third: found"):
        lab5_figures.check_claims(CLAIMS)


def test_claims_are_not_about_a_table_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    assert len(lab5_figures.check_claims(CLAIMS)) == 2
