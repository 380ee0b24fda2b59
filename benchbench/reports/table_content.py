"""The content of a table, which every renderer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One cell of a table: text, and whether it is bold; `TableContent.bold_meaning` says what that means."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class TableContent:
    """A table of a report, independent of its renderer; attributes as of `benchbench.reports.table.Table`."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    notes: Sequence[str] = field(default_factory=list)
    labels: int = 1
    bold_meaning: str = "best of its column, or tied with it"

    def aligned(self) -> list[str]:
        return ["left"] * self.labels + ["right"] * (len(self.columns) - self.labels)
