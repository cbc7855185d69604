"""How dense code is: the tokens of each of its lines."""

import ast
import io
import json
import tokenize

COUNTED = ("NAME", "OP", "NUMBER", "STRING", "FSTRING_START")
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


def whole_strings(tokens):
    """Yields tokens with their kinds, one for an f-string: from 3.12 on, Python takes it apart."""
    depth = 0
    for token in tokens:
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_END":
            depth -= 1
        elif depth == 0:
            yield token, kind
        if kind == "FSTRING_START":
            depth += 1


def tokens_per_line(source):
    """Counts the tokens of each line of code; comments and docstrings are none."""
    skipped = docstring_lines(source)
    counts = {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    for token, kind in whole_strings(tokens):
        line = token.start[0]
        if kind in COUNTED and line not in skipped:
            counts[line] = counts.get(line, 0) + 1
    return counts
