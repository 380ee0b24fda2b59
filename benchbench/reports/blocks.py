"""Results by block, a data set x student: what can be compared with one another."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from benchbench.statistics.examples import unpack


@dataclass
class Cells:
    """The cells of one row of the tables in one block.

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
class Block:
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
        """Test accuracies of a row in points [n]; none where the block has no such row."""
        return self.rows[row].runs if row in self.rows else np.empty(0)


def blocks_of(results: pd.DataFrame) -> list[Block]:
    """Every block, in the suite's order."""
    blocks: dict[tuple[str, str], Block] = {}
    names = ["data", "student", "row", "method", "status", "accuracy", "test_images", "test_correct"]
    for data, student, row, method, status, accuracy, images, packed in zip(
        *(results[name].tolist() for name in names), strict=True
    ):
        block = blocks.setdefault((data, student), Block(data, student))
        cells = block.rows.setdefault(row, Cells(method))
        cells.count += 1
        cells.failed += status == "failed"
        if status == "done":
            block.images = int(images)
            cells.accuracies.append(float(accuracy))
            if isinstance(packed, str):
                cells.packed.append((packed, int(images)))
    return list(blocks.values())
