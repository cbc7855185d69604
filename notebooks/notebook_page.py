"""Makes Markdown of notebooks, in which a notebook is a section, and leads their links there."""

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

# a URL's scheme is named in full: what stands before the colon of C:/lab is a drive
LINK_TO_FILE = r'<a\s+href="(?!#|https?:|mailto:)[^"]*"[^>]*>(.*?)</a>'


# ---- Notebooks ----
async def run_in_order(paths: list[Path], line: int) -> dict:
    """Runs notebooks one after the other; returns them by path, with outputs; files stay.

    A bar on a line of its own shows how many cells of code have run. Raises CellExecutionError.
    """
    done = {}
    for path in paths:
        notebook = done[path] = nbformat.read(path, 4)
        cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        with tqdm(total=cells, desc=path.name, unit=" cells", position=line) as bar:
            client = NotebookClient(
                notebook,
                timeout=None,
                extra_arguments=["--log-level=ERROR"],  # no warning that messages are not encrypted
                resources={"metadata": {"path": str(path.parent)}},
                on_cell_executed=lambda **_: bar.update(),
            )
            await client.async_execute()
    return done


async def run_all(paths: list[Path]) -> dict:
    """Runs notebooks in order, and beside them those whose metadata say that they are independent.

    Returns all by path, in order. Raises CellExecutionError.
    """
    beside = [path for path in paths if nbformat.read(path, 4).metadata.get("independent")]
    others = [path for path in paths if path not in beside]
    first, second = await asyncio.gather(run_in_order(others, 0), run_in_order(beside, 1))
    return {path: (first | second)[path] for path in paths}


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


# ---- Links ----
def with_links_inside(page: str, paths) -> str:
    """Returns a page of HTML whose links lead to the notebooks' sections, or to the web."""
    for path in paths:
        link = rf'href="{re.escape(quote(path.name))}(#[^"]*)?"'
        page = re.sub(link, f'href="#{section_id(path)}"', page)
    return re.sub(LINK_TO_FILE, r"\1", page, flags=re.DOTALL)
