"""Boxes around nuclei: of those in the package, and of a folder."""

import pickle

import numpy as np
from PIL import Image

from benchbench.data.images import Boxes
from benchbench.data.info import DataInfo
from benchbench.data.sources import nuclei
from benchbench.data.sources.nuclei_boxes import NucleiBoxesParams, boxes_around, load


def test_those_of_the_package(tmp_path):
    params = NucleiBoxesParams()
    assert params.info(tmp_path) == DataInfo(1, 234, 100, names=("nucleus",), task="detection")
    images = load(params, tmp_path, "test")
    assert (images.classes, images.mask, len(images)) == (("nucleus",), None, 100)
    boxes = [images.boxes(index) for index in range(100)]
    assert sum(len(each.classes) for each in boxes) == 2991
    corners = np.concatenate([each.corners for each in boxes])
    assert corners.dtype == np.float32
    assert corners.min() == 0
    assert corners.max() == 256
    assert (corners[:, 2:] > corners[:, :2]).all()
    # A nucleus touches the four sides of its box, and every pixel of a nucleus is in a box.
    mask = nuclei.load(nuclei.NucleiParams(), tmp_path, "test").mask(7) > 0
    outside = mask.copy()
    for left, top, right, bottom in boxes[7].corners.astype(int):
        part = mask[top:bottom, left:right]
        assert all(side.any() for side in (part[0], part[-1], part[:, 0], part[:, -1]))
        outside[top:bottom, left:right] = False
    assert not outside.any()


def test_a_folder(tmp_path):
    numbers = np.array([[0, 0, 0, 0], [0, 300, 300, 2], [0, 300, 0, 2]], np.uint16)
    for name, pixels in (("images/a.webp", np.zeros((3, 4, 3), np.uint8)), ("instances/a.png", numbers)):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(pixels).save(tmp_path / name, lossless=True)
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("a\n")
    params = NucleiBoxesParams(path=tmp_path)
    assert params.info(tmp_path) == DataInfo(1, 1, 1, names=("nucleus",), task="detection")
    read = pickle.loads(pickle.dumps(load(params, tmp_path, "train").boxes))  # noqa: S301 (its own bytes)
    boxes: Boxes = read(0)
    assert boxes.corners.tolist() == [[3, 1, 4, 3], [1, 1, 3, 3]]
    assert boxes.classes.tolist() == [0, 0]
    assert boxes.ignored.tolist() == [False, False]


def test_a_map_without_instances():
    boxes = boxes_around(np.zeros((3, 4), np.uint16))
    assert (boxes.corners.shape, boxes.classes.shape, boxes.ignored.shape) == ((0, 4), (0,), (0,))
