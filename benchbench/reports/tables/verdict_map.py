"""The verdict on the best distilled arm against fine-tuning at equal compute, by data set, student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.run_hours import (
    ACCOUNTING_NOTE,
    ACCOUNTINGS,
    Accounting,
    accounting_label,
    run_hours,
    unknown_hours,
)
from benchbench.reports.summary import hours_text
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.fractions import images
from benchbench.reports.tables.verdicts import TOO_SMALL, ArmComparison, compare_group, p_text
from benchbench.statistics.noninferiority import INCONCLUSIVE, MATCHES

MORE_HOURS = 1.1  # of the distilled arm's hours, the most that a fine-tuned one of equal compute may have
NO_FINETUNE, UNFINISHED = "no fine-tune that cheap", "not finished"
ANY = "any"


@dataclass(frozen=True)
class MapCell:
    """One cell of a map.

    Attributes:
        data, student: of the runs.
        teacher: of the distilled arms that it looks at, with its state; `ANY` of all.
        verdict: as in `benchbench.statistics.noninferiority`, or `TOO_SMALL`, `NO_FINETUNE` or `UNFINISHED`.
        arm: the best distilled arm, and what it is compared with; None where nothing is finished.
        hours, reference_hours: of one run of both, on average.
    """

    data: str
    student: str
    teacher: str
    verdict: str
    arm: ArmComparison | None = None
    hours: float = 0.0
    reference_hours: float = 0.0

    @property
    def is_worse(self) -> bool:
        """True where the interval lies below 0 though the verdict does not say so."""
        interval = self.arm.interval if self.arm else None
        return interval is not None and interval[1] < 0 and self.verdict in (MATCHES, INCONCLUSIVE)


@dataclass(frozen=True)
class VerdictMap:
    """A grid of cells in one way of counting hours.

    Attributes:
        title: what its lines and columns are, and how hours are counted.
        accounting: of the hours.
        lines, columns: labels.
        cells: by line and column; those that a suite does not have are left out.
    """

    title: str
    accounting: Accounting
    lines: Sequence[str]
    columns: Sequence[str]
    cells: dict[tuple[str, str], MapCell]


@dataclass(frozen=True)
class _Line:
    """One line of a map: a data set, and the distilled rows of the tables that it looks at, by student."""

    label: str
    data: str
    teacher: str
    rows: dict[str, list[str]]


Groups = dict[tuple[str, str], Group]  # by data set and student


def verdict_maps(results: pd.DataFrame, plan: Plan) -> list[VerdictMap]:
    """Data set x student and teacher x student, each once by the hours as given and once with all paid.

    The teachers' are of every data set in its largest size. A grid of one cell is left out, and so is one of teachers
    where there is one; none where no arm distils or none fine-tunes, or before any distilled arm is finished.
    """
    distilled = results[results.method == "distill"]
    groups = groups_of(results)
    if not (distilled.status == "done").any() or not any(group.reference for group in groups.values()):
        return []
    data = sorted(dict.fromkeys(data for data, _ in groups), key=lambda label: _position(label, plan))
    grids = [
        ("data × student", [_line_of_data(label, groups, plan) for label in data]),
        ("teacher × student", _lines_of_teachers(distilled, data, plan)),
    ]
    maps = [_map(*grid, groups, _Judge(plan, accounting)) for grid in grids for accounting in ACCOUNTINGS]
    return [each for each in maps if len(each.cells) > 1]


def _map(title: str, lines: Sequence[_Line], groups: Groups, judge: _Judge) -> VerdictMap:
    cells = {
        (line.label, student): judge.cell(groups[line.data, student], line.teacher, rows)
        for line in lines
        for student, rows in line.rows.items()
    }
    students = dict.fromkeys(student for _, student in groups)
    columns = [student for student in students if any(student in line.rows for line in lines)]
    all_runs = [runs for group in groups.values() for runs in group.rows.values()]
    title = f"{title}, {accounting_label(judge.accounting, all_runs)}"
    return VerdictMap(title, judge.accounting, [line.label for line in lines], columns, cells)


def _position(label: str, plan: Plan) -> tuple[int, int]:
    """Of a data set: its source's place in the suite, then its size."""
    sources = [str(entry.source) for entry in plan.suite.data.values()]
    return sources.index(str(plan.suite.data[label].source)), images(plan, label)


def _line_of_data(label: str, groups: Groups, plan: Plan) -> _Line:
    rows = {
        student: [row for row, runs in group.rows.items() if runs.method == "distill"]
        for (data, student), group in groups.items()
        if data == label
    }
    return _Line(f"{label} ({images(plan, label):,} images)", label, ANY, rows)


def _lines_of_teachers(distilled: pd.DataFrame, data: Sequence[str], plan: Plan) -> list[_Line]:
    """A line for every teacher in each state, of the largest part of every data set; none for one teacher."""
    teachers = distilled[["teacher", "adapt"]].drop_duplicates().itertuples(index=False)
    pairs = [(str(name), str(state)) for name, state in teachers]
    largest = {_position(label, plan)[0]: label for label in data}.values()  # they come from small to large
    lines = []
    for label in largest:
        for name, state in pairs if len(pairs) > 1 else ():
            cells = distilled[(distilled.data == label) & (distilled.teacher == name) & (distilled.adapt == state)]
            rows: dict[str, list[str]] = {}
            for student, row in cells[["student", "row"]].drop_duplicates().itertuples(index=False):
                rows.setdefault(student, []).append(row)
            teacher = f"{name} ({state})"
            lines.append(_Line(f"{label}, {teacher}" if len(data) > 1 else teacher, label, teacher, rows))
    return lines


@dataclass(frozen=True)
class _Judge:
    """Compares by the rules of a suite, in one way of counting hours."""

    plan: Plan
    accounting: Accounting

    def cell(self, group: Group, teacher: str, rows: Sequence[str]) -> MapCell:
        """The best of some distilled rows, by mean accuracy, against fine-tuning at equal compute."""
        place = group.data, group.student, teacher
        finished = [row for row in rows if group[row].n]
        if not finished or not _tuned(group):
            return MapCell(*place, UNFINISHED)
        # One run may have been lucky: the best is one of those that show a spread, where there are any.
        spread = [row for row in finished if group[row].n > 1] or finished
        best = max(spread, key=lambda row: group[row].mean("accuracy"))
        hours = self._hours(group, best)
        reference = self._equal_compute(group, hours)
        rules = self.plan.suite.statistics
        arms = compare_group(group, finished, reference, rules.margin, rules.alpha)  # corrected for the choice
        arm = next(arm for arm in arms if arm.row == best)
        if reference is None:
            return MapCell(*place, NO_FINETUNE, arm, hours)
        return MapCell(*place, arm.verdict or TOO_SMALL, arm, hours, self._hours(group, reference))

    def _equal_compute(self, group: Group, hours: float) -> str | None:
        """The fine-tuned row that costs most, of those that cost no more than these hours and a tenth."""
        cheap = [row for row in _tuned(group) if self._hours(group, row) <= MORE_HOURS * hours * (1 + 1e-9)]
        return max(cheap, key=lambda row: self._hours(group, row)) if cheap else None

    def _hours(self, group: Group, row: str) -> float:
        return float(run_hours(group[row], self.accounting).mean())


def _tuned(group: Group) -> list[str]:
    """The finished rows that fine-tune a pre-trained student."""
    return [row for row in group.rows_by_method("finetune") if group[row].n]


def verdict_map_table(results: pd.DataFrame, plan: Plan) -> Table | None:
    """The best distilled arm of each cell against the fine-tuned one of equal compute; None where there is no map."""
    maps = verdict_maps(results, plan)
    if not maps:
        return None
    with_teachers = any(cell.teacher != ANY for each in maps for cell in each.cells.values())
    rows = []
    for each in maps:
        for cell in each.cells.values():
            teacher = [cell.teacher] if with_teachers else []
            texts = [cell.data, cell.student, *teacher, each.accounting, *_texts(cell)]
            rows.append([Entry(text) for text in texts])
    labels = ["data", "student", *(["teacher"] if with_teachers else []), "hours counted"]
    columns = [*labels, "best arm", "hours of it", "fine-tune", "hours of that", "difference", "verdict", "p", "n"]
    title = f"Distillation against fine-tuning at equal compute in {plan.suite.name}"
    return Table("verdict_map", title, columns, rows, map_notes(results, plan), len(labels))


def _texts(cell: MapCell) -> list[str]:
    """Best arm and its hours, the other and its hours, difference, verdict, p, n."""
    arm = cell.arm
    if arm is None:
        return ["–", "–", "–", "–", "–", cell.verdict, "–", "–"]
    if arm.difference is None:
        return [arm.row, hours_text(cell.hours), "–", "–", "–", cell.verdict, "–", f"{arm.n}"]
    interval = f" [{arm.interval[0]:+.2f}, {arm.interval[1]:+.2f}]" if arm.interval else ""
    sides = [arm.row, hours_text(cell.hours), str(arm.reference), hours_text(cell.reference_hours)]
    verdict = cell.verdict + (" (worse)" if cell.is_worse else "")
    return [*sides, f"{arm.difference:+.2f}{interval}", verdict, p_text(arm.p), f"{arm.n} / {arm.reference_n}"]


def map_notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    """Comparison that the verdicts are of, for the table and the figure."""
    rules = plan.suite.statistics
    return [
        "the distilled arm of the highest mean accuracy against the fine-tuned arm, or length of one, that costs most "
        f"of those that cost at most {100 * (MORE_HOURS - 1):.0f} % more than it; {NO_FINETUNE}: every one costs more",
        f"hours are of one run, on average; {ACCOUNTING_NOTE}",
        *unknown_hours(results),
        f"verdicts as in the table of that name: margin {rules.margin:g} points, {100 * (1 - rules.alpha):g} % "
        "intervals (Welch), Holm's correction over the distilled arms that the best was chosen from, so that a "
        "verdict may be more careful than its interval; (worse): the interval lies below 0",
    ]
