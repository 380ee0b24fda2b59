"""Total device-hours against the number of tasks: pre-training once and fine-tuning, or distilling for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import Look, PanelLayout, ink, line_handle, looks, not_drawn, panels, unit_of
from benchbench.reports.summary import finished
from benchbench.reports.tables.break_even import Contest, contests, task_hours
from benchbench.statistics.break_even import Ways, break_even
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST, MOST = 10.0, 1e6  # tasks that an axis ends at
PALE = 0.4  # of what is beside the point: the teacher's pre-training, and intervals
NOTES = [
    "a task: its own training and the stages that it needs in full; mark: the tasks from which one pre-training costs "
    "less, with its interval over seeds; pale line: the teacher's pre-training is paid too",
]


def break_even_figure(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """A panel for each data set and student, a line for each arm; None where the table of the same name is."""
    found = contests(results, plan)
    if not found:
        return None
    groups: dict[str, list[Contest]] = {}
    for contest in found:
        groups.setdefault(f"{contest.group.data}, {contest.group.student}", []).append(contest)
    look = looks(results)
    reference = " / ".join(dict.fromkeys(contest.group.reference or "" for contest in found))
    rows = [row for row in look if row in {contest.row for contest in found}]
    handles = [line_handle(reference, ink(), "-"), *(look[row].handle(row) for row in rows)]
    layout = PanelLayout("tasks", f"{unit_of(finished(results))} in all", height=2.2)
    figure, axes = panels(list(groups), handles, layout)
    for axis, members in zip(axes, groups.values(), strict=True):
        _draw(axis, members, look)
    title = f"Hours in all by number of tasks in {plan.suite.name}"
    return Figure("break_even", title, figure, [*NOTES, *not_drawn(results)])


def _draw(axis: Axes, members: Sequence[Contest], looks_of: Mapping[str, Look]) -> None:
    """Lines of one panel, on axes of powers of ten."""
    results = [break_even(member.ways(), member.level) for member in members]
    finite = [each.tasks for each in results if each.first_later and math.isfinite(each.tasks)]
    last = min(MOST, max([FEWEST, *(10 * tasks for tasks in finite)]))
    tasks = np.geomspace(1, last, 100)
    axis.set(xscale="log", yscale="log", xlim=(1, last))
    first = members[0]
    axis.plot(tasks, first.pretraining + tasks * task_hours(first.reference).mean(), color=ink(), linestyle="-")
    for member, result in zip(members, results, strict=True):
        look = looks_of[member.row]
        line = {"color": look.color, "linestyle": look.line}
        axis.plot(tasks, _costs(member.ways(), tasks), **line)
        if member.teachers_pretraining > 0:
            axis.plot(tasks, _costs(member.ways(with_teacher=True), tasks), **line, alpha=PALE)
        if result.first_later and 1 <= result.tasks <= last:
            height = float(_costs(member.ways(), np.array([result.tasks]))[0])
            axis.plot([result.tasks], [height], look.marker, color=look.color)
            if not math.isnan(result.low):
                ends = [max(1.0, result.low), min(last, result.high)]
                axis.plot(ends, [height, height], color=look.color, linewidth=2.5, alpha=PALE)


def _costs(ways: Ways, tasks: np.ndarray) -> np.ndarray:
    """Of the second way, distillation, by number of tasks."""
    return ways.second_fixed + tasks * ways.second.mean()
