"""Fills what stands in double braces in a text: numbers, tables, code, and numbers of figures.

    {{ours = 05_seeds.csv: row=Config()}}  names rows of a table; nothing is shown
    {{ours / conversion}}              a column of these rows: mean ± sd
    {{ours / conversion / mean / 1}}   mean, or count of rows; decimals, three if none are named
    {{show 02_betas.csv}}              a whole table
    {{code lab5_utils.Encoder}}        the code of a class or function, as it is now
    {{new figure curves}}              counts figures (tables, listings), in a caption
    {{see figure curves}}              leads to it

Files are looked for in experiments/results/ and figures/. What is unknown is refused by name.
"""

import inspect
import re
import sys
import textwrap
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "experiments" / "results", ROOT / "figures")
PLACEHOLDER = r"\{\{(.+?)\}\}"
CAPTION = r"\{\{new (\w+) (\w+)\}\}"
sys.path.insert(0, str(ROOT))  # where `code` finds the modules


# ---- Tables ----
def read_table(name: str) -> pd.DataFrame:
    """Returns a table of the experiments or of the notebooks. Raises FileNotFoundError."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            return pd.read_csv(folder / name)
    raise FileNotFoundError(f"found {name!r}; expected a file of experiments/results or figures")


def select_rows(description: str) -> pd.DataFrame:
    """Returns the rows that `file: column=value` describes. Raises ValueError if there are none."""
    name, _, condition = description.partition(": ")
    column, _, value = condition.partition("=")
    table = read_table(name)
    rows = table[table[column].astype(str) == value]
    if rows.empty:
        raise ValueError(f"found no row {value!r}")
    return rows


def as_text(value, decimals=3) -> str:
    """Returns a cell as text; a number that is missing as a dash."""
    if not isinstance(value, float):
        return str(value)
    return "–" if pd.isna(value) else f"{value:.{decimals}f}".replace("-", "−")


def summarize(values: pd.Series, statistic="mean ± sd", decimals=3) -> str:
    """Returns a column in one number, and of how many rows, where some have none."""
    known = values.dropna()
    if statistic == "count":
        return str(len(known))
    if statistic not in ("mean", "mean ± sd"):
        raise ValueError(f"found {statistic!r}; expected mean, mean ± sd or count")
    text = as_text(known.iloc[0] if len(known) == 1 else float(known.mean()), decimals)
    if statistic == "mean ± sd" and len(known) > 1:
        text += f"\u00a0±\u00a0{known.std():.{decimals}f}"
    missing = len(known) < len(values)
    return f"{text} ({len(known)}\u00a0of\u00a0{len(values)})" if missing else text


def decimals_of(column: pd.Series) -> int:
    """Returns how many decimals show a column, three at most."""
    texts = [str(value) for value in column.dropna()]
    return min(3, max(len(text.partition(".")[2]) for text in texts))


def table_as_markdown(table: pd.DataFrame) -> str:
    """Returns a table in Markdown, numbers to the right."""
    columns = []
    for name in table:
        column = table[name]
        rule = "--:" if pd.api.types.is_numeric_dtype(column) else ":--"
        decimals = decimals_of(column)
        cells = [name, rule, *(as_text(value, decimals) for value in column)]
        columns.append([cell.replace("|", r"\|") for cell in cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in zip(*columns, strict=True))


# ---- Code ----
def code_as_markdown(name: str) -> str:
    """Returns the code of what `module.name` names."""
    module, _, path = name.partition(".")
    source = inspect.getsource(attrgetter(path)(import_module(module)))
    return f"```python\n{textwrap.dedent(source).strip()}\n```"


# ---- Numbers of figures, tables and listings ----
def number_captions(text: str) -> dict[tuple[str, str], str]:
    """Returns what each caption is called, such as Figure 2, by kind and name."""
    captions = {}
    for kind, name in re.findall(CAPTION, text):
        number = 1 + sum(kind == other for other, _ in captions)
        captions[kind, name] = f"{kind.capitalize()}\u00a0{number}"
    return captions


# ---- All of them ----
class Filler:
    """Fills the placeholders of one text, from its beginning to its end."""

    def __init__(self, text: str):
        self.captions = number_captions(text)
        self.rows = {}  # tables, by the names that the text gives them

    def fill(self, placeholder: str) -> str:
        """Returns what stands for a placeholder, whose braces are left out."""
        word, _, rest = placeholder.partition(" ")
        if rest.startswith("= "):
            self.rows[word] = select_rows(rest.removeprefix("= "))
            return ""
        if word == "show":
            return table_as_markdown(read_table(rest))
        if word == "code":
            return code_as_markdown(rest)
        if word in ("new", "see"):
            kind, name = rest.split()
            called = self.captions[kind, name]
            place = f"{kind}-{name}"
            return f"[{called}.]{{#{place}}}" if word == "new" else f"[{called}](#{place})"
        name, column, *options = placeholder.split(" / ")
        return summarize(self.rows[name][column], *options)

    def replace(self, match: re.Match) -> str:
        """Returns what stands for a match of PLACEHOLDER. Raises ValueError, which names it."""
        try:
            return self.fill(match[1])
        except (AttributeError, ImportError, LookupError, OSError, ValueError) as error:
            raise ValueError(f"{match[0]}: {type(error).__name__}: {error}") from error


def fill(text: str) -> str:
    """Returns a text with its placeholders filled. Raises ValueError, which names one."""
    return re.sub(PLACEHOLDER, Filler(text).replace, text)
