"""A figure of the device-hours of each arm, by section of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.reports.figure import Figure
from benchbench.reports.figures.style import (
    FONT,
    PanelLayout,
    colors,
    ink,
    muted,
    not_drawn,
    panels,
    paper,
    unit_of,
    wrapped,
)
from benchbench.reports.summary import finished
from benchbench.reports.tables.ledger import SECTIONS
from benchbench.specs.records import TrainingRecord
from benchbench.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLACE = ["data", "student", "row"]
SHARED = "share of other stages"
CHARGED = "charged"
OTHER = "other"
MOST_SECTIONS = 6  # colours that a reader tells apart; the smallest sections are one
# Places in the list of colours, the same in every figure; other sections take what is left.
COLOR_OF = {"student": 0, "teacher": 1, "data": 2, SHARED: 4}
LABEL = 36  # characters of a line beside a bar
NOTES = [
    "one run as if alone, means over seeds, by section of its record, and its share of other stages; tick: the hours "
    "of both in the tables, which leave out reading, and measuring gradients; pre-training is not in it"
]
OTHER_NOTE = "other: {}"


def costs(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """A bar for each arm, stacked by section of its time, a panel for each data set and student.

    None before anything is done.
    """
    from matplotlib.patches import Patch

    lines = hours_by_section(finished(results), store)
    if lines.empty:
        return None
    means = lines.groupby(level=PLACE, sort=False).mean()
    means, small = largest_sections(means)
    fills = section_fills([name for name in means if name != CHARGED])
    rows = [row for row in dict.fromkeys(results["row"]) if row in means.index.get_level_values("row")]
    # The same bars in every panel: labels stand at the left alone.
    groups = {pair: each.droplevel([0, 1]).reindex(rows) for pair, each in means.groupby(level=[0, 1], sort=False)}
    handles = [Patch(label=wrapped(SECTIONS.get(name, name)), **fill) for name, fill in fills.items()]
    labels = [wrapped(row, LABEL) for row in rows]
    # As close as labels allow, which take about 20 letters an inch.
    height = 0.6 + (0.03 + 0.11 * max(label.count("\n") + 1 for label in labels)) * len(rows)
    titles, unit = [", ".join(pair) for pair in groups], unit_of(finished(results))
    figure, axes = panels(titles, handles, PanelLayout(f"{unit} of one run", "", height, margin=LABEL / 20))
    left = min(axis.get_position().x0 for axis in axes)
    for axis, frame in zip(axes, groups.values(), strict=True):
        _draw(axis, frame, fills)
        axis.set_yticks(range(len(rows)), labels)
        axis.tick_params(labelleft=axis.get_position().x0 == left)
    title = f"{unit} by section in {plan.suite.name}"
    others = [OTHER_NOTE.format(", ".join(SECTIONS.get(name, name) for name in small))] if small else []
    return Figure("costs", title, figure, [*NOTES, *others, *not_drawn(results)])


def hours_by_section(done: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Device-hours of every finished cell, one row each, with a column for each section; indexed by `PLACE`.

    Sections are those of the record's cost; beside them `SHARED` and `CHARGED`.
    """
    rows, places = [], []
    for cell in done.itertuples():
        try:
            record = store.stage("cell", str(cell.key)).done()
            chosen = record.chosen if isinstance(record, TrainingRecord) else None
            trial = store.stage("trial", chosen.key).done() if chosen else None
        except StoreError:
            continue  # damaged since the results were read
        if record is None:
            continue
        shared, hours = float(cell.shared_stage_hours), dict[str, float]()
        for cost in [record.cost, *([trial.cost] if trial else [])]:  # of a search, the chosen trial has trained it
            for name, seconds in cost.alone_seconds.items():
                hours[name] = hours.get(name, 0.0) + seconds * cost.devices / 3600
        places.append(tuple(getattr(cell, name) for name in PLACE))
        rows.append({**hours, SHARED: shared, CHARGED: float(cell.own_hours) + shared})
    if not rows:
        return pd.DataFrame()
    # Places are the index, for a section may have the name of one: data.
    frame = pd.DataFrame(rows, pd.MultiIndex.from_tuples(places, names=PLACE)).fillna(0.0)
    return frame[[*(name for name in frame if name not in (SHARED, CHARGED)), SHARED, CHARGED]]


def largest_sections(means: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The columns of the largest sections in their order, the others summed up in `OTHER`; and the names of those."""
    totals = means.drop(columns=[SHARED, CHARGED]).sum()
    names = [name for name in totals.index if totals[name] > 0]
    last = [name for name in (SHARED, CHARGED) if name == CHARGED or means[name].sum() > 0]
    room = MOST_SECTIONS - (SHARED in last)
    if len(names) <= room:
        return means[[*names, *last]], []
    kept = set(totals[names].nlargest(room - 1).index)
    small = [name for name in names if name not in kept]
    summed = means.assign(**{OTHER: means[small].sum(axis=1)})
    return summed[[*(name for name in names if name in kept), OTHER, *last]], small


def section_fills(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and edge of each section."""
    palette = dict(enumerate(colors()[:MOST_SECTIONS]))
    taken = {name: palette.pop(COLOR_OF[name]) for name in names if name in COLOR_OF}
    free = iter(palette.values())
    fills = {name: muted() if name == OTHER else taken.get(name) or next(free) for name in names}
    return {name: {"facecolor": color, "edgecolor": paper(), "linewidth": 0.3} for name, color in fills.items()}


def _draw(axis: Axes, frame: pd.DataFrame, fills: Mapping[str, Mapping[str, Any]]) -> None:
    bars = range(len(frame))
    left = pd.Series(0.0, frame.index)
    for name, fill in fills.items():
        axis.barh(bars, frame[name].fillna(0.0), 0.7, left=left, **fill)
        left = left + frame[name].fillna(0.0)
    axis.plot(frame[CHARGED], bars, linestyle="none", marker="|", color=ink(), markersize=1.7 * FONT)
    axis.set_ylim(len(frame) - 0.5, -0.5)  # the first arm on top
    axis.locator_params(axis="x", nbins=5)
    axis.grid(visible=False, axis="y")
