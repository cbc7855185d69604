"""Makes one page of all notebooks, which needs no network.

    .venv/bin/python notebooks/report.py [FOLDER] [--run]

writes notebooks.html into a folder, by default report/. With --run all notebooks are run first, in
the order of their names; the page shows what came out, and the notebooks stay as they are. Each
notebook whose name begins with two digits, such as 04_mine.ipynb, is a section. A link from
one notebook to another leads to its section. A link to any other file is left out, its text stays:
the page can be moved, and the file would not come along.
"""

import argparse
import re
import time
from pathlib import Path
from urllib.parse import quote

import nbformat
import pypandoc
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent
FOLDER = NOTEBOOKS.parent / "report"
MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote-auto_identifiers"
STYLE = """<style>
pre { padding: .5em; font-size: 85%; background: #f6f6f6 }
pre.output { background: none; border-left: 3px solid #ddd }
table { width: auto; border: 0; font-size: 85% }
</style>"""
OPTIONS = [
    "--standalone",
    "--embed-resources",
    "--mathml",
    "--toc",
    "--toc-depth=2",
    "-Mtitle=The tense-conversion lab, all notebooks",
    "-Mlang=en",
    "-Vmaxwidth=52em",
    f"-Vheader-includes={STYLE}",
]
# a URL's scheme is named in full: what stands before the colon of C:/lab is a drive
LINK_TO_FILE = r'<a\s+href="(?!#|https?:|mailto:)[^"]*"[^>]*>(.*?)</a>'


# ---- Notebooks ----
def run(path: Path):
    """Returns a notebook with the outputs of a run; its file stays. Raises CellExecutionError."""
    print(path.name, end=": ", flush=True)
    start = time.monotonic()
    notebook = nbformat.read(path, 4)
    quiet = ["--log-level=ERROR"]  # or each kernel warns that it does not encrypt what it says
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=None, extra_arguments=quiet, resources=resources).execute()
    print(f"{time.monotonic() - start:.0f} s", flush=True)
    return notebook


# ---- From a notebook to Markdown ----
def output_as_markdown(output, alt: str) -> str:
    """Returns an output of a code cell: a picture, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'![](data:image/png;base64,{data["image/png"].strip()}){{alt="{alt}"}}'
    if "text/html" in data:
        return f"```{{=html}}\n{data['text/html']}\n```"
    text = output.get("text") or data.get("text/plain", "")
    return f"``` {{.output}}\n{text}\n```"


def cell_as_markdown(cell) -> str:
    """Returns a cell as Markdown, code with its outputs."""
    if cell.cell_type != "code":
        return cell.source
    alt = cell.metadata.get("alt", "")
    outputs = [output_as_markdown(output, alt) for output in cell.outputs]
    return "\n\n".join([f"```python\n{cell.source}\n```", *outputs])


def section_id(path: Path) -> str:
    """Returns what a link to a notebook's section names."""
    return "notebook-" + re.sub(r"\W+", "-", path.stem)


def section(path: Path, notebook) -> str:
    """Returns a notebook as Markdown, under its title, or under its name if it has none."""
    text = "\n\n".join(map(cell_as_markdown, notebook.cells))
    if not text.startswith("# "):
        text = f"# {path.stem}\n\n{text}"
    title, _, rest = text.partition("\n")
    return f"{title} {{#{section_id(path)}}}\n\n`{path.name}`\n\n{rest}"


# ---- From Markdown to a page ----
def to_html(text: str, options: list[str]) -> str:
    """Returns a page of Markdown, whose pictures are looked for beside the notebooks."""
    return pypandoc.convert_text(
        text, "html", format=MARKDOWN, extra_args=options, cworkdir=str(NOTEBOOKS)
    )


def with_links_inside(page: str, paths: list[Path]) -> str:
    """Returns a page whose links lead to the notebooks' sections, or to the web."""
    for path in paths:
        link = rf'href="{re.escape(quote(path.name))}(#[^"]*)?"'
        page = re.sub(link, f'href="#{section_id(path)}"', page)
    return re.sub(LINK_TO_FILE, r"\1", page, flags=re.DOTALL)


def page_of(notebooks: dict) -> str:
    """Returns notebooks, by path, as one page of HTML with contents."""
    text = "\n\n".join(section(path, notebook) for path, notebook in notebooks.items())
    return with_links_inside(to_html(text, OPTIONS), list(notebooks))


def main() -> None:
    """Writes the page into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: report/")
    parser.add_argument("--run", action="store_true", help="run the notebooks first")
    options = parser.parse_args()
    folder = options.folder.resolve()  # a link may lead where no folder is yet
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    notebooks = {path: run(path) if options.run else nbformat.read(path, 4) for path in paths}
    (folder / "notebooks.html").write_text(page_of(notebooks), encoding="utf-8")
    print(f"notebooks.html is in {folder}")


if __name__ == "__main__":
    main()
