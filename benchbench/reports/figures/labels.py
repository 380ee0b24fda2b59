"""Labels beside the points of a panel: each as near as the others allow, with a line to its point where it is not near.

Every label has places around its point, in rings of rising distance. Each takes its cheapest place in turn, until none
moves. Lengths are pixels; boxes and segments are arrays [..., 4] of x0, y0, x1, y1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchbench.reports.figures.style import FONT, ink, paper, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

WIDTH = 30  # characters of a line
# Places: directions from a point, and distances in letters.
DIRECTIONS = 24
RINGS = (0.8, 1.4, 2.2, 3.2, 4.4, 5.8, 7.4, 9.2, 11.2, 13.4)
NEAR = 1.2  # letters up to which no line leads to the point
SWEEPS, ORDERS = 8, 8
# Costs, in letters of distance. A place of OVERLAP or more is no place.
OVERLAP, COVERED, TANGLED, AMBIGUOUS, CROSSING, LEFT = 1e4, 20.0, 8.0, 3.0, 2.0, 0.3


@dataclass(frozen=True)
class LabelledPoint:
    """A point and its label; x and y in the units of the axes."""

    text: str
    x: float
    y: float
    color: str


@dataclass(frozen=True)
class Surroundings:
    """Shapes that labels keep clear of.

    Attributes:
        boxes: markers and bars [n, 4]; no label covers one.
        lines: segments [m, 4]; a label covers one where there is no better place.
    """

    boxes: Array
    lines: Array


@dataclass(frozen=True)
class _Places:
    """Places of one label.

    Attributes:
        boxes: of the text [k, 4].
        leaders: segments [k, 4] from the text to the point.
        led: where a line leads from the text to the point [k]: it is not near, or another point is as near.
        costs: of each place, whatever the other labels do [k].
    """

    boxes: Array
    leaders: Array
    led: Mask
    costs: Array

    def within(self, frame: Array) -> _Places:
        """The same where no place may leave a box."""
        outside = ((self.boxes[:, :2] < frame[:2]) | (self.boxes[:, 2:] > frame[2:])).any(1)
        return replace(self, costs=self.costs + OVERLAP * outside)


def label_points(axis: Axes, points: Sequence[LabelledPoint], surroundings: Surroundings) -> bool:
    """Writes the labels into a panel whose layout is final; writes none and gives False where they do not fit."""
    letter = FONT * axis.figure.dpi / 72
    targets = axis.transData.transform([(point.x, point.y) for point in points])
    frame = np.array(axis.get_window_extent().extents)
    sizes = _sizes(axis, points)
    if sizes.prod(1).sum() > (frame[2] - frame[0]) * (frame[3] - frame[1]):  # no need to try
        return False
    places = [_places(targets, n, sizes[n], letter, surroundings).within(frame) for n in range(len(points))]
    chosen = _settle(places, letter)
    if any(_cost(places, chosen, n, letter)[place] >= OVERLAP for n, place in enumerate(chosen)):
        return False
    for point, target, each, place in zip(points, targets, places, chosen, strict=True):
        _write(axis, point, each.boxes[place] - target[[0, 1, 0, 1]], each.leaders[place] if each.led[place] else None)
    return True


def _sizes(axis: Axes, points: Sequence[LabelledPoint]) -> Array:
    """Widths and heights [n, 2] of labels as they are drawn."""
    texts = [axis.text(0.5, 0.5, wrapped(each.text, WIDTH), fontsize=FONT, transform=axis.transAxes) for each in points]
    extents = [text.get_window_extent() for text in texts]
    for text in texts:
        text.remove()
    return np.array([(extent.width, extent.height) for extent in extents])


def _places(targets: Array, n: int, size: Array, letter: float, surroundings: Surroundings) -> _Places:
    """Places of label n."""
    target = targets[n]
    angles = np.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    # The middle of an edge or a corner of the text, whichever faces the point, is on the ring.
    halves = directions / np.abs(directions).max(1, keepdims=True) * size / 2
    centers = np.concatenate([target + ring * letter * directions + halves for ring in RINGS])
    boxes = np.concatenate([centers - size / 2, centers + size / 2], 1)
    leaders = np.concatenate([np.clip(target, boxes[:, :2], boxes[:, 2:]), np.broadcast_to(target, centers.shape)], 1)
    rings = np.repeat(RINGS, DIRECTIONS)
    others = np.delete(targets, n, axis=0)[:, None]
    nearest = np.linalg.norm(np.clip(others, boxes[:, :2], boxes[:, 2:]) - others, axis=-1).min(0, initial=np.inf)
    ambiguous = nearest < np.linalg.norm(leaders[:, :2] - target, axis=1) + 0.5 * letter
    led = ambiguous | (rings > NEAR)
    costs = rings + LEFT * (1 - np.tile(directions[:, 0], len(RINGS))) + AMBIGUOUS * ambiguous
    costs += OVERLAP * _overlap(_padded(surroundings.boxes, 0.15 * letter)[:, None], boxes).sum(0)
    costs += CROSSING * _crosses(surroundings.lines[:, None], boxes).sum(0)
    for part in (0.25, 0.5, 0.75):  # leaders along a line, rather than across it
        middles = np.tile(leaders[:, :2] + part * (leaders[:, 2:] - leaders[:, :2]), 2)
        costs += CROSSING * led * _crosses(surroundings.lines[:, None], _padded(middles, 1)).sum(0)
    own = (surroundings.boxes[:, :2] <= target).all(1) & (target <= surroundings.boxes[:, 2:]).all(1)
    costs += TANGLED * led * _crosses(leaders, surroundings.boxes[~own][:, None]).sum(0)
    return _Places(boxes, leaders, led, costs)


def _settle(places: Sequence[_Places], letter: float) -> list[int]:
    """The index of each label's place, of several orders in which they choose the one with the lowest cost."""
    # Those whose best places are the worst choose first; then other orders, always the same.
    first = sorted(range(len(places)), key=lambda n: (-float(np.sort(places[n].costs)[:8].mean()), n))
    draw = np.random.RandomState(0)
    orders = [first, *(draw.permutation(len(places)).tolist() for _ in range(ORDERS - 1))]
    return min((_in_turn(places, order, letter) for order in orders), key=lambda chosen: _total(places, chosen, letter))


def _total(places: Sequence[_Places], chosen: Sequence[int], letter: float) -> float:
    return sum(float(_cost(places, chosen, n, letter)[place]) for n, place in enumerate(chosen))


def _in_turn(places: Sequence[_Places], order: Sequence[int], letter: float) -> list[int]:
    """Each label takes its cheapest place in turn, until none moves."""
    chosen: list[int | None] = [None] * len(places)
    for _ in range(SWEEPS):
        before = list(chosen)
        for n in order:
            chosen[n] = int(np.argmin(_cost(places, chosen, n, letter)))
        if chosen == before:
            break
    return [place or 0 for place in chosen]


def _cost(places: Sequence[_Places], chosen: Sequence[int | None], n: int, letter: float) -> Array:
    """Costs [k] of the places of label n, given those of the others."""
    own, costs = places[n], places[n].costs.copy()
    for other, place in enumerate(chosen):
        if other == n or place is None:
            continue
        box, leader = places[other].boxes[place], places[other].leaders[place]
        costs += OVERLAP * _overlap(_padded(box, 0.2 * letter), own.boxes)
        costs += COVERED * (_crosses(leader, own.boxes) | _crosses(own.leaders, box))
        costs += TANGLED * _meet(leader, own.leaders)
    return costs


def _padded(boxes: Array, pad: float) -> Array:
    return boxes + np.array([-pad, -pad, pad, pad])


def _overlap(one: Array, other: Array) -> Mask:
    apart = (one[..., :2] >= other[..., 2:]) | (other[..., :2] >= one[..., 2:])
    return np.asarray(~apart.any(-1))


def _crosses(lines: Array, boxes: Array) -> Mask:
    """True where a segment goes through a box: where the parts of it that lie in both of the box's slabs overlap."""
    start, step = lines[..., :2], lines[..., 2:] - lines[..., :2]
    step = np.where(step == 0, 1e-9, step)
    ends = np.stack(np.broadcast_arrays((boxes[..., :2] - start) / step, (boxes[..., 2:] - start) / step))
    mask: Mask = np.maximum(ends.min(0).max(-1), 0) < np.minimum(ends.max(0).min(-1), 1)
    return mask


def _meet(one: Array, other: Array) -> Mask:
    """True where two segments cross."""

    def side(line: Array, point: Array) -> Array:
        along, to = line[..., 2:] - line[..., :2], point - line[..., :2]
        turn: Array = along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]
        return turn

    crossed = side(one, other[..., :2]) * side(one, other[..., 2:]) < 0
    mask: Mask = crossed & (side(other, one[..., :2]) * side(other, one[..., 2:]) < 0)
    return mask


def _write(axis: Axes, point: LabelledPoint, offset: Array, leader: Array | None) -> None:
    """Writes a label, its lower left corner at an offset from its point, and draws the line to it if there is one."""
    points = 72 / axis.figure.dpi
    label = axis.annotate(
        wrapped(point.text, WIDTH),
        (point.x, point.y),
        xytext=(offset[0] * points, offset[1] * points),
        textcoords="offset points",
        ha="left",
        va="bottom",
        fontsize=FONT,
        color=ink(),
        bbox={"facecolor": paper(), "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
    )
    label.set_in_layout(False)
    if leader is not None:
        start = axis.transData.inverted().transform(leader[:2])
        axis.plot([start[0], point.x], [start[1], point.y], color=point.color, linewidth=0.5, zorder=1.4)
