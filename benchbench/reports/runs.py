"""Results by row of the tables, data set and student, as arrays: a table of a thousand rows must take no seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Runs:
    """The cells of one row on one data set with one student.

    Attributes:
        method: of its arm.
        count: cells, one a seed.
        failed: how many have failed.
        columns: what is known of the finished ones, by column of the results [n]; NaN where it is not known.
    """

    method: str
    count: int
    failed: int
    columns: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def n(self) -> int:
        """Finished cells."""
        return len(next(iter(self.columns.values())))

    @property
    def missing(self) -> int:
        return self.count - self.n

    @property
    def absent(self) -> str:
        """What a table shows where no cell is finished."""
        return "failed" if self.failed else "–"

    def mean(self, name: str) -> float:
        """NaN where one of them is not known, or none is finished."""
        return float(self[name].mean()) if self.n else math.nan

    def std(self, name: str) -> float:
        """Standard deviation over seeds, ddof = 1; NaN below two."""
        return float(self[name].std(ddof=1)) if self.n > 1 else math.nan


def runs_of(results: pd.DataFrame, *names: str) -> dict[tuple[str, str], dict[str, Runs]]:
    """By (data, student), and by row in the suite's order; with these numeric columns."""
    columns = {name: pd.to_numeric(results[name]).to_numpy(float, na_value=math.nan) for name in names}
    places: dict[tuple[str, str], dict[str, list[int]]] = {}
    order = (results[name].tolist() for name in ("data", "student", "row"))
    for number, (data, student, row) in enumerate(zip(*order, strict=True)):
        places.setdefault((data, student), {}).setdefault(row, []).append(number)
    methods, statuses = results.method.tolist(), results.status.tolist()
    found: dict[tuple[str, str], dict[str, Runs]] = {}
    for place, rows in places.items():
        for row, cells in rows.items():
            done = [number for number in cells if statuses[number] == "done"]
            failed = sum(statuses[number] == "failed" for number in cells)
            values = {name: column[done] for name, column in columns.items()}
            found.setdefault(place, {})[row] = Runs(methods[cells[0]], len(cells), failed, values)
    return found
