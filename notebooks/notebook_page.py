"""Makes Markdown of notebooks, in which a notebook is a section, and leads their links there."""

import asyncio
import contextlib
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from tqdm import tqdm

# a URL's scheme is named in full: what stands before the colon of C:/lab is a drive
LINK_TO_FILE = r'<a\s+href="(?!#|https?:|mailto:)[^"]*"[^>]*>(.*?)</a>'


# ---- Notebooks ----
async def run(path: Path, notebook, bar: tqdm, stop) -> None:
    """Runs a notebook, which gets outputs; its file stays. Raises CellExecutionError.

    A bar counts the cells of code that have run; `stop` is called at Ctrl-C.
    """

    def take_signals_back(**_):  # nbclient, too, would answer Ctrl-C, once a notebook
        with contextlib.suppress(RuntimeError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)

    client = NotebookClient(
        notebook,
        timeout=None,
        resources={"metadata": {"path": str(path.parent)}},
        on_notebook_start=take_signals_back,
        on_cell_executed=lambda **_: bar.update(),
    )
    bar.set_description(path.name)
    try:
        # a kernel also says things beside its notebook: about TCP, or when it is stopped
        await client.async_execute(stderr=subprocess.DEVNULL)
    except DeadKernelError:
        if asyncio.current_task().cancelling():  # nbclient calls it so if it is cancelled
            raise asyncio.CancelledError from None
        raise


def new_bar(path: Path, notebook, line: int) -> tqdm:
    """Returns a bar, on a line of its own, that says for what a notebook waits."""
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    reads = notebook.metadata.get("reads", [])
    text = f"{path.name} waits for {', '.join(reads)}" if reads else path.name
    return tqdm(total=cells, desc=text, unit=" cells", position=line)


async def run_all(notebooks: dict) -> None:
    """Runs notebooks, by path, side by side; they get outputs. Raises CellExecutionError.

    One whose metadata name others under "reads" waits for these, which `check_reads` knows.
    """
    done = {path.stem: asyncio.Event() for path in notebooks}
    stop = asyncio.current_task().cancel

    async def run_in_turn(path, bar):
        with bar:
            for name in notebooks[path].metadata.get("reads", []):
                await done[name].wait()
            await run(path, notebooks[path], bar, stop)
            done[path.stem].set()

    async with asyncio.TaskGroup() as tasks:  # if one fails, the others are stopped
        for line, (path, notebook) in enumerate(notebooks.items()):
            tasks.create_task(run_in_turn(path, new_bar(path, notebook, line)))


def check_reads(notebooks: dict) -> None:
    """Raises ValueError if a notebook waits for one that is not earlier."""
    earlier = set()
    for path, notebook in notebooks.items():
        for name in notebook.metadata.get("reads", []):
            if name not in earlier:
                found = f"found {name!r} under 'reads'; expected an earlier notebook"
                raise ValueError(f"{path.name}: {found}")
        earlier.add(path.stem)


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
