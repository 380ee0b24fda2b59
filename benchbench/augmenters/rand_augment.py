"""RandAugment on whole batches: images that draw the same operation go through it together."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv

from benchbench.augmenters.color import adjust_brightness, adjust_contrast, adjust_saturation, blend
from benchbench.augmenters.draws import Operation, by_choice, by_group, to_device
from benchbench.augmenters.graphs import is_launch_bound, replayed

STRONGEST = 30  # magnitudes run from 0 to this
# The paper's list, in torchvision's order.
AFFINE = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
TONES = ("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize")
OPERATIONS = ("identity", *AFFINE, *TONES)
# Affine operations are one group, the others one each.
GROUPS = ("identity", "affine", *TONES)
GROUP_OF = torch.tensor([GROUPS.index("affine" if name in AFFINE else name) for name in OPERATIONS])


def rand_augment(images: Tensor, size: int, generator: Generator, *, num_ops: int, magnitude: int) -> Tensor:
    """Sends each image through `num_ops` operations out of fourteen, drawn with replacement.

    Source: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space" (arXiv
    1909.13719), figure 2. The operations, and the meaning of a magnitude of 0 to 30, are torchvision's: identity, shear
    and translation in x and y, rotation, brightness, colour, contrast and sharpness, whose signs are drawn as well,
    posterize, solarize, autocontrast and equalize. Affine ones sample bilinearly (torchvision's default is the nearest
    pixel); beyond the border all is black.
    """
    for _ in range(num_ops):
        drawn = torch.randint(len(OPERATIONS), (len(images),), generator=generator)
        sign = 2 * torch.randint(2, (len(images),), generator=generator) - 1
        images = operate(images, drawn, sign, magnitude)
    return images


def operate(images: Tensor, drawn: Tensor, sign: Tensor, magnitude: int) -> Tensor:
    """Images [B, 3, H, W] through the operations of these numbers [B], with signs [B] of 1 and -1; both on the CPU."""
    level = magnitude / STRONGEST
    maps = _normalised(_maps(drawn, sign, level, *images.shape[-2:]), *images.shape[-2:])
    groups = GROUP_OF[drawn]
    numbers = torch.cat([maps.flatten(1), 1 + 0.9 * level * sign[:, None], groups[:, None]], 1)
    numbers = to_device(numbers, images.device)
    if is_launch_bound(images):
        return replayed(("rand_augment", level), partial(_operate_all, level), images, numbers)
    return by_group(images, groups, _operations(level, numbers))


def _operate_all(level: float, images: Tensor, numbers: Tensor) -> Tensor:
    return by_choice(images, numbers[:, 7], _operations(level, numbers))


def _operations(level: float, numbers: Tensor) -> list[Operation]:
    """The operation of each group; `numbers` [B, 8] are maps, factor and group of each image, on its device."""
    maps, factor = numbers[:, :6].reshape(-1, 2, 3), numbers[:, 6]
    operations: dict[str, Operation] = {
        "identity": lambda part, indices: part,
        "affine": lambda part, indices: warp(part, maps.index_select(0, indices)),
        "posterize": lambda part, indices: tv.posterize(part, 8 - round(4 * level)),
        "solarize": lambda part, indices: tv.solarize(part, 1 - level),
        "autocontrast": lambda part, indices: tv.autocontrast(part),
        "equalize": lambda part, indices: tv.equalize(part),
    }
    blends = {
        "brightness": adjust_brightness,
        "color": adjust_saturation,
        "contrast": adjust_contrast,
        "sharpness": adjust_sharpness,
    }
    for name, adjust in blends.items():
        operations[name] = partial(lambda adjust, part, indices: adjust(part, factor.index_select(0, indices)), adjust)
    return [operations[name] for name in GROUPS]


def adjust_sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends images, their outermost pixels excepted, with themselves smoothed by [[1, 1, 1], [1, 5, 1], [1, 1, 1]]."""
    if min(images.shape[-2:]) < 3:
        return images
    inner = images[..., 1:-1, 1:-1]
    rows = images[..., :-2] + images[..., 1:-1] + images[..., 2:]  # a convolution takes twice the time
    smooth = (rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :] + 4 * inner) / 13
    sharpened = images.clone()
    sharpened[..., 1:-1, 1:-1] = blend(inner, smooth, factor)
    return sharpened


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Images sampled bilinearly at `maps` [B, 2, 3], in the coordinates of `affine_grid`; black outside."""
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp_(0, 1)


def _maps(drawn: Tensor, sign: Tensor, level: float, height: int, width: int) -> Tensor:
    """Maps from points of the result to points of the image, in pixels from the upper left: [B, 2, 3], float64."""

    def only(name: str, value: Tensor | float) -> Tensor:
        return torch.where(drawn == OPERATIONS.index(name), value, 0.0).double()

    turn = only("rotate", math.radians(30 * level) * sign)
    cos, sin = turn.cos(), turn.sin()
    shear = 0.3 * level * sign
    across = only("translate_x", sign * int(150 / 331 * width * level))
    down = only("translate_y", sign * int(150 / 331 * height * level))
    x, y = width / 2, height / 2  # turns are about the middle, shears about the corner
    rows = [
        [cos, only("shear_x", shear) - sin, x - cos * x + sin * y - across],
        [only("shear_y", shear) + sin, cos, y - sin * x - cos * y - down],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _normalised(maps: Tensor, height: int, width: int) -> Tensor:
    """The same maps in coordinates that run from -1 to 1, float32."""
    sides = torch.tensor([width, height], dtype=torch.float64)
    linear = maps[:, :, :2] * sides / sides[:, None]
    shift = linear.sum(2) + 2 * maps[:, :, 2] / sides - 1
    return torch.cat([linear, shift[:, :, None]], 2).float()
