"""Makes the report, as HTML and PDF, and one page of all notebooks; none of them needs a network.

    .venv/bin/python notebooks/report.py [FOLDER] [--run]

writes report.html, report.pdf and notebooks.html into a folder, by default report/. The report is
report.md, with its placeholders filled (placeholders.py). The page shows the notebooks as they are;
with --run they are run first, side by side, and the files stay as they were. (A notebook waits for
those that its metadata name under "reads".) Each whose name begins with two digits, such as
04_mine.ipynb, is a section. A link from one notebook to another leads to its section. A link to
any other file is left out, its text stays: if the page is moved, the file does not come along.
"""

import argparse
import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import placeholders
import pypandoc
from notebook_page import check_reads, run_all, section, with_links_inside

NOTEBOOKS = Path(__file__).resolve().parent
ROOT = NOTEBOOKS.parent
WRITTEN = ("notebooks.html", "report.html", "report.pdf", "page.html")  # the last by page.py
MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote-auto_identifiers"
STYLE = """<style>
pre { padding: .5em; overflow-x: auto; font-size: 85%; background: #f6f6f6 }
pre.output { background: none; border-left: 3px solid #ddd }
table { display: block; width: auto; overflow-x: auto; border: 0; font-size: 85% }
p:has(> math[display=block]) { overflow-x: auto; overflow-y: hidden }
table.dataframe :is(td, th) { text-align: right }
:is(figure, p):has(> img[src^="data:image/svg"]) { overflow-x: auto }
img[src^="data:image/svg"] { min-width: 34em }
figure { margin: 1.5em 0 }
figure img { max-width: min(100%, 38em) }
figcaption { font-size: 85% }
caption { position: sticky; left: 0; max-width: 88vw; font-size: 100%; text-align: left }
</style>"""
FOR_HTML = [
    "--standalone",
    "--embed-resources",
    "--mathml",
    "-Mlang=en",
    "-Vmaxwidth=52em",
    f"-Vheader-includes={STYLE}",
]
FOR_PAGE = [*FOR_HTML, "--toc", "--toc-depth=2", "-Mtitle=The tense-conversion lab, all notebooks"]
# a caption has its number already
LAYOUT = """
#set figure(numbering: none, supplement: none, placement: none)
#set table(inset: 4pt)
#show figure.caption: set text(size: 9pt)
#show figure.where(kind: image): set image(width: 98mm)
#show math.equation.where(block: false): box
#show table: set text(size: 9pt)
#show table: set par(justify: false)
#show raw.where(block: true): set text(size: 7.5pt)
"""
FOR_REPORT = [
    "--number-sections",
    "--citeproc",
    "--bibliography=references.bib",
    "--fail-if-warnings",
    "--columns=1000",  # a table with longer lines is stretched
]
FONT = ["-Vmainfont=Libertinus Serif", "-Vfontsize=10.5pt"]  # typst brings it along
FOR_TYPST = ["--standalone", *FONT, f"-Vheader-includes={LAYOUT}"]


def convert(text: str, target: str, options: list[str]) -> str:
    """Returns Markdown, whose pictures are looked for beside the notebooks, in another format."""
    return pypandoc.convert_text(
        text, target, format=MARKDOWN, extra_args=options, cworkdir=str(NOTEBOOKS)
    )


def page_of(notebooks: dict) -> str:
    """Returns notebooks, by path, as one page of HTML with contents."""
    text = "\n\n".join(section(path, notebook) for path, notebook in notebooks.items())
    return with_links_inside(convert(text, "html", FOR_PAGE), notebooks)


def report_text() -> str:
    """Returns the report in Markdown, filled. Raises ValueError, which names a placeholder."""
    return placeholders.fill((NOTEBOOKS / "report.md").read_text(encoding="utf-8"))


def to_pdf(text: str) -> bytes:
    """Returns the report as PDF, with figures that are drawn and not made of points."""
    import typst  # optional

    text = convert(text, "typst-citations", FOR_REPORT + FOR_TYPST)
    text = text.replace('image("../', 'image("/').replace('.png"', '.pdf"')
    return typst.compile(text.encode(), root=str(ROOT), ignore_system_fonts=True)


def write_report(folder: Path) -> None:
    """Writes the report into a folder, as PDF only where typst is installed."""
    text = report_text()
    page_of_report = convert(text, "html", FOR_REPORT + FOR_HTML)
    (folder / "report.html").write_text(page_of_report, encoding="utf-8")
    if find_spec("typst") is None:
        print("report.pdf is left out: it needs a package, pip install typst")
    else:
        (folder / "report.pdf").write_bytes(to_pdf(text))


def make_folder(folder: Path) -> Path:
    """Makes a folder where there is none. Raises FileExistsError for a file, or other things."""
    folder = folder.resolve()  # a link may lead where no folder is yet
    folder.mkdir(parents=True, exist_ok=True)
    others = {path.name for path in folder.glob("[!.]*")} - set(WRITTEN)
    if others:
        raise FileExistsError(f"{folder} holds other things, such as {min(others)}")
    return folder


def run_now(notebooks: dict) -> None:
    """Runs notebooks, by path, which get outputs. Ctrl-C ends the program in a line."""
    print("Bars count cells. While a model is trained, its notebook's stands still, for minutes.")
    try:
        asyncio.run(run_all(notebooks))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("\nstopped; what was trained is in runs/, and the same command goes on from there")


def main() -> None:
    """Writes the report and the page into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "report")
    parser.add_argument("--run", action="store_true", help="run the notebooks first")
    options = parser.parse_args()
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    notebooks = {path: nbformat.read(path, 4) for path in paths}
    try:
        check_reads(notebooks)
        report_text()  # an unknown placeholder is refused before anything is run
        folder = make_folder(options.folder)
    except (FileExistsError, ValueError) as error:
        parser.error(str(error))
    if options.run:
        run_now(notebooks)
    (folder / "notebooks.html").write_text(page_of(notebooks), encoding="utf-8")
    write_report(folder)
    print("look at", folder / "notebooks.html", "and at the report beside it")


if __name__ == "__main__":
    main()
