"""README.md of a report's folder: the answer, the picture, two tables, and where the rest is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from benchbench.reports.escape import escape_markdown
from benchbench.reports.render import markdown

if TYPE_CHECKING:
    from benchbench.reports.report import Report

NAME = "README.md"
TABLES = ("accuracy", "gpu_hours")
PICTURE = "pareto.png"
# Files that a report may have beside its tables, and what they are.
OTHERS = {
    "figures.md": "every figure with its caption",
    "results.csv": "one row per cell",
    "macros.tex": "the headline numbers as commands for LaTeX",
    "tables.tex": "inputs all tables into a LaTeX document",
    "figures.tex": "inputs all figures into a LaTeX document",
    "report.html": "everything on one page, with charts and logs",
    "COMMAND": "makes this folder again",
}


def front_page(report: Report, files: Collection[str]) -> str:
    """The page as Markdown.

    Args:
        report: the report.
        files: names of the files that are written beside it.
    """
    parts = [f"# {escape_markdown(report.plan.suite.name)}", escape_markdown(report.answer)]
    if PICTURE in files:
        parts.append(f"![Test accuracy against device-hours]({PICTURE})")
    # The notes of these tables are long, and in files of their own.
    parts += [markdown(replace(table, notes=[])).strip() for table in report.tables if table.name in TABLES]
    tables = [(f"{table.name}.md", table.title) for table in report.tables]
    others = [(name, text) for name, text in OTHERS.items() if name in files]
    listed = "\n".join(f"- [{escape_markdown(name)}]({name}): {escape_markdown(text)}" for name, text in tables)
    parts += ["All tables, with their notes:", listed] if listed else []
    parts += ["Further files:", "\n".join(f"- [{name}]({name}): {text}" for name, text in others)] if others else []
    return "\n\n".join([*parts, f"Made by `{report.command}`.".replace("\n", " ")]) + "\n"
