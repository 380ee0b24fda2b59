"""What several tables and figures say of the cells of one arm, data set and student."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.groups import Cells
from benchbench.statistics.estimate import welch
from benchbench.suite.schema import WeightedRef


def finished(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that are done."""
    return cells[cells.status == "done"]


def absent(cells: Cells | None) -> str:
    """What a table shows of cells none of which is done."""
    return "failed" if cells and cells.failed else "–"


def accuracy_text(cells: Cells | None) -> str:
    """Mean test accuracy (%), its standard deviation over seeds (ddof = 1), n, and how many cells are not done."""
    if cells is None or not cells.accuracies:
        return absent(cells)
    n = len(cells.accuracies)
    spread = f" ± {cells.runs.std(ddof=1):.1f}" if n > 1 else ""
    missing = f", {cells.missing} missing" if cells.missing else ""
    return f"{100 * np.mean(cells.accuracies):.1f}{spread} (n={n}{missing})"


def difference_text(cells: Cells | None, reference: Cells | None, resolution: float, level: float) -> str:
    """Mean accuracy of some cells minus that of others in points, with the t-interval that `difference_note` tells of.

    Args:
        cells, reference: whose means.
        resolution: what one test image is worth, in points.
        level: of the interval, 0..1.
    """
    if not cells or not reference or not cells.accuracies or not reference.accuracies:
        return "–"
    text = f"{cells.runs.mean() - reference.runs.mean():+.1f}"
    if min(len(cells.accuracies), len(reference.accuracies)) < 2:
        return text
    low, high = welch(cells.runs, reference.runs, resolution).interval(level)
    return f"{text} [{low:+.1f}, {high:+.1f}]"


def difference_note(plan: Plan) -> str:
    """What `difference_text` gives, for the notes of a table."""
    return f"difference of the means in points, with its {100 * level_of(plan):g} % t-interval (Welch) over seeds"


def level_of(plan: Plan) -> float:
    """The level of a suite's intervals."""
    return 1 - plan.suite.statistics.alpha


def hours_text(hours: float) -> str:
    """Three significant digits, without a power of ten."""
    return f"{hours:,.{max(0, 2 - math.floor(math.log10(hours)))}f}" if hours > 0 else "0"


def scratch_row(plan: Plan) -> str | None:
    """The row of the student alone: the first arm that trains from scratch by plain cross-entropy, if there is one."""
    alone = [WeightedRef(name="ce")]
    for label, arm in plan.suite.arms.items():
        if arm.method == "scratch" and arm.loss == alone:
            return label
    return None


def labels_of(results: pd.DataFrame, *columns: str) -> list[str]:
    """Of these columns, those that tell rows of a table apart: all of them if any pair differs, else none."""
    return list(columns) if len(results[list(columns)].drop_duplicates()) > 1 else []
