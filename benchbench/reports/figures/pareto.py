"""Accuracy against device-hours of each arm, with the arms that no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import (
    Look,
    PanelLayout,
    line_handle,
    looks,
    not_drawn,
    number_axis,
    panels,
    spans_decades,
    unit_of,
)
from benchbench.reports.summary import finished
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTES = [
    "filled: one run with its share of what was computed once, public weights taken as given; hollow, joined to it: "
    "with the estimated pre-training of the student's weights too",
    "bars: standard deviation over seeds, of the accuracy and of the run's own hours; none for one seed",
    "lines: Pareto fronts of the means, which no arm beats in both",
]
FRONTS = {"front, weights given": (0, (3, 2)), "front, pre-training counted": "-"}


@dataclass(frozen=True)
class Point:
    """One arm on one data set with one student; means over seeds.

    Attributes:
        row: of the tables.
        hours, hours_spread: device-hours of one run with its share of the stages, and the standard deviation of its
            own; the latter is NaN for one seed, as is that of the accuracy.
        total: with the student's pre-training too; NaN where that has no price.
        accuracy, accuracy_spread: in percent.
    """

    row: str
    hours: float
    hours_spread: float
    total: float
    accuracy: float
    accuracy_spread: float


def pareto(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """Test accuracy against device-hours, a panel for each data set and student; None before anything is done."""
    done = finished(results)
    if done.empty:
        return None
    look = looks(results)
    groups = {", ".join(pair): points(frame) for pair, frame in done.groupby(["data", "student"], sort=False)}
    drawn_rows = {point.row for each in groups.values() for point in each}
    handles = [look[row].handle(row, line=False) for row in look if row in drawn_rows]
    fronts = [line_handle(name, "#666666", line) for name, line in FRONTS.items()]
    unit = unit_of(done)
    layout = PanelLayout(f"{unit} of one run", "test accuracy (%)", height=2.2)
    figure, axes = panels(list(groups), [*handles, *fronts], layout)
    hours = [[x for point in each for x in (point.hours, point.total) if x > 0] for each in groups.values()]
    log = spans_decades([x for costs in hours for x in costs])
    for axis, each, costs in zip(axes, groups.values(), hours, strict=True):
        number_axis(axis, costs, log)
        _draw(axis, each, look)
    title = f"Test accuracy against {unit} in {plan.suite.name}"
    return Figure("pareto", title, figure, [*NOTES, *not_drawn(results)])


def points(frame: pd.DataFrame) -> list[Point]:
    """The finished arms of one data set and student."""
    arms = []
    for row, cells in frame.groupby("row", sort=False):
        columns = ("own_hours", "shared_stage_hours", "pretraining_hours", "accuracy")
        own, stages, pretraining, accuracy = (cells[name].astype(float) for name in columns)
        hours = own.mean() + stages.mean()
        # One cell without a price leaves the arm without one: a mean of the others would be another arm's.
        total = hours + pretraining.mean(skipna=False)
        arms.append(Point(str(row), hours, own.std(ddof=1), total, 100 * accuracy.mean(), 100 * accuracy.std(ddof=1)))
    return arms


def front(costs_and_gains: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The pairs that no other beats: none costs as little and gains as much, one of them better; by rising cost."""
    best: list[tuple[float, float]] = []
    for cost, gain in sorted(costs_and_gains, key=lambda pair: (pair[0], -pair[1])):
        if not best or gain > best[-1][1]:
            best.append((cost, gain))
    return best


def _draw(axis: Axes, each: Sequence[Point], look: Mapping[str, Look]) -> None:
    for costs, line in zip(("hours", "total"), FRONTS.values(), strict=True):
        best = front([(x, point.accuracy) for point in each if not math.isnan(x := getattr(point, costs))])
        # A front is a staircase: below the cost of an arm, the one before it is the best.
        axis.plot(*zip(*best, strict=True), drawstyle="steps-post", color="#666666", linestyle=line, lw=0.8, zorder=1.5)
    for point in each:
        style = look[point.row]
        across = None if math.isnan(point.hours_spread) else min(point.hours_spread, 0.99 * point.hours)
        up = None if math.isnan(point.accuracy_spread) else point.accuracy_spread
        common: dict[str, Any] = {"color": style.color, "marker": style.marker, "linestyle": "none"}
        axis.errorbar(point.hours, point.accuracy, yerr=up, xerr=across, elinewidth=0.7, capsize=1.5, **common)
        if point.total > point.hours:
            ends = (point.hours, point.total), (point.accuracy, point.accuracy)
            axis.plot(*ends, color=style.color, linestyle=(0, (1, 2)), lw=0.7, zorder=1.6)
            axis.plot(point.total, point.accuracy, **common, markerfacecolor="white")
