"""A small detection for the checks of losses that read boxes: a head, the outputs at its points, and boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchbench.data.boxes import NO_BOX
from benchbench.losses.base import Shape
from benchbench.models.fcos import FCOS
from benchbench.models.outputs import BoxOutputs, Outputs
from benchbench.models.segmentation import MapShape


def head_on(maps: Sequence[Shape], classes: int, size: int, finest: int) -> FCOS:
    """A small head on maps (C, H, W) of images of `size` pixels a side."""
    shapes = [MapShape(channels, max(1, round(size / side))) for channels, side, _ in maps]
    return FCOS(shapes, classes, width=32, convolutions=0, finest=finest, extra_levels=False)


@torch.no_grad()
def points_of(head: FCOS, maps: Sequence[Shape]) -> BoxOutputs:
    """Its points on these maps, with outputs of one image of zeros."""
    device = next(head.parameters()).device
    boxes: BoxOutputs = head([torch.zeros(1, *shape, device=device) for shape in maps])[1]
    return boxes


def at_points(points: BoxOutputs, classes: int, embedding: Tensor, leaf: Callable[..., Tensor]) -> Outputs:
    """Outputs of a detection: `leaf(*shape)` gives those of B images, [B, *shape]. No distance is below 0."""
    count = len(points.points)
    distances = leaf(count, 4)
    with torch.no_grad():
        distances.abs_()
    boxes = BoxOutputs(distances, leaf(count), points.points, points.levels)
    return Outputs(leaf(count, classes), embedding, boxes=boxes)


def boxes_like(count: int, classes: int, size: int, generator: torch.Generator) -> Tensor:
    """Boxes of images [B, 3, 6]: none of the first, and three of each other, of which the last is to be ignored."""
    corners = torch.rand(count, 3, 2, 2, generator=generator).sort(dim=2).values * size
    kinds = torch.randint(classes, (count, 3, 1), generator=generator)
    boxes = torch.cat([corners.flatten(2), kinds, torch.zeros(count, 3, 1)], 2)
    boxes[:, 2, 5] = 1
    boxes[:1] = torch.tensor([0, 0, 0, 0, NO_BOX, 0])
    return boxes
