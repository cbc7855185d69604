"""Makes the assignment: notebooks with blanks, a check after each, and what they need.

    .venv/bin/python assignment/handout.py FOLDER             # for the students
    .venv/bin/python assignment/handout.py FOLDER --nbgrader  # FOLDER/source/lab5, for nbgrader

Chapters 01 and 02 are the lab's, 04 and 05 lie beside this file. The metadata of a cell, under
"handout", says what happens to it:

- `blank`, points by function: students write the bodies. A check of each follows, from checks.py.
- `asks`, texts by function: what a check needs to know is added to the docstring of a blank.
- `answer`: students write a text. What follows the cell's first paragraph, its heading, is the
  model answer; texts.toml has the question.
- `title`: its first two paragraphs are taken, the heading and the question.
- `code`, a name: the code of this name in CODE takes its place.
- `leave`: it's left out.

All other cells are taken as they are. Of `lab5_utils` only what reads words comes along, and
BLEU-4; of `lab5_figures`, what the notebooks call. The model doesn't, since it is the answer. The
verbs are those of $LAB5_DATA, or the lab's.
"""

import argparse
import ast
import inspect
import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import checks  # noqa: E402 (the path above comes first)

import lab5_figures  # noqa: E402
import lab5_utils as lab  # noqa: E402

NOTEBOOKS = [*ROOT.glob("notebooks/0[12]_*.ipynb"), *HERE.glob("0?_*.ipynb")]
NOTEBOOKS.sort(key=lambda path: path.name)
DRAWINGS = [f"notebooks/{name}.svg" for name in ("plain_model", "codes", "forcing")]
BESIDE = [f"assignment/{name}" for name in ("05_curves.csv", "checks.py", "assignment.py")]
TEXTS = tomllib.loads((HERE / "texts.toml").read_text("utf-8"))
REQUIREMENTS = ("requirements.txt", "tests/requirements.txt")
PACKAGES = ("torch", "numpy", "nltk", "pandas", "matplotlib", "seaborn", "jupyter", "cloudpickle")
STUB = f"raise NotImplementedError({checks.BLANK!r})"
CONFIG = f"""c = get_config()
c.ExecutePreprocessor.timeout = 1800  # seconds a cell may take; training takes more than 30
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
"""
SETUP = """import math
from collections import Counter
from math import exp, log
from os.path import commonprefix

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import assignment
import checks
import lab5_utils as lab
from assignment import save_fig
from lab5_figures import WIDTH, draw_curves, set_style, tense_names, verb_of

set_style()
torch.set_num_threads(1)  # for matrices as small as ours a second thread costs time
verbs = lab.distinct_verbs()
vocabulary = lab.vocabulary_of(verbs)
pairs = lab.test_pairs(verbs)
names, walk = tense_names(verbs), verb_of("walk", verbs)"""
CODE = {
    "setup": SETUP,
    "keep": """print("steps:", len(history))  # an untrained model is not kept
assignment.keep_model(model, train)  # for 04 and 05""",
}


# ---- The solution ----
def taken_from(path):
    """Returns the cells of a notebook that are not left out."""
    cells = nbformat.read(path, 4).cells
    return [cell for cell in cells if "leave" not in cell.metadata.get("handout", {})]


def solution_of(cells):
    """Returns what cells define, by name. What they do, such as training, is left out.

    A cell with blanks is run as a whole.
    """
    names = {"__name__": "solution"}
    exec(SETUP, names)
    for cell in cells:
        handout = cell.metadata.get("handout", {})
        if cell.cell_type == "markdown" or "code" in handout:
            continue
        for node in ast.parse(cell.source).body:
            in_capitals = isinstance(node, ast.Assign) and ast.unparse(node.targets).isupper()
            defines = in_capitals or isinstance(node, ast.FunctionDef | ast.ClassDef)
            if "blank" in handout or defines:
                exec(compile(ast.Module([node], []), "solution", "exec"), names)
    return names


# ---- Cells ----
def function_named(tree, name):
    """Returns a function, or a method such as "Encoder.forward", which has a docstring."""
    for part in name.split("."):
        tree = next((node for node in tree.body if getattr(node, "name", "") == part), None)
        if tree is None:
            raise ValueError(f"found no function {name}; expected one")
    return tree


def with_solutions_marked(source, names, asks):
    """Returns code in which nbgrader's delimiters enclose the bodies of functions.

    What is asked of a function, if that is given by its name, ends its docstring.
    """
    lines = source.split("\n")
    functions = {name: function_named(ast.parse(source), name) for name in names}
    for name, function in sorted(functions.items(), key=lambda item: -item[1].lineno):
        docstring, *body = function.body
        indent = " " * docstring.col_offset
        lines.insert(function.end_lineno, f"{indent}### END SOLUTION")
        lines.insert(body[0].lineno - 1, f"{indent}### BEGIN SOLUTION")
        if name in asks:
            end = docstring.end_lineno - 1
            text = lines[end].removesuffix('"""').rstrip()
            asked = textwrap.indent(textwrap.fill(asks[name], 100 - len(indent)), indent)
            lines[end] = f'{text}\n\n{asked}\n{indent}"""'.removeprefix("\n")
    return "\n".join(lines)


def mark(cell, name, points=None, solution=False):
    """Gives a cell nbgrader's metadata."""
    cell.id = name
    entries = {"grade_id": name, "grade": points is not None, "points": points}
    entries |= {"solution": solution, "locked": not solution, "task": False, "schema_version": 3}
    cell.metadata["nbgrader"] = {key: value for key, value in entries.items() if value is not None}
    return cell


def make_check(name, points, solution, expected):
    """Returns the cell that checks a blank, with its hidden test. Adds what is expected."""
    check, owner = name.replace(".", "_").lower(), name.split(".")[0]
    run = getattr(checks, check)
    expected[check], hidden = (checks.results(run, solution[owner], case) for case in (0, 1))
    arguments = f"{points}, {check!r}, globals().get({owner!r})"
    source = f"""points = checks.award({arguments})
### BEGIN HIDDEN TESTS
import runpy  # what a student may have done to `checks` is not in a copy that is read anew

points = min(points, runpy.run_path("checks.py")["award"]({arguments}, {hidden}))
### END HIDDEN TESTS
points"""
    return mark(new_code_cell(source), f"check-{check}", points)


def make_question(cell, name):
    """Returns a question, and the cell for its answer, in which the model answer stands."""
    parts, number = TEXTS[name], 1 + list(TEXTS).index(name)
    heading, _, text = cell.source.partition("\n\n")
    given = parts[0].get("given", heading)
    total = sum(part["points"] for part in parts)
    questions = [f"1. {part['ask']} ({part['points']})" for part in parts]
    rubric = [f"1. {part['points']}: {part['earns']}" for part in parts]
    cell.source = "\n".join([given, "", f"**Text {number}** ({total} points)", "", *questions])
    lines = ["### BEGIN SOLUTION", text, "", "**Rubric**", "", *rubric, "### END SOLUTION"]
    answer = new_markdown_cell("\n".join(lines))
    return [cell, mark(answer, f"answer-{cell.id}", total, solution=True)]


def convert(cell, number, solution, expected):
    """Returns the cells of the assignment that take the place of a cell of a notebook."""
    handout = cell.metadata.pop("handout", {})
    if blanks := handout.get("blank"):
        cell.source = with_solutions_marked(cell.source, blanks, handout.get("asks", {}))
        after = [make_check(*blank, solution, expected) for blank in blanks.items()]
        return [mark(cell, f"blank-{cell.id}", solution=True), *after]
    if "answer" in handout:
        return make_question(cell, f"{number} {cell.id}")
    if "title" in handout:
        first = cell.source.split("\n\n")[:2]
        cell.source = "\n\n".join([*first, "[README.md](README.md) says what is asked of you."])
    if "code" in handout:
        cell.source = CODE[handout["code"]]
    return [cell]


def clean(cell):
    """Empties a cell of code, and lets the notebook run on after an error in it."""
    cell.outputs, cell.execution_count = [], None
    kept = {key: value for key, value in cell.metadata.items() if key == "nbgrader"}
    cell.metadata = {"tags": ["raises-exception"], **kept}


# ---- Notebooks ----
def make_source(path, expected):
    """Returns a notebook with all solutions, as nbgrader's source. Adds what its checks expect."""
    taken = taken_from(path)
    solution = solution_of(taken)
    cells = []
    for cell in taken:
        try:
            cells += convert(cell, path.name[:2], solution, expected)
        except (AttributeError, KeyError, ValueError) as error:
            raise ValueError(f"{path.name}, cell {cell.id}: {error}") from error
    total = sum(cell.metadata.nbgrader.points for cell in cells if cell.id.startswith("check-"))
    cells.append(new_code_cell(f"checks.show_total({total})", id="total"))
    for cell in cells:
        if cell.cell_type == "code":
            clean(cell)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def take_solutions_out(notebook):
    """Takes solutions and hidden tests out of a notebook, as nbgrader does."""
    for cell in notebook.cells:
        source = re.sub(r"(?s)\n### BEGIN HIDDEN.*?END HIDDEN TESTS\npoints", "", cell.source)
        stub = STUB if cell.cell_type == "code" else "YOUR ANSWER HERE"
        cell.source = re.sub(r"(?s)### BEGIN SOLUTION.*?END SOLUTION", stub, source)
        cell.metadata.pop("nbgrader", None)


# ---- Files ----
def without_unused_imports(code):
    """Returns code without the names that it imports but doesn't use."""
    tree, lines = ast.parse(code), code.split("\n")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {"annotations"}
    for node in reversed(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [name for name in node.names if (name.asname or name.name) in used]
            lines[node.lineno - 1 : node.end_lineno] = [ast.unparse(node)] if node.names else []
    return "\n".join(lines)


def words_and_data():
    """Returns the part of lab5_utils that reads words and data, and its BLEU-4."""
    reads, _, _ = inspect.getsource(lab).partition("# ---- Model ----")
    _, _, code = reads.split('"""', 2)  # the docstring is about the whole
    # the verbs are those that lie beside it, whatever is set where it is marked
    code = code.replace('folder_named("LAB5_DATA")', "HERE").replace("$LAB5_DATA or ", "")
    scores = "\n\n".join(map(inspect.getsource, (lab.bleu4, lab.mean_bleu4)))
    scores = scores.replace("model: CVAE", "model")
    return without_unused_imports(f'"""The lab\'s words and data, and its BLEU-4."""{code}{scores}')


def look():
    """Returns the part of lab5_figures that SETUP imports."""
    head = f'''"""The look of the lab's figures, and the names of tenses and verbs."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator

import lab5_utils as lab

WIDTH = {lab5_figures.WIDTH}  # of a figure, in inches
STYLES = {lab5_figures.STYLES}  # of lines
'''
    functions = ("set_style", "draw_curves", "set_decades", "tense_names", "verb_of")
    sources = (inspect.getsource(getattr(lab5_figures, name)) for name in functions)
    return without_unused_imports("\n\n".join([head, *sources]))


def make_files(for_nbgrader):
    """Returns all files of the assignment, texts by name."""
    tables = [lab.data_folder() / name for name in ("train.txt", "test.txt")]
    paths = [ROOT / name for name in ["LICENSE", *DRAWINGS, *BESIDE]]
    paths += [path for path in tables if path.is_file()]
    files, expected = {path.name: path.read_text("utf-8") for path in paths}, {}
    for path in NOTEBOOKS:
        notebook = make_source(path, expected)
        if not for_nbgrader:
            take_solutions_out(notebook)
        files[path.name] = nbformat.writes(notebook)
    packages = "".join((ROOT / name).read_text("utf-8") for name in REQUIREMENTS)
    packages = [line for line in packages.splitlines(keepends=True) if line.startswith(PACKAGES)]
    return files | {
        "README.md": (HERE / "for_students.md").read_text("utf-8"),
        "expected.json": json.dumps(expected, ensure_ascii=False),
        "lab5_utils.py": words_and_data(),
        "lab5_figures.py": look(),
        "readme.txt": (ROOT / "readme.txt").read_text("utf-8").split("Provenance")[0],
        "requirements.txt": "".join(packages),
    }


def main():
    """Makes the assignment. Nothing is written if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new or an empty folder")
    parser.add_argument("--nbgrader", action="store_true", help="with solutions, for nbgrader")
    options = parser.parse_args()
    folder = options.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        parser.error(f"{folder}: found something there; expected a new or an empty folder")
    verbs = checks.VERBS
    if len(verbs) < 1000 or len(verbs[0]) != 4:
        found = f"{len(verbs)} verbs of {len(verbs[0])} forms"
        parser.error(f"found {found}; expected 1,000 or more of four")
    files = make_files(options.nbgrader)
    if options.nbgrader:
        files = {f"source/lab5/{name}": text for name, text in files.items()}
        files["nbgrader_config.py"] = CONFIG
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    print(f"{folder}: {len(files)} files")


if __name__ == "__main__":
    main()
