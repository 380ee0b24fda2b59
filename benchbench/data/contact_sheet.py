"""A contact sheet: a few images of each class and part of a data set in one picture.

Of a segmentation each row has images that show its class, each beside the same one with its mask laid over; of a
detection they are larger, with all their boxes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchbench.data.box_pictures import box_colours, with_boxes
from benchbench.data.images import IGNORED, ImageDataset
from benchbench.data.mask_pictures import class_colours, laid_over
from benchbench.data.survey import Survey, has_targets
from benchbench.errors import DataError, one_line

KINDS = (".png", ".jpg", ".jpeg", ".webp")
TILE, BOXES_TILE, GAP, LABEL_WIDTH, LINE = 96, 240, 4, 180, 22  # pixels
# Images of each class from each split, and classes of a data set.
COLUMNS, LARGE = {"train": 6, "test": 3}, {"train": 3, "test": 2}
MOST_CLASSES = 40
LOOKED_AT = 64  # masks of each split, where the survey has not read all
SWATCH = 14  # pixels
INK, PAPER, FAINT = "#202020", "#ffffff", "#d0d0d0"


def write_contact_sheet(surveys: Mapping[str, Survey], path: Path) -> None:
    """Writes the sheets of all data sets, one below the other, into one picture.

    Args:
        surveys: by label.
        path: a PNG, JPEG or WebP file.

    Raises:
        DataError: there is nothing to show, or the file cannot be written.
    """
    sheets = [_sheet(label, each) for label, each in surveys.items() if each.splits]
    if not sheets:
        raise DataError("a contact sheet needs images that are on this machine; this suite names none")
    width, height = max(each.width for each in sheets), sum(each.height for each in sheets)
    whole, top = Image.new("RGB", (width, height), PAPER), 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    try:
        whole.save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot write {path} ({one_line(error)})") from error


def _sheet(label: str, found: Survey) -> Image.Image:
    """A row for each class: images to train on, and beside them those to test on."""
    train = found.splits["train"]
    classes, columns = train.classes or ("",), LARGE if has_targets(train) else COLUMNS
    side = TILE if train.boxes is None else BOXES_TILE
    width = 2 * (side + GAP) if train.mask is not None else side + GAP
    numbers = np.unique(np.linspace(0, len(classes) - 1, min(MOST_CLASSES, len(classes))).astype(int))
    row = side + GAP
    size = (LABEL_WIDTH + sum(columns.values()) * width + 8 * GAP, 2 * LINE + len(numbers) * row)
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    more = f", {len(numbers)} of {len(classes)} classes" if len(numbers) < len(classes) else ""
    more += "" if train.mask is None else "; grey stripes: pixels that count nowhere"
    more += "" if train.boxes is None else "; grey: boxes that count nowhere"
    draw.text((GAP, GAP), f"{label} ({found.source}){more}", INK, font)
    left = LABEL_WIDTH
    for split, count in columns.items():
        draw.text((left, LINE), split, INK, font)
        for line, chosen in enumerate(_chosen(found, split, numbers, count)):
            for column, index in enumerate(chosen):
                tiles = _tiles(found.splits[split], index, side)
                for place, tile in enumerate(tiles):
                    sheet.paste(tile, (left + column * width + place * row, 2 * LINE + line * row))
        left += count * width + 4 * GAP
    for line, number in enumerate(numbers):
        top = 2 * LINE + line * row + GAP
        draw.text((GAP, top), _short(classes[number], font), INK, font)
        if has_targets(train):
            colours = class_colours(len(classes)) if train.boxes is None else box_colours(len(classes))
            colour = tuple(colours[number].tolist())
            draw.rectangle((GAP, top + LINE, GAP + SWATCH, top + LINE + SWATCH), colour, INK)
    return sheet


def _chosen(found: Survey, split: str, numbers: np.ndarray, count: int) -> list[list[int]]:
    """Some images of each class, spread over it; with masks or boxes those of no earlier row where there are others."""
    images = found.splits[split]
    if not has_targets(images):
        return [_spread(np.flatnonzero(images.labels == number), count) for number in numbers]
    shown, rows, taken = _shown(found, split), [], set[int]()
    for number in numbers:
        members = [index for index, names in shown.items() if images.classes[number] in names]
        rows.append(_spread([index for index in members if index not in taken] or members, count))
        taken |= set(rows[-1])
    return rows


def _spread(members: Sequence[int] | np.ndarray, count: int) -> list[int]:
    places = np.unique(np.linspace(0, len(members) - 1, min(count, len(members))).astype(int))
    return [int(members[place]) for place in places]


def _shown(found: Survey, split: str) -> Mapping[int, Sequence[str]]:
    """Names of the classes that images of a split show, by index: of all that the survey has read, else of some."""
    images, start = found.splits[split], 0 if split == "train" else len(found.splits["train"])
    shown = {index: each.shows for index, each in enumerate(found.images[start : start + len(images)]) if each.shows}
    if shown or images.mask is None:
        return shown
    looked: dict[int, Sequence[str]] = {}
    for index in _spread(range(len(images)), LOOKED_AT):
        with contextlib.suppress(DataError):
            numbers = np.unique(images.mask(index))
            looked[index] = [images.classes[number] for number in numbers if number != IGNORED]
    return looked


def _tiles(images: ImageDataset, index: int, side: int) -> Sequence[Image.Image]:
    """A small picture of an image, with its boxes, and one with its mask, where it has them; grey if it is damaged."""
    pictures: list[Image.Image] = []
    with contextlib.suppress(DataError):
        image = images.image(index).convert("RGB")
        picture = _fitted(image.copy(), side)
        if images.boxes is not None:
            picture = with_boxes(picture, images.boxes(index), image.size, len(images.classes))
        pictures.append(picture)
        if images.mask is not None:  # before it is made smaller: lines of one pixel show too
            pictures.append(_fitted(laid_over(image, images.mask(index), len(images.classes)), side))
    tiles = []
    for place in range(1 if images.mask is None else 2):
        tile = Image.new("RGB", (side, side), FAINT)
        for picture in pictures[place : place + 1]:
            tile.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        tiles.append(tile)
    return tiles


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """An image at the size of a tile; a small one is enlarged pixel by pixel."""
    image.thumbnail((side, side))
    if image.width >= side or image.height >= side:
        return image
    scale = side // max(image.size)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _short(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A class name that fits beside its row."""
    if font.getlength(text) <= LABEL_WIDTH - 2 * GAP:
        return text
    while text and font.getlength(f"{text}...") > LABEL_WIDTH - 2 * GAP:
        text = text[:-1]
    return f"{text}..."
