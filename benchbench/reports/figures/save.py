"""Figures as files, and a page of them in Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.reports.escape import escape_markdown, printable

if TYPE_CHECKING:
    pass
from benchbench.reports.figure import Picture

FORMATS = ("pdf", "png")


DPI = 200


def saved(picture: Picture, kind: str) -> bytes:
    """The picture as a file of a format in `FORMATS`: equal pictures give equal bytes, for there is no date in them."""
    from benchbench.reports.figures.style import print_style

    about = "; ".join(map(printable, picture.notes))
    metadata: dict[str, str | None] = {"Title": printable(picture.title)}
    if kind == "pdf":
        metadata |= {"Subject": about, "Creator": "BenchBench", "Producer": None, "CreationDate": None}
    else:
        metadata |= {"Description": about, "Software": "BenchBench"}
    stream = io.BytesIO()
    with print_style():
        if picture.figure.get_layout_engine() is not None:  # laid out once, and not for every format again
            picture.figure.draw_without_rendering()
            picture.figure.set_layout_engine(None)
        picture.figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return stream.getvalue()


def gallery(pictures: Sequence[Picture]) -> str:
    """All pictures with their captions, in Markdown."""
    return "\n".join(
        f"![{escape_markdown(each.title)}]({each.name}.png)\n\n**{escape_markdown(each.title)}**\n\n"
        + "".join(f"- {escape_markdown(note)}\n" for note in each.notes)
        for each in pictures
    )
