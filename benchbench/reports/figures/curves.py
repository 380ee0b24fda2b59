"""Learning curves: accuracy of each arm by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from pydantic_core import from_json

from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import Look, PanelLayout, looks, not_drawn, panels
from benchbench.reports.summary import finished
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Accuracy by epoch, a column for each seed; by row of the tables.
Curves = dict[str, pd.DataFrame]
BANDS = 12  # with more arms than these in a panel, their bands would hide one another
NOTES = ["line: mean over seeds; markers: the last epoch"]


def curves(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """Accuracy by epoch, on the validation split where there is one, else on the augmented training images.

    A panel for each data set and student; None where no finished run has a curve.
    """
    name = "validation_accuracy" if plan.suite.selection.validation else "train_accuracy"
    groups, unreadable = _groups(results, store, name)
    if not groups:
        return None
    look = looks(results)
    drawn_rows = {row for runs in groups.values() for row in runs}
    handles = [style.handle(row) for row, style in look.items() if row in drawn_rows]
    titles, label = [", ".join(pair) for pair in groups], f"{name.replace('_', ' ').replace('train', 'training')} (%)"
    figure, axes = panels(titles, handles, PanelLayout("epoch", label))
    banded = max(map(len, groups.values())) <= BANDS
    for axis, runs in zip(axes, groups.values(), strict=True):
        _draw(axis, runs, look, banded)
    bands = "band: standard deviation over seeds; none for one seed" if banded else f"no bands: over {BANDS} arms"
    lost = [f"{unreadable} of the curves cannot be read"] if unreadable else []
    notes = [f"{NOTES[0]}; {bands}", *lost, *not_drawn(results)]
    return Figure("curves", f"Learning curves of {plan.suite.name}", figure, notes)


def _groups(results: pd.DataFrame, store: Store, name: str) -> tuple[dict[tuple[str, str], Curves], int]:
    """Runs with a curve by (data, student), and the number of curves that cannot be read."""
    groups: dict[tuple[str, str], Curves] = {}
    unreadable = 0
    for (data, student, row), cells in finished(results).groupby(["data", "student", "row"], sort=False):
        runs = [read_curve(store, str(key), name) for key in cells["key"]]
        unreadable += sum(run is None for run in runs)
        readable = [run for run in runs if run is not None and len(run)]
        if readable:
            groups.setdefault((data, student), {})[row] = pd.concat(readable, axis=1)
    return groups, unreadable


def _draw(axis: Axes, runs: Curves, look: Mapping[str, Look], banded: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for row, frame in runs.items():
        style = look[row]
        mean, spread = 100 * frame.mean(axis=1), 100 * frame.std(axis=1, ddof=1)
        # A marker at the end: one per epoch would hide the line.
        axis.plot(
            mean.index, mean, color=style.color, linestyle=style.line, marker=style.marker, markevery=[len(mean) - 1]
        )
        if banded and frame.shape[1] > 1:
            axis.fill_between(mean.index, mean - spread, mean + spread, color=style.color, alpha=0.15, linewidth=0)


def read_curve(store: Store, key: str, name: str) -> pd.Series | None:
    """One number of a cell's curve by epoch; empty where it was not trained, None where the file cannot be read.

    The epochs of a two-stage method's first stage are left out.
    """
    try:
        lines = store.stage("cell", key).curve.read_text(encoding="utf-8").splitlines()
        epochs = [from_json(line) for line in lines]
        return pd.Series({row["epoch"]: float(row[name]) for row in epochs if row["epoch"] > 0}, dtype=float)
    except (OSError, ValueError, KeyError, TypeError):
        return None
