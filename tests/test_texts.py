"""Notebooks as committed and on a table of one's own, READMEs and claims."""

import json
import os
import re

import nbformat
import pytest
from conftest import ROOT, lab5_figures
from nbclient import NotebookClient

from experiments import write_tables

README = (ROOT / "README.md").read_text("utf-8")
TABLES = write_tables.make_tables()


# ---- Notebooks ----
@pytest.fixture(params=sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.name)
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
def test_each_table_stands_in_a_readme_as_its_file_has_it():
    texts = README + (ROOT / "experiments" / "README.md").read_text("utf-8")
    assert write_tables.with_tables(texts, TABLES) == texts
    for name in TABLES:
        assert texts.count(f"<!-- {name} -->\n|") == texts.count(f"|\n<!-- /{name} -->") == 1, name


# ---- Claims ----
CLAIMS = [("a half", 0.5, 0.4, 0.6), ("a third", 0.3, 0.4, 0.6)]


def test_claims_are_a_table_and_one_out_of_its_range_is_named():
    assert lab5_figures.check_claims(CLAIMS[:1]).to_numpy().tolist() == [list(CLAIMS[0])]
    with pytest.raises(AssertionError, match="a third: found"):
        lab5_figures.check_claims(CLAIMS)


def test_claims_are_not_about_a_table_of_ones_own(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB5_DATA", str(tmp_path))
    assert len(lab5_figures.check_claims(CLAIMS)) == 2
