"""Renderers of tables: text for terminals, Markdown, HTML, LaTeX and CSV."""

from __future__ import annotations

import csv
import html as markup
import io
import re

from tabulate import tabulate

from benchbench.reports.escape import escape_markdown, printable
from benchbench.reports.latex import latex
from benchbench.reports.table_content import Entry, TableContent


def plain(table: TableContent, color: bool = False) -> str:
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
        lines.append(f"* {printable(table.bold_meaning)}")
    return "\n".join([*lines, *(printable(note) for note in table.notes)]) + "\n"


def markdown(table: TableContent) -> str:
    rows = [
        [f"**{escape_markdown(e.text)}**" if e.bold else escape_markdown(e.text) for e in row] for row in table.rows
    ]
    headers = [escape_markdown(column) for column in table.columns]
    drawn = tabulate(rows, headers=headers, tablefmt="pipe", colalign=table.aligned(), disable_numparse=True)
    notes = "".join(f"- {escape_markdown(note)}\n" for note in table.notes)
    return f"**{escape_markdown(table.title)}**\n\n{drawn}\n\n{notes}"


def html(table: TableContent) -> str:
    """A table without style of its own but the sides of columns, as notebooks show it; all text is escaped."""
    sides = table.aligned()
    header = [_cell("th", column, side) for column, side in zip(table.columns, sides, strict=True)]
    body = [
        [_cell("td", entry.text, side, entry.bold) for entry, side in zip(row, sides, strict=True)]
        for row in table.rows
    ]
    head, *rows = (f"<tr>{''.join(cells)}</tr>" for cells in [header, *body])
    notes = "".join(f"<li>{_escaped(note)}</li>" for note in table.notes)
    lines = [
        '<div class="tex2jax_ignore mathjax_ignore">',  # dollar signs are no formulas
        f"<table>\n<caption>{_escaped(table.title)}</caption>",
        f"<thead>{head}</thead>",
        "<tbody>",
        *rows,
        "</tbody>\n</table>",
        *([f"<ul>{notes}</ul>"] if notes else []),
        "</div>\n",
    ]
    return "\n".join(lines)


def to_csv(table: TableContent) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_no_formula, table.columns))
    writer.writerows([_no_formula(entry.text) for entry in row] for row in table.rows)
    return out.getvalue()


def _no_formula(text: str) -> str:
    """A text that no spreadsheet computes, as one would a class called `=A1`; numbers with a sign stay as they are."""
    text = printable(text)
    return f"'{text}" if re.match(r"[=@\t\r]|[+-](?![\d.])", text) else text


RENDERERS = {"md": markdown, "tex": latex, "csv": to_csv, "txt": plain}


def _cell(tag: str, text: str, side: str, bold: bool = False) -> str:
    content = f"<strong>{_escaped(text)}</strong>" if bold else _escaped(text)
    return f'<{tag} style="text-align: {side}">{content}</{tag}>'


def _escaped(text: str) -> str:
    return markup.escape(printable(text))


def _terminal(entry: Entry, color: bool) -> str:
    text = printable(entry.text)
    if not entry.bold:
        return text
    return f"\x1b[1m{text}\x1b[0m" if color else f"{text} *"
