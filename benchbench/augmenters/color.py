"""Brightness, contrast, saturation and hue of whole batches, by a factor of its own for each image.

The operations are those of torchvision's ColorJitter: blends with black, with the mean grey and with the grey image,
and a turn of the hue in HSV. Factors are [B]; 1 changes nothing, and the hue's are turns, of which 0 changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from benchbench.augmenters.draws import Operation, by_choice, by_group, to_device
from benchbench.augmenters.graphs import is_launch_bound, replayed

# Luma of ITU-R BT.601, as PIL and torchvision round it.
LUMA = (0.2989, 0.587, 0.114)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor x images + (1 - factor) x other, kept within 0..1; `factor` is [B]."""
    return torch.lerp(other, images, factor.view(-1, 1, 1, 1)).clamp_(0, 1)


def grayscale(images: Tensor) -> Tensor:
    """Luma of images [B, 3, H, W]: [B, 1, H, W]."""
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends images with black."""
    return blend(images, images.new_zeros(()), factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blends images with the mean of their luma."""
    return blend(images, grayscale(images).mean((1, 2, 3), keepdim=True), factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blends images with their luma."""
    return blend(images, grayscale(images), factor)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turns the hue of each image by `turn` [B] of a whole circle, at the same saturation and value of HSV.

    With the value V = max(R, G, B), the chroma C = V - min(R, G, B) and the hue H in sixths of the circle, a channel is
    V - C max(0, min(k, 4 - k, 1)), k = (n + H) mod 6, n = 5, 3, 1 for R, G, B.
    """
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    share = 1 / torch.where(chroma > 0, chroma, 1)  # a grey pixel has no hue: any will do
    hue = torch.where(
        value == red,
        (green - blue) * share,
        torch.where(value == green, (blue - red) * share + 2, (red - green) * share + 4),
    )
    hue = hue + 6 * turn.view(-1, 1, 1)
    channels = []
    for offset in (5, 3, 1):
        k = (hue + offset).remainder_(6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1).clamp_(0, 1)


def color_jitter(
    images: Tensor,
    size: int,
    generator: Generator,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> Tensor:
    """Changes brightness, contrast, saturation and hue of each image by factors and in an order of its own.

    A factor is uniform in max(0, 1 - x)..1 + x, where x is the strength, and the turn of the hue in -x..x.

    Source: Howard 2013, "Some Improvements on Deep Convolutional Neural Network Based Image Classification" (arXiv
    1312.5402), section 2, which has no hue, in the form of torchvision's ColorJitter.
    """
    count = len(images)
    adjustments: list[Callable[[Tensor, Tensor], Tensor]] = []
    factors: list[Tensor] = []
    for strength, adjust in (
        (brightness, adjust_brightness),
        (contrast, adjust_contrast),
        (saturation, adjust_saturation),
    ):
        if strength:
            low = max(0.0, 1 - strength)
            adjustments.append(adjust)
            factors.append(low + (1 + strength - low) * torch.rand(count, generator=generator))
    if hue:
        adjustments.append(adjust_hue)
        factors.append(hue * (2 * torch.rand(count, generator=generator) - 1))
    if not adjustments:
        return images
    order = torch.rand(count, len(factors), generator=generator).argsort(1)
    if is_launch_bound(images):
        numbers = to_device(torch.cat([torch.stack(factors), order.T]), images.device)
        kinds = tuple(adjust.__name__ for adjust in adjustments)
        return replayed(("color_jitter", kinds), partial(_jitter, adjustments), images, numbers)
    on_device = to_device(torch.stack(factors), images.device)
    operations = [partial(_at, adjust, factor) for adjust, factor in zip(adjustments, on_device, strict=True)]
    for groups in order.unbind(1):
        images = by_group(images, groups, operations)
    return images


def _jitter(adjustments: Sequence[Operation], images: Tensor, numbers: Tensor) -> Tensor:
    """Images through all adjustments, by factors and in an order of their own: `numbers` [2 x adjustments, B]."""
    factors, order = numbers.split(len(adjustments))
    operations = [partial(_at, adjust, factor) for adjust, factor in zip(adjustments, factors, strict=True)]
    for groups in order:
        images = by_choice(images, groups, operations)
    return images


def _at(adjust: Operation, factors: Tensor, images: Tensor, indices: Tensor) -> Tensor:
    return adjust(images, factors.index_select(0, indices))
