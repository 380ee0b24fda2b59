"""Pictures of boxes for people: outlines in the colours of their classes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from benchbench.data.images import Boxes
from benchbench.data.mask_pictures import class_colours

IGNORED_COLOUR = (150, 150, 150)
SHADE = (0, 0, 0)  # of a line beside each, so that it shows on any image
LINE = 2  # pixels


def box_colours(count: int) -> np.ndarray:
    """A colour for each class of boxes, the same whatever their number: [C, 3], uint8; none is the background's."""
    return class_colours(count + 1)[1:]


def with_boxes(image: Image.Image, boxes: Boxes, size: tuple[int, int], classes: int) -> Image.Image:
    """An image with the outlines of its boxes, those that are ignored in grey and beneath the others.

    Args:
        image: at any scale.
        boxes: in pixels of the whole image.
        size: width and height of the whole image.
        classes: their number.
    """
    picture, colours = image.convert("RGB"), box_colours(classes)
    draw = ImageDraw.Draw(picture)
    scales = np.array([picture.width / size[0], picture.height / size[1]] * 2)
    for index in np.argsort(boxes.ignored == 0, kind="stable"):
        left, top, right, bottom = np.rint(boxes.corners[index] * scales).astype(int).tolist()
        colour = IGNORED_COLOUR if boxes.ignored[index] else tuple(colours[boxes.classes[index]].tolist())
        # Pillow's lower right corner is the last pixel.
        right, bottom = max(right - 1, left), max(bottom - 1, top)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=SHADE)
        draw.rectangle((left, top, right, bottom), outline=colour, width=LINE)
    return picture
