"""The limit of a grid's size, checked before it is expanded."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.planning.grid import GridPoint
from benchbench.suite.file import SuiteFile

# Planning so many takes some ten seconds.
MOST_CELLS = 10_000


def limited_points(file: SuiteFile, points: Iterable[GridPoint]) -> list[GridPoint]:
    """The points of a grid.

    Raises:
        SuiteError: there are more cells, their trials included, than can be planned.
    """
    seeds, checked, cells = len(file.suite.seeds), [], 0
    for point in points:
        checked.append(point)
        cells += seeds * (1 + len(point.trials))
        if cells > MOST_CELLS:
            part = "seeds" if seeds > len(file.suite.arms) else "arms"
            raise file.error(f"more than {MOST_CELLS:,} cells in the grid", [part], "split the suite")
    return checked
