"""Outlines of boxes in the colours of their classes, and the sheet of a detection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchbench.data.box_pictures import IGNORED_COLOUR, box_colours, with_boxes
from benchbench.data.contact_sheet import BOXES_TILE, LABEL_WIDTH, LINE, write_contact_sheet
from benchbench.data.images import Boxes
from benchbench.data.sources import coco
from benchbench.data.survey import survey
from tests.objects import write_objects

CORNERS = np.array([[2, 2, 12, 10], [2, 2, 12, 10], [14, 4, 20, 16]], np.float32)


def test_outlines_have_the_colours_of_classes():
    boxes = Boxes(CORNERS, np.array([1, 0, 1]), np.array([True, False, True]))
    picture = np.asarray(with_boxes(Image.new("RGB", (48, 32), "white"), boxes, (24, 16), classes=2))
    colour = tuple(box_colours(2)[0].tolist())
    assert tuple(picture[4, 4]) == tuple(picture[19, 23]) == colour  # above the ignored one, at twice the size
    assert tuple(picture[20, 28]) == IGNORED_COLOUR
    assert tuple(picture[3, 3]) == (0, 0, 0)
    assert tuple(picture[10, 10]) == (255, 255, 255)  # an outline hides nothing inside
    assert tuple(picture[31, 30]) == IGNORED_COLOUR  # a box that ends with the image


def test_a_sheet_of_a_detection_has_the_boxes_of_each_image(tmp_path: Path):
    folder = write_objects(tmp_path / "own")
    params = coco.CocoParams(train=folder / "train.json", test=folder / "test.json")
    found = survey("coco", coco.load, params, tmp_path)
    write_contact_sheet({"own": found}, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    rows = [sheet[2 * LINE + row * (BOXES_TILE + 4) :][:BOXES_TILE] for row in range(2)]
    for number, row in enumerate(rows):
        tile, swatch = row[:, LABEL_WIDTH:][:, :BOXES_TILE], row[:, :LABEL_WIDTH]
        for part in (tile, swatch):  # each row shows an image with a box of its class, and says the colour
            assert (part == box_colours(2)[number]).all(axis=-1).any()
