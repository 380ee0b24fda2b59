"""Learning curves: how accuracy grows with the epochs of each arm."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pydantic_core import from_json

from benchbench.plan.model import Plan
from benchbench.reports.figure import Picture
from benchbench.reports.figures.style import looks, not_drawn, panels
from benchbench.reports.summary import finished
from benchbench.store import Store

BANDS = 12  # with more arms than these in a panel, their bands would hide one another
NOTES = ["line: mean over seeds; markers: the last epoch"]


def curves(results: pd.DataFrame, plan: Plan, store: Store) -> Picture | None:
    """Accuracy by epoch, on the validation split where there is one, else on the augmented training images.

    A panel for each data set and student; None where no finished run has a curve.
    """
    name = "validation_accuracy" if plan.suite.selection.validation else "train_accuracy"
    found: dict[tuple[str, str], dict[str, pd.DataFrame]] = {}
    unread = 0
    for (data, student, row), cells in finished(results).groupby(["data", "student", "row"], sort=False):
        runs = [read_curve(store, str(key), name) for key in cells["key"]]
        unread += sum(run is None for run in runs)
        whole = [run for run in runs if run is not None and len(run)]
        if whole:
            found.setdefault((data, student), {})[row] = pd.concat(whole, axis=1)
    if not found:
        return None
    from matplotlib.ticker import MaxNLocator

    look = looks(results)
    shown = [row for row in look if any(row in each for each in found.values())]
    label = f"{name.replace('_', ' ').replace('train', 'training')} (%)"
    handles = [look[row].handle(row) for row in shown]
    figure, axes = panels([", ".join(pair) for pair in found], handles, "epoch", label)
    banded = max(map(len, found.values())) <= BANDS
    for axis, each in zip(axes, found.values(), strict=True):
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        for row, runs in each.items():
            style = look[row]
            mean, spread = 100 * runs.mean(axis=1), 100 * runs.std(axis=1, ddof=1)
            # A marker at the end: one an epoch would hide the line.
            last: dict[str, Any] = {"marker": style.marker, "markevery": [len(mean) - 1]}
            axis.plot(mean.index, mean, color=style.color, linestyle=style.line, **last)
            if banded and runs.shape[1] > 1:
                axis.fill_between(mean.index, mean - spread, mean + spread, color=style.color, alpha=0.15, linewidth=0)
    bands = "band: standard deviation over seeds; none for one seed" if banded else f"no bands: over {BANDS} arms"
    lost = [f"{unread} of the curves cannot be read"] if unread else []
    notes = [f"{NOTES[0]}; {bands}", *lost, *not_drawn(results)]
    return Picture("curves", f"Learning curves of {plan.suite.name}", figure, notes)


def read_curve(store: Store, key: str, name: str) -> pd.Series | None:
    """One number of a cell's curve by epoch; empty where it was not trained, None where the file cannot be read.

    The epochs of a two-stage method's first stage are left out.
    """
    try:
        lines = store.stage("cell", key).curve.read_text(encoding="utf-8").splitlines()
        epochs: list[dict[str, Any]] = [from_json(line) for line in lines]
        return pd.Series({row["epoch"]: float(row[name]) for row in epochs if row["epoch"] > 0}, dtype=float)
    except (OSError, ValueError, KeyError, TypeError):
        return None
