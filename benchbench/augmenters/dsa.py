"""The augmentation of differentiable Siamese augmentation (DSA), as a plain one: every image has draws of its own.

Source: Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (arXiv 2102.08259), section 3.2
and its code's defaults; arXiv 2404.03263 uses it on real and generated images. Departures from that code:

- It works on normalised images, and this on images in 0..1. What comes in from outside and what is cut out is the mean
  colour there, and black here. Its `brightness` of 1 moves values by up to half a standard deviation, as 0.25 does
  here. Colours are cut to 0..1 here, and nowhere there.
- In mode "single" it draws one strategy for a batch, and this one for each image.
- It rotates in shares of the sides; here rotation keeps angles in images that are not square too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from benchbench.augmenters.draws import by_group, to_device, uniform, uniforms


def dsa(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    mode: str,
    strategies: list[str],
    brightness: float,
    saturation: float,
    contrast: float,
    crop: float,
    cutout: float,
    scale: float,
    rotate: float,
) -> Tensor:
    """Images [B, 3, H, W] through one of the strategies each (mode "single"), or through all in turn ("multiple")."""
    ratios: dict[str, float | tuple[float, float, float]] = {
        "color": (brightness, saturation, contrast),
        "crop": crop,
        "cutout": cutout,
        "flip": 0.5,
        "scale": scale,
        "rotate": rotate,
    }
    steps = [_STEPS[name](images, generator, ratios[name]) for name in strategies]
    everyone = torch.arange(len(images), device=images.device)
    if mode == "multiple":
        for step in steps:
            images = step(images, everyone)
        return images
    groups = (torch.rand(len(images), generator=generator) * len(steps)).long()
    return by_group(images, groups, steps)


Step = Callable[[Tensor, Tensor], Tensor]


def _color(images: Tensor, generator: Generator, ratios: tuple[float, float, float]) -> Step:
    draws = uniforms(3, len(images), generator, images)
    bright, saturate, contrast = (drawn[:, None, None, None] for drawn in draws)

    def step(x: Tensor, index: Tensor) -> Tensor:
        x = x + (bright[index] - 0.5) * ratios[0]
        gray = x.mean(1, keepdim=True)
        x = (x - gray) * (saturate[index] * ratios[1]) + gray
        middle = x.mean((1, 2, 3), keepdim=True)
        return ((x - middle) * (contrast[index] + ratios[2]) + middle).clamp(0, 1)

    return step


def _flip(images: Tensor, generator: Generator, ratio: float) -> Step:
    chosen = (uniform(len(images), generator, images) < ratio)[:, None, None, None]
    return lambda x, index: torch.where(chosen[index], x.flip(-1), x)


def _crop(images: Tensor, generator: Generator, ratio: float) -> Step:
    """Moves by up to `ratio` of a side, each whole number of pixels alike; black comes in."""
    down, across = (torch.rand(len(images), generator=generator) for _ in range(2))
    height, width = images.shape[-2:]
    moves = []
    for part, side in ((across, width), (down, height)):
        most = int(side * ratio + 0.5)
        moves.append(((part * (2 * most + 1)).floor() - most) * 2 / side)  # in the [-1, 1] coordinates of affine_grid
    return _affine(images, torch.ones_like(down), torch.zeros_like(down), moves)


def _scale(images: Tensor, generator: Generator, ratio: float) -> Step:
    """Scales each side by a factor of its own, in 1 / ratio to ratio."""
    low = 1 / ratio
    wide, high = (torch.rand(len(images), generator=generator) * (ratio - low) + low for _ in range(2))
    return _affine(images, wide, torch.zeros_like(wide), None, high)


def _rotate(images: Tensor, generator: Generator, ratio: float) -> Step:
    """Rotates by up to `ratio` degrees to either side."""
    turns = (2 * torch.rand(len(images), generator=generator) - 1) * math.radians(ratio)
    return _affine(images, torch.ones_like(turns), turns, None)


def _affine(
    images: Tensor, wide: Tensor, turns: Tensor, moves: list[Tensor] | None, high: Tensor | None = None
) -> Step:
    """Samples images by a map of their own; the numbers of the maps [B] are on the CPU."""
    maps = torch.zeros(len(wide), 2, 3)
    height, width = images.shape[-2:]
    # Its coordinates are shares of the sides, in which a turn would shear.
    maps[:, 0, 0], maps[:, 0, 1] = wide * turns.cos(), -turns.sin() * (height / width)
    maps[:, 1, 0], maps[:, 1, 1] = turns.sin() * (width / height), (wide if high is None else high) * turns.cos()
    if moves is not None:
        maps[:, 0, 2], maps[:, 1, 2] = moves[0], moves[1]
    theta = to_device(maps, images.device)

    def step(x: Tensor, index: Tensor) -> Tensor:
        grid = F.affine_grid(theta[index], list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    return step


def _cutout(images: Tensor, generator: Generator, ratio: float) -> Step:
    """Blackens a box of `ratio` of the sides around a random place; what sticks out is cut off."""
    height, width = images.shape[-2:]
    tall, broad = int(height * ratio + 0.5), int(width * ratio + 0.5)
    down, across = uniforms(2, len(images), generator, images)
    top = (down * (height + 1 - tall % 2)).long() - tall // 2
    left = (across * (width + 1 - broad % 2)).long() - broad // 2

    def step(x: Tensor, index: Tensor) -> Tensor:
        rows = torch.arange(height, device=x.device)[None] - top[index, None]
        columns = torch.arange(width, device=x.device)[None] - left[index, None]
        inside = ((rows >= 0) & (rows < tall))[:, :, None] & ((columns >= 0) & (columns < broad))[:, None]
        return x.masked_fill(inside[:, None], 0.0)

    return step


_STEPS: dict[str, Callable[..., Step]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
