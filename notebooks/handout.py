"""Makes an assignment of the lab: notebooks 01 to 04 with blanks, and what they need.

    .venv/bin/python notebooks/handout.py FOLDER             # to be given to students
    .venv/bin/python notebooks/handout.py FOLDER --nbgrader  # FOLDER/source/lab5, for nbgrader

What becomes of a cell is said in its metadata, under "handout"; all others are taken as they are:

- `blank`, {function: points}, and `minutes`: the body of the function is to be written. The check
  of its name in `checks.py` follows, with the points, and in nbgrader's source once more, hidden,
  with other numbers: HIDDEN.
- `answer`, a question, with `points` and `minutes`: a text is to be written under the heading.
- `leave`: the cell is left out; if it is a heading, its section.
- `instead` and `then`: what stands in its place, and behind it.

Of the modules only what is used comes along, so that no answer does.
"""

import argparse
import ast
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("0[1-4]_*.ipynb"))
MODULES = ("lab5_figures", "lab5_train", "lab5_utils")  # each uses those behind it
CHECKS = ROOT / "notebooks" / "checks.py"
CHECKED = re.findall(r"^def (\w+)\(answer", CHECKS.read_text("utf-8"), re.MULTILINE)
FILES = ("train.txt", "test.txt", "LICENSE")
FOR_THE_PROJECT = "Your own files"  # the heading of readme.txt from which it is about more
PACKAGES = ("torch", "numpy", "nltk", "pandas", "matplotlib", "seaborn", "jupyter")
ASSIGNMENT = "lab5"
CONFIG = """c = get_config()
c.ExecutePreprocessor.timeout = 1800  # seconds a cell may take; training takes more than 30
"""
OF_CELLS = ("handout", "tags", "alt", "jupyter")  # what a cell may have in its metadata
KNOWN = ("blank", "answer", "points", "minutes", "leave", "instead", "then")  # in "handout"
HIDDEN = {  # numbers of the hidden tests, by blank
    "to_numbers": {"word": "quizzes", "expected": (17, 21, 9, 26, 26, 5, 19, 0)},
    "to_word": {"numbers": (26, 1, 16), "expected": "zap"},
    "Encoder.forward": {"word": "go", "neighbour": "misunderstood"},
    "Decoder.first_state": {"tense": 2},
    "Decoder.forward": {"word": (5, 5, 9, 2, 0)},
    "Decoder.free_run": {"steps": 11},
    "decode": {"words": ("x", "went", "internationalizing"), "tense": 0},
    "kl_divergence": {"mu": (2.0, 0.1, -0.3), "sigma": (1.5, 0.2, 3.0)},
    "reparameterize": {"mean": -0.5, "sigma": 1.7},
    "cross_entropy": {"lengths": (2, 9, 5)},
    "spell": {"ratio": 0.35},
    "step": {"beta": 0.2, "rate": 0.03, "slopes": (0.5, 1.5)},
    "bleu4": {
        "pairs": (
            ("sleeped", "slept", 0.1944),
            ("assesses", "assess", 0.6804),
            ("be", "been", 0.1163),
        ),
    },
    "gaussian_score": {"repeats": 3},
    "four_cycles": {"at": 0.4},
}


# ---- Code, read ----
def statements(source):
    """Yields the statements of a module, each with the lines from the one before it to its end."""
    lines = source.split("\n")
    last = 0
    for node in ast.parse(source).body:
        yield node, "\n".join(lines[last : node.end_lineno])
        last = node.end_lineno


def loaded(node):
    """Returns the names that code works with, "lab" as well as "lab.EOS"."""
    names = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            names.add(part.id)
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            names.add(f"{part.value.id}.{part.attr}")
    return names


def defined(node):
    """Returns the names that a statement gives a meaning."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    inner = [part.target for part in ast.walk(node) if isinstance(part, ast.comprehension)]
    return stored(node) - set().union(*map(stored, inner))


def stored(node):
    """Returns the names that are assigned anywhere in a statement."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    return {part.id for part in names if isinstance(part.ctx, ast.Store)}


def pruned(node, used):
    """Returns an import of the names that are used; an empty text if none is."""
    node.names = [
        alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in used
    ]
    return ast.unparse(node) if node.names else ""


def excerpt(source, roots):
    """Returns the part of a module that defines some names, with all that this part needs."""
    parts = list(statements(source))
    wanted, size = {*roots, "annotations"}, -1  # from __future__
    while size != len(wanted):
        size = len(wanted)
        for node, _ in parts:
            if defined(node) & wanted:
                wanted |= loaded(node)
    kept = [f'"""{ast.get_docstring(ast.parse(source)).split(chr(10))[0]}"""', ""]
    for node, text in parts:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept += [pruned(node, wanted)] if defined(node) & wanted else []
        elif defined(node) & wanted:
            kept.append(text)
    return "\n".join(kept) + "\n"


# ---- Cells ----
def level(cell):
    """Returns how deep a cell's heading is, 1 for a title; 0 if it has none."""
    marks = re.match("#+ ", cell.source) if cell.cell_type == "markdown" else None
    return len(marks.group()) - 1 if marks else 0


def taken(notebook):
    """Yields the cells that the assignment takes, each with what is said of it."""
    left = 0  # the level of the section that is being left out
    for cell in notebook.cells:
        said = cell.metadata.get("handout", {})
        deep = level(cell)
        if deep and deep <= left:
            left = 0
        if said.get("leave") and deep:
            left = deep
        if "answer" in said or not (said.get("leave") or left):
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
    """Raises ValueError if a cell's metadata has an unknown name, or a value that is none."""
    said = cell.metadata.get("handout", {})
    for found, known in ((cell.metadata, OF_CELLS), (said, KNOWN)):
        unknown = found.keys() - known
        if unknown:
            raise ValueError(f"cell {cell.id}: found {min(unknown)!r}; expected {', '.join(known)}")
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
    if "blank" in said:
        cell.source = delimited(cell.source, said["blank"])
        checks = [check_of(name, points) for name, points in said["blank"].items()]
        return [marked(cell, f"blank-{check_name(min(said['blank']))}", solution=True), *checks]
    if "answer" in said:
        heading, text = cell.source.split("\n", 1)
        question = new_markdown_cell(f"{heading}\n\n{said['answer']} ({said['points']} points)")
        cell.source = f"### BEGIN SOLUTION\n{text.strip()}\n### END SOLUTION"
        name = re.sub(r"\W+", "-", heading.lower()).strip("-")
        return [question, marked(cell, f"answer-{name}", said["points"], solution=True)]
    made = new_code_cell if cell.cell_type == "code" else new_markdown_cell
    cells = [made(text) for text in said["instead"]] if "instead" in said else [cell]
    return cells + [new_code_cell(text) for text in said.get("then", [])]


class Needs:
    """Says which answers a cell needs, going through a notebook."""

    def __init__(self, blanks):
        self.blanks = blanks
        self.of_name = {}  # of what is assigned: the answers that it needed
        self.uses = {}  # of functions and classes: the names that they work with

    def behind(self, names, seen=()):
        """Returns the answers behind some names."""
        answers = set()
        for name in names - {*seen}:
            answers |= {blank for blank in self.blanks if blank.split(".")[0] == name}
            answers |= self.of_name.get(name, set())
            answers |= self.behind(self.uses.get(name, set()), {*seen, name})
        return answers

    def read(self, cell):
        """Returns the answers that a cell needs to run, and remembers what its names need."""
        needed, own, lent = set(), set(), "checks.your_" in cell.source
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.uses[node.name] = loaded(node)
                continue
            needed |= self.behind(loaded(node) - own)
            own |= defined(node)
        for name in own:
            self.of_name[name] = {name} if lent else needed
        return needed


def guard(cells, blanks):
    """Lets those cells that need an answer run only if there is one."""
    needs = Needs(blanks)
    for cell in cells:
        if cell.cell_type == "code" and "nbgrader" not in cell.metadata:
            needed = needs.read(cell)
            if needed:
                cell.source = f"%%needs {' '.join(sorted(needed))}\n{cell.source}"
        elif cell.cell_type == "code" and cell.metadata["nbgrader"]["solution"]:
            needs.read(cell)


def number_sections(cells):
    """Numbers the sections that are left, "## 3 · Verbs from noise", from 1."""
    numbered = [cell for cell in cells if re.match(r"## \d+ · ", cell.source)]
    for number, cell in enumerate(numbered, 1):
        cell.source = re.sub(r"## \d+", f"## {number}", cell.source, count=1)


def clean(cell, number):
    """Empties a cell of outputs and of what is said of it."""
    cell["id"] = f"cell-{number:02d}"
    cell.metadata = {"nbgrader": cell.metadata["nbgrader"]} if "nbgrader" in cell.metadata else {}
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    return cell


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
    cells = [clean(cell, number) for number, cell in enumerate(cells)]
    first = next(cell for cell in cells if cell.cell_type == "code")
    first.source = re.sub(r"sys\.path.*", "", first.source)  # all is in one folder
    used = set().union(*(loaded(ast.parse(text)) for text in code_of(cells)))
    parts = [
        pruned(node, used) if isinstance(node, ast.Import | ast.ImportFrom) else text
        for node, text in statements(first.source)
    ]
    first.source = "\n".join([part for part in parts if part] + ["", "import checks"])
    notebook.cells = cells
    return notebook


def points_of(cells, kind):
    """Returns the sum of the points of cells of code, or of text."""
    marks = [cell.metadata.get("nbgrader", {}) for cell in cells if cell.cell_type == kind]
    return sum(mark.get("points", 0) for mark in marks)


def code_of(cells):
    """Yields the code of cells, without magics."""
    for cell in cells:
        if cell.cell_type == "code":
            yield re.sub("^%%.*", "", cell.source)


def emptied(cell):
    """Returns a cell of a source without its solution, as nbgrader releases it."""
    hidden = r"### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n"
    cell.source = re.sub(hidden, "", cell.source, flags=re.DOTALL)
    stub = "YOUR ANSWER HERE"
    if cell.cell_type == "code":
        stub = r"\1# YOUR CODE HERE\n\1raise NotImplementedError()"
    solution = r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION"
    cell.source = re.sub(solution, stub, cell.source, flags=re.DOTALL | re.MULTILINE)
    cell.metadata.pop("nbgrader", None)
    return cell


def modules_for(texts):
    """Returns the parts of the modules that code uses, by file."""
    texts = list(texts)
    made = {}
    for module in MODULES:
        names = set().union(*(names_from(module, ast.parse(text)) for text in texts))
        source = (ROOT / f"{module}.py").read_text("utf-8")
        made[f"{module}.py"] = excerpt(source, names)
        texts.append(made[f"{module}.py"])
    return made


def names_from(module, tree):
    """Returns the names of a module that code imports, or uses as lab.name."""
    names = {name[4:] for name in loaded(tree) if name[:4] == "lab." and module == "lab5_utils"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            names |= {alias.name for alias in node.names}
    return names


def requirements():
    """Returns the lines of requirements.txt that an assignment needs."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith(PACKAGES))


def make_handout(for_nbgrader):
    """Returns all files of the assignment, bytes by name, and prints what is asked in each."""
    files = {name: (ROOT / name).read_bytes() for name in FILES}
    readme = (ROOT / "readme.txt").read_text("utf-8")
    files["readme.txt"] = readme.split(FOR_THE_PROJECT)[0].encode()
    files["requirements.txt"] = requirements().encode()
    files[CHECKS.name] = CHECKS.read_bytes()
    texts = [CHECKS.read_text("utf-8")]
    for path in NOTEBOOKS:
        notebook = make_source(path)
        checked, read = (points_of(notebook.cells, kind) for kind in ("code", "markdown"))
        print(f"{path.name}: {checked} points that are checked, {read} for texts")
        texts += code_of(notebook.cells)
        for drawing in re.findall(r"\((\w+\.svg)\)", str(notebook.cells)):
            files[drawing] = (ROOT / "notebooks" / drawing).read_bytes()
        if not for_nbgrader:
            notebook.cells = [emptied(cell) for cell in notebook.cells]
        files[path.name] = nbformat.writes(notebook).encode()
    return files | {name: text.encode() for name, text in modules_for(texts).items()}


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
