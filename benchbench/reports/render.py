"""Renderers of tables: text for terminals, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io

from tabulate import tabulate

from benchbench.reports.escape import escape_markdown, printable
from benchbench.reports.latex import latex
from benchbench.reports.table import Entry, Table


def plain(table: Table, color: bool = False) -> str:
    """For terminals; bold by an escape code where `color`, else by a star."""
    rows = [[_terminal(entry, color) for entry in row] for row in table.rows]
    drawn = tabulate(
        rows,
        headers=[printable(c) for c in table.columns],
        tablefmt="simple",
        colalign=table.aligned(),
        disable_numparse=True,
    )
    lines = [printable(table.title), "", drawn, ""]
    if not color and any(entry.bold for row in table.rows for entry in row):
        lines.append("* best of its column, or tied with it")
    return "\n".join([*lines, *(printable(note) for note in table.notes)]) + "\n"


def markdown(table: Table) -> str:
    rows = [
        [f"**{escape_markdown(e.text)}**" if e.bold else escape_markdown(e.text) for e in row] for row in table.rows
    ]
    headers = [escape_markdown(column) for column in table.columns]
    drawn = tabulate(rows, headers=headers, tablefmt="pipe", colalign=table.aligned(), disable_numparse=True)
    notes = "".join(f"- {escape_markdown(note)}\n" for note in table.notes)
    return f"**{escape_markdown(table.title)}**\n\n{drawn}\n\n{notes}"


def to_csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([entry.text for entry in row] for row in table.rows)
    return out.getvalue()


RENDERERS = {"md": markdown, "tex": latex, "csv": to_csv, "txt": plain}


def _terminal(entry: Entry, color: bool) -> str:
    text = printable(entry.text)
    if not entry.bold:
        return text
    return f"\x1b[1m{text}\x1b[0m" if color else f"{text} *"
