"""Hooks of the site of documents: included files, and links to files outside of docs/."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT

PAGE = """\
# A page

Code of [the base class](../../benchbench/losses/base.py), [all plugins](../../plugins/benchbench-rank), a
[table](../../reports/quickstart/accuracy.csv) and the [log of changes](../../CHANGELOG.md). `[text](../../nothing.md)`

<!-- include reports/quickstart/accuracy.md -->

<!-- include reports/quickstart/figures.md -->
"""


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """The warnings that MkDocs logs."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())
    logging.getLogger("mkdocs").addHandler(handler)
    yield texts
    logging.getLogger("mkdocs").removeHandler(handler)


@pytest.fixture
def site(tmp_path):
    """Builds a site of one page in a folder, `guides/page.md`, and gives the folder of the result."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    def make(text: str) -> Path:
        (tmp_path / "docs" / "guides").mkdir(parents=True)
        (tmp_path / "docs" / "guides" / "page.md").write_text(text, encoding="utf-8")
        (tmp_path / "docs" / "changelog.md").write_text("# Changelog\n", encoding="utf-8")
        (tmp_path / "mkdocs.yml").write_text("site_name: test\n", encoding="utf-8")
        config = load_config(
            str(tmp_path / "mkdocs.yml"),
            docs_dir=str(tmp_path / "docs"),
            site_dir=str(tmp_path / "site"),
            hooks=[str(ROOT / "docs" / "mkdocs_hooks.py")],
            markdown_extensions=["md_in_html", "pymdownx.superfences", "tables"],
            plugins=[],
        )
        build(config)
        return tmp_path / "site"

    return make


def test_includes_and_links_of_the_repository_lead_to_copies(site, messages):
    folder = site(PAGE)
    page = (folder / "guides" / "page" / "index.html").read_text(encoding="utf-8")
    assert messages == []
    assert ">pre-train + fine-tune</td>" in page
    assert "<code>[text](../../nothing.md)</code>" in page
    copies = folder / "repository"
    for address, text in {
        "benchbench/losses/base.py.html": "class",
        "plugins/benchbench-rank/": '<a href="benchbench_rank.py.html">benchbench_rank.py</a>',
        "reports/quickstart/accuracy.csv": "fine-tune",
    }.items():
        assert f'"../../repository/{address}"' in page
        file = copies / address
        assert text in (file / "index.html" if file.is_dir() else file).read_text(encoding="utf-8")
    assert "benchbench_reports" in (copies / "plugins/benchbench-rank/benchbench_rank.py.html").read_text(
        encoding="utf-8"
    )
    assert '"../../changelog/"' in page
    assert '"../../repository/reports/quickstart/pareto.png"' in page
    picture = Path("reports", "quickstart", "pareto.png")
    assert (copies / picture).read_bytes() == (ROOT / picture).read_bytes()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[code](../../benchbench/nothing.py)", "docs/guides links to ../../benchbench/nothing.py, which is not there"),
        ("[outside](../../../secret.txt)", "docs/guides links to ../../../secret.txt, which is not there"),
        ("<!-- include reports/nothing.md -->", "no file reports/nothing.md to include"),
    ],
)
def test_what_is_not_there_is_a_warning_which_ends_a_strict_build(site, messages, text, warning):
    site(f"# A page\n\n{text}\n")
    assert warning in messages


def test_blocks_of_math_are_drawn_without_a_script(site, messages):
    page = site("# A page\n\n```math\n\\frac{T^2}{B} \\sum_i x_i\n```\n\n```python\nx = 1\n```\n")
    text = (page / "guides" / "page" / "index.html").read_text(encoding="utf-8")
    assert messages == []
    assert '<div class="formula"><math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in text
    assert "<mfrac>" in text
    assert "frac{" not in text
