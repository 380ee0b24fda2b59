"""Flips and crops of whole batches, drawn from the generator that the pipeline seeds.

Those of a recipe move masks with the images that they are of: [B, H, W], uint8, of the images' size; or the corners of
boxes [B, M, 4]: left, top, right and bottom in pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from benchbench.augmenters.draws import to_device
from benchbench.statistics.masks import IGNORED


def resize(images: Tensor, shorter: int) -> Tensor:
    """Images [B, 3, H, W] with their shorter side at that many pixels, ratio kept, antialiased."""
    height, width = images.shape[-2:]
    if min(height, width) == shorter:
        return images
    scale = shorter / min(height, width)
    size = (max(shorter, round(height * scale)), max(shorter, round(width * scale)))
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks [B, H, W] of another size, each pixel that of the nearest one."""
    if masks.shape[-2:] == size:
        return masks
    return F.interpolate(masks.unsqueeze(1), size=size, mode="nearest-exact").squeeze(1)


def center_crop(images: Tensor, size: int) -> Tensor:
    """The middle size x size pixels of images [..., H, W] whose sides are at least that long."""
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def letterbox(images: Tensor, masks: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Images [B, 3, H, W] and their masks with the longer side at `size`, the rest of size x size black and ignored."""
    boxed, (height, width) = fitted(images, size)
    return boxed, F.pad(resize_masks(masks, (height, width)), (0, size - width, 0, size - height), value=IGNORED)


def fitted(images: Tensor, size: int) -> tuple[Tensor, tuple[int, int]]:
    """Images [B, 3, H, W] in the left upper corner of black squares, and the height and width that they have there.

    The longer side has `size` pixels, and the ratio is kept.
    """
    height, width = images.shape[-2:]
    shape = fitted_shape((height, width), size)
    if shape != (height, width):
        images = F.interpolate(images, size=shape, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    return F.pad(images, (0, size - shape[1], 0, size - shape[0])), shape


def fitted_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width of an image of this height and width whose longer side is brought to `size`."""
    scale = size / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def letterbox_boxes(images: Tensor, corners: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same for images and the corners of their boxes [B, M, 4]."""
    boxed, (height, width) = fitted(images, size)
    return boxed, _scaled(corners, width / images.shape[-1], height / images.shape[-2])


def _scaled(corners: Tensor, across: float | Tensor, down: float | Tensor) -> Tensor:
    """Corners [B, M, 4] times a factor of columns and one of rows: numbers, or of each image [B]."""
    if isinstance(across, Tensor) and isinstance(down, Tensor):
        return corners * to_device(torch.stack([across, down] * 2, -1), corners.device)[:, None]
    return corners * to_device(torch.tensor([across, down] * 2), corners.device)


def _shifted(corners: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Corners [B, M, 4] moved by so many pixels of each image [B], on the CPU."""
    moved = torch.stack([across, down, across, down], -1).to(corners.dtype)
    return corners + to_device(moved, corners.device)[:, None]


def flip(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    probability: float,
    masks: Tensor | None = None,
    boxes: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Mirrors each image left to right with that probability."""
    chosen = to_device(torch.rand(len(images), generator=generator) < probability, images.device)
    flipped = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    if boxes is not None:
        left, top, right, bottom = boxes.unbind(-1)
        width = images.shape[-1]
        mirrored = torch.stack([width - right, top, width - left, bottom], -1)
        return flipped, torch.where(chosen[:, None, None], mirrored, boxes)
    return flipped if masks is None else (flipped, torch.where(chosen[:, None, None], masks.flip(-1), masks))


def random_crop(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    padding: int,
    resize: int | None,
    masks: Tensor | None = None,
    boxes: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Crops each image to size x size at a random place, after resizing and zero padding: gives [B, 3, size, size].

    Masks are padded with pixels that do not count.
    """
    before = images.shape
    images = _resize(images, max(resize or size, size))
    if boxes is not None:
        boxes = _scaled(boxes, images.shape[-1] / before[-1], images.shape[-2] / before[-2])
    if masks is not None:
        masks = F.pad(resize_masks(masks, (images.shape[-2], images.shape[-1])), (padding,) * 4, value=IGNORED)
    images = F.pad(images, (padding,) * 4)
    height, width = images.shape[-2:]
    top = (torch.rand(len(images), generator=generator) * (height - size + 1)).long()
    left = (torch.rand(len(images), generator=generator) * (width - size + 1)).long()
    cropped = _windows(images, top, left, size)
    if boxes is not None:
        return cropped, _shifted(boxes, padding - left, padding - top)
    return cropped if masks is None else (cropped, _windows(masks.unsqueeze(1), top, left, size).squeeze(1))


def random_resized_crop(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    min_scale: float,
    max_scale: float,
    min_ratio: float,
    max_ratio: float,
    masks: Tensor | None = None,
    boxes: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Crops a random share of the area at a random ratio and resizes it: gives [B, 3, size, size].

    As in Szegedy et al., "Going deeper with convolutions" (2015), section 6; boxes that stick out are clipped to the
    image. Sampled bilinearly; where both sides of the images are far larger than the output, they are reduced first,
    against aliasing, which crops of long images can have. Masks take the nearest pixel.
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
    windows = torch.zeros(count, 2, 3)
    windows[:, 0, 0], windows[:, 1, 1] = box_w / width, box_h / height
    windows[:, 0, 2] = (2 * left + box_w) / width - 1
    windows[:, 1, 2] = (2 * top + box_h) / height - 1
    theta = to_device(windows, images.device)
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    cropped = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if boxes is not None:
        return cropped, _scaled(_shifted(boxes, -left, -top), size / box_w, size / box_h)
    if masks is None:
        return cropped
    nearest = F.grid_sample(
        masks.unsqueeze(1).float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return cropped, nearest.squeeze(1).to(masks.dtype)


_resize = resize  # `resize` is also the name of a parameter of `random_crop`


def _windows(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """The size x size pixels of each image [B, C, H, W] from its own corner on; corners are [B], on the CPU.

    A window is the same pattern of strides wherever it begins: taking one is copying rows, which is several times
    faster than an index for every pixel.
    """
    images = images.contiguous()
    count, channels, height, width = images.shape
    last = ((channels - 1) * height + size - 1) * width + size - 1  # a window's last pixel, from its first one
    every = images.as_strided((images.numel() - last, channels, size, size), (1, height * width, width, 1))
    first = (torch.arange(count) * channels * height + top) * width + left
    return every.index_select(0, to_device(first, images.device))
