"""Makes one report of all notebooks, in reading order, with their figures and tables: report/report.html, with code,
and report/report.pdf, without.

    python notebooks/report.py
"""

import re
from pathlib import Path
from urllib.parse import quote

import nbformat
import pypandoc
import typst
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "report"
SETUP = "#set page(margin: 2.2cm)\n#show raw: set text(size: 8pt)\n#show link: underline\n"


def merged():
    """Returns the notebooks as one, with links between them turned into links within it."""
    notebooks = [nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    for notebook in notebooks[1:]:
        notebooks[0].cells += notebook.cells
    anchors = {}
    for cell in notebooks[0].cells:
        if cell.cell_type == "markdown" and (title := re.match(r"# (\d\d) · (.+)", cell.source)):
            anchors[title[1]] = quote(title[0][2:].replace(" ", "-"), safe="?:,")  # as nbconvert makes it
    for n, cell in enumerate(notebooks[0].cells):
        cell.id = f"cell-{n}"
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((\d\d)_\w+\.ipynb\)", lambda link: f"](#{anchors[link[1]]})", cell.source)
    return notebooks[0]


def main():
    OUT.mkdir(exist_ok=True)
    page, _ = HTMLExporter().from_notebook_node(report := merged())
    outputs = [(cell, output) for cell in report.cells for output in cell.get("outputs", [])]
    texts = iter([cell.metadata["alt"] for cell, output in outputs if "image/png" in output.get("data", {})])
    page = re.sub("No description has been provided for this image", lambda _: next(texts), page)  # nbconvert's
    (OUT / "report.html").write_text(page, encoding="utf-8")
    widget = "application/vnd.jupyter.widget-view+json"
    for cell in report.cells:
        if cell.cell_type == "code":
            cell.source = ""
            cell.outputs = [output for output in cell.outputs if widget not in output.get("data", {})]
        else:  # there is nowhere to lead to on paper
            cell.source = re.sub(r"\[([^\]]+)\]\((#|\.\.)[^)]*\)", r"\1", cell.source)
    options = ["--standalone", "--extract-media=media", "--ipynb-output=best"]
    text = pypandoc.convert_text(nbformat.writes(report), "typst", "ipynb", extra_args=options, cworkdir=str(OUT))
    (source := OUT / "report.typ").write_text(SETUP + text, encoding="utf-8")
    typst.compile(str(source), output=str(source.with_suffix(".pdf")), root=str(OUT))
    print(*sorted(path.name for path in OUT.glob("report.*")))


if __name__ == "__main__":
    main()
