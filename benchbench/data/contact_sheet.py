"""A contact sheet: a few images of each class and part of a data set in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchbench.data.images import ImageDataset
from benchbench.data.survey import Survey
from benchbench.errors import DataError, one_line

KINDS = (".png", ".jpg", ".jpeg", ".webp")
TILE, GAP, LABEL_WIDTH, LINE = 96, 4, 180, 22  # pixels
# Images of each class from each split, and classes of a data set.
COLUMNS = {"train": 6, "test": 3}
MOST_CLASSES = 40
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
    classes = found.splits["train"].classes or ("",)
    numbers = np.unique(np.linspace(0, len(classes) - 1, min(MOST_CLASSES, len(classes))).astype(int))
    row, count = TILE + GAP, sum(COLUMNS.values())
    sheet = Image.new("RGB", (LABEL_WIDTH + count * row + 4 * GAP, 2 * LINE + len(numbers) * row), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    more = f", {len(numbers)} of {len(classes)} classes" if len(numbers) < len(classes) else ""
    draw.text((GAP, GAP), f"{label} ({found.source}){more}", INK, font)
    left = LABEL_WIDTH
    for split, columns in COLUMNS.items():
        draw.text((left, LINE), split, INK, font)
        for line, number in enumerate(numbers):
            tiles = _tiles(found.splits[split], int(number), columns)
            for column, tile in enumerate(tiles):
                sheet.paste(tile, (left + column * row, 2 * LINE + line * row))
        left += columns * row + 4 * GAP
    for line, number in enumerate(numbers):
        draw.text((GAP, 2 * LINE + line * row + GAP), _short(classes[number], font), INK, font)
    return sheet


def _tiles(images: ImageDataset, label: int, count: int) -> Sequence[Image.Image]:
    """Small pictures of some images of a class, spread over it; a grey one for an image that cannot be read."""
    members = np.flatnonzero(images.labels == label)
    chosen = members[np.unique(np.linspace(0, len(members) - 1, min(count, len(members))).astype(int))]
    tiles = []
    for index in chosen:
        tile = Image.new("RGB", (TILE, TILE), FAINT)
        try:
            image = images.image(int(index)).convert("RGB")
        except DataError:
            tiles.append(tile)
            continue
        image.thumbnail((TILE, TILE))
        if image.width < TILE and image.height < TILE:  # small ones are shown larger, pixel by pixel
            scale = TILE // max(image.size)
            image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
        tiles.append(tile)
    return tiles


def _short(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A class name that fits beside its row."""
    if font.getlength(text) <= LABEL_WIDTH - 2 * GAP:
        return text
    while text and font.getlength(f"{text}...") > LABEL_WIDTH - 2 * GAP:
        text = text[:-1]
    return f"{text}..."
