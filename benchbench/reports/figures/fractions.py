"""Accuracy against the number of training images, where a suite has several parts of one data set."""

from __future__ import annotations

import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import PanelLayout, looks, not_drawn, number_axis, panels, spans_decades
from benchbench.reports.summary import finished
from benchbench.reports.tables.fractions import images, parts
from benchbench.store import Store

NOTES = ["mean ± standard deviation over seeds; no bar for one seed"]


def fractions(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """A panel for each data set and student, a line for each arm; None where no data set comes in several sizes."""
    done = finished(results)
    sizes = {label: (source, images(plan, label)) for source, each in parts(plan).items() for label in each.values()}
    done = done[done.data.isin(sizes)]
    if done.empty:
        return None
    points = done.assign(
        source=[sizes[label][0] for label in done.data],
        images=[sizes[label][1] for label in done.data],
        percent=100 * done.accuracy.astype(float),
    )
    look = looks(results)
    groups = {", ".join(pair): frame for pair, frame in points.groupby(["source", "student"], sort=False)}
    drawn_rows = set(points["row"])
    handles = [look[row].handle(row) for row in look if row in drawn_rows]
    figure, axes = panels(list(groups), handles, PanelLayout("training images", "test accuracy (%)", height=2.2))
    log = spans_decades(list(points.images))
    for axis, frame in zip(axes, groups.values(), strict=True):
        number_axis(axis, list(frame.images), log)
        for row, cells in frame.groupby("row", sort=False):
            style = look[str(row)]
            means = cells.groupby("images").percent.agg(["mean", "std"])
            common = {"color": style.color, "marker": style.marker, "linestyle": style.line}
            axis.errorbar(means.index, means["mean"], yerr=means["std"], elinewidth=0.7, capsize=1.5, **common)
    notes = [*NOTES, *not_drawn(results[results.data.isin(sizes)])]
    return Figure("fractions", f"Accuracy by training data in {plan.suite.name}", figure, notes)
