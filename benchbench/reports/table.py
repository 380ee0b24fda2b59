"""The table model, and its renderers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One cell of a table: text, and whether it stands out (the best of its column)."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Table:
    """What a report says, whatever it is drawn with.

    Attributes:
        name: file name without an ending.
        title: the caption.
        columns: the header.
        rows: entries, as many as columns in each.
        notes: what a reader must know to read the numbers.
        labels: how many leading columns are labels (aligned left).
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    notes: Sequence[str] = field(default_factory=list)
    labels: int = 1

    def aligned(self) -> list[str]:
        return ["left"] * self.labels + ["right"] * (len(self.columns) - self.labels)
