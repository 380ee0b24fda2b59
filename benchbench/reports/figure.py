"""The figure model, the widths of print, and the themes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.figure

# Inches: the width of a column, and of a page, in the two-column styles that conferences use.
SINGLE, DOUBLE = 3.25, 6.75
LIGHT, DARK = "light", "dark"
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Figure:
    """Result of a figure component.

    Attributes:
        name: file name without an ending.
        title: the first sentence of the caption; it is not drawn.
        figure: the drawing, at the size in which it is printed.
        notes: the rest of the caption.
        theme: one of `THEMES`, which it was drawn in.
    """

    name: str
    title: str
    figure: matplotlib.figure.Figure
    notes: Sequence[str] = field(default_factory=list)
    theme: str = LIGHT

    @property
    def wide(self) -> bool:
        """True if it spans both columns of a two-column page."""
        return bool(self.figure.get_figwidth() > SINGLE)
