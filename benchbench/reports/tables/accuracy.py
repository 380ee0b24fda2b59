"""The accuracy table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from benchbench.plan.model import Plan
from benchbench.reports.groups import Cells, Group, groups_of
from benchbench.reports.summary import accuracy_text
from benchbench.reports.table import Entry, Table
from benchbench.statistics.estimate import mean


def accuracy(results: pd.DataFrame, plan: Plan) -> Table:
    """Mean test accuracy with its standard deviation over seeds (ddof = 1) and n; the best of a column is bold.

    With it every mean that its t-interval holds, at the level of the suite's `statistics`, where it has three runs or
    more: below that the interval is wider than any difference. Means that read the same are bold together.
    """
    groups = groups_of(results)
    level = 1 - plan.suite.statistics.alpha
    least = [_least_of_the_best(group, level) for group in groups]
    rows = [
        [Entry(row), *(_entry(group.rows.get(row), bound) for group, bound in zip(groups, least, strict=True))]
        for row in dict.fromkeys(results["row"])
    ]
    columns = ["arm", *(f"{group.data}, {group.student}" for group in groups)]
    return Table("accuracy", f"Test accuracy (%) of {plan.suite.name}", columns, rows, _notes(results, plan))


def _least_of_the_best(group: Group, level: float) -> float:
    """The lowest mean (%), as the table shows it, that is bold."""
    done = [cells for cells in group.rows.values() if cells.accuracies]
    if not done:
        return math.inf
    best = max(done, key=lambda cells: float(np.mean(cells.accuracies)))
    if len(best.runs) < 3:
        return _shown(best)
    low, _ = mean(best.runs).interval(level)
    # Rounded up, so that no mean below the interval is taken in; the best itself always is.
    return min(math.ceil(10 * low) / 10, _shown(best))


def _shown(cells: Cells) -> float:
    """A mean as the table shows it."""
    return round(100 * float(np.mean(cells.accuracies)), 1)


def _entry(cells: Cells | None, least: float) -> Entry:
    return Entry(accuracy_text(cells), bold=cells is not None and bool(cells.accuracies) and _shown(cells) >= least)


def _notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    done = results[results.status == "done"]
    level = f"{100 * (1 - plan.suite.statistics.alpha):g} %"
    notes = [
        "mean ± standard deviation over n seeds (ddof = 1); the test split is read once a cell",
        f"bold: the best mean of a column and what its {level} t-interval holds, from n = 3 on",
    ]
    if not done.empty:
        sizes = done.drop_duplicates("data")[["data", "train_images", "test_images"]]
        shown = "; ".join(
            f"{r.data}: {r.train_images:.0f} training, {r.test_images:.0f} test images" for r in sizes.itertuples()
        )
        notes.append(shown)
        taught = done.dropna(subset="teacher_accuracy").drop_duplicates(["data", "teacher", "adapt"])
        if not taught.empty:
            each = [f"{r.teacher} ({r.adapt}) on {r.data} {100 * r.teacher_accuracy:.1f}" for r in taught.itertuples()]
            notes.append(f"teachers: {'; '.join(each)}")
    return notes
