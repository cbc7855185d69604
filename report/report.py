"""Makes the report: template.md, filled with the numbers of tables.

    python report/report.py [--pdf]

writes report.md, as a forge shows it. With --pdf it also makes report.pdf, which is not committed
and needs the packages of report/requirements.txt.
"""

import argparse
import re
import sys
from pathlib import Path

import jinja2
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_train
from experiments.tables import RESULTS, mean_and_sd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote"
MARKDOWN += "+gfm_auto_identifiers"  # links to headings, the same as a forge's
PANDOC = ["--standalone", "--citeproc", "--number-sections", "--include-in-header=layout.typ"]
PANDOC += ["--columns=1000"]  # a table with longer lines is stretched
PANDOC += ["-Vmainfont=Libertinus Serif", "-Vfontsize=10.5pt"]  # typst brings this font


# ---- What stands in double braces ----
def as_text(value, digits=3):
    """Returns a number, a text, or a column of several seeds, as the report shows it."""
    if isinstance(value, pd.Series):
        return mean_and_sd(value, digits).replace("-", "−")
    if not isinstance(value, float):
        return str(value)
    return "–" if pd.isna(value) else f"{value:.{digits}f}".replace("-", "−")


def read_table(name):
    """Returns a table of the experiments, or one that a notebook wrote."""
    path = RESULTS / name
    return pd.read_csv(path if path.exists() else ROOT / "figures" / name)


def find_rows(name, row, **only):
    """Returns, by column, what the rows of a name hold; `only` chooses among them. Raises KeyError.

    Names stand in the column `row` of a table over seeds, or in the first of another, which has one
    row of each name.
    """
    table = read_table(name)
    column = "row" if "row" in table else table.columns[0]
    for key, value in {column: row, **only}.items():
        table = table[table[key] == value]
    if table.empty:
        raise KeyError(f"{name}: {row}")
    return dict(table) if column == "row" else table.to_dict("records")[0]


def markdown_table(name):
    """Returns a table in Markdown, numbers to the right."""
    table = read_table(name)
    are_numbers = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines = [list(table), ["--:" if number else ":--" for number in are_numbers]]
    lines += table.map(as_text).to_numpy().tolist()
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds_of(rows):
    """Returns how many seeds rows have, in words."""
    count = rows["seed"].nunique()
    return "one seed" if count == 1 else f"{count} seeds"


def number_captions(text):
    """Returns what each figure and table of the report is called, by kind and name."""
    names = {}
    for kind, name in re.findall(r'\{\{ new\("(\w+)", "(\w+)"\)', text):
        number = 1 + sum(kind == other for other, _ in names)
        names[kind, name] = f"{kind.capitalize()}\u00a0{number}"
    return names


def fill_template():
    """Returns the report in Pandoc's Markdown. Raises an error whose trace names the line."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    environment.comment_start_string = "<#"  # Markdown has {#name}
    environment.finalize = as_text
    names = number_captions((HERE / "template.md").read_text("utf-8"))
    return environment.get_template("template.md").render(
        rows=find_rows,
        table=markdown_table,
        seeds=seeds_of,
        fixed=as_text,
        lab5_train=lab5_train,
        new=lambda *key: f"[{names[key]}.]{{#{'-'.join(key)}}}",
        see=lambda *key: f"[{names[key]}](#{'-'.join(key)})",
    )


# ---- The text and the PDF ----
def citations():
    """Returns a link to each reference, such as Kingma & Welling 2014, by its key."""
    links = {}
    for entry in (HERE / "references.bib").read_text("utf-8").split("\n@"):
        key = re.search(r"\{(\w+),", entry)[1]
        fields = dict(re.findall(r"^\s*(author|year|url)\s*= \{(.+)\}", entry, re.MULTILINE))
        authors = [name.split(",")[0].strip("{}") for name in fields["author"].split(" and ")]
        who = f"{authors[0]} et al." if len(authors) > 2 else " & ".join(authors)
        links[key] = f"[{who} {fields['year']}]({fields['url']})"
    return links


def for_a_forge(text):
    """Returns a filled template as a forge shows it: its head as text, citations as links."""
    _, head, body = text.split("---\n", maxsplit=2)
    title, subtitle, abstract = re.findall(
        r"^(?:title|subtitle|abstract): (?:\|\n  )?(.+)", head, re.M
    )
    body = body.partition("# References")[0]
    links = citations()
    key = rf"@({'|'.join(links)})\b"
    body = re.sub(rf"\[([^\[\]]*?{key}[^\[\]]*)\]", r"(\1)", body)
    body = re.sub(key, lambda match: links[match[1]], body)
    body = re.sub(r"\[([^\[\]]+)\]\{#(.+?)\}", r'<a id="\2"></a>**\1**', body)
    body = re.sub(r'^!\[(.+)\]\((\S+)\)\{.*?alt="(.+)"\}$', r"![\3](\2)\n\n\1", body, flags=re.M)
    body = re.sub(r"^: (?=<a)", "", body, flags=re.M)
    top = "<!-- Made by report.py from template.md: edit that. -->"
    return f"{top}\n# {title}\n\n{subtitle}.\n\n{abstract}\n\n{body.strip()}\n"


def write_pdf(text):
    """Writes report.pdf, from a filled template, with the pictures as PDFs where there are such."""
    import pypandoc
    import typst

    text = text.replace(".png)", ".pdf)")
    options = [*PANDOC, "--fail-if-warnings"]
    text = pypandoc.convert_text(text, "typst-citations", MARKDOWN, options, cworkdir=str(HERE))
    text = re.sub(r"(?<=\d)\s±\s(?=\d)", "\u00a0±\u00a0", text)  # is kept in one line
    text = text.replace('image("../', 'image("/')
    pdf = typst.compile(text.encode(), root=str(ROOT), ignore_system_fonts=True)
    (HERE / "report.pdf").write_bytes(pdf)


def main():
    """Writes the report, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pdf", action="store_true", help="make report.pdf, too")
    options = parser.parse_args()
    text = fill_template()
    (HERE / "report.md").write_text(for_a_forge(text), "utf-8")
    if options.pdf:
        write_pdf(text)


if __name__ == "__main__":
    main()
