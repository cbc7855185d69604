"""Makes the lab report of notebooks 01 to 04, and one page of all six notebooks.

    .venv/bin/python notebooks/report.py [folder]

writes report.pdf and report.html, the lab report, and notebooks.html, the whole book, into a
folder, by default report/. What comes where in the report is said in notebooks/report.md: a line
"@ NN words" stands for the sections of notebook NN whose headings match the words, a regular
expression, and "@ NN" for what is tagged or drawn in all others. Of a section's text, the markdown
cells that are tagged "report" are taken, or all if none is, with their drawings; and the figures
that it exports, and the tables that it writes as CSV. Of a notebook's first cell, the question is
taken.
"""

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
import pandas as pd
import pypandoc
import typst

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "report").absolute()
FIGURES = os.path.relpath(ROOT / "figures", OUT)  # as pages in the folder name it
DRAWINGS = os.path.relpath(ROOT / "notebooks", OUT)
LONGEST_TABLE = 25  # rows; a longer one holds data
MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote-auto_identifiers"

LOOK = """<style>
pre { padding: .5em; font-size: 85%; background: #f6f6f6 }
pre.output { background: none; border-left: 3px solid #ddd }
table { width: auto; border: 0; font-size: 85% }
</style>"""  # of the book
ALONE = ["--standalone", "--embed-resources", "--mathml"]  # a page that needs no network


class Piece(NamedTuple):
    """Holds what a cell gives to the report."""

    text: str  # Markdown
    kind: str  # "tagged" text, "other" text, or "drawn": a figure or a table


class Section(NamedTuple):
    """Holds a section of a notebook."""

    notebook: str  # its number
    heading: str
    pieces: list[Piece]


def read_notebooks(numbers: str):
    """Returns notebooks by number, in reading order."""
    paths = sorted((ROOT / "notebooks").glob(f"{numbers}_*.ipynb"))
    return {path.name[:2]: nbformat.read(path, 4) for path in paths}


def without_links(text: str) -> str:
    """Returns text without its links to files, and to sections, which the report numbers anew."""
    text = re.sub(r" \(sections? \d+\)", "", text)
    text = re.sub(r"\[(\d\d)\]\(\d\d_\w+\.ipynb[^)]*\)", r"notebook \1", text)
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!http)[^)]*\)", r"\1", text)


def caption(kind: str, file: str, heading: str, gallery: str) -> str:
    """Returns what the gallery says of a file in most words, else its section's heading."""
    links = re.findall(rf"\[([^\]]+)\]\({re.escape(file)}\)(?:: (.+))?", gallery)
    said = [text or link for link, text in links if text or not re.match(r"\d\d", link)]
    words = max(said, key=len, default=re.sub(r"^\d+ · ", "", heading))
    return f"**{kind} #.** {words[0].upper()}{without_links(words[1:])}"


def figure(name: str, heading: str, gallery: str) -> str:
    """Returns a figure as Markdown."""
    alt = re.search(rf'<img src="{name}\.png" width="\d+" alt="([^"]+)">', gallery)[1]
    text = caption("Figure", f"{name}.pdf", heading, gallery)
    return f'![{text}]({FIGURES}/{name}.png){{alt="{alt}" width=57%}}'


def table(name: str, heading: str, gallery: str) -> str:
    """Returns a table of a CSV as Markdown, or nothing if it is too long."""
    rows = pd.read_csv(ROOT / "figures" / f"{name}.csv", dtype=str).fillna("")
    rows = rows.rename(columns={"Unnamed: 0": ""})
    if len(rows) > LONGEST_TABLE:
        return ""
    latex = (ROOT / "figures" / f"{name}.tex").read_text("utf-8")
    sides = re.search(r"{tabular}{(\w+)}", latex)[1]  # numbers stand to the right there, too
    rule = ["--:" if side == "r" else ":--" for side in sides]
    lines = [rows.columns, rule, *rows.to_numpy()]
    drawn = without_links("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return f"{drawn}\n\n: {caption('Table', f'{name}.csv', heading, gallery)}"


def drawn_by(cell, heading: str, gallery: str) -> list[Piece]:
    """Returns the figures and tables that a code cell writes into figures/."""
    figures = re.findall(r'save_fig\(\w+, "(\w+)"\)', cell.source)
    tables = re.findall(r'save_table\(\S+, "(\w+)"', cell.source)
    texts = [figure(name, heading, gallery) for name in figures]
    texts += [table(name, heading, gallery) for name in tables]
    return [Piece(text, "drawn") for text in texts]


def drawing(found) -> str:
    """Returns a drawing in a text as a figure; its alt text is its caption."""
    alt, file = found.groups()
    return f'![**Figure #.** {alt}]({DRAWINGS}/{file}){{alt="{alt}" width=80%}}'


def plain_text(text: str) -> str:
    """Returns text without links to files and what announces code; lower headings as bold words."""
    text = re.sub(r"!\[([^\]]+)\]\((\w+\.svg)\)", drawing, text)
    text = text.replace(r"\!", "")  # a space in formulas, which Typst makes too wide
    text = re.sub(r"(^|(?<=\n)|(?<=[.!?] ))((?![.!?] )[^\n])+:$", "", without_links(text.strip()))
    return re.sub("^###+ (.+)", r"**\1**", text.strip(), flags=re.MULTILINE)


def sections_of(number: str, notebook, gallery: str) -> list[Section]:
    """Returns the sections of a notebook; the first has its title as heading, and its question."""
    sections = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            sections[-1].pieces.extend(drawn_by(cell, sections[-1].heading, gallery))
            continue
        kind = "tagged" if "report" in cell.metadata.get("tags", []) else "other"
        for part in re.split("^(?=##? )", cell.source, flags=re.MULTILINE):
            heading = re.match("##? (.+)", part)
            if heading:
                sections.append(Section(number, heading[1], []))
                part = part[heading.end() :]
            if part.strip():
                sections[-1].pieces.append(Piece(plain_text(part), kind))
    questions = re.findall(r"\*\*The question\.\*\* (.+)", notebook.cells[0].source)
    sections[0].pieces[:1] = [Piece(question, "tagged") for question in questions]
    return sections


def place_of(section: Section, places: list[str]) -> str:
    """Returns the line of the outline that stands for a section: the first that matches."""
    for place in places:
        number, _, words = place.removeprefix("@ ").partition(" ")
        matches = words and re.search(words, section.heading, re.IGNORECASE)
        if number == section.notebook and matches:
            return place
    return f"@ {section.notebook}"


def as_block(section: Section, is_named: bool) -> str:
    """Returns what a section gives, under its heading where that says more than the report's."""
    kinds = {piece.kind for piece in section.pieces}
    if "tagged" in kinds or not is_named:
        kinds -= {"other"}
    text = "\n\n".join(piece.text for piece in section.pieces if piece.kind in kinds)
    heading = re.sub(r"^\d+ · ", "", section.heading)
    is_title = re.match(r"\d\d · ", section.heading)
    if is_title or heading == "Discussion" or not text:
        return text
    return f"#### {heading} {{.unnumbered}}\n\n{text}"


def lab_report() -> str:
    """Returns the lab report as Markdown. Raises SystemExit if a line of the outline is empty."""
    gallery = (ROOT / "figures" / "README.md").read_text("utf-8")
    lines = (ROOT / "notebooks" / "report.md").read_text("utf-8").split("\n")
    contents = {line: [] for line in lines if line.startswith("@")}
    for number, notebook in read_notebooks("0[1-4]").items():
        for section in sections_of(number, notebook, gallery):
            place = place_of(section, list(contents))
            if place in contents:
                contents[place].append(as_block(section, is_named=" " in place[2:]))
    for line, texts in contents.items():
        if not any(texts):
            raise SystemExit(f"notebooks/report.md: nothing stands under a heading of {line!r}")
    text = "\n".join("\n\n".join(contents.get(line, [line])) for line in lines)
    for kind in ("Figure", "Table"):
        for number in range(1, text.count(f"{kind} #.") + 1):
            text = text.replace(f"{kind} #.", f"{kind} {number}.", 1)
    return text


def write_report(text: str) -> None:
    """Writes the lab report as HTML and as PDF."""
    wide = "--columns=1000"  # so that no column of a table has a fixed width
    screen = [*ALONE, wide, "--number-sections", "-Vmaxwidth=48em"]
    options = {"format": MARKDOWN, "cworkdir": str(OUT)}
    page = pypandoc.convert_text(text, "html", extra_args=screen, **options)
    (OUT / "report.html").write_text(page, encoding="utf-8")
    source = pypandoc.convert_text(text, "typst", extra_args=["--standalone", wide], **options)
    (OUT / "report.typ").write_text(source, encoding="utf-8")
    root = os.path.commonpath([ROOT, OUT])
    typst.compile(str(OUT / "report.typ"), output=str(OUT / "report.pdf"), root=root)


def output_as_markdown(output, alt: str) -> str:
    """Returns an output of a code cell as Markdown: a picture, a table, or text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f'![](data:image/png;base64,{data["image/png"].strip()}){{alt="{alt}"}}'
    if "text/html" in data:
        return f"```{{=html}}\n{data['text/html']}\n```"
    text = output.get("text") or data.get("text/plain", "")
    return f"``` {{.output}}\n{text}\n```"


def cell_as_markdown(cell) -> str:
    """Returns a cell of a notebook as Markdown; its links to notebooks lead to their titles."""
    if cell.cell_type == "markdown":
        text = re.sub(r"\]\((\d\d)_\w+\.ipynb\)", r"](#notebook-\1)", cell.source)
        return re.sub(r"^# (\d\d) · .+", r"\g<0> {#notebook-\1}", text)
    outputs = [output_as_markdown(output, cell.metadata.get("alt", "")) for output in cell.outputs]
    return "\n\n".join([f"```python\n{cell.source}\n```", *outputs])


def write_book(notebooks: list) -> None:
    """Writes notebooks as one page with contents; it needs no network."""
    cells = [cell_as_markdown(cell) for notebook in notebooks for cell in notebook.cells]
    title = ["-Mtitle=The tense-conversion lab, all notebooks", "-Mlang=en"]
    look = ["--toc", "--toc-depth=2", "-Vmaxwidth=52em", f"-Vheader-includes={LOOK}"]
    drawings = f"--resource-path={ROOT / 'notebooks'}"
    options = {"format": MARKDOWN, "extra_args": [*ALONE, *title, *look, drawings]}
    page = pypandoc.convert_text("\n\n".join(cells), "html", **options)
    (OUT / "notebooks.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_report(lab_report())
    write_book(list(read_notebooks("0[1-6]").values()))
    print(f"report.pdf, report.html and notebooks.html are in {OUT}")
