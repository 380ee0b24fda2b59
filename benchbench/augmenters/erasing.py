"""Patches that are taken out of images: random erasing and cutout."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from benchbench.augmenters.draws import to_device, uniform

ATTEMPTS = 10


class _Boxes(NamedTuple):
    """Rows top to bottom - 1 of columns left to right - 1 in each image; bounds are [B] on the CPU."""

    top: Tensor
    left: Tensor
    bottom: Tensor
    right: Tensor


def random_erasing(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    probability: float,
    min_scale: float,
    max_scale: float,
    min_ratio: float,
    max_ratio: float,
    fill: str,
) -> Tensor:
    """Fills a rectangle of random area, ratio and place in each image, with that probability.

    Source: Zhong et al., "Random Erasing Data Augmentation" (arXiv 1708.04896), algorithm 1, whose defaults these are;
    as in torchvision, ratios are uniform in their logarithm, and rectangles are drawn until one fits into the image, at
    most ten times.
    """
    count, (height, width) = len(images), images.shape[-2:]
    chosen = torch.rand(count, generator=generator) < probability
    share = min_scale + (max_scale - min_scale) * torch.rand(count, ATTEMPTS, generator=generator)
    low, high = math.log(min_ratio), math.log(max_ratio)
    ratio = torch.exp(low + (high - low) * torch.rand(count, ATTEMPTS, generator=generator))
    tall = (height * width * share * ratio).sqrt().round().long()
    wide = (height * width * share / ratio).sqrt().round().long()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(1, keepdim=True)
    chosen &= fits.any(1)
    tall, wide = (side.gather(1, first).squeeze(1) * chosen for side in (tall, wide))
    top = (torch.rand(count, generator=generator) * (height - tall + 1)).long()
    left = (torch.rand(count, generator=generator) * (width - wide + 1)).long()
    return _erase(images, _Boxes(top, left, top + tall, left + wide), generator, fill)


def cutout(images: Tensor, size: int, generator: Generator, *, probability: float, length: int, fill: str) -> Tensor:
    """Fills a square of `length` pixels a side around a random pixel of each image; what sticks out is cut off.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (arXiv
    1708.04552), section 3; there the square becomes 0 after normalisation, the mean colour of the data set. Here it
    is the image's own mean colour by default.
    """
    count, (height, width) = len(images), images.shape[-2:]
    chosen = torch.rand(count, generator=generator) < probability
    top = (torch.rand(count, generator=generator) * height).long() - length // 2
    left = (torch.rand(count, generator=generator) * width).long() - length // 2
    bottom, right = ((start + length) * chosen for start in (top, left))
    boxes = _Boxes(top.clamp_min(0), left.clamp_min(0), bottom.clamp_max(height), right.clamp_max(width))
    return _erase(images, boxes, generator, fill)


def _erase(images: Tensor, boxes: _Boxes, generator: Generator, fill: str) -> Tensor:
    """Images [B, 3, H, W] with the pixels of one box in each filled."""
    top, left, bottom, right = to_device(torch.stack(boxes), images.device)
    sides = []
    for start, end, length in ((top, bottom, images.shape[-2]), (left, right, images.shape[-1])):
        pixels = torch.arange(length, device=images.device)
        sides.append((pixels >= start[:, None]) & (pixels < end[:, None]))
    inside = (sides[0][:, :, None] & sides[1][:, None, :]).unsqueeze(1)
    if fill == "noise":
        area = ((boxes.bottom - boxes.top).clamp_min(0) * (boxes.right - boxes.left).clamp_min(0)).sum().item()
        noise = uniform(images.shape[1] * int(area), generator, images)
        return images.masked_scatter(inside, noise.to(images.dtype))
    color = images.mean((2, 3), keepdim=True) if fill == "mean" else images.new_zeros(())
    return torch.where(inside, color, images)
