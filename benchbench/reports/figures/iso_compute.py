"""Accuracy against device-hours of arms of several lengths, with the places where distillation meets fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import (
    MARKER,
    Look,
    PanelLayout,
    ink,
    line_handle,
    looks,
    not_drawn,
    number_axis,
    panels,
    unit_of,
)
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.run_hours import (
    ACCOUNTING_NOTE,
    ACCOUNTINGS,
    Accounting,
    accounting_label,
    arm_names,
    run_hours,
    unknown_hours,
)
from benchbench.reports.summary import finished, level_of
from benchbench.reports.tables.crossings import Arm, Pair, arms_of, interval_note, pairs_of
from benchbench.statistics.crossing import Crossing
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CROSSING = "crossing, with its interval"
RING, ARROW = 2 * MARKER, 1.5 * MARKER
MOST_OF_TWO = 3  # pairs of data set and student, each with a line of two panels; more stand two in a line


@dataclass(frozen=True)
class Panel:
    """One data set and student, in one way of counting hours."""

    group: Group
    arms: Sequence[Arm]
    accounting: Accounting
    pairs: Sequence[Pair]

    @property
    def label(self) -> str:
        return accounting_label(self.accounting, [runs for arm in self.arms for runs in arm.rungs])

    @property
    def hours(self) -> list[float]:
        return [float(run_hours(runs, self.accounting).mean()) for arm in self.arms for runs in arm.rungs]


def iso_compute(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """Two panels for each data set and student, a line for each ladder and a point for each other arm.

    One panel counts a run's own hours, the other all that is paid. Rings are the crossings of the table `crossings`.
    None where no ladder has two finished rungs.
    """
    each = [(group, arms_of(group, results)) for group in groups_of(results).values()]
    drawn = [(group, arms) for group, arms in each if any(arm.has_line for arm in arms)]
    if not drawn:
        return None
    parts = [
        Panel(group, arms, accounting, pairs_of(group, arms, accounting, level_of(plan)))
        for group, arms in drawn
        for accounting in ACCOUNTINGS
    ]
    look = looks(results.assign(row=arm_names(results)))
    names = {arm.name: arm.has_line for _, arms in drawn[::-1] for arm in arms}
    handles = [look[name].handle(name, names[name]) for name in look if name in names]
    if any(pair.comparison.crossings for part in parts for pair in part.pairs):
        ring = line_handle(CROSSING, ink(), "-", "o")
        ring.set(markerfacecolor="none", markersize=RING, alpha=0.7)
        handles.append(ring)
    several = len(drawn) > 1
    titles = [f"{part.group.data}, {part.group.student}: {part.label}" if several else part.label for part in parts]
    across = 2 if len(drawn) <= MOST_OF_TWO else 4
    layout = PanelLayout(f"{unit_of(finished(results))} of one run", "test accuracy (%)", height=2.2, across=across)
    figure, axes = panels(titles, handles, layout)
    for axis, part in zip(axes, parts, strict=True):
        _draw(axis, part, look)
    title = f"Accuracy by hours of one run in {plan.suite.name}"
    return Figure("iso_compute", title, figure, _notes(results, plan))


def _draw(axis: Axes, part: Panel, look: Mapping[str, Look]) -> None:
    number_axis(axis, part.hours, log=True)
    for arm in part.arms:
        style, hours = look[arm.name], [float(run_hours(runs, part.accounting).mean()) for runs in arm.rungs]
        rungs = sorted(zip(hours, arm.rungs, strict=True), key=lambda rung: rung[0])
        spread = [0.0 if math.isnan(spread := runs.std("accuracy")) else 100 * spread for _, runs in rungs]
        axis.errorbar(
            [each for each, _ in rungs],
            [float(runs.points.mean()) for _, runs in rungs],
            yerr=spread if any(spread) else None,
            color=style.color,
            marker=style.marker,
            linestyle=style.line if arm.has_line else "none",
            elinewidth=0.7,
            capsize=1.5,
        )
    for pair in part.pairs:
        for crossing in pair.comparison.crossings:
            _draw_crossing(axis, pair, crossing)
    axis.margins(0.06)


def _draw_crossing(axis: Axes, pair: Pair, crossing: Crossing) -> None:
    """A ring, and a bar of its interval that ends in an arrow at the end of the common hours where it is open."""
    height = crossing.score
    axis.plot([crossing.cost], [height], "o", color=ink(), markersize=RING, markerfacecolor="none", zorder=4)
    if math.isnan(crossing.low):
        return
    low, high = pair.comparison.low, pair.comparison.high
    ends = [low if math.isinf(crossing.low) else crossing.low, high if math.isinf(crossing.high) else crossing.high]
    axis.plot(ends, [height, height], color=ink(), linewidth=2.5, alpha=0.4, solid_capstyle="butt", zorder=3)
    for end, bound, arrow in zip(ends, (crossing.low, crossing.high), ("<", ">"), strict=True):
        if math.isinf(bound):
            axis.plot([end], [height], arrow, color=ink(), markersize=ARROW, markeredgewidth=0, zorder=4)


def _notes(results: pd.DataFrame, plan: Plan) -> list[str]:
    return [
        "mean ± standard deviation over seeds; no bar for one seed; a line joins the lengths of one arm, a point alone "
        "is an arm of one length",
        ACCOUNTING_NOTE,
        *unknown_hours(results),
        "ring: equal accuracy of a distilled arm and the first ladder that fine-tunes (else the first from scratch); "
        f"bar: {interval_note(plan)} (arrow)",
        *not_drawn(results),
    ]
