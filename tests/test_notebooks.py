"""The notebooks as committed: run top to bottom in one go, clean, and really checked."""

import ast
import json
import re
from itertools import pairwise

import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GALLERY = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
TAGS = {"nbval-ignore-output", "nbval-check-output", "nbval-skip", "raises-exception"}
SETUP = """import sys

sys.path[:0] = [".", ".."]  # the repository's root, wherever Jupyter was started
"""
OF_TESTS = {path.stem for path in (ROOT / "tests").glob("*.py")} | {"tests"}


def tags(cell):
    return cell.metadata.get("tags", [])


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    notebook = nbformat.read(request.param, 4)
    nbformat.validate(notebook)
    notebook.number = request.param.name[:2]
    notebook.cells_of_code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.code = "\n".join(cell.source for cell in notebook.cells_of_code) + "\n"
    notebook.text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return notebook


def test_starts_with_its_title_and_what_it_takes_and_ends_with_text(notebook):
    first = notebook.cells[0].source
    assert first.startswith(f"# {notebook.number} · ")
    for word in ("reads", "writes", "takes"):
        assert word in first.lower(), f"the first cell does not say what the notebook {word}"
    assert notebook.cells[-1].cell_type == "markdown"


def test_run_top_to_bottom_in_one_go(notebook):
    counts = [cell.execution_count for cell in notebook.cells_of_code]
    assert counts == list(range(1, len(counts) + 1))


def test_setup_is_the_same_everywhere(notebook):
    setup = notebook.cells_of_code[0].source + "\n"
    assert setup.startswith(SETUP)
    assert "\nimport lab5_utils as lab\n" in setup
    assert "\nset_style()\n" in setup


def imported(code):
    """Returns the modules that code imports: the first of their names."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_it_imports_modules_and_experiments_and_nothing_of_the_tests(notebook):
    assert not imported(notebook.code) & OF_TESTS


def test_metadata_is_clean(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not {"execution", "ExecuteTime"} & set(cell.metadata)
        assert set(tags(cell)) <= TAGS
        assert "NBVAL" not in cell.source, "tags, not comments"


def test_outputs_are_clean(notebook):
    for cell in notebook.cells_of_code:
        for output in cell.outputs:
            assert output.output_type != "error"
            if "nbval-ignore-output" not in tags(cell):
                assert output.get("name") != "stderr", "stderr in a compared cell"
            of_a_machine = re.findall(r"/(?:root|home|tmp|work|usr|Users)/", json.dumps(output))
            assert not of_a_machine


def test_what_a_cell_prints_is_one_output(notebook):
    for cell in notebook.cells_of_code:
        names = [output.get("name") for output in cell.outputs]
        split = [a for a, b in pairwise(names) if a == b == "stdout"]
        assert not split, "JupyterLab joins them: running it would change the file"


def test_claims_are_checked_in_one_loop_in_the_last_cell(notebook):
    last = notebook.cells_of_code[-1]
    bodies = [node.body for node in ast.walk(ast.parse(last.source)) if isinstance(node, ast.For)]
    assert any(isinstance(line, ast.Assert) for body in bodies for line in body)
    tables = [output.data["text/html"] for output in last.outputs if "data" in output]
    assert tables[0].count("<tr") > 5, "fewer than five claims"


def test_claims_are_numbers_not_columns_of_true(notebook):
    for cell in notebook.cells_of_code:
        for output in cell.outputs:
            text = output.get("text", "")
            assert not re.search(r": +(True|False)$", text, re.MULTILINE), cell.source


def test_links_lead_somewhere(notebook):
    for text in notebook.text:
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert target.startswith("http") or (ROOT / "notebooks" / target).exists(), target
        for target, anchor in re.findall(r"\]\((\.\./[^)#]+)#([^)]+)\)", text):
            page = (ROOT / "notebooks" / target).read_text("utf-8")
            assert f'<a id="{anchor}"></a>' in page, anchor


def test_every_figure_is_exported_and_named_after_its_notebook(notebook):
    for cell in notebook.cells_of_code:
        for name in re.findall(r'save_fig\(\w+, "([^"]+)"\)', cell.source):
            assert name[:2] == notebook.number
            for suffix in (".pdf", ".png"):
                assert (ROOT / "figures" / (name + suffix)).stat().st_size > 1000
            alt = cell.metadata["alt"]
            assert f'<img src="{name}.png" width="480" alt="{alt}">' in GALLERY


def test_every_table_that_is_exported_is_there_as_csv_and_as_latex(notebook):
    for name in re.findall(r'save_table\(\S+, "([^"]+)"', notebook.code):
        assert name[:2] == notebook.number
        for suffix in (".csv", ".tex"):
            text = (ROOT / "figures" / (name + suffix)).read_text("utf-8")
            assert text.count("\n") > 2
    assert "to_csv" not in notebook.code, "save_table writes both"


def test_a_panel_has_a_fixed_id_so_that_running_changes_no_file(notebook):
    widget = "application/vnd.jupyter.widget-view+json"
    for cell in notebook.cells_of_code:
        shown = [output.data[widget] for output in cell.outputs if widget in output.get("data", {})]
        assert all(view["model_id"] == "panel" for view in shown)
