"""Results by group, a data set x student: runs that can be compared with one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchbench.statistics.examples import unpack

# Sources of hours of pre-training: the suite runs it, or its published recipe is priced.
BASES = ("measured", "estimated")
# Methods that make a student which no pre-training has made, and which other arms may go on from.
NOT_PRETRAINED = {"scratch", "distill"}


class Columns:
    """Columns of the results as arrays, each converted once."""

    def __init__(self, results: pd.DataFrame):
        self._results = results
        self._numbers: dict[str, np.ndarray] = {}

    def numbers(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Values of some rows of the results [n]; NaN where they are unknown."""
        if name not in self._numbers:
            self._numbers[name] = pd.to_numeric(self._results[name]).to_numpy(float, na_value=math.nan)
        return self._numbers[name][np.asarray(indices, int)]

    def texts(self, name: str, indices: Sequence[int]) -> list[str]:
        """Texts of some rows of the results."""
        column = self._results[name]
        return [str(column.iloc[index]) for index in indices]

    @cached_property
    def bits(self) -> list[str | None]:
        return self._results["test_correct"].tolist()


@dataclass(frozen=True)
class Runs:
    """The cells of one row of the tables in one group.

    Attributes:
        method: of its arm.
        count: number of cells, one per seed.
        failed: number of those that have failed.
        finished: indices of the finished ones in the results.
        columns: of the results.
        goes_on: True where they go on from the student of another arm, as the function of that name has it.
    """

    method: str
    count: int
    failed: int
    finished: Sequence[int]
    columns: Columns
    goes_on: bool = False

    def __getitem__(self, name: str) -> np.ndarray:
        """A numeric column of the finished cells [n]; NaN where it is unknown."""
        return self.columns.numbers(name, self.finished)

    @property
    def n(self) -> int:
        """Number of finished cells."""
        return len(self.finished)

    @property
    def missing(self) -> int:
        return self.count - self.n

    @property
    def absent(self) -> str:
        """Text of a table where no cell is finished."""
        return "failed" if self.failed else "–"

    @property
    def points(self) -> np.ndarray:
        """Test accuracies in points [n]."""
        return 100 * self["accuracy"]

    def mean(self, name: str) -> float:
        """NaN where one of them is unknown, or none is finished."""
        return float(self[name].mean()) if self.n else math.nan

    def std(self, name: str) -> float:
        """Standard deviation over seeds, ddof = 1; NaN below two."""
        return float(self[name].std(ddof=1)) if self.n > 1 else math.nan

    def basis(self, column: str = "pretraining_basis") -> str:
        """Source of hours of pre-training: "measured" or "estimated"; empty where there are none."""
        return next((text for text in self.columns.texts(column, self.finished) if text in BASES), "")

    @cached_property
    def correct(self) -> np.ndarray | None:
        """Right answers of each run that has bits, booleans [runs, images]; None where none has any."""
        counts = self["test_images"].astype(int).tolist()
        bits = [self.columns.bits[index] for index in self.finished]
        packed = [(text, count) for text, count in zip(bits, counts, strict=True) if isinstance(text, str)]
        if len({count for _, count in packed}) != 1:
            return None
        return np.stack([unpack(text, count) for text, count in packed])


@dataclass(frozen=True)
class Group:
    """One student on one data set.

    Attributes:
        data, student: labels.
        rows: its runs by their row in the tables, in the suite's order.
        columns: of the results.
    """

    data: str
    student: str
    rows: dict[str, Runs]
    columns: Columns

    def __getitem__(self, row: str | None) -> Runs:
        """The runs of a row; none where the group has no such row."""
        return self.rows.get(row or "") or Runs("", 0, 0, (), self.columns)

    def rows_by_method(self, *methods: str) -> list[str]:
        """Its rows of some methods, without those that go on from a distilled student or one from scratch."""
        return [row for row, runs in self.rows.items() if runs.method in methods and not runs.goes_on]

    @property
    def reference(self) -> str | None:
        """The row of the first arm that fine-tunes a pre-trained student, which others are compared with."""
        return next(iter(self.rows_by_method("finetune")), None)

    @property
    def resolution(self) -> float:
        """Value of one test image, in points; 0 before anything is done, and where pixels or boxes are counted."""
        finished = max((runs.finished[-1] for runs in self.rows.values() if runs.n), default=None)
        counted = ("miou", "map")
        if finished is None or any(not math.isnan(self.columns.numbers(name, [finished])[0]) for name in counted):
            return 0.0
        return 100 / int(self.columns.numbers("test_images", [finished])[0])


def goes_on(results: pd.DataFrame) -> pd.Series:
    """True for each cell that goes on training a student which another arm distilled, or trained from scratch.

    Its method may be `finetune`, and yet it is no pre-train + fine-tune. An arm that distils is one wherever it starts.
    """
    pairs = zip(results["method"], results["earlier_methods"], strict=True)
    answers = [method != "distill" and not NOT_PRETRAINED.isdisjoint(str(text).split(" + ")) for method, text in pairs]
    return pd.Series(answers, results.index, dtype=bool)


def groups_of(results: pd.DataFrame) -> dict[tuple[str, str], Group]:
    """Every group by (data, student), in the suite's order."""
    columns = Columns(results)
    methods, statuses, going_on = results.method.tolist(), results.status.tolist(), goes_on(results).tolist()
    cells: dict[tuple[str, str], dict[str, list[int]]] = {}
    positions = zip(*(results[name].tolist() for name in ("data", "student", "row")), strict=True)
    for index, (data, student, row) in enumerate(positions):
        cells.setdefault((data, student), {}).setdefault(row, []).append(index)

    def runs(indices: list[int]) -> Runs:
        failed = sum(statuses[index] == "failed" for index in indices)
        finished = [index for index in indices if statuses[index] == "done"]
        return Runs(methods[indices[0]], len(indices), failed, finished, columns, going_on[indices[0]])

    return {
        (data, student): Group(data, student, {row: runs(indices) for row, indices in rows.items()}, columns)
        for (data, student), rows in cells.items()
    }
