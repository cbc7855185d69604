"""The report is what its template and the tables give, and the gallery names all figures."""

import re

import pytest

import report
from conftest import ROOT

STALE = "stale: .venv/bin/python report/report.py"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Returns the folder of a small report, which the script fills."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "made.csv").write_text("who,share,draws\nwe,0.25,4\n")
    seeds = "seed,row,right,lost\n0,ours,0.25,\n1,ours,0.5,\n0,theirs,-0.1,7\n"
    (tmp_path / "seeds.csv").write_text(seeds)
    for name in ("HERE", "ROOT", "RESULTS"):
        monkeypatch.setattr(report, name, tmp_path)
    return tmp_path


def fill(folder, text):
    (folder / "template.md").write_text(text, "utf-8")
    return report.fill_template()


def test_the_committed_report_is_that_of_its_template_and_tables():
    text = report.for_a_forge(report.fill_template())
    assert text == (ROOT / "report" / "report.md").read_text("utf-8"), STALE


def test_a_template_is_filled_with_means_over_seeds_and_with_tables(small):
    text = '{{ rows("seeds.csv", row="ours").right }}; {{ rows("seeds.csv", row="ours").lost }}; '
    text += '{{ rows("seeds.csv", row="theirs", seed=0).right }}\n{{ table("made.csv") }}'
    numbers, *lines = fill(small, text).splitlines()
    assert numbers == "0.375 ± 0.177; –; −0.100"
    assert lines == ["| who | share | draws |", "| :-- | --: | --: |", "| we | 0.250 | 4 |"]


@pytest.mark.parametrize(
    "unknown",
    [
        'rows("seed.csv", row="ours")',
        'rows("seeds.csv", row="our")',
        'rows("seeds.csv", row="ours").wright',
        'see("figure", "b")',
    ],
)
def test_what_is_unknown_is_refused(small, unknown):
    with pytest.raises(Exception) as error:
        fill(small, f"One line.\n\n{{{{ {unknown} }}}}")
    assert [entry.lineno for entry in error.traceback if entry.path.name == "template.md"]


def test_a_forge_is_shown_links_to_what_is_cited_and_to_captions(small):
    (small / "references.bib").write_text(
        "@article{he2019,\n  author = {He, A. and Li, B.},\n  year = {2019},\n  url = {https://x.y}\n}"
    )
    head = "---\ntitle: Small\nsubtitle: A test\nabstract: |\n  We try.\n---\n"
    body = '![{{ new("figure", "a") }} Letters](../a.png){alt="b"}\n\n'
    body += '{{ see("figure", "a") }} [as @he2019]'
    text = report.for_a_forge(fill(small, head + body + "\n\n# References {-}\n"))
    assert "# Small\n\nA test.\n\nWe try.\n" in text
    assert '![b](../a.png)\n\n<a id="figure-a"></a>**Figure\u00a01.** Letters' in text
    assert "[Figure\u00a01](#figure-a) (as [He & Li 2019](https://x.y))" in text
    assert "References" not in text


def test_the_report_mentions_what_it_shows_and_cites_what_it_lists():
    source = (ROOT / "report" / "template.md").read_text("utf-8")
    references = (ROOT / "report" / "references.bib").read_text("utf-8")
    new, seen = (set(re.findall(rf"\b{kind}\((.+?)\)", source)) for kind in ("new", "see"))
    assert new == seen != set()
    assert set(re.findall(r"@(\w+)", source)) == set(re.findall(r"^@\w+\{(\w+),", references, re.M))


GALLERY = (ROOT / "figures" / "README.md").read_text("utf-8")


def test_the_gallery_names_every_figure_and_table_and_nothing_else():
    shown = {name.split(".")[0] for name in re.findall(r"\]\((\w+\.\w+)\)", GALLERY)}
    assert shown == {path.stem for path in (ROOT / "figures").iterdir()} - {"README"}
