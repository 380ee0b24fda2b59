"""Results by group, a data set x student: what can be compared with one another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from benchbench.statistics.examples import unpack


@dataclass
class Cells:
    """The cells of one row of the tables in one group.

    Attributes:
        method: of its arm.
        count: how many there are, one a seed.
        failed: how many have failed.
        accuracies: test accuracies of the finished ones, 0..1.
        packed: their bits, those that have any; see `results.COLUMNS`.
    """

    method: str
    count: int = 0
    failed: int = 0
    accuracies: list[float] = field(default_factory=list)
    packed: list[tuple[str, int]] = field(default_factory=list)

    @property
    def runs(self) -> np.ndarray:
        """Test accuracies in points [n], one a finished cell."""
        return 100 * np.array(self.accuracies, float)

    @property
    def missing(self) -> int:
        return self.count - len(self.accuracies)

    @cached_property
    def correct(self) -> np.ndarray | None:
        """Which test images each run with bits got right, booleans [runs, images]; None where none has any."""
        if len({images for _, images in self.packed}) != 1:
            return None
        return np.stack([unpack(packed, images) for packed, images in self.packed])


@dataclass
class Group:
    """One student on one data set.

    Attributes:
        data, student: which.
        rows: its cells by their row in the tables, in the suite's order.
        images: test images; 0 before anything is done.
    """

    data: str
    student: str
    rows: dict[str, Cells] = field(default_factory=dict)
    images: int = 0

    @property
    def reference(self) -> str | None:
        """The row that others are held against: the first that fine-tunes a pre-trained student; None without one."""
        return next((row for row, cells in self.rows.items() if cells.method == "finetune"), None)

    @property
    def resolution(self) -> float:
        """What one test image is worth, in points."""
        return 100 / self.images if self.images else 0.0

    def runs(self, row: str | None) -> np.ndarray:
        """Test accuracies of a row in points [n]; none where the group has no such row."""
        return self.rows[row].runs if row in self.rows else np.empty(0)


def groups_of(results: pd.DataFrame) -> list[Group]:
    """Every group, in the suite's order."""
    groups: dict[tuple[str, str], Group] = {}
    names = ["data", "student", "row", "method", "status", "accuracy", "test_images", "test_correct"]
    for data, student, row, method, status, accuracy, images, packed in zip(
        *(results[name].tolist() for name in names), strict=True
    ):
        group = groups.setdefault((data, student), Group(data, student))
        cells = group.rows.setdefault(row, Cells(method))
        cells.count += 1
        cells.failed += status == "failed"
        if status == "done":
            group.images = int(images)
            cells.accuracies.append(float(accuracy))
            if isinstance(packed, str):
                cells.packed.append((packed, int(images)))
    return list(groups.values())


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
