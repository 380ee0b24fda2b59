"""The worst test images of a detection's cell, each with the boxes that are there beside those that were found.

A stage stores both, in pixels of the square image that the network was tested on; here they are those of the picture.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydantic import JsonValue

from benchbench.data.box_pictures import box_colours
from benchbench.data.images import ImageDataset
from benchbench.errors import DataError
from benchbench.reports.answer_metrics import image_boxes
from benchbench.reports.page.sheets import NOT_STORED, Sheets, TestedCell, legend, lowest, small, uri_of
from benchbench.statistics.detection import DETECTED, OBJECT, best_score, f1_scores, match

SIDE = 160  # pixels of the longer side of a picture, at most
NEAR = 0.05  # pixels: corners that differ by less are the same, of whatever way of scaling


@dataclass(frozen=True)
class Boxed:
    """An image with its boxes.

    Attributes:
        picture: of the image, small.
        there, found: rows of boxes as `benchbench.statistics.detection` has them [K, 7], in pixels of the picture.
    """

    picture: Image.Image
    there: np.ndarray
    found: np.ndarray


def draw_boxes(sheets: Sheets, cell: TestedCell) -> None:
    """Adds the sheet of a detection's cell, or a note where there is nothing to show.

    "boxes" are (place of the picture, its width and height, number in the test split, F1, true boxes, found boxes); a
    box is (left, top, right, bottom, place among the "colours" of classes, or None where it counts nowhere), in pixels
    of the picture, and of a found one its score.

    Raises:
        DataError: its images are not at hand, or are others than were tested.
        StoreError: its predictions are damaged.
    """
    key, rows = cell.stage.key, image_boxes(cell.folder, cell.record)
    if rows is None:
        sheets.by_stage[key] = {"note": NOT_STORED}
        return
    matches = match(rows)
    least = best_score(matches)
    chosen = lowest(f1_scores(matches, least), cell.count)
    if not chosen:
        sheets.by_stage[key] = {"note": "It has found every object of every test image, and nothing else."}
        return
    images = cell.images()
    shown = {index: _boxed(cell, images, index, rows[index], least) for index, _ in chosen}
    classes = np.concatenate([boxes[:, 4] for each in shown.values() for boxes in (each.there, each.found)])
    numbers = np.unique(classes).astype(int).tolist()
    entries = {index: [_entries(boxes, numbers) for boxes in (each.there, each.found)] for index, each in shown.items()}
    names: dict[int, Hashable] = {index: (id(images), index, SIDE) for index in shown}
    new = {names[index]: uri_of(each.picture) for index, each in shown.items() if names[index] not in sheets.places}
    if not sheets.add_pictures(key, new, len(json.dumps([*entries.values()]))):
        return
    sheets.by_stage[key] = {
        "boxes": [
            [sheets.places[names[index]], *shown[index].picture.size, index, round(f1, 4), *entries[index]]
            for index, f1 in chosen
        ],
        "colours": legend(images.classes, numbers, box_colours(len(images.classes))),
        "note": _note(len(shown), len(rows), least),
    }


def _note(shown: int, tested: int, least: float) -> str:
    which = f"boxes of a score of {least:.2f} or more, where F1 is highest over all test images"
    if least >= 1:
        which = "no boxes, for none lies on an object"
    return f"{shown} of {tested:,} test images, the lowest F1 first (at an overlap of 0.5), with {which}."


def _boxed(cell: TestedCell, images: ImageDataset, index: int, rows: np.ndarray, least: float) -> Boxed:
    from benchbench.augmenters.geometric import fitted_shape

    assert images.boxes is not None
    original, truth = images.image(index), images.boxes(index)
    picture = small(original, SIDE)
    height, width = fitted_shape((original.height, original.width), cell.recipe.image_size)
    there = rows[rows[:, 6] >= OBJECT].astype(np.float64)
    tested = truth.corners * np.tile((width / original.width, height / original.height), 2)
    same = len(there) == len(tested) and np.allclose(there[:, :4], tested, rtol=0, atol=NEAR)
    if not same or (there[:, 4] != truth.classes).any() or ((there[:, 6] > OBJECT) != (truth.ignored > 0)).any():
        raise DataError("the boxes of the test images are not those that were tested")
    found = rows[(rows[:, 6] == DETECTED) & (rows[:, 5] >= least)].astype(np.float64)
    for boxes in (there, found):
        boxes[:, :4] *= np.tile((picture.width / width, picture.height / height), 2)
    return Boxed(picture, there, found)


def _entries(boxes: np.ndarray, numbers: list[int]) -> list[JsonValue]:
    """Boxes for the page; `numbers` are classes by place among the colours."""
    entries: list[JsonValue] = []
    for left, top, right, bottom, number, score, kind in boxes.tolist():
        corners = [round(each, 1) for each in (left, top, right, bottom)]
        place = None if kind > OBJECT else numbers.index(int(number))
        entries.append([*corners, place, *([round(score, 3)] if kind == DETECTED else [])])
    return entries
