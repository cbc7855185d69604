"""Makes the lab report of notebooks 01 to 04, and one page of all six notebooks.

    .venv/bin/python notebooks/report.py

writes report/report.pdf and report/report.html, the lab report, and report/notebooks.html, the
whole book. The report takes from the notebooks the markdown cells that are tagged "report", the
figures that are exported and the tables that are written as CSV, each where it stands.
"""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import nbformat
import pandas as pd
import pypandoc
import typst
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "report"
LONGEST_TABLE = 25  # rows; a longer one holds data
TITLE = "A conditional sequence-to-sequence VAE for English tenses"
# "@ NN words": what notebook NN has under headings that match the words, a regular expression;
# "@ NN": what no other line takes
OUTLINE = """\
# Introduction and task
The task is to put an English verb into another tense, with a sequence-to-sequence variational \
autoencoder (VAE) that is conditioned on the tense. There are four tenses: simple present, third \
person, present progressive and simple past. The lab names the means, KL annealing and teacher \
forcing, and two scores: BLEU-4 of ten test conversions, and a Gaussian score, the share of draws \
of noise that decode to a verb of the table in all four tenses.
@ 02 ^02|task|rules
# Derivation of the CVAE
@ 02 objective|deriv|elbo|prior|reparameter
# Implementation
## Data
@ 01
## Model
@ 02 model|picture|lstm|shape|encoder|decoder|gate|teacher|step
## Hyperparameters
@ 02 hyperparameter|recipe
# Results
## Training
@ 02
## BLEU-4 and conversions
@ 03 ^03|conversion
## Gaussian score
@ 03
## Comparison of annealing schedules
@ 04
# Discussion
@ 02 discussion
@ 03 discussion
@ 04 discussion
# References"""
MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote-auto_identifiers"
PAPER = ["papersize=a4", "fontsize=10pt", "section-numbering=1.1", "page-numbering=1"]
# captions bring their numbers with them, the same on paper and on the screen
TYPST = """
#set figure(numbering: none)
#set par(justify: true)
#show figure: set text(size: 9pt)
#show link: underline
"""


class Part(NamedTuple):
    """Holds a piece of the report."""

    notebook: str  # its number
    heading: str  # under which it stands
    text: str  # Markdown


def read_notebooks(numbers: str):
    """Returns notebooks by number, in reading order."""
    paths = sorted((ROOT / "notebooks").glob(f"{numbers}_*.ipynb"))
    return {path.name[:2]: nbformat.read(path, 4) for path in paths}


def report_text(cell) -> str:
    """Returns what a markdown cell gives to the report, with no link to another notebook."""
    question = re.search(r"^# .+\*\*The question\.\*\* (.+?)\n", cell.source, re.DOTALL)
    if question:
        text = question[1]
    elif "report" in cell.metadata.get("tags", []):
        text = re.sub(r"^#+ (?:\d+ · )?", "### ", cell.source, flags=re.MULTILINE)
    else:
        return ""
    text = re.sub(r"\[(\d\d)\]\(\d\d_\w+\.ipynb[^)]*\)", r"notebook \1", text)
    return re.sub(r"\[([^\]]+)\]\((?!http)[^)]*\)", r"\1", text)


def caption(kind: str, file: str, gallery: str) -> str:
    """Returns the gallery's caption of a file, else its name; its number is filled in later."""
    found = re.search(rf"^\[{re.escape(file)}\]\([^)]+\): (.+)", gallery, re.MULTILINE)
    words = found[1] if found else Path(file).stem.replace("_", " ")
    return f"**{kind} #.** {words}"


def figure(name: str, gallery: str) -> str:
    """Returns a figure as Markdown."""
    alt = re.search(rf'<img src="{name}\.png" width="\d+" alt="([^"]+)">', gallery)[1]
    text = caption("Figure", f"{name}.pdf", gallery)
    return f'![{text}](../figures/{name}.png){{alt="{alt}" width=76%}}'


def table(name: str, gallery: str) -> str:
    """Returns a table of a CSV as Markdown, or nothing if it is too long."""
    rows = pd.read_csv(ROOT / "figures" / f"{name}.csv", dtype=str).fillna("")
    if len(rows) > LONGEST_TABLE:
        return ""
    are_numbers = rows.apply(lambda column: column.str.fullmatch(r"[-\d.]*").all())
    rule = ["--:" if is_number else ":--" for is_number in are_numbers]
    lines = [rows.columns, rule, *rows.to_numpy()]
    drawn = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{drawn}\n\n: {caption('Table', f'{name}.csv', gallery)}"


def parts_of(number: str, notebook, gallery: str) -> list[Part]:
    """Returns what a notebook gives to the report, in its order."""
    heading = ""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.match("##? (.+)", cell.source)
            heading = found[1] if found else heading
            texts = [report_text(cell)]
        else:
            figures = re.findall(r'save_fig\(\w+, "(\w+)"\)', cell.source)
            tables = re.findall(r'to_csv\(lab\.FIGURES / "(\w+)\.csv"', cell.source)
            texts = [figure(name, gallery) for name in figures]
            texts += [table(name, gallery) for name in tables]
        parts += [Part(number, heading, text) for text in texts if text]
    return parts


def place_of(part: Part, lines: list[str]) -> str:
    """Returns the line of the outline that a part replaces: the first that matches."""
    for line in lines:
        number, _, words = line.removeprefix("@ ").partition(" ")
        if number == part.notebook and words and re.search(words, part.heading, re.IGNORECASE):
            return line
    return f"@ {part.notebook}"


def lab_report() -> str:
    """Returns the lab report as Markdown. Raises SystemExit if a line of the outline is empty."""
    gallery = (ROOT / "figures" / "README.md").read_text("utf-8")
    lines = OUTLINE.split("\n")
    contents = {line: [] for line in lines if line.startswith("@")}
    for number, notebook in read_notebooks("0[1-4]").items():
        for part in parts_of(number, notebook, gallery):
            contents[place_of(part, list(contents))].append(part.text)
    for line, texts in contents.items():
        if not texts:
            raise SystemExit(f"nothing for {line!r}: has a cell of such a heading the tag report?")
    blocks = [block for line in lines for block in contents.get(line, [line])]
    readme = (ROOT / "README.md").read_text("utf-8")
    blocks.append(re.search(r"\n## References\n((?:\n|- .+\n)+)", readme)[1])
    text = "\n\n".join(blocks)
    for kind in ("Figure", "Table"):
        for number in range(1, text.count(f"{kind} #.") + 1):
            text = text.replace(f"{kind} #.", f"{kind} {number}.", 1)
    return text


def write_report(text: str) -> None:
    """Writes the lab report as HTML and as PDF."""
    shared = ["--standalone", "--columns=1000", f"--metadata=title={TITLE}", "--metadata=lang=en"]
    screen = ["--embed-resources", "--mathml", "--number-sections", "--variable=maxwidth=48em"]
    paper = [f"--variable={setting}" for setting in PAPER]
    options = {"format": MARKDOWN, "cworkdir": str(OUT)}
    page = pypandoc.convert_text(text, "html", extra_args=shared + screen, **options)
    (OUT / "report.html").write_text(page, encoding="utf-8")
    source = pypandoc.convert_text(text, "typst", extra_args=shared + paper, **options)
    (OUT / "report.typ").write_text(TYPST + source, encoding="utf-8")
    typst.compile(str(OUT / "report.typ"), output=str(OUT / "report.pdf"), root=str(ROOT))


def write_book(notebooks: list) -> None:
    """Writes notebooks as one page: links between them lead within it, figures have alt texts."""
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    titles = [re.match(r"# ((\d\d) · .+)", cell.source) for cell in cells]
    for n, cell in enumerate(cells):
        cell.id = f"cell-{n}"
        for title in filter(None, titles):
            anchor = quote(title[1].replace(" ", "-"), safe="?:,")  # as nbconvert makes it
            link = rf"\]\({title[2]}_\w+\.ipynb\)"
            cell.source = re.sub(link, f"](#{anchor})", cell.source)
    book = nbformat.v4.new_notebook(cells=cells, metadata=notebooks[0].metadata)
    page, _ = HTMLExporter().from_notebook_node(book)
    alts = iter([cell.metadata["alt"] for cell in cells if "alt" in cell.metadata])
    page = re.sub("No description has been provided for this image", lambda _: next(alts), page)
    (OUT / "notebooks.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    write_report(lab_report())
    write_book(list(read_notebooks("0[1-6]").values()))
    print("report.pdf, report.html and notebooks.html are in report/")
