"""Accuracy against device-hours of each arm, with the arms that no other beats in both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.labels import LabelledPoint, Surroundings, label_points
from benchbench.reports.figures.style import (
    MARKER,
    Look,
    PanelLayout,
    finish_layout,
    line_handle,
    looks,
    muted,
    not_drawn,
    number_axis,
    panels,
    paper,
    spans_decades,
    unit_of,
    wrapped,
)
from benchbench.reports.summary import finished
from benchbench.store import Store

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

NOTES = [
    "filled: one run with its share of what was computed once, public weights taken as given; hollow, joined to it: "
    "with the pre-training of the student's weights too",
    "bars: standard deviation over seeds, of the accuracy and of the run's own hours; none for one seed",
    "lines: Pareto fronts of the means, which no arm beats in both",
]
GIVEN, COUNTED = "weights as given", "pre-training counted"
FRONT_LINES = {GIVEN: (0, (3, 2)), COUNTED: "-"}
MOST_LABELS, MOST_PANELS = 12, 2  # more are told apart by a legend
MOST_NARROW = 7  # labels in the width of a column
HEIGHT, WIDE_HEIGHT = 2.4, 3.0  # of a panel, inches


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


Groups = Mapping[str, Sequence[Point]]  # by the title of their panel


def pareto(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """Test accuracy against device-hours, a panel for each data set and student; None before anything is done."""
    return pareto_figure(results, plan.suite.name)


def pareto_figure(results: pd.DataFrame, suite: str) -> Figure | None:
    """The same, of results alone: labels stand beside the points, or in a legend where they do not fit."""
    done = finished(results)
    if done.empty:
        return None
    look = looks(results)
    groups = {", ".join(pair): points(frame) for pair, frame in done.groupby(["data", "student"], sort=False)}
    most = max(map(len, groups.values()))
    layout = PanelLayout(f"{unit_of(done)} of one run", "test accuracy (%)", height=2.2)
    figure = None
    if len(groups) <= MOST_PANELS and most <= MOST_LABELS:
        wide = most > MOST_NARROW
        figure = _labelled(groups, look, replace(layout, height=WIDE_HEIGHT if wide else HEIGHT, wide=wide))
    figure = figure or _with_legend(groups, look, layout)
    title = f"Test accuracy against {unit_of(done)} in {suite}"
    return Figure("pareto", title, figure, [*NOTES, *not_drawn(results)])


def _with_legend(groups: Groups, look: Mapping[str, Look], layout: PanelLayout) -> matplotlib.figure.Figure:
    rows = {point.row for each in groups.values() for point in each}
    handles = [look[row].handle(row, line=False) for row in look if row in rows]
    figure, axes = panels(list(groups), [*handles, *_key(groups)], layout)
    _draw_all(axes, groups, look)
    return figure


def _labelled(groups: Groups, look: Mapping[str, Look], layout: PanelLayout) -> matplotlib.figure.Figure | None:
    """A figure whose points have their labels beside them; None where one does not fit."""
    figure, axes = panels(list(groups), _key(groups), layout)
    if len(axes) == 1:  # such figures travel without their captions
        axes[0].set_title(wrapped(next(iter(groups))), loc="left")
    _draw_all(axes, groups, look)
    finish_layout(figure)
    for axis, each in zip(axes, groups.values(), strict=True):
        axis.set(autoscale_on=False)
        labels = [LabelledPoint(point.row, point.hours, point.accuracy, look[point.row].color) for point in each]
        if not label_points(axis, labels, _surroundings(axis, each)):
            return None
    return figure


def _key(groups: Groups) -> list[Line2D]:
    """Entries of a legend that say what filled and hollow points, and the two fronts, stand for."""
    is_priced = any(point.total > point.hours for each in groups.values() for point in each)
    lines = {name: FRONT_LINES[name] for name in ((GIVEN, COUNTED) if is_priced else ())}
    handles = [line_handle(name, muted(), line, "o") for name, line in lines.items()]
    for handle in handles[1:]:
        handle.set_markerfacecolor(paper())
    return handles


def _draw_all(axes: Sequence[Axes], groups: Groups, look: Mapping[str, Look]) -> None:
    hours = [[x for point in each for x in (point.hours, point.total) if x > 0] for each in groups.values()]
    log = spans_decades([x for costs in hours for x in costs])
    for axis, each, costs in zip(axes, groups.values(), hours, strict=True):
        number_axis(axis, costs, log)
        _draw(axis, each, look)
        axis.margins(0.06)


def _surroundings(axis: Axes, each: Sequence[Point]) -> Surroundings:
    """Markers and bars of a panel as boxes, fronts and connections as segments; in pixels."""
    half = 0.6 * MARKER * axis.figure.dpi / 72
    boxes, lines = [], []
    for point in each:
        spread = 0 if math.isnan(point.accuracy_spread) else point.accuracy_spread
        low, high = axis.transData.transform([(point.hours, point.accuracy + sign * spread) for sign in (-1, 1)])
        boxes.append([low[0] - half, low[1] - half, high[0] + half, high[1] + half])
        if point.total > point.hours:
            x, y = axis.transData.transform((point.total, point.accuracy))
            boxes.append([x - half, y - half, x + half, y + half])
            lines.append([low[0], y, x, y])
    for line in axis.lines:
        if line.get_drawstyle() == "steps-post":
            corners = axis.transData.transform(line.get_xydata())
            for (x0, y0), (x1, y1) in itertools.pairwise(corners):
                lines += [[x0, y0, x1, y0], [x1, y0, x1, y1]]
    return Surroundings(np.array(boxes), np.array(lines).reshape(-1, 4))


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
    for costs, line in zip(("hours", "total"), FRONT_LINES.values(), strict=True):
        best = front([(x, point.accuracy) for point in each if not math.isnan(x := getattr(point, costs))])
        # A front is a staircase: below the cost of an arm, the one before it is the best.
        axis.plot(*zip(*best, strict=True), drawstyle="steps-post", color=muted(), linestyle=line, lw=0.8, zorder=1.5)
    for point in each:
        style = look[point.row]
        across = None if math.isnan(point.hours_spread) else min(point.hours_spread, 0.99 * point.hours)
        up = None if math.isnan(point.accuracy_spread) else point.accuracy_spread
        common: dict[str, Any] = {"color": style.color, "marker": style.marker, "linestyle": "none"}
        bars: dict[str, Any] = {"elinewidth": 0.7, "capsize": 1.5, "label": point.row}
        axis.errorbar(point.hours, point.accuracy, yerr=up, xerr=across, **bars, **common)
        if point.total > point.hours:
            ends = (point.hours, point.total), (point.accuracy, point.accuracy)
            axis.plot(*ends, color=style.color, linestyle=(0, (1, 2)), lw=0.7, zorder=1.6)
            axis.plot(point.total, point.accuracy, **common, markerfacecolor=paper())
