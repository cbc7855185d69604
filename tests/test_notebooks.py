"""The notebooks as committed: run top to bottom in one go, clean, and really compared."""

import json
import re

import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TAGS = {"nbval-ignore-output", "nbval-check-output", "nbval-skip", "raises-exception"}

STANDARD = {"sys", "html", "itertools", "os", "re", "collections", "pathlib"}
SETUP = """
folder = next((f for f in (Path.cwd(), Path.cwd().parent) if (f / "lab5_utils.py").exists()), None)
if folder is None:
    raise FileNotFoundError(f"lab5_utils.py is neither in {Path.cwd()} nor one folder up: start Jupyter in the repository, or %cd to its notebooks")
sys.path.insert(0, str(folder))
"""


def test_the_notebooks_are_there():
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    notebook = nbformat.read(request.param, 4)
    nbformat.validate(notebook)
    notebook.number = request.param.name[:2]
    notebook.code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return notebook


def test_starts_with_its_title_and_ends_with_what_it_showed(notebook):
    assert notebook.cells[0].source.startswith(f"# {notebook.number} · ")
    assert notebook.cells[-1].cell_type == "markdown"


def test_run_top_to_bottom_in_one_go(notebook):
    assert [cell.execution_count for cell in notebook.code] == list(range(1, len(notebook.code) + 1))


def test_setup_is_the_same_and_says_what_is_wrong(notebook):
    """The module first: it says which package is missing. Before it, only the standard library."""
    setup = notebook.code[0].source
    before, _ = setup.split("import lab5_utils as lab")
    assert before.endswith(SETUP) and set(re.findall(r"^(?:import|from) (\w+)", before, re.M)) <= STANDARD


def test_started_elsewhere_the_first_cell_says_where_to_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="start Jupyter in the repository"):
        exec("import sys\nfrom pathlib import Path\n" + SETUP)


def test_outputs_are_clean(notebook):
    for cell in notebook.code:
        for output in cell.outputs:
            assert output.output_type != "error"
            compared = "nbval-ignore-output" not in cell.metadata.get("tags", [])
            assert not (compared and output.get("name") == "stderr"), "stderr in a compared cell"
            assert not re.search(r"/(root|home|tmp|work|usr|Users)/", json.dumps(output)), "a path of a machine"


def test_metadata_is_clean(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.code:
        assert "execution" not in cell.metadata and "ExecuteTime" not in cell.metadata
        assert set(cell.metadata.get("tags", [])) <= TAGS
        assert "NBVAL" not in cell.source, "tags, not comments"


def test_most_cells_are_compared_and_hold_text(notebook):
    compared = [cell for cell in notebook.code if "nbval-ignore-output" not in cell.metadata.get("tags", [])]
    assert len(compared) >= 0.6 * len(notebook.code)
    assert sum(any(output.get("name") == "stdout" for output in cell.outputs) for cell in compared) >= 5


def test_checks_came_out_true(notebook):
    """A committed check that printed False would be compared with False for ever."""
    for cell in notebook.code:
        for output in cell.outputs:
            compared = "nbval-ignore-output" not in cell.metadata.get("tags", [])
            assert not (compared and re.search(r"\bFalse\b", output.get("text", ""))), cell.source


def test_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)#]+)\)", cell.source if cell.cell_type == "markdown" else ""):
            assert target.startswith("http") or (ROOT / "notebooks" / target).exists(), target


def test_every_figure_is_exported_and_named_after_its_notebook(notebook):
    for cell in notebook.code:
        for name in re.findall(r'save_fig\(fig, "([^"]+)"\)', cell.source):
            assert name[:2] == notebook.number
            for suffix in (".pdf", ".png"):
                assert (ROOT / "figures" / (name + suffix)).stat().st_size > 1000
