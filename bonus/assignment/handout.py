"""Makes the assignment: notebooks with blanks, a check after each, and what they need.

    .venv/bin/python bonus/assignment/handout.py FOLDER             # for the students
    .venv/bin/python bonus/assignment/handout.py FOLDER --nbgrader  # to mark: with solutions

With solutions, as nbgrader wants it, the notebooks lie in FOLDER/source/lab5.

Chapters 01 and 02 are the lab's; 03 to 05 lie beside this file, and a cell that is empty there is
the cell with the same id in the lab's chapter. points.toml says what earns points, and which cells
are left out. All others are taken as they are, but a notebook's first paragraphs, without the small
print, and its first cell of code. Of `lab5_utils` only what WORDS names comes along: the model
doesn't, since it is the answer. The verbs are those of $LAB5_DATA, or the lab's.
"""

import argparse
import ast
import copy
import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

import checks  # noqa: E402 (the path above comes first)

import lab5_utils as lab  # noqa: E402

CHAPTERS = ROOT / "notebooks"
NOTEBOOKS = [*CHAPTERS.glob("0[12]_*.ipynb"), *HERE.glob("0?_*.ipynb")]
NOTEBOOKS.sort(key=lambda path: path.name)
WHOLE = [ROOT / name for name in ("LICENSE", "readme.txt", "lab5_figures.py")]
WHOLE += [CHAPTERS / f"{name}.svg" for name in ("plain_model", "codes", "forcing")]
WHOLE += [HERE / "checks.py", HERE / "assignment.py", HERE.parent / "page" / "page.html"]
WORDS = """HERE wrong TENSES PRESENT THIRD PROGRESSIVE PAST LEMMA EOS MAX_LETTERS Vocabulary Words
select check_word check_words check_tense TEST_TENSES Verb Pair folder_named data_folder read_rows
load_verbs load_test_pairs pairs_of check_verbs distinct_verbs vocabulary_of as_words words_of
bleu4 mean_bleu4""".split()
PLAN = tomllib.loads((HERE / "points.toml").read_text("utf-8"))
REQUIREMENTS = (ROOT / "requirements.txt", HERE / "requirements.txt")
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

import assignment
import checks
import lab5_utils as lab
from lab5_figures import WIDTH, draw_codes, draw_curves, save_fig, set_style, tense_names, verb_of

set_style()
torch.set_num_threads(1)  # for matrices as small as ours a second thread costs time
verbs = lab.distinct_verbs()
vocabulary = lab.vocabulary_of(verbs)
pairs = lab.pairs_of(verbs)
names, walk = tense_names(verbs), verb_of("walk", verbs)"""
KEEP = """print("steps:", len(history))  # an untrained model is not kept
assignment.keep_model(model, train)  # for 03 and 05"""


# ---- The solution ----
def names_of(node):
    """Returns the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    parts = [part for target in targets for part in ast.walk(target)]
    return {part.id for part in parts if isinstance(part, ast.Name)}


def taken_from(path):
    """Returns the cells of a notebook that are not left out, with the lab's in empty ones."""
    cells, number = nbformat.read(path, 4).cells, path.name[:2]
    chapter = {cell.id: cell for cell in nbformat.read(CHAPTERS / path.name, 4).cells}
    if number in PLAN["end"]:
        cells = cells[: [cell.id for cell in cells].index(PLAN["end"][number])]
    for cell in cells:
        cell.source = cell.source or chapter[cell.id].source
    return [cell for cell in cells if cell.id not in PLAN["leave"].get(number, [])]


def functions_of(cell):
    """Returns the names of functions and classes that a cell defines."""
    body = ast.parse(cell.source).body if cell.cell_type == "code" else []
    return {node.name for node in body if hasattr(node, "name")}


def definitions_of(cell):
    """Returns a cell's functions, classes and constants, and all before them beside a blank."""
    body = ast.parse(cell.source).body
    if functions_of(cell) & {owner_of(task) for task in PLAN["task"]}:
        last = max(n for n, node in enumerate(body) if hasattr(node, "name"))
        return body[: last + 1]
    constants = [node for node in body if " ".join(names_of(node)).isupper()]
    return [node for node in body if hasattr(node, "name") or node in constants]


def solution_of(cells):
    """Returns what cells define, by name. What they do, such as training, is left out."""
    names = {"__name__": "solution"}
    exec(SETUP, names)
    for cell in cells:
        if cell.cell_type == "code":
            exec(compile(ast.Module(definitions_of(cell), []), "solution", "exec"), names)
    return names


# ---- Cells ----
def function_named(tree, name):
    """Returns a function, or a method such as "Encoder.forward", which has a docstring."""
    for part in name.split("."):
        tree = next((node for node in tree.body if getattr(node, "name", "") == part), None)
        if tree is None:
            raise ValueError(f"found no function {name}; expected one")
    return tree


def owner_of(task):
    """Returns the name of the function or the class in which a task's answer stands, or ""."""
    return task.get("write", "").split(".")[0]


def with_solution_marked(source, task):
    """Returns code in which nbgrader's delimiters enclose the body of a function."""
    lines = source.split("\n")
    function = function_named(ast.parse(source), task["write"])
    docstring, *body = function.body
    indent = " " * docstring.col_offset
    lines.insert(function.end_lineno, f"{indent}### END SOLUTION")
    lines.insert(body[0].lineno - 1, f"{indent}### BEGIN SOLUTION")
    return "\n".join(lines)


def with_mistake(source, task):
    """Returns code with the mistake that students repair."""
    if task["right"] not in source:
        raise ValueError(f"found no {task['right']!r}; expected it in {task['write']}")
    return source.replace(task["right"], task["wrong"])


def with_more_said(source, task):
    """Returns code in which a function's docstring ends with what a task says of it."""
    lines = source.split("\n")
    docstring = function_named(ast.parse(source), task["write"]).body[0]
    indent, end = " " * docstring.col_offset, docstring.end_lineno - 1
    text = lines[end].removesuffix('"""').rstrip()
    said = textwrap.indent(textwrap.fill(task["says"], 100 - len(indent)), indent)
    lines[end] = f'{text}\n\n{said}\n{indent}"""'.removeprefix("\n")
    return "\n".join(lines)


def mark(cell, name, points=None, solution=False):
    """Gives a cell nbgrader's metadata."""
    cell.id = name
    entries = {"grade_id": name, "grade": points is not None, "points": points}
    entries |= {"solution": solution, "locked": not solution, "task": False, "schema_version": 3}
    cell.metadata["nbgrader"] = {key: value for key, value in entries.items() if value is not None}
    return cell


def make_check(task, solution, expected):
    """Returns the cell that checks an answer, with its hidden test. Adds what is expected."""
    owner, check = owner_of(task), task["write"].replace(".", "_").lower()
    run = getattr(checks, check)
    expected[check], hidden = (checks.results(run, solution[owner], case) for case in (0, 1))
    arguments = f"{task['points']}, {check!r}, globals().get({owner!r})"
    source = f"""points = checks.award({arguments})
### BEGIN HIDDEN TESTS
import runpy  # what a student may have done to `checks` is not in a copy that is read anew

points = min(points, runpy.run_path("checks.py")["award"]({arguments}, 1, {hidden}))
### END HIDDEN TESTS
points"""
    return mark(new_code_cell(source), f"check-{check}", task["points"])


def make_question(task, heading="", answer=""):
    """Returns a question, and the cell for its answer, in which the sample answer stands."""
    given, answer = task.get("given", heading).strip(), task.get("answer", answer).strip()
    total = sum(part["points"] for part in task["parts"])
    questions = [f"1. {part['ask']} ({part['points']})" for part in task["parts"]]
    rubric = [f"1. {part['points']}: {part['earns']}" for part in task["parts"]]
    title = f"**{task['text']}** ({total} points)"
    name = "-".join(task["text"].lower().split())
    question = "\n".join([given, "", title, "", *questions])
    lines = ["### BEGIN SOLUTION", answer, "", "**Rubric**", "", *rubric, "### END SOLUTION"]
    answer = mark(new_markdown_cell("\n".join(lines)), f"answer-{name}", total, solution=True)
    return [new_markdown_cell(question, id=f"question-{name}"), answer]


def convert(cell, tasks, solution, expected):
    """Returns the cells of the assignment that take the place of a cell of a notebook."""
    here = [task for task in tasks if owner_of(task) in functions_of(cell)]
    after = [task for task in tasks if task.get("after") == cell.id]
    heading, _, text = cell.source.partition("\n\n")
    asked = [make_question(task, heading, text) for task in tasks if task.get("of") == cell.id]
    cells = asked[0] if asked else [cell]
    for task in here:
        change = with_mistake if "wrong" in task else with_solution_marked
        cell.source = change(cell.source, task)
        cell.source = with_more_said(cell.source, task) if "says" in task else cell.source
    blanks = [task for task in here if "wrong" not in task]
    if blanks:
        mark(cell, f"blank-{cell.id}", solution=True)
    for task in blanks + after:
        if "text" in task:
            cells += make_question(task)
        else:
            cells.append(make_check(task, solution, expected))
    return cells


def clean(cell):
    """Says what is said instead, empties a cell of code, and lets the notebook run on."""
    for old, new in PLAN["instead"].items():
        cell.source = cell.source.replace(old, new)
    cell.metadata = {key: cell.metadata[key] for key in cell.metadata if key == "nbgrader"}
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
        cell.metadata["tags"] = ["raises-exception"]


# ---- Notebooks ----
def replace_ends(cells, number):
    """Replaces a notebook's small print, its first cell of code, and that which keeps the model."""
    paragraphs = cells[0].source.split("\n\n")
    shown = [text for text in paragraphs if not text.startswith("<small>")]
    shown.append("[README.md](README.md) says what is asked of you.")
    cells[0].source = "\n\n".join(shown)
    next(cell for cell in cells if cell.cell_type == "code").source = SETUP
    for cell in cells:
        if cell.id == PLAN["replace"].get(number):
            cell.source = KEEP


def make_source(path, expected):
    """Returns a notebook with all solutions, as nbgrader's source. Adds what its checks expect."""
    number, taken = path.name[:2], taken_from(path)
    tasks = [task for task in PLAN["task"] if task["in"] == number]
    replace_ends(taken, number)
    solution = solution_of(taken)
    cells = []
    for cell in taken:
        cells += convert(cell, tasks, solution, expected)
    for cell in cells:
        clean(cell)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def make_notebooks():
    """Returns the notebooks with all solutions, by file name, and what their checks expect."""
    expected = {}
    notebooks = {path.name: make_source(path, expected) for path in NOTEBOOKS}
    return notebooks, expected


def without_solutions(notebook):
    """Returns a copy without solutions and hidden tests, as nbgrader makes it."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        source = re.sub(r"(?s)\n### BEGIN HIDDEN.*?END HIDDEN TESTS\npoints", "", cell.source)
        stub = STUB if cell.cell_type == "code" else "YOUR ANSWER HERE"
        cell.source = re.sub(r"(?s)### BEGIN SOLUTION.*?END SOLUTION", stub, source)
        cell.metadata.pop("nbgrader", None)
    return notebook


# ---- Files ----
def words_and_data():
    """Returns the part of lab5_utils that reads words and data, and its BLEU-4.

    Raises ValueError for a name that lab5_utils no longer has.
    """
    code = (ROOT / "lab5_utils.py").read_text("utf-8")
    lines, missing = code.split("\n"), set(WORDS)
    parts = ['"""The lab\'s words and data, and its BLEU-4."""\n']
    for node in ast.parse(code).body:
        names = names_of(node) & set(WORDS)
        if names or isinstance(node, ast.Import | ast.ImportFrom):
            around = "\n\n" if hasattr(node, "name") else ""
            part = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            parts.append(f"{around}{part}{around}")
        missing -= names
    if missing:
        raise ValueError(f"lab5_utils.py: found no {sorted(missing)}; expected what WORDS names")
    return re.sub("\n{4,}", "\n\n\n", "\n".join(parts)).rstrip() + "\n"


def make_files(notebooks, expected):
    """Returns all files of the assignment, texts by name."""
    tables = [lab.data_folder() / name for name in ("train.txt", "test.txt")]
    paths = WHOLE + [path for path in tables if path.is_file()]
    files = {path.name: path.read_text("utf-8") for path in paths}
    files |= {name: nbformat.writes(notebook) for name, notebook in notebooks.items()}
    return files | {
        "README.md": (HERE / "for_students.md").read_text("utf-8"),
        "expected.json": json.dumps(expected, ensure_ascii=False),
        "lab5_utils.py": words_and_data(),
        "requirements.txt": "\n".join(path.read_text("utf-8") for path in REQUIREMENTS),
    }


def write(files, folder):
    """Writes files into a folder that is made for them. Raises FileExistsError if it's there."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    print(f"{folder}: {len(files)} files")


def main():
    """Makes the assignment. Nothing is written if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--nbgrader", action="store_true", help="with solutions, for nbgrader")
    options = parser.parse_args()
    if len(checks.VERBS) < 1000 or len(checks.VERBS[0]) != 4:
        parser.error("the table is too small; expected 1,000 verbs or more, of four forms")
    notebooks, expected = make_notebooks()
    if options.nbgrader:
        write({"nbgrader_config.py": CONFIG}, options.folder)
        write(make_files(notebooks, expected), options.folder / "source" / "lab5")
    else:
        blank = {name: without_solutions(notebook) for name, notebook in notebooks.items()}
        write(make_files(blank, expected), options.folder)


if __name__ == "__main__":
    main()
