"""A figure of the device-hours of each arm, by section of its stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import COLORS, FONT, HATCHES, PanelLayout, not_drawn, panels, unit_of, wrapped
from benchbench.reports.summary import finished
from benchbench.reports.tables.ledger import SECTIONS
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLACE = ["data", "student", "row"]
SHARED = "share of other stages"
CHARGED = "charged"
LABEL = 36  # characters of a line beside a bar
NOTES = [
    "one run as if alone, means over seeds, by section of its record, and its share of other stages; tick: the hours "
    "of both in the tables; pre-training is not in it"
]


def costs(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """A bar for each arm, stacked by section of its time, a panel for each data set and student.

    None before anything is done.
    """
    from matplotlib.patches import Patch

    lines = hours_by_section(finished(results), store)
    if lines.empty:
        return None
    means = lines.groupby(level=PLACE, sort=False).mean()
    names = [name for name in means if name != CHARGED and means[name].sum() > 0]
    rows = [row for row in dict.fromkeys(results["row"]) if row in means.index.get_level_values("row")]
    # The same bars in every panel: labels stand at the left alone.
    groups = {pair: each.droplevel([0, 1]).reindex(rows) for pair, each in means.groupby(level=[0, 1], sort=False)}
    handles = [Patch(label=wrapped(SECTIONS.get(name, name)), **_fill(index)) for index, name in enumerate(names)]
    labels = [wrapped(row, LABEL) for row in rows]
    # As close as labels allow, which take about 20 letters an inch.
    height = 0.6 + (0.03 + 0.11 * max(label.count("\n") + 1 for label in labels)) * len(rows)
    titles, unit = [", ".join(pair) for pair in groups], unit_of(finished(results))
    figure, axes = panels(titles, handles, PanelLayout(f"{unit} of one run", "", height, margin=LABEL / 20))
    left = min(axis.get_position().x0 for axis in axes)
    for axis, frame in zip(axes, groups.values(), strict=True):
        _draw(axis, frame, names)
        axis.set_yticks(range(len(rows)), labels)
        axis.tick_params(labelleft=axis.get_position().x0 == left)
    title = f"{unit} by section in {plan.suite.name}"
    return Figure("costs", title, figure, [*NOTES, *not_drawn(results)])


def hours_by_section(done: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Device-hours of every finished cell, one row each, with a column for each section; indexed by `PLACE`.

    Sections are those of the record's cost; beside them `SHARED` and `CHARGED`.
    """
    rows, places = [], []
    for cell in done.itertuples():
        try:
            record = store.stage("cell", str(cell.key)).done()
        except StoreError:
            continue  # damaged since the results were read
        if record is None:
            continue
        cost, shared = record.cost, float(cell.shared_stage_hours)
        hours = {name: seconds * cost.devices / 3600 for name, seconds in cost.alone_seconds.items()}
        places.append(tuple(getattr(cell, name) for name in PLACE))
        rows.append({**hours, SHARED: shared, CHARGED: float(cell.own_hours) + shared})
    if not rows:
        return pd.DataFrame()
    # Places are the index, for a section may have the name of one: data.
    frame = pd.DataFrame(rows, pd.MultiIndex.from_tuples(places, names=PLACE)).fillna(0.0)
    return frame[[*(name for name in frame if name not in (SHARED, CHARGED)), SHARED, CHARGED]]


def _draw(axis: Axes, frame: pd.DataFrame, names: list[str]) -> None:
    bars = range(len(frame))
    left = pd.Series(0.0, frame.index)
    for index, name in enumerate(names):
        axis.barh(bars, frame[name].fillna(0.0), 0.7, left=left, **_fill(index))
        left = left + frame[name].fillna(0.0)
    axis.plot(frame[CHARGED], bars, linestyle="none", marker="|", color="black", markersize=1.7 * FONT)
    axis.set_ylim(len(frame) - 0.5, -0.5)  # the first arm on top
    axis.locator_params(axis="x", nbins=5)
    axis.grid(visible=False, axis="y")


def _fill(index: int) -> dict[str, Any]:
    """Colour and hatch of a section; their numbers have no common factor."""
    return {
        "facecolor": COLORS[index % (len(COLORS) - 1)],  # without black, which hides the tick
        "hatch": HATCHES[index % len(HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.3,
    }
