"""Crops and flips of single images as a few numbers, drawn on the CPU and carried out on a device in batches.

The first augmenters of a transform, as long as they only move pixels, give a window: the shape to which the whole image
is brought, and the part of it that is seen. Draws are those of `benchbench.augmenters.geometric`, in its order, so the
pixels are its own up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from benchbench.augmenters.geometric import flip, random_crop, random_resized_crop
from benchbench.data.transforms import Augmenter, Transform

CROPS = (random_crop, random_resized_crop)
Shape = tuple[int, int]


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        shape: height and width to which the whole image is brought first, antialiased.
        axes: (step, first) across and down: column j of the output is column `first + step * j` of that image.
    """

    shape: Shape
    axes: tuple[float, float, float, float]


@dataclass(frozen=True)
class WindowDraws:
    """The augmenters of a transform, parted.

    Attributes:
        size: pixels a side of the output.
        moving: the first ones, which only move pixels.
        later: the others, which see finished crops.
        eval_size: shorter side of a test image before its centre crop.
    """

    size: int
    moving: tuple[partial[Any], ...]
    later: tuple[Augmenter, ...]
    eval_size: int

    @classmethod
    def of(cls, transform: Transform) -> WindowDraws | None:
        """The parts of a transform; None where a crop comes after something else than a flip."""
        augmenters = list(transform.augmenters)
        crops = [place for place, each in enumerate(augmenters) if _function(each) in CROPS]
        end = crops[0] + 1 if crops else 0
        while end < len(augmenters) and _function(augmenters[end]) is flip:
            end += 1
        moving = [each for each in augmenters[:end] if isinstance(each, partial)]
        ordered = all(each.func is flip for each in moving if each.func not in CROPS) and len(moving) == end
        if len(crops) > 1 or not ordered or (not crops and end < len(augmenters)):
            return None
        eval_size = max(transform.eval_resize or 0, transform.image_size)
        return cls(transform.image_size, tuple(moving), tuple(augmenters[end:]), eval_size)

    @property
    def zeros(self) -> bool:
        """True where pixels outside of an image are black, and not those of its border."""
        return any(each.func is random_crop for each in self.moving)

    @property
    def largest_side(self) -> int:
        """The shorter side to which larger images may be reduced: `random_resized_crop` does that itself."""
        resized = [each.keywords["resize"] or 0 for each in self.moving if each.func is random_crop]
        return max(2 * self.size, self.eval_size, *resized)

    def test(self, shape: Shape) -> Window:
        """The centre crop of an image to test on."""
        return _centre(shape, self.eval_size, self.size, mirrored=False)

    def train(self, shape: Shape, random: Generator) -> Window:
        """The part of a training image of that height and width."""
        mirrored, window = False, None
        for augment in self.moving:
            if augment.func is flip:
                mirrored ^= bool(torch.rand(1, generator=random) < augment.keywords["probability"])
                continue
            draw = _resized_box if augment.func is random_resized_crop else _corner
            window, mirrored = _mirror_source(draw(shape, self.size, random, **augment.keywords), mirrored), False
        if window is None:
            return _centre(shape, self.size, self.size, mirrored)
        return _mirror_output(window, self.size) if mirrored else window


def _function(augment: Augmenter) -> Callable[..., Any] | None:
    return augment.func if isinstance(augment, partial) else None


def resized_shape(shape: Shape, shorter: int) -> Shape:
    """Height and width with the shorter side at that many pixels, as `benchbench.augmenters.geometric.resize`."""
    scale = shorter / min(shape)
    return max(shorter, round(shape[0] * scale)), max(shorter, round(shape[1] * scale))


def _centre(shape: Shape, shorter: int, size: int, mirrored: bool) -> Window:
    height, width = shape = resized_shape(shape, shorter)
    window = Window(shape, (1.0, float((width - size) // 2), 1.0, float((height - size) // 2)))
    return _mirror_source(window, mirrored)


def _corner(shape: Shape, size: int, random: Generator, *, padding: int, resize: int | None) -> Window:
    height, width = shape = resized_shape(shape, max(resize or size, size))
    top, left = (
        float((torch.rand(1, generator=random) * (side + 2 * padding - size + 1)).long()) - padding
        for side in (height, width)
    )
    return Window(shape, (1.0, left, 1.0, top))


def _resized_box(
    shape: Shape,
    size: int,
    random: Generator,
    *,
    min_scale: float,
    max_scale: float,
    min_ratio: float,
    max_ratio: float,
) -> Window:
    height, width = shape
    share, form, across, down = (torch.rand(1, generator=random) for _ in range(4))
    area = height * width * (min_scale + (max_scale - min_scale) * share)
    low, high = math.log(min_ratio), math.log(max_ratio)
    ratio = torch.exp(low + (high - low) * form)
    box_w = (area * ratio).sqrt().clamp(1, width)
    box_h = (area / ratio).sqrt().clamp(1, height)
    left, top = float(across * (width - box_w)), float(down * (height - box_h))
    reduced = resized_shape(shape, 2 * size) if min(shape) > 2 * size else shape
    columns = _axis(float(box_w), left, reduced[1] / width, size)
    rows = _axis(float(box_h), top, reduced[0] / height, size)
    return Window(reduced, columns + rows)


def _axis(length: float, start: float, scale: float, size: int) -> tuple[float, float]:
    """Step and first place, in pixels of an image scaled by that, of `size` even steps over a stretch of it."""
    step = length * scale / size
    return step, start * scale + (step - 1) / 2


def _mirror_source(window: Window, mirrored: bool) -> Window:
    """A window of the image that has been flipped before."""
    if not mirrored:
        return window
    step, first = window.axes[:2]
    return Window(window.shape, (-step, window.shape[1] - 1 - first, *window.axes[2:]))


def _mirror_output(window: Window, size: int) -> Window:
    step, first = window.axes[:2]
    return Window(window.shape, (-step, first + step * (size - 1), *window.axes[2:]))


def grids(windows: Sequence[Window], size: int) -> Tensor:
    """Places at which outputs are sampled, as of `grid_sample` without `align_corners`: [B, 2 (across, down), size]."""
    axes = torch.tensor([window.axes for window in windows], dtype=torch.float64).view(-1, 2, 2)
    sides = torch.tensor([window.shape[::-1] for window in windows], dtype=torch.float64).unsqueeze(2)
    places = axes[:, :, 1:] + axes[:, :, :1] * torch.arange(size)
    return ((2 * places + 1) / sides - 1).float()


def sample(images: Tensor, shape: Shape, grid: Tensor, zeros: bool) -> Tensor:
    """Windows of images of one size: float32 in 0..1, [B, C, S, S].

    Args:
        images: [B, C, H, W], uint8.
        shape: that of `Window`.
        grid: of `grids`, on their device.
        zeros: whether pixels outside are black.
    """
    pixels = images.float()
    if images.shape[-2:] != shape:
        pixels = F.interpolate(pixels, size=shape, mode="bilinear", antialias=True, align_corners=False).clamp_(0, 255)
    size = grid.shape[-1]
    across, down = grid[:, 0, None, :].expand(-1, size, -1), grid[:, 1, :, None].expand(-1, -1, size)
    mode = "zeros" if zeros else "border"
    places = torch.stack([across, down], dim=-1)
    return F.grid_sample(pixels, places, mode="bilinear", padding_mode=mode, align_corners=False).div_(255)
