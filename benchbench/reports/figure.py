"""The picture model, and what it is saved as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
