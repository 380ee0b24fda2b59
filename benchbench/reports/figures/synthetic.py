"""Figures of generated images: a sheet of each class, and gain against quality."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from benchbench.errors import DataError, StoreError
from benchbench.planning.model import Plan
from benchbench.reports.figure import DOUBLE, Figure
from benchbench.reports.figures.style import FONT, MARKERS, PanelLayout, colors, line_handle, muted, panels, wrapped
from benchbench.reports.groups import groups_of
from benchbench.reports.tables.synthetic import GeneratedSet, generated_sets, pairs
from benchbench.specs.records import QualityMetrics
from benchbench.store import Store
from benchbench.synthesis.shards import GeneratedImage, read_shards

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASSES, COLUMNS, THUMBNAIL = 10, 12, 64
NAME = 14  # characters of a line beside the images
QUALITY_LABELS = {
    "fid": "FID (lower is better)",
    "coverage": "coverage",
    "agreement": "agreement with the class asked for",
}


def contact_sheet(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """The first images of each class, a panel for each set; None before any is finished."""
    import matplotlib.figure
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    sets = [(each, sheet) for each in generated_sets(plan, store) if (sheet := _sheet(each, store)) is not None]
    if not sets:
        return None
    rows = [len(sheet.classes) for _, sheet in sets]
    image_side = (DOUBLE - 1.2) / COLUMNS  # inches, beside the names
    size = DOUBLE, sum(rows) * image_side + 0.35 * len(sets)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(sets), 1, squeeze=False, gridspec_kw={"height_ratios": rows})[:, 0]
    for axis, (each, sheet) in zip(axes, sets, strict=True):
        _draw_sheet(axis, sheet, f"{each.label}, {each.data}")
    notes = [f"the first {COLUMNS} images of up to {CLASSES} classes, as they were generated, with none picked out"]
    return Figure("contact_sheet", f"Generated images of {plan.suite.name}", figure, notes)


@dataclass(frozen=True)
class _Sheet:
    """A line of images for each class.

    Attributes:
        pixels: bytes [H, W, 3].
        classes: names, from top to bottom.
    """

    pixels: np.ndarray
    classes: list[str]


def _sheet(each: GeneratedSet, store: Store) -> _Sheet | None:
    """None where the set cannot be read, or is empty."""
    try:
        images = [image for image in read_shards(store.stage("synthesis", each.key)) if image.png is not None]
    except (DataError, StoreError, OSError):
        return None
    labels = sorted({image.label for image in images})[:CLASSES]
    if not labels:
        return None
    lines = [_line([image for image in images if image.label == label][:COLUMNS]) for label in labels]
    return _Sheet(np.concatenate(lines), [each.record.data.names[label] for label in labels])


def _draw_sheet(axis: Axes, sheet: _Sheet, title: str) -> None:
    axis.imshow(sheet.pixels, interpolation="nearest", aspect="equal")
    axis.set_anchor("E")  # the space that square images leave belongs to the names at their left
    axis.set_title(wrapped(title), loc="left")
    middles = (np.arange(len(sheet.classes)) + 0.5) * THUMBNAIL
    axis.set_yticks(middles, [wrapped(name, NAME) for name in sheet.classes])
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)


def _line(images: list[GeneratedImage]) -> np.ndarray:
    line = np.full((THUMBNAIL, COLUMNS * THUMBNAIL, 3), 255, np.uint8)
    for column, image in enumerate(images):
        with Image.open(io.BytesIO(image.png or b"")) as stream:
            thumbnail = stream.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.NEAREST)
        line[:, column * THUMBNAIL : (column + 1) * THUMBNAIL] = np.array(thumbnail)
    return line


@dataclass(frozen=True)
class _Point:
    """The gain of one arm by generated images, and the quality of these."""

    row: str
    quality: QualityMetrics
    gain: float


def quality_and_gain(results: pd.DataFrame, plan: Plan, store: Store) -> Figure | None:
    """Gain over the same arm without generated images, against three measures of their quality.

    None where no judged set has an arm with such a twin that is done.
    """
    points = _points(results, plan, store)
    measures = {
        name: title
        for name, title in QUALITY_LABELS.items()
        if any(getattr(point.quality, name) is not None for point in points)
    }
    if not measures:
        return None
    rows = list(dict.fromkeys(point.row for point in points))
    palette = colors()
    looks = {row: (palette[n % len(palette)], MARKERS[n % len(MARKERS)]) for n, row in enumerate(rows)}
    handles = [line_handle(row, color, "none", marker) for row, (color, marker) in looks.items()]
    figure, axes = panels(list(measures.values()), handles, PanelLayout("", "gain (points)", height=1.9))
    for axis, name in zip(axes, measures, strict=True):
        axis.axhline(0, color=muted(), linewidth=0.6)
        for point in points:
            value, (color, marker) = getattr(point.quality, name), looks[point.row]
            if value is not None:
                axis.plot(value, point.gain, color=color, marker=marker, linestyle="none", markersize=FONT - 2)
        axis.margins(x=0.15)
    notes = ["each point: one arm on one data set with one student, means over seeds, against the arm without them"]
    return Figure("quality_and_gain", f"Quality of generated images and gain in {plan.suite.name}", figure, notes)


def _points(results: pd.DataFrame, plan: Plan, store: Store) -> list[_Point]:
    qualities = {(each.label, each.data): each.quality for each in generated_sets(plan, store)}
    groups = groups_of(results)
    points = []
    for pair in pairs(plan):
        group, quality = groups[pair.data, pair.student], qualities.get((pair.set, pair.data))
        runs, twins = group[pair.row].points, group[pair.twin].points
        if quality is not None and len(runs) and len(twins):
            points.append(_Point(pair.row, quality, float(runs.mean() - twins.mean())))
    return points
