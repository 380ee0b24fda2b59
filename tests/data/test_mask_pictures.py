"""Colours of classes, and masks laid over images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchbench.data.contact_sheet import LABEL_WIDTH, LINE, TILE, write_contact_sheet
from benchbench.data.images import IGNORED
from benchbench.data.info import DataInfo
from benchbench.data.mask_pictures import class_colours, laid_over
from benchbench.data.survey import Survey
from tests.segments import CLASSES, squares


def test_classes_have_colours_of_their_own_whatever_their_number():
    colours = class_colours(100)
    assert len({tuple(colour) for colour in colours}) == 100
    np.testing.assert_array_equal(class_colours(3), colours[:3])
    assert class_colours(254).shape == (254, 3)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_pixel_has_the_colour_of_its_class(scale):
    mask = np.array([[0, 1, 1, IGNORED] * 2] * 8, np.uint8)
    image = Image.new("RGB", (8 * scale, 8 * scale), (0, 0, 0))
    pixels = np.asarray(laid_over(image, mask, 2))
    assert pixels.shape == (8 * scale, 8 * scale, 3)
    orange, dark = pixels[0, scale], pixels[0, 0]
    assert orange[0] > 2 * max(orange[2], dark[0])
    assert (pixels[0, 2 * scale] == orange).all()
    ignored = pixels[:, 3 * scale]
    assert (ignored == ignored[:, :1]).all()  # grey
    assert len(np.unique(ignored)) == 2  # stripes


def test_a_sheet_of_a_segmentation_has_each_image_beside_its_mask(tmp_path):
    splits = {"train": squares(6), "test": squares(4, seed=1)}
    info = DataInfo(2, 6, 4, names=CLASSES, task="segmentation")
    write_contact_sheet({"squares": Survey("mine", info, splits=splits)}, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    tops, lefts = ([start + place * (TILE + 4) for place in range(6)] for start in (2 * LINE, LABEL_WIDTH))
    tiles = [[sheet[top : top + TILE, left : left + TILE] for left in lefts] for top in tops[:2]]
    orange = [[(tile[..., 0] - tile[..., 2] > 100).sum() for tile in row] for row in tiles]
    shares = [count for row in orange for count in row[1::2]]
    assert all(16 * (TILE // 16) ** 2 <= count <= 49 * (TILE // 16) ** 2 for count in shares)  # the square of each
    assert [count for row in orange for count in row[::2]] == [0] * 6
    images = [row[0].tobytes() for row in tiles] + [row[2].tobytes() for row in tiles]
    assert len(set(images)) == 4  # the second row shows others than the first
