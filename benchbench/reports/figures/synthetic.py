"""Pictures of generated images: a sheet of each class, and quality beside gain."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from PIL import Image

from benchbench.errors import DataError, StoreError
from benchbench.plan.model import Plan
from benchbench.reports.figure import DOUBLE, Picture
from benchbench.reports.figures.style import COLORS, FONT, MARKERS, line_handle, panels, wrapped
from benchbench.reports.groups import groups_of
from benchbench.reports.tables.synthetic import MadeSet, made_sets, pairs
from benchbench.store import Store
from benchbench.synthesis.shards import Made, read_shards

CLASSES, COLUMNS, THUMBNAIL = 10, 12, 64
NAME = 14  # characters of a line beside the images
QUALITY_LABELS = {
    "fid": "FID (lower is better)",
    "coverage": "coverage",
    "agreement": "agreement with the class asked for",
}


def contact_sheet(results: pd.DataFrame, plan: Plan, store: Store) -> Picture | None:
    """The first images of each class, a panel for each set; None before any is finished."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheets = [(each, found) for each in made_sets(plan, store) if (found := _sheet(each, store)) is not None]
    if not sheets:
        return None
    rows = [len(found[1]) for _, found in sheets]
    width = DOUBLE - 1.2  # inches, beside the names
    cell = width / COLUMNS
    figure = Figure(figsize=(DOUBLE, sum(rows) * cell + 0.35 * len(sheets)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(sheets), 1, squeeze=False, gridspec_kw={"height_ratios": rows})[:, 0]
    for axis, (each, (pixels, names)) in zip(axes, sheets, strict=True):
        axis.imshow(pixels, interpolation="nearest", aspect="equal")
        axis.set_anchor("E")  # what square images leave free belongs to the names at their left
        axis.set_title(wrapped(f"{each.label}, {each.data}"), loc="left")
        middles = (np.arange(len(names)) + 0.5) * THUMBNAIL
        axis.set_yticks(middles, [wrapped(name, NAME) for name in names])
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.grid(visible=False)
        for side in axis.spines.values():
            side.set_visible(False)
    notes = [f"the first {COLUMNS} images of up to {CLASSES} classes, as they were made, with none picked out"]
    return Picture("contact_sheet", f"Generated images of {plan.suite.name}", figure, notes)


def _sheet(each: MadeSet, store: Store) -> tuple[np.ndarray, list[str]] | None:
    """The pixels of a sheet [H, W, 3] and its classes; None where the set cannot be read."""
    try:
        made = [one for one in read_shards(store.stage("synthesis", each.stage.key)) if one.png is not None]
    except (DataError, StoreError, OSError):
        return None
    names = each.record["data"]["names"]
    labels = sorted({one.label for one in made})[:CLASSES]
    if not labels:
        return None
    lines = [_line([one for one in made if one.label == label][:COLUMNS]) for label in labels]
    return np.concatenate(lines), [names[label] for label in labels]


def _line(made: list[Made]) -> np.ndarray:
    line = np.full((THUMBNAIL, COLUMNS * THUMBNAIL, 3), 255, np.uint8)
    for place, one in enumerate(made):
        with Image.open(io.BytesIO(one.png or b"")) as image:
            shown = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.NEAREST)
        line[:, place * THUMBNAIL : (place + 1) * THUMBNAIL] = np.array(shown)
    return line


def quality_and_gain(results: pd.DataFrame, plan: Plan, store: Store) -> Picture | None:
    """Gain over the same arm without generated images, against three measures of their quality.

    None where no judged set has an arm with such a twin that is done.
    """
    judged = {(each.label, each.data): each.quality for each in made_sets(plan, store) if each.quality}
    groups = {(group.data, group.student): group for group in groups_of(results)}
    points = []
    for pair in pairs(plan):
        group, quality = groups[pair.data, pair.student], judged.get((pair.set, pair.data))
        ours, theirs = (group.runs(row) for row in (pair.row, pair.twin))
        if quality and len(ours) and len(theirs):
            points.append((pair, quality, float(ours.mean() - theirs.mean())))
    measures = {
        name: title for name, title in QUALITY_LABELS.items() if any(q.get(name) is not None for _, q, _ in points)
    }
    if not measures:
        return None
    rows = list(dict.fromkeys(pair.row for pair, _, _ in points))
    looks = {row: (COLORS[n % len(COLORS)], MARKERS[n % len(MARKERS)]) for n, row in enumerate(rows)}
    handles = [line_handle(row, color, "none", marker) for row, (color, marker) in looks.items()]
    figure, axes = panels(list(measures.values()), handles, "", "gain (points)", height=1.9)
    for axis, name in zip(axes, measures, strict=True):
        axis.axhline(0, color="#999999", linewidth=0.6)
        for pair, quality, gain in points:
            if quality.get(name) is not None:
                color, marker = looks[pair.row]
                axis.plot(quality[name], gain, color=color, marker=marker, linestyle="none", markersize=FONT - 2)
        axis.margins(x=0.15)
    notes = ["each point: one arm on one data set with one student, means over seeds, against the arm without them"]
    return Picture("quality_and_gain", f"Quality of generated images and gain in {plan.suite.name}", figure, notes)
