"""Pictures of masks for people: a colour for each class, laid over the image."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageColor

from benchbench.data.images import IGNORED

SHARE = 0.55  # of the colour, the rest is the image
STRIPES = 32  # along the longer side of a picture, of pixels that are ignored
# Of the first classes, bright on class 0, which is a background mostly and darkens the image.
FIRST = ("#283250", "#ff8c00", "#33c7ff", "#4fd13f", "#ff5fa8", "#ffe119", "#b066ff", "#00c8a0", "#ff3b30")
GOLDEN = 0.61803398875  # of the circle of hues, between one of the others and the next
LIGHT, DARK = 235, 120  # their grey values


def class_colours(count: int) -> np.ndarray:
    """A colour for each class, the same whatever their number: [C, 3], uint8."""
    colours: list[tuple[int, ...]] = [ImageColor.getrgb(each) for each in FIRST]
    for number in range(len(FIRST), count):
        value, saturation = ((0.7, 0.9), (0.95, 0.5))[number // 8 % 2]
        colours.append(tuple(round(255 * each) for each in colorsys.hsv_to_rgb(number * GOLDEN % 1, saturation, value)))
    return np.array(colours[:count], np.uint8)


def laid_over(image: Image.Image, mask: np.ndarray, classes: int) -> Image.Image:
    """An image with the classes of its pixels in colour, and grey stripes where they are ignored.

    Args:
        image: of any size.
        mask: classes of pixels [H, W], uint8; the nearest ones are taken where the image has another size.
        classes: their number; others than these and `IGNORED` are black.
    """
    if mask.shape != (image.height, image.width):
        mask = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    table = np.zeros((256, 3), np.float32)
    table[:classes] = class_colours(classes)
    colours = table[mask]
    rows, columns = np.indices(mask.shape)
    stripes = np.where((rows + columns) // max(2, max(image.size) // STRIPES) % 2, LIGHT, DARK)
    colours[mask == IGNORED] = stripes[mask == IGNORED, None]
    pixels = np.asarray(image.convert("RGB"), np.float32)
    return Image.fromarray(np.rint(SHARE * colours + (1 - SHARE) * pixels).astype(np.uint8))
