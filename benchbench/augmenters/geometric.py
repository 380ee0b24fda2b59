"""Flips and crops of whole batches, drawn from the generator that the pipeline seeds."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from benchbench.augmenters.draws import to_device


def resize(images: Tensor, shorter: int) -> Tensor:
    """Images [B, 3, H, W] with their shorter side at that many pixels, ratio kept, antialiased."""
    height, width = images.shape[-2:]
    if min(height, width) == shorter:
        return images
    scale = shorter / min(height, width)
    size = (max(shorter, round(height * scale)), max(shorter, round(width * scale)))
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def center_crop(images: Tensor, size: int) -> Tensor:
    """The middle size x size pixels of images [B, 3, H, W] whose sides are at least that long."""
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def flip(images: Tensor, size: int, generator: Generator, *, probability: float) -> Tensor:
    """Mirrors each image left to right with that probability."""
    chosen = to_device(torch.rand(len(images), generator=generator) < probability, images.device)
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, size: int, generator: Generator, *, padding: int, resize: int | None) -> Tensor:
    """Crops each image to size x size at a random place, after resizing and zero padding: gives [B, 3, size, size]."""
    images = _resize(images, max(resize or size, size))
    images = F.pad(images, (padding,) * 4)
    height, width = images.shape[-2:]
    top = (torch.rand(len(images), generator=generator) * (height - size + 1)).long()
    left = (torch.rand(len(images), generator=generator) * (width - size + 1)).long()
    return _windows(images, top, left, size)


def random_resized_crop(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    min_scale: float,
    max_scale: float,
    min_ratio: float,
    max_ratio: float,
) -> Tensor:
    """Crops a random share of the area at a random ratio and resizes it: gives [B, 3, size, size].

    As in Szegedy et al., "Going deeper with convolutions" (2015), section 6; boxes that stick out are clipped to the
    image. Sampled bilinearly; where a box is far larger than the output the images are reduced first, against aliasing.
    """
    count, _, height, width = images.shape
    share, shape, across, down = (torch.rand(count, generator=generator) for _ in range(4))
    area = height * width * (min_scale + (max_scale - min_scale) * share)
    low, high = math.log(min_ratio), math.log(max_ratio)
    ratio = torch.exp(low + (high - low) * shape)
    box_w = (area * ratio).sqrt().clamp(1, width)
    box_h = (area / ratio).sqrt().clamp(1, height)
    left, top = across * (width - box_w), down * (height - box_h)
    if min(height, width) > 2 * size:
        images = _resize(images, 2 * size)
    # The box of each image, in the [-1, 1] coordinates of affine_grid.
    boxes = torch.zeros(count, 2, 3)
    boxes[:, 0, 0], boxes[:, 1, 1] = box_w / width, box_h / height
    boxes[:, 0, 2] = (2 * left + box_w) / width - 1
    boxes[:, 1, 2] = (2 * top + box_h) / height - 1
    theta = to_device(boxes, images.device)
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


_resize = resize  # `resize` is also the name of a parameter of `random_crop`


def _windows(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """The size x size pixels of each image [B, 3, H, W] from its own corner on; corners are [B], on the CPU.

    A window is the same pattern of strides wherever it begins: taking one is copying rows, which is several times
    faster than an index for every pixel.
    """
    images = images.contiguous()
    count, channels, height, width = images.shape
    last = ((channels - 1) * height + size - 1) * width + size - 1  # a window's last pixel, from its first one
    every = images.as_strided((images.numel() - last, channels, size, size), (1, height * width, width, 1))
    first = (torch.arange(count) * channels * height + top) * width + left
    return every.index_select(0, to_device(first, images.device))
