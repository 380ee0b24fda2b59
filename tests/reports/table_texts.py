"""The entries of a table as text."""

from __future__ import annotations

from benchbench.reports.table import Table


def texts(table: Table | None) -> dict[str, list[str]]:
    """The row behind each label of the first column."""
    return {label: rest for label, *rest in rows_of(table)}


def rows_of(table: Table | None) -> list[list[str]]:
    """All rows, labels included."""
    assert table is not None
    return [[entry.text for entry in row] for row in table.rows]
