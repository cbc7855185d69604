"""Makes an assignment of the lab: notebooks 01 to 05 with blanks, and what they need.

    .venv/bin/python notebooks/handout.py FOLDER             # to be given to students
    .venv/bin/python notebooks/handout.py FOLDER --nbgrader  # FOLDER/source/lab5, for nbgrader

What becomes of a cell is said in its metadata, under "handout"; all others are taken as they are:

- `blank`, {function: points}, and `minutes`: the body of the function is to be written. The check
  of its name in `checks.py` follows, with the points, and in nbgrader's source once more, hidden,
  with other numbers: HIDDEN.
- `answer`, a question, with `points` and `minutes`: a text is to be written under the heading. The
  cell's own text is the model answer, or what stands under `solution`.
- `leave`: the cell is left out; if it is a heading, its section, but for cells that are asked for.
- `instead` and `then`: what stands in its place, and behind it.

Of `lab5_utils` what reads words comes along, and BLEU-4: no model, so that no answer does.
"""

import argparse
import ast
import re
import sys
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0[1-5]_*.ipynb"))
CHECKS = ROOT / "notebooks" / "checks.py"
CHECKED = re.findall(r"^def (\w+)\(answer", CHECKS.read_text("utf-8"), re.MULTILINE)
FILES = ("train.txt", "test.txt", "LICENSE", "notebooks/checks.py", "notebooks/assignment.py")
FOR_THE_PROJECT = "Your own files"  # the heading of readme.txt from which it is about more
PACKAGES = ("torch", "numpy", "nltk", "pandas", "matplotlib", "seaborn")
PACKAGES += ("jupyter", "cloudpickle")
ASSIGNMENT = "lab5"
STUB = 'raise NotImplementedError("YOUR CODE HERE: this function is still blank")'
CONFIG = f"""c = get_config()
c.ExecutePreprocessor.timeout = 1800  # seconds a cell may take; training takes more than 30
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
"""
KNOWN = ("blank", "answer", "solution", "points", "minutes", "leave", "instead", "then")
HIDDEN = {  # numbers of the hidden tests, by blank
    "to_numbers": {"word": "quizzes", "expected": (17, 21, 9, 26, 26, 5, 19, 0)},
    "to_word": {"numbers": (26, 1, 16), "expected": "zap"},
    "Encoder.forward": {"word": "go", "neighbour": "misunderstood"},
    "Decoder.first_state": {"tense": 2},
    "Decoder.forward": {"word": (5, 5, 9, 2, 0)},
    "Decoder.free_run": {"steps": 11},
    "decode": {"words": ("x", "went", "internationalizingdeinstitution"), "tense": 0},
    "kl_divergence": {"mu": (2.0, 0.1, -0.3), "sigma": (1.5, 0.2, 3.0)},
    "reparameterize": {"mean": -0.5, "sigma": 1.7},
    "cross_entropy": {"lengths": (2, 9, 5)},
    "spell": {"ratio": 0.35},
    "step": {"beta": 0.2, "rate": 0.03, "slopes": (0.5, 1.5)},
    "bleu4": {"pairs": (("sleeped", "slept", 0.1944), ("be", "been", 0.1163))},
    "gaussian_score": {"repeats": 3},
    "monotonic": {"at": 0.08},
    "teacher_forcing": {"at": 0.7},
    "four_cycles": {"at": 0.4},
    "path_costs": {"steps": 9},
    "sum_paths": {"tau": 0.7, "costs": (2.5, 4.0, 0.5, 1.0)},
    "refine_step": {"rate": 0.03, "slope": 0.6},
}


# ---- Code, read ----
def parse(source):
    """Returns the syntax tree of a cell, without its magics."""
    return ast.parse(re.sub(r"^\s*[%!].*", "", source, flags=re.MULTILINE))


def names_in(node, context):
    """Returns the names that code loads (ast.Load) or assigns (ast.Store)."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    return {part.id for part in names if isinstance(part.ctx, context)}


def words_and_data():
    """Returns the part of lab5_utils that reads words and data, and its BLEU-4."""
    source = (ROOT / "lab5_utils.py").read_text("utf-8")
    reads, _, rest = source.partition("# ---- Model ----")
    _, _, code = reads.split('"""', 2)  # the docstring is about the whole
    (bleu4,) = [node for node in ast.parse(rest).body if getattr(node, "name", "") == "bleu4"]
    title = '"""The lab\'s words and data, and its BLEU-4."""'
    return title + code + ast.get_source_segment(rest, bleu4) + "\n"


# ---- Cells ----
def level(cell):
    """Returns how deep a cell's heading is, 1 for a title; 0 if it has none."""
    marks = re.match("#+ ", cell.source) if cell.cell_type == "markdown" else None
    return len(marks.group()) - 1 if marks else 0


def taken(notebook):
    """Yields the cells that the assignment takes, each with what is said of it.

    Where a section is left out, a cell of which more is said is taken nevertheless.
    """
    left = 0  # the level of the section that is being left out
    for cell in notebook.cells:
        said = cell.metadata.get("handout", {})
        deep = level(cell)
        if deep and deep <= left:
            left = 0
        if said.get("leave"):
            left = left or deep
        elif said or not left:
            yield cell, said


def marked(cell, grade_id, points=None, solution=False):
    """Returns a cell with nbgrader's metadata."""
    cell.metadata["nbgrader"] = {
        "grade": points is not None,
        "grade_id": grade_id,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if points is not None:
        cell.metadata["nbgrader"]["points"] = points
    return cell


def find_function(tree, name):
    """Returns the node of a function, or of a method, "Encoder.forward". Raises ValueError."""
    for part in name.split("."):
        inside = [node for node in tree.body if getattr(node, "name", None) == part]
        if not inside:
            raise ValueError(f"blank {name}: found no such function in its cell")
        (tree,) = inside
    if ast.get_docstring(tree) is None or len(tree.body) < 2:
        raise ValueError(f"blank {name}: found no docstring or no body; expected both")
    return tree


def delimited(source, names):
    """Returns code in which nbgrader's delimiters stand around the bodies of functions."""
    lines = source.split("\n")
    functions = [find_function(ast.parse(source), name) for name in names]
    for function in sorted(functions, key=lambda node: -node.lineno):
        first, last = function.body[1], function.body[-1]
        indent = " " * first.col_offset
        lines.insert(last.end_lineno, f"{indent}### END SOLUTION")
        lines.insert(first.lineno - 1, f"{indent}### BEGIN SOLUTION")
    return "\n".join(lines)


def check_name(name):
    """Returns the name of a blank's check: encoder_forward, for Encoder.forward."""
    return name.replace(".", "_").lower()


def check_of(name, points):
    """Returns the cell that checks a blank, with its hidden test."""
    check = check_name(name)
    owner = name.split(".")[0]
    if check not in CHECKED:
        raise ValueError(f"blank {name}: found no check {check} in {CHECKS.name}")
    if name not in HIDDEN:
        raise ValueError(f"blank {name}: found no numbers of a hidden test in HIDDEN")
    call = f"checks.award({points}, checks.{check}, {owner}"
    numbers = ", ".join(f"{key}={value!r}" for key, value in HIDDEN[name].items())
    source = f"""points = {call})
### BEGIN HIDDEN TESTS
points = min(points, {call}, {numbers}))
### END HIDDEN TESTS
points"""
    return marked(new_code_cell(source), f"check-{check}", points)


def check_said(cell):
    """Raises ValueError if what is said of a cell has an unknown name, or a value that is none."""
    said = cell.metadata.get("handout", {})
    misspelt = get_close_matches("handout", cell.metadata.keys() - {"handout"})
    unknown = [*misspelt, *(said.keys() - {*KNOWN})]
    if unknown:
        expected = ", ".join(("handout", *KNOWN))
        raise ValueError(f"cell {cell.id}: found {unknown[0]!r}; expected {expected}")
    marks = said.get("blank", {"it": said.get("points", 0)} if "answer" in said else {})
    if not isinstance(marks, dict) or not all(type(n) is int and n > 0 for n in marks.values()):
        raise ValueError(
            f"cell {cell.id}: found {marks!r}; expected points, from 1 on, by function"
        )
    for name in ("instead", "then"):
        if not isinstance(said.get(name, []), list):
            raise ValueError(f"cell {cell.id}, {name}: found {said[name]!r:.40}; expected a list")


def asked(cell, said):
    """Returns the cells that become of a cell, marked for nbgrader; of a blank, its check too."""
    texts = said.get("instead", [cell.source])
    made = new_code_cell if cell.cell_type == "code" else new_markdown_cell
    if "blank" in said:
        name = check_name(min(said["blank"]))
        answer = made(delimited(texts[0], said["blank"]))
        checks = [check_of(name, points) for name, points in said["blank"].items()]
        cells = [marked(answer, f"blank-{name}", solution=True), *checks]
    elif "answer" in said:
        cells = question(cell, said)
    else:
        cells = [made(text) for text in texts]
    return cells + [new_code_cell(text) for text in said.get("then", [])]


def question(cell, said):
    """Returns a question, and the cell for its answer, in which the model answer stands."""
    heading, text = "", cell.source
    if level(cell):
        heading, _, text = text.partition("\n")
    asks = new_markdown_cell(f"{heading}\n\n{said['answer']} ({said['points']} points)".strip())
    text = said.get("solution", text).strip()
    answer = new_markdown_cell(f"### BEGIN SOLUTION\n{text}\n### END SOLUTION")
    return [asks, marked(answer, f"answer-{cell.id}", said["points"], solution=True)]


def guard(cells, blanks):
    """Lets those cells that need an answer run only if there is one."""
    behind = {}  # by name: the answers that it needs
    for blank in blanks:
        behind.setdefault(blank.split(".")[0], set()).add(blank)
    for cell in cells:
        if cell.cell_type != "code":
            continue
        needed = set()
        for node in parse(cell.source).body:
            answers = set().union(*(behind.get(name, ()) for name in names_in(node, ast.Load)))
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                behind[node.name] = behind.get(node.name, set()) | answers
                continue
            needed |= answers
            for name in names_in(node, ast.Store):
                behind[name] = {name} if "assignment.your_" in cell.source else answers
        if needed and "nbgrader" not in cell.metadata:
            cell.source = f"%%needs {' '.join(sorted(needed))}\n{cell.source}"


def number_sections(cells):
    """Numbers the sections that are left, "## 3 · Verbs from noise", from 1."""
    numbered = [cell for cell in cells if re.match(r"## \d+ · ", cell.source)]
    for number, cell in enumerate(numbered, 1):
        cell.source = re.sub(r"## \d+", f"## {number}", cell.source, count=1)


def make_source(path):
    """Returns a notebook of the assignment with all solutions, as nbgrader's source has it."""
    notebook = nbformat.read(path, 4)
    cells, blanks = [], []
    try:
        for cell in notebook.cells:
            check_said(cell)
        for cell, said in taken(notebook):
            cells += asked(cell, said)
            blanks += said.get("blank", {})
    except ValueError as error:
        raise ValueError(f"{path.name}, {error}") from error
    guard(cells, blanks)
    number_sections(cells)
    cells.append(new_code_cell(f"checks.show_total({points_of(cells, 'code')})"))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:02d}"
    notebook.cells = cells
    return notebook


def points_of(cells, kind):
    """Returns the sum of the points of cells of code, or of text."""
    marks = [cell.metadata.get("nbgrader", {}) for cell in cells if cell.cell_type == kind]
    return sum(mark.get("points", 0) for mark in marks)


def emptied(cell):
    """Returns a cell of a source without its solution, as nbgrader releases it."""
    hidden = r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n"
    cell.source = re.sub(hidden, "", cell.source, flags=re.DOTALL)
    stub = rf"\1{STUB}" if cell.cell_type == "code" else "YOUR ANSWER HERE"
    solution = r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION"
    cell.source = re.sub(solution, stub, cell.source, flags=re.DOTALL | re.MULTILINE)
    cell.metadata.pop("nbgrader", None)
    return cell


def requirements():
    """Returns the lines of requirements.txt that an assignment needs."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith(PACKAGES))


def make_handout(for_nbgrader):
    """Returns all files of the assignment, bytes by name, and prints what is asked in each."""
    files = {Path(name).name: (ROOT / name).read_bytes() for name in FILES}
    readme = (ROOT / "readme.txt").read_text("utf-8")
    files["readme.txt"] = readme.split(FOR_THE_PROJECT)[0].encode()
    files["requirements.txt"] = requirements().encode()
    files["lab5_utils.py"] = words_and_data().encode()
    for path in NOTEBOOKS:
        notebook = make_source(path)
        checked, read = (points_of(notebook.cells, kind) for kind in ("code", "markdown"))
        print(f"{path.name}: {checked} points that are checked, {read} for texts")
        for drawing in re.findall(r"\((\w+\.svg)\)", str(notebook.cells)):
            files[drawing] = (ROOT / "notebooks" / drawing).read_bytes()
        if not for_nbgrader:
            notebook.cells = [emptied(cell) for cell in notebook.cells]
        files[path.name] = nbformat.writes(notebook).encode()
    return files


def main():
    """Makes the assignment; what is wrong is said before anything is written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nbgrader", action="store_true", help="with solutions, for nbgrader")
    options = parser.parse_args()
    folder = options.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"{folder}: found something there; expected a new or an empty folder")
    if options.nbgrader and find_spec("nbgrader") is None:
        sys.exit("nbgrader: not found; pip install nbgrader")
    try:
        files = make_handout(options.nbgrader)
    except ValueError as error:
        sys.exit(str(error))
    if options.nbgrader:
        folder = folder / "source" / ASSIGNMENT
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if options.nbgrader:
        (options.folder / "nbgrader_config.py").write_text(CONFIG, "utf-8")
    print(f"{folder}: {len(files)} files")


if __name__ == "__main__":
    main()
