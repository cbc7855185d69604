"""README's commands, links and claims about files."""

import re
import subprocess
import sys

from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def command(marker):
    return re.search(rf"<!-- {marker} command -->\n```bash\n(.+)\n```", README).group(1)


def test_the_two_commands_stand_alone():
    for marker in ("run", "test"):
        assert command(marker).startswith("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && ")
    assert "--nbval " in command("test"), "strict, not lax"


def test_ci_runs_the_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "<!-- test command -->" in script and "README.md" in script and "eval" in script


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README) + re.findall(r'<img src="([^"]+)"', README):
        assert target.startswith("https://") or target.startswith("http://") or (ROOT / target).exists(), target


def test_python_example_uses_the_public_face():
    import lab5_utils as lab

    for name in re.findall(r"lab\.(\w+)", README):
        assert hasattr(lab, name), name


def test_every_notebook_and_figure_is_reachable():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.name}" in README
    gallery = (ROOT / "figures" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "figures").glob("*.pdf"):
        shown = rf'<img src="{path.stem}\.png" [^>]+>\n\n\[{path.name}\]\({path.name}\): .{{40,}}\n'
        assert re.search(shown, gallery), f"{path.stem} is not in the gallery with a caption"


def test_report_in_one_command():
    """One page in reading order, whose links lead within it, a described figure each; and one PDF."""
    script = re.search(r"`\.venv/bin/python (\S+report\.py)`", README)[1]
    subprocess.run([sys.executable, "-W", "ignore", script], cwd=ROOT, check=True, capture_output=True)
    page = (ROOT / "report" / "report.html").read_text(encoding="utf-8")
    titles = [page.index(f'<h1 id="{number}-') for number in ("01", "02", "03", "04", "05", "06")]
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert titles == sorted(titles) and targets <= set(re.findall(r'id="([^"]+)"', page)) and ".ipynb" not in page
    assert page.count("data:image/png;base64") > 20 and "No description has been provided" not in page
    pdf = (ROOT / "report" / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and len(pdf) > 500_000
