"""Texts that several tables and figures have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, Runs
from benchbench.statistics.estimate import welch
from benchbench.suite.schema import WeightedRef


def finished(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that are done."""
    return cells[cells.status == "done"]


def accuracy_text(runs: Runs) -> str:
    """Mean test accuracy (%), its standard deviation over seeds (ddof = 1), n, and the number of missing cells."""
    if not runs.n:
        return runs.absent
    spread = f" ± {runs.points.std(ddof=1):.1f}" if runs.n > 1 else ""
    missing = f", {runs.missing} missing" if runs.missing else ""
    return f"{100 * runs.mean('accuracy'):.1f}{spread} (n={runs.n}{missing})"


def difference_text(runs: Runs, reference: Runs, resolution: float, level: float) -> str:
    """Mean accuracy of some runs minus that of others in points, with a t-interval; see `difference_note`.

    Args:
        runs, reference: both sides.
        resolution: value of one test image, in points.
        level: of the interval, 0..1.
    """
    if not runs.n or not reference.n:
        return "–"
    text = f"{runs.points.mean() - reference.points.mean():+.1f}"
    if min(runs.n, reference.n) < 2:
        return text
    low, high = welch(runs.points, reference.points, resolution).interval(level)
    return f"{text} [{low:+.1f}, {high:+.1f}]"


def difference_note(plan: Plan) -> str:
    """Description of `difference_text`, for the notes of a table."""
    return f"difference of the means in points, with its {100 * level_of(plan):g} % t-interval (Welch) over seeds"


def level_of(plan: Plan) -> float:
    """The level of a suite's intervals."""
    return 1 - plan.suite.statistics.alpha


def hours_text(hours: float) -> str:
    """Three significant digits, without a power of ten; `n/a` where they are not known."""
    if math.isnan(hours):
        return "n/a"
    return f"{hours:,.{max(0, 2 - math.floor(math.log10(hours)))}f}" if hours > 0 else "0"


class StudentsAlone:
    """The runs of the students alone: of the first arm that trains from scratch by plain cross-entropy on real images.

    Attributes:
        label: of that arm; None where there is none.
    """

    def __init__(self, plan: Plan):
        plain = [WeightedRef(name="ce")]
        arms = [(label, arm) for label, arm in plan.suite.arms.items() if not (arm.synthetic or arm.start)]
        self.label = next((label for label, arm in arms if arm.method == "scratch" and arm.loss == plain), None)
        self._rows: dict[tuple[str, str], dict[str, None]] = {}
        for cell in plan.cells:
            if cell.arm == self.label:
                self._rows.setdefault((cell.data, cell.student), {})[cell.row] = None

    def beside(self, group: Group, runs: Runs) -> Runs:
        """Those of a group; where the arm has several lengths, those of as many epochs as some other runs."""
        found = [group[row] for row in self._rows.get((group.data, group.student), {})]
        if len(found) > 1:
            found = [each for each in found if each.n and runs.n and each["epochs"][0] == runs["epochs"][0]]
        return found[0] if found else group[None]


def rows_of(frame: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Each row of the tables, with its arm, and its name in tables that leave out teachers."""
    for row, cells in frame.groupby("row", sort=False):
        yield str(row), str(cells["arm"].iloc[0]), arm_name(cells)


def arm_name(cells: pd.DataFrame) -> str:
    """The name of the arm of some cells, with their length where it has several."""
    first = cells.iloc[0]
    if not isinstance(first.ladder, str):
        return str(first.arm)
    return f"{first.arm}, {first.epochs:g} epoch{'' if first.epochs == 1 else 's'}"


def trial_notes(plan: Plan) -> list[str]:
    """The number of trials of each arm, where some were searched and not all alike: such arms had unequal chances."""
    counts = {cell.row: len(cell.trials) for cell in plan.cells if cell.method != "published"}
    if len(set(counts.values())) < 2:
        return []
    by_count: dict[int, list[str]] = {}
    for row, count in counts.items():
        by_count.setdefault(count, []).append(row)
    texts = [f"{count or 'none'}: {', '.join(rows)}" for count, rows in sorted(by_count.items(), reverse=True)]
    return [f"arms had unequal numbers of trials, and more trials find better values; {'; '.join(texts)}"]


def labels_of(results: pd.DataFrame, *columns: str) -> list[str]:
    """These columns if rows of a table differ in them, else none."""
    return list(columns) if len(results[list(columns)].drop_duplicates()) > 1 else []
