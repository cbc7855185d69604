"""How dense code is: the tokens of each of its lines."""

import io
import json
import tokenize

COUNTED = ("NAME", "OP", "NUMBER", "STRING", "FSTRING_START")
BEFORE_A_STATEMENT = ("ENCODING", "NEWLINE", "INDENT", "DEDENT")


def source_of(path):
    """Returns a module's source, or a notebook's code cells one after the other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells) + "\n"


def tokens_per_line(source):
    """Counts the tokens of each line of code; comments and docstrings are none.

    An f-string is one token: from 3.12 on, Python takes it apart.
    """
    counts = {}
    depth = 0  # of f-strings
    last = "ENCODING"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        is_docstring = kind == "STRING" and last in BEFORE_A_STATEMENT
        depth -= kind == "FSTRING_END"
        if kind in COUNTED and depth == 0 and not is_docstring:
            line = token.start[0]
            counts[line] = counts.get(line, 0) + 1
        depth += kind == "FSTRING_START"
        if kind not in ("COMMENT", "NL"):
            last = kind
    return counts
