"""Runs notebooks 01 to 05, one after the other, and says what each has found.

    python notebooks/run.py [NAME ...] [--inplace]

What ran is shown by pages in build/, and figures go there, too, so that nothing that is committed
changes. A NAME is the beginning of a notebook's, such as 05, or of its path, such as bonus/06.
With --inplace the notebooks and figures themselves are written, for a commit.
"""

import argparse
import os
import re
import sys
import textwrap
from pathlib import Path
from subprocess import DEVNULL

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"
BAR = "application/vnd.jupyter.widget-view+json"  # what is left of a bar in an output


def find(name):
    """Returns the notebooks that a name is the beginning of."""
    name = name.removesuffix(".ipynb")
    paths = sorted([*HERE.glob(f"{name}*.ipynb"), *ROOT.glob(f"{name}*.ipynb")])
    if not paths:
        sys.exit(f"no notebook's name begins with {name}")
    return paths


def execute(notebook, path):
    """Runs the cells of a notebook in its folder, in a kernel that ends with it."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    with tqdm(desc=path.stem, total=len(cells), unit=" cells") as bar:
        client = NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True)
        client.store_widget_state = False
        client.resources = {"metadata": {"path": str(path.parent)}}
        client.on_cell_executed = lambda **_: bar.update()
        try:
            client.execute(stderr=DEVNULL)
        except (CellExecutionError, DeadKernelError) as error:
            sys.exit(f"{error}\n{path.name} stopped in cell [{client.code_cells_executed}]")
    for cell in cells:
        cell.outputs = [output for output in cell.outputs if BAR not in output.get("data", {})]


def write_page(notebook, path):
    """Writes what ran as HTML into build/, without the code that is folded; returns the page."""
    for cell in notebook.cells:
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata.transient = {"remove_source": True}
    resources = {"metadata": {"name": path.stem, "path": str(path.parent)}}
    exporter = HTMLExporter(template_name="classic", embed_images=True)  # it has alt texts
    html, _ = exporter.from_notebook_node(notebook, resources)
    page = BUILD / path.relative_to(ROOT).with_suffix(".html")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html.replace('.ipynb"', '.html"'), "utf-8")
    return page


def summary_of(notebook):
    """Returns the paragraph below a notebook's heading *Summary*, as plain text."""
    text = "\n\n".join(cell.source for cell in notebook.cells)
    paragraphs = re.findall(r"^## Summary\n+(.+)", text, re.MULTILINE)
    return textwrap.fill(re.sub(r"[*`$]|\]\(.*?\)|\[", "", "".join(paragraphs)), 100)


def run(path, inplace):
    """Runs a notebook; what ran is shown by its page, even if a cell fails."""
    notebook = nbformat.read(path, 4)
    try:
        execute(notebook, path)
        if inplace:
            nbformat.write(notebook, path)
        print(summary_of(notebook))
    finally:
        print(f"look at {write_page(notebook, path)}\n")


def main():
    """Runs the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=["01", "02", "03", "04", "05"])
    parser.add_argument("--inplace", action="store_true", help="write notebooks and figures")
    options = parser.parse_args()
    figures = ROOT if options.inplace else BUILD
    os.environ["LAB5_FIGURES"] = str(figures / "figures")
    print("Bars count cells. A bar stands still while a model is trained.")
    for path in [path for name in options.names for path in find(name)]:
        run(path, options.inplace)


if __name__ == "__main__":
    main()
