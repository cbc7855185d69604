"""How dense code is: the tokens of each of its lines."""

import ast
import io
import json
import tokenize

COUNTED = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def source_of(path):
    """Returns a module's source, or a notebook's code cells one after the other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells) + "\n"


def docstring_lines(source):
    """Returns the numbers of the lines that docstrings take."""
    lines = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            text = node.body[0]
            lines |= set(range(text.lineno, text.end_lineno + 1))
    return lines


def tokens_per_line(source):
    """Counts the tokens of each line of code; comments and docstrings are none."""
    skipped = docstring_lines(source)
    counts = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line = token.start[0]
        if token.type in COUNTED and line not in skipped:
            counts[line] = counts.get(line, 0) + 1
    return counts
