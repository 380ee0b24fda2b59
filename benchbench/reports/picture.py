"""The picture model, and what it is saved as."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchbench.reports.escape import escape_markdown, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png")
DPI = 200
# Inches: the width of a column, and of a page, in the two-column styles that conferences use.
SINGLE, DOUBLE = 3.25, 6.75


@dataclass(frozen=True)
class Picture:
    """What a figure component gives.

    Attributes:
        name: file name without an ending.
        title: the first sentence of the caption; it is not drawn.
        figure: what is drawn, at the size in which it is printed.
        notes: what a reader must know to read it; the rest of the caption.
    """

    name: str
    title: str
    figure: Figure
    notes: Sequence[str] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        """Whether it spans both columns of a two-column page."""
        return bool(self.figure.get_figwidth() > SINGLE)


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
