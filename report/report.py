"""Makes the report, as a text and as a PDF, and the lab as a site. All of it works offline.

    .venv/bin/python report/report.py [--report | --run | --update]

writes report.md, report.pdf and site/index.html into build/, from what is committed, and from
build/page.html if it has been made. The report is template.md, filled with the numbers of tables.

- With --report nothing else is made, and text and PDF are put beside the template, to be committed.
- With --run the notebooks are run first. Their outputs, figures and tables go to build/, too, and
  report and site are made from these.
- With --update they go to notebooks/ and figures/, and text and PDF beside the template.
"""

import argparse
import atexit
import hashlib
import inspect
import os
import pydoc
import re
import shutil
import signal
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, call, check_call
from tempfile import TemporaryDirectory

import jinja2
import joblib
import nbformat
import pandas as pd
import psutil
import pypandoc
import typst
from nbclient import NotebookClient
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_gate
import lab5_train
from experiments import RESULTS, mean_and_sd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build"

TEMPLATE = "template.md"
MARKDOWN = "markdown+lists_without_preceding_blankline-blank_before_blockquote"
MARKDOWN += "+gfm_auto_identifiers"  # links to headings, the same as a forge's
PLUS_MINUS = r"(?<=\d)\s±\s(?=\d)"  # is kept in one line
PANDOC = ["--standalone", "--citeproc", "--fail-if-warnings"]
PANDOC += ["--columns=1000"]  # a table with longer lines is stretched
AS_PDF = ["--number-sections", "--include-in-header=layout.typ"]
AS_PDF += ["-Vmainfont=Libertinus Serif", "-Vfontsize=10.5pt"]  # typst brings this font
AS_TEXT = ["--wrap=none", "--template=forge.template"]
SAVE_IT = r"save \[the page\]\(.+?\), .+?, and open it with a double click"  # in the README
PICTURE = r"\[(<img .+?>)\]\(page/page\.html\)"  # in the README, too
ROOMS = ".devcontainer assignment experiments figures notebooks page report tests".split()
BAR = "application/vnd.jupyter.widget-view+json"  # what is left of it in a notebook


# ---- What stands in double braces ----
def as_text(value, digits=3):
    """Returns a number, a text, or a column of several seeds, as the report shows it."""
    if isinstance(value, pd.Series):
        return mean_and_sd(value, digits).replace("-", "−")
    if not isinstance(value, float):
        return str(value)
    return "–" if pd.isna(value) else f"{value:.{digits}f}".replace("-", "−")


def code(name):
    """Returns the code of what `module.name` names."""
    source = textwrap.dedent(inspect.getsource(pydoc.locate(name)))
    return f"```python\n{source.strip()}\n```"


def read_table(figures, name):
    """Returns a table of the experiments, or one that a notebook put into a folder of figures."""
    path = RESULTS / name
    return pd.read_csv(path if path.exists() else figures / name)


def find_rows(figures, name, row, **only):
    """Returns, by column, what the rows of a name hold; `only` chooses among them. Raises KeyError.

    Names stand in the column `row` of a table over seeds, or in the first of another, which has one
    row of each name.
    """
    table = read_table(figures, name)
    column = "row" if "row" in table else table.columns[0]
    named = table.set_index(table[column].astype(str)).loc[[row]]
    for key, value in only.items():
        named = named.set_index(named[key]).loc[[value]]
    return dict(named) if column == "row" else named.to_dict("records")[0]


def markdown_table(figures, name):
    """Returns a table in Markdown, numbers to the right."""
    table = read_table(figures, name)
    are_numbers = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines = [list(table), ["--:" if number else ":--" for number in are_numbers]]
    lines += table.map(as_text).to_numpy().tolist()
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds_of(rows):
    """Returns how many seeds rows have, in words."""
    count = rows["seed"].nunique()
    return "one seed" if count == 1 else f"{count} seeds"


def number_captions(text):
    """Returns what each figure, table and listing of the report is called, by kind and name."""
    names = {}
    for kind, name in re.findall(r'\{\{ new\("(\w+)", "(\w+)"\)', text):
        number = 1 + sum(kind == other for other, _ in names)
        names[kind, name] = f"{kind.capitalize()}\u00a0{number}"
    return names


def report_text(tree):
    """Returns the report in Pandoc's Markdown, filled from figures and tables of a tree of the lab.

    Raises an error whose trace names the line.
    """
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    environment.comment_start_string = "<#"  # Markdown has {#name}
    environment.finalize = as_text
    names = number_captions((HERE / TEMPLATE).read_text("utf-8"))
    return environment.get_template(TEMPLATE).render(
        rows=partial(find_rows, tree / "figures"),
        table=partial(markdown_table, tree / "figures"),
        names=lambda name: list(dict.fromkeys(read_table(tree / "figures", name)["row"])),
        seeds=seeds_of,
        fixed=as_text,
        lab5_train=lab5_train,
        lab5_gate=lab5_gate,
        code=code,
        new=lambda *key: f"[{names[key]}.]{{#{'-'.join(key)}}}",
        see=lambda *key: f"[{names[key]}](#{'-'.join(key)})",
    )


# ---- The text and the PDF ----
def forge_text(tree):
    """Returns the report as a forge shows it. A citation leads to what it cites."""
    options = [*PANDOC, *AS_TEXT]
    text = report_text(tree).replace("{width=100% ", "{")
    text = pypandoc.convert_text(text, "gfm", MARKDOWN, options, cworkdir=str(HERE))
    references = (HERE / "references.bib").read_text("utf-8")
    urls = dict(re.findall(r"^@\w+\{(\w+),[^@]*?\burl\s*=\s*\{(.+?)\}", references, re.M))
    text = re.sub(r"#ref-(\w+)", lambda match: urls[match[1]], text)
    return text.partition("# References")[0].rstrip() + "\n"


def pdf_text(tree):
    """Returns the report in Markdown, its pictures as PDFs, and a digest of all that it shows."""
    text = report_text(tree).replace(".png)", ".pdf)")
    pictures = [tree / name for name in re.findall(r"\]\(\.\./(\S+?)\)", text)]
    parts = [text, *((HERE / name).read_text("utf-8") for name in ("references.bib", "layout.typ"))]
    content = [part.encode() for part in parts] + [picture.read_bytes() for picture in pictures]
    return text, hashlib.sha256(b"".join(content)).hexdigest()


def write_report(tree):
    """Writes the report, with a tree's figures and tables; the PDF has its digest as a keyword."""
    (BUILD / "report.md").write_text(forge_text(tree), "utf-8")
    text, digest = pdf_text(tree)
    pictures = f"--resource-path={tree / 'figures'}{os.pathsep}."
    options = [*PANDOC, *AS_PDF, pictures, f'-Vkeywords="{digest}"']
    text = pypandoc.convert_text(text, "typst-citations", MARKDOWN, options, cworkdir=str(HERE))
    text = re.sub(PLUS_MINUS, "\u00a0±\u00a0", text)
    text = text.replace('image("../', 'image("/')
    pdf = typst.compile(text.encode(), root=str(tree), ignore_system_fonts=True)
    (BUILD / "report.pdf").write_bytes(pdf)


def keep_report():
    """Puts text and PDF beside their template."""
    for name in ("report.md", "report.pdf"):
        shutil.copy(BUILD / name, HERE)


# ---- The notebooks ----
def run(path, folder):
    """Runs a notebook where it stands, and writes it with its outputs into a folder."""
    notebook = nbformat.read(path, 4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(desc=path.name, total=cells, unit=" cells") as bar:
        client = NotebookClient(notebook, timeout=None, record_timing=False, coalesce_streams=True)
        client.store_widget_state = False
        client.resources = {"metadata": {"path": str(path.parent)}}
        client.on_cell_executed = lambda **_: bar.update()
        try:
            client.execute(stderr=DEVNULL)
        finally:  # nbclient forgets it if the kernel ended while it was starting
            atexit.unregister(client._cleanup_kernel)
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if BAR not in output.get("data", {})]
    nbformat.write(notebook, folder / path.name)
    tqdm.write(f"{path.stem}: {summary_of(notebook)}\n")


def summary_of(notebook):
    """Returns the paragraph below a notebook's heading *Summary*, as plain text."""
    text = "\n\n".join(cell.source for cell in notebook.cells)
    paragraphs = re.findall(r"^## Summary\n+(.+)", text, re.MULTILINE)
    return textwrap.fill(re.sub(r"[*`$]|\]\(.*?\)|\[", "", "".join(paragraphs)), 100)


def wait_for(jobs):
    """Waits until all jobs are done. Raises the first error of one of them."""
    left = jobs
    while left:
        done, left = wait(left, timeout=1)  # Windows tells of Ctrl-C between two waits
        for job in done:
            job.result()


def stop(jobs):
    """Ends the processes of jobs, that is, kernels and page.py, until all jobs are done."""
    while not all(job.done() for job in jobs):
        for process in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # it ended by itself
                process.kill()
        time.sleep(0.5)  # a notebook that was just starting may have a kernel now


def run_all(paths, tree):
    """Runs notebooks two at a time; at first one beside the page, which trains longest."""
    os.environ["LAB5_FIGURES"] = str(tree / "figures")
    cores = max(1, joblib.cpu_count() - 1)  # for a sweep, since another job trains, too
    os.environ["LOKY_MAX_CPU_COUNT"] = str(cores)
    print("Bars count cells. A bar stands still while a model is trained.")
    with ThreadPoolExecutor(2) as pool:
        make_page = [sys.executable, "page/page.py"]
        page = pool.submit(call, make_page, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL)
        jobs = [page, *(pool.submit(run, path, tree / "notebooks") for path in paths)]
        try:
            wait_for(jobs)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            stop(jobs)
    if page.result():
        (BUILD / "page.html").unlink(missing_ok=True)  # an old one
        print("the page was not made: run page/page.py to see why")


# ---- The site ----
def notebook_page(path):
    """Returns a notebook as the site shows it: folded as in Jupyter, each picture with its text."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.metadata.mystnb = {"image": {"alt": cell.metadata.get("alt", "")}}
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata.tags = ["hide-input"]
    return re.sub(PLUS_MINUS, "\u00a0±\u00a0", nbformat.writes(notebook))


def write_site(tree):
    """Writes the site, with a tree's notebooks, figures and tables; a warning is an error."""
    site, live = BUILD / "site", BUILD / "page.html"
    if not live.exists():
        live = ROOT / "page" / "page.html"
    shutil.rmtree(site, ignore_errors=True)
    with TemporaryDirectory() as folder:
        pages = Path(folder) / "pages"  # the lab as the site shows it
        pages.mkdir()
        for file in filter(Path.is_file, ROOT.iterdir()):
            shutil.copy(file, pages)
        for room in ROOMS:
            shutil.copytree(ROOT / room, pages / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(tree / "figures", pages / "figures", dirs_exist_ok=True)
        front = (ROOT / "README.md").read_text("utf-8")
        front = re.sub(SAVE_IT, '<a href="page.html">open the page</a>', front)
        front = re.sub(PICTURE, r"\1", front)
        front += (ROOT / "website" / "contents.md").read_text("utf-8")
        (pages / "README.md").write_text(front, "utf-8")
        for path in (tree / "notebooks").glob("[0-9][0-9]_*[a-z].ipynb"):
            (pages / "notebooks" / path.name).write_text(notebook_page(path), "utf-8")
        shutil.copy(BUILD / "report.pdf", pages / "report")
        options = ["-W", "--keep-going", "-q", "-c", ROOT / "website", "-d", f"{folder}/trees"]
        check_call([sys.executable, "-m", "sphinx", *options, pages, site])
    page = live.read_text("utf-8").replace("data-site=", "href=")  # only here these links lead on
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        page = page.replace("data-forge", f'href="{os.environ["GITHUB_SERVER_URL"]}/{repository}"')
    (site / "page.html").write_text(page, "utf-8")
    front = (site / "README.html").read_text("utf-8")
    front = front.replace('href="_images/front.png"', 'href="page.html"')  # Sphinx links a picture
    for name in ("README.html", "index.html"):
        (site / name).write_text(front, "utf-8")


def main():
    """Makes report and site, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--report", action="store_true", help="make only the report, for a commit")
    parser.add_argument("--run", action="store_true", help="run the notebooks first")
    parser.add_argument("--update", action="store_true", help="run them for a commit")
    options = parser.parse_args()
    if os.environ.get("LAB5_DATA"):
        parser.error("LAB5_DATA is set, but the report is about the project's table")
    tree = ROOT if options.update or not options.run else BUILD
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*[a-z].ipynb"))
    BUILD.mkdir(exist_ok=True)
    write_report(ROOT)  # a mistake in it is found before anything runs
    if options.report:
        keep_report()
        return
    if tree == BUILD:
        for name in ("figures", "notebooks"):  # what no notebook makes stays as it is committed
            shutil.copytree(ROOT / name, BUILD / name, dirs_exist_ok=True)
    if options.run or options.update:
        run_all(paths, tree)
        write_report(tree)
    if options.update:
        keep_report()
    write_site(tree)
    print("look at", BUILD / "site" / "index.html")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script may have it ignored
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command resumes with what is trained")
