"""The notebooks as committed: run top to bottom in one go, clean, and really checked."""

import ast
import json
import re

import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GALLERY = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
TAGS = {"nbval-ignore-output", "nbval-check-output", "nbval-skip", "raises-exception"}


def tags(cell):
    return cell.metadata.get("tags", [])


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


def test_setup_finds_the_module_from_the_root_and_from_its_own_folder(notebook):
    lines = notebook.code[0].source.split("\n")
    assert lines[0] == "import sys" and lines[2] == "import lab5_utils as lab"
    assert lines[1].startswith('sys.path[:0] = [".", ".."]')


def test_outputs_and_metadata_are_clean(notebook):
    assert notebook.metadata.kernelspec.name == "python3" and "widgets" not in notebook.metadata
    for cell in notebook.code:
        assert "execution" not in cell.metadata and "ExecuteTime" not in cell.metadata
        assert set(tags(cell)) <= TAGS and "NBVAL" not in cell.source, "tags, not comments"
        for output in cell.outputs:
            assert output.output_type != "error"
            assert "nbval-ignore-output" in tags(cell) or output.get("name") != "stderr", "stderr in a compared cell"
            assert not re.search(r"/(root|home|tmp|work|usr|Users)/", json.dumps(output)), "a path of a machine"


def asserts(cell):
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))


def test_cells_are_compared_or_assert(notebook):
    text = lambda cell: any("text" in output or "text/html" in output.data for output in cell.outputs)
    shows = [cell for cell in notebook.code if asserts(cell) or text(cell)]  # a figure is not compared
    assert sum(asserts(cell) or "nbval-ignore-output" not in tags(cell) for cell in shows) >= 0.7 * len(shows)


def test_claims_are_numbers_not_columns_of_true(notebook):
    for cell in notebook.code:
        for output in cell.outputs:
            assert not re.search(r": +(True|False)$", output.get("text", ""), re.M), cell.source


def test_code_is_short_enough_to_read(notebook):
    lines = [line for cell in notebook.code for line in cell.source.split("\n")]
    assert max(map(len, lines)) <= 120


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
            assert f'<img src="{name}.png" width="480" alt="{cell.metadata["alt"]}">' in GALLERY
