"""Makes the report, as HTML and PDF, and one page of all notebooks. Both work offline.

    .venv/bin/python report/report.py [--run | --update]

writes report.html, report.pdf and notebooks.html into build/, from what is committed. With --run
the notebooks are run first. Their outputs, figures and tables go to build/, too, and the report and
the page are made from these. With --update they go to notebooks/ and figures/, to be committed.
"""

import argparse
import asyncio
import inspect
import os
import pydoc
import re
import shutil
import sys
import textwrap
from pathlib import Path
from subprocess import DEVNULL, Popen

import jinja2
import nbformat
import pandas as pd
import pypandoc
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from experiments import RESULTS, mean_and_sd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"
LONGEST = """
import lab5_utils
from page.page import load_models
load_models(lab5_utils.distinct_verbs())
"""
PANEL = "application/vnd.jupyter.widget-view+json"  # needs a kernel

MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote-auto_identifiers"
NOTEBOOK = "ipynb+markdown_in_html_blocks-auto_identifiers-gfm_auto_identifiers"
REPORT = ["--number-sections", "--citeproc", "--fail-if-warnings"]
REPORT += ["--columns=1000"]  # a table with longer lines is stretched
HTML = ["--standalone", "--embed-resources", "--mathml", "--include-in-header=style.html"]
PAGE = [*HTML, "--toc", "--toc-depth=2", "-Mlang=en", "-Mtitle=The tense-conversion lab"]
TYPST = ["--standalone", "--include-in-header=layout.typ"]
TYPST += ["-Vmainfont=Libertinus Serif", "-Vfontsize=10.5pt"]  # typst brings this font


# ---- What stands in double braces ----
def as_text(value, digits=3):
    """Returns a number, a text, or a column of several seeds, as the report shows it."""
    if isinstance(value, pd.Series):
        return mean_and_sd(value, digits)
    if not isinstance(value, float):
        return str(value)
    return "–" if pd.isna(value) else f"{value:.{digits}f}".replace("-", "−")


def code(name):
    """Returns the code of what `module.name` names."""
    source = textwrap.dedent(inspect.getsource(pydoc.locate(name)))
    return f"```python\n{source.strip()}\n```"


class Tables:
    """The tables of the experiments, and those that the notebooks put into a folder."""

    def __init__(self, figures):
        self.figures = figures

    def read(self, name):
        """Returns a table. Raises FileNotFoundError."""
        path = RESULTS / name
        return pd.read_csv(path if path.exists() else self.figures / name)

    def rows(self, name, row):
        """Returns, by column, what the rows of a name hold. Raises LookupError.

        A name stands in the column `row`, or in the first.
        """
        table = self.read(name)
        column = "row" if "row" in table else table.columns[0]
        names = table[column].astype(str)
        if row not in names.array:
            known = ", ".join(names.unique())
            raise LookupError(f"{name}: found no row {row!r}; expected one of {known}")
        found = table[names == row]
        return dict(found) if len(found) > 1 else found.to_dict("records")[0]

    def table(self, name):
        """Returns a table in Markdown, numbers to the right."""
        table = self.read(name)
        are_numbers = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
        lines = [list(table), ["--:" if number else ":--" for number in are_numbers]]
        lines += table.map(as_text).to_numpy().tolist()
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number_captions(text):
    """Returns what each figure, table and listing of the report is called, by kind and name."""
    names = {}
    for kind, name in re.findall(r'\{\{ new\("(\w+)", "(\w+)"\)', text):
        number = 1 + sum(kind == other for other, _ in names)
        names[kind, name] = f"{kind.capitalize()}\u00a0{number}"
    return names


def report_text(made):
    """Returns the report in Markdown, filled. Raises an error whose trace names the line."""
    loader = jinja2.FileSystemLoader(HERE, "utf-8")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    environment.comment_start_string = "<#"  # Markdown has {#name}
    environment.finalize = as_text
    tables = Tables(made / "figures")
    names = number_captions((HERE / "report.md").read_text("utf-8"))
    return environment.get_template("report.md").render(
        rows=tables.rows,
        table=tables.table,
        fixed=as_text,
        code=code,
        new=lambda *key: f"[{names[key]}.]{{#{'-'.join(key)}}}",
        see=lambda *key: f"[{names[key]}](#{'-'.join(key)})",
    )


# ---- HTML and PDF ----
def convert(text, source, target, options, folder):
    """Returns a text in another format; its pictures are looked for in a folder."""
    options = [*options, f"--resource-path={folder}{os.pathsep}."]
    text = pypandoc.convert_text(text, target, source, options, cworkdir=str(HERE))
    return re.sub(r"(?<=\d)\s±\s(?=\d)", "\u00a0±\u00a0", text)  # kept in one line


def write_report(made):
    """Writes the report as HTML and, where typst is installed, as PDF, with a folder's figures."""
    text = report_text(made)
    html = convert(text, MARKDOWN, "html", REPORT + HTML, made / "figures")
    (BUILD / "report.html").write_text(html, "utf-8")
    try:
        import typst
    except ImportError:
        print("report.pdf is left out: it needs a package, pip install typst")
        return
    text = convert(text, MARKDOWN, "typst-citations", REPORT + TYPST, made / "figures")
    text = text.replace('image("../', 'image("/').replace('.png"', '.pdf"')  # lines, not points
    pdf = typst.compile(text.encode(), root=str(made), ignore_system_fonts=True)
    (BUILD / "report.pdf").write_bytes(pdf)


# ---- The notebooks ----
def refuse(*_):
    """Refuses nbclient's answer to Ctrl-C, which leaves a trace; asyncio's own is clean."""
    raise NotImplementedError


def run(path, folder):
    """Runs a notebook where it stands, and writes it with its outputs into a folder."""
    notebook = nbformat.read(path, 4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(desc=path.name, total=cells, unit=" cells") as bar:
        client = NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True)
        client.store_widget_state = False
        client.resources = {"metadata": {"path": str(path.parent)}}
        client.on_cell_executed = lambda **_: bar.update()
        with asyncio.Runner() as runner:
            runner.get_loop().add_signal_handler = refuse
            runner.run(client.async_execute(stderr=DEVNULL))
    nbformat.write(notebook, folder / path.name)


def run_all(paths, made):
    """Runs notebooks, one by one, with the longest trainings, those of the page, beside them."""
    os.environ["LAB5_FIGURES"] = str(made / "figures")
    print("Bars count cells. A bar stands still while a model is trained.")
    longest = Popen([sys.executable, "-c", LONGEST], cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL)
    try:
        for path in paths:
            run(path, made / "notebooks")
    finally:
        longest.terminate()


def is_folded(cell):
    """Tells whether a cell's code is hidden, as that of the last one, which checks numbers."""
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def for_page(cell, place):
    """Returns a cell as the page shows it, at a place; links to notebooks stay in the page."""
    if cell.cell_type == "markdown":
        cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb[^)]*\)", r"](#\1)", cell.source)
    for output in cell.get("outputs", []):
        if "data" in output:
            output.data.pop(PANEL, None)
            output.metadata = {"image/png": {"alt": cell.metadata.get("alt", "")}}
    cell.update(id=place, metadata={})
    return cell


def write_page(paths):
    """Writes notebooks as one page of HTML, without the cells that are folded."""
    page = nbformat.v4.new_notebook()
    for path in paths:
        cells = [cell for cell in nbformat.read(path, 4).cells if not is_folded(cell)]
        places = [path.stem, *(f"{path.stem}-{number}" for number in range(1, len(cells)))]
        page.cells += map(for_page, cells, places)
    html = convert(nbformat.writes(page), NOTEBOOK, "html", PAGE, ROOT / "notebooks")
    (BUILD / "notebooks.html").write_text(html, "utf-8")


def main():
    """Makes the report and the page, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", action="store_true", help="run the notebooks first")
    parser.add_argument("--update", action="store_true", help="run them for a commit")
    options = parser.parse_args()
    made = ROOT if options.update or not options.run else BUILD
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    BUILD.mkdir(exist_ok=True)
    write_report(ROOT)  # a mistake in it is found before anything runs
    if made == BUILD:
        for name in ("figures", "notebooks"):  # what no notebook makes stays as it is committed
            shutil.copytree(ROOT / name, BUILD / name, dirs_exist_ok=True)
    if options.run or options.update:
        run_all(paths, made)
        write_report(made)
    write_page([made / "notebooks" / path.name for path in paths])
    print("look at", BUILD / "notebooks.html", "and at the report beside it")


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, DeadKernelError):  # the second, if a kernel is waited for
        sys.exit("\nstopped; the same command resumes with what is trained")
