"""Figures as files, and all of them in one Markdown file."""

from __future__ import annotations

import io
from collections.abc import Sequence

from benchbench.reports.escape import escape_markdown, printable
from benchbench.reports.figure import Figure

FORMATS = ("pdf", "png")
DPI = 200


def figure_bytes(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    """The content of a file in one of `FORMATS`: equal figures give equal bytes, since there is no date in them."""
    from benchbench.reports.figures.style import finish_layout, print_style

    notes = "; ".join(map(printable, figure.notes))
    metadata: dict[str, str | None] = {"Title": printable(figure.title)}
    if kind == "pdf":
        metadata |= {"Subject": notes, "Creator": "BenchBench", "Producer": None, "CreationDate": None}
    else:
        metadata |= {"Description": notes, "Software": "BenchBench"}
    stream = io.BytesIO()
    with print_style(figure.theme):
        finish_layout(figure.figure)  # once, and not for every format again
        figure.figure.savefig(stream, format=kind, dpi=dpi, metadata=metadata)
    return stream.getvalue()


def gallery(figures: Sequence[Figure]) -> str:
    """All figures with their captions, in Markdown."""
    return "\n".join(
        f"![{escape_markdown(each.title)}]({each.name}.png)\n\n**{escape_markdown(each.title)}**\n\n"
        + "".join(f"- {escape_markdown(note)}\n" for note in each.notes)
        for each in figures
    )
