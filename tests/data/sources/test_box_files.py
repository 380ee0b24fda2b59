"""Boxes in files: the same ones in every form, and what is read of their images."""

import json

import numpy as np
import pytest

from benchbench.data.sources import coco, voc, yolo
from benchbench.data.sources.box_files import BoxedImage, WrittenBox, array_of, box_notes, checked_size, sized
from benchbench.data.sources.own_images import OwnFileImages, Reading
from benchbench.errors import DataError
from tests.data.sources.test_voc import xml

WIDTH, HEIGHT = SIZE = (40, 30)
NAMES = ("car", "dog")
# Left, top, right and bottom of objects, by their names, on three images.
OBJECTS = {"a": [("car", (0, 0, 40, 30)), ("dog", (10, 12, 12, 14))], "b": [("dog", (5, 3, 20, 24))], "c": []}


def write_voc(folder, name, objects):
    corners = [(label, (left + 1, top + 1, right, bottom)) for label, (left, top, right, bottom) in objects]
    (folder / f"{name}.xml").write_text(xml(*corners, size=SIZE))


def write_yolo(folder, name, objects):
    lines = []
    for label, (left, top, right, bottom) in objects:
        middle = (left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT
        values = NAMES.index(label), *middle, (right - left) / WIDTH, (bottom - top) / HEIGHT
        lines.append(" ".join(map(str, values)))
    (folder / f"{name}.txt").write_text("\n".join(lines))


def write_coco(folder):
    images = [{"id": name, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for name in OBJECTS]
    boxes = [
        {"image_id": name, "category_id": NAMES.index(label), "bbox": [left, top, right - left, bottom - top]}
        for name, objects in OBJECTS.items()
        for label, (left, top, right, bottom) in objects
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    (folder / "boxes.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def test_every_form_gives_the_same_boxes(tmp_path, save_image):
    for part, first in (("train", 0), ("test", 10)):
        for form in ("voc", "yolo", "coco"):
            for number, (name, objects) in enumerate(OBJECTS.items()):
                folder = tmp_path / form / part
                save_image(folder / f"{name}.png", first + number, SIZE)
                if form != "coco":
                    (write_voc if form == "voc" else write_yolo)(folder, name, objects)
        write_coco(tmp_path / "coco" / part)
    files = {part: tmp_path / "coco" / part / "boxes.json" for part in ("train", "test")}
    forms = (
        (voc, voc.VocParams(path=tmp_path / "voc")),
        (yolo, yolo.YoloParams(path=tmp_path / "yolo", classes=[*NAMES])),
        (coco, coco.CocoParams(**files)),
    )
    for module, params in forms:
        assert params.info(tmp_path).note == ""
        images = module.load(params, tmp_path, "train")
        for index, objects in enumerate(OBJECTS.values()):
            boxes = images.boxes(index)
            expected = np.array([corners for _, corners in objects]).reshape(-1, 4)
            np.testing.assert_allclose(boxes.corners, expected, rtol=1e-6)
            assert boxes.classes.tolist() == [NAMES.index(label) for label, _ in objects]


def test_an_array_is_of_whole_images_of_one_size(tmp_path, save_image, monkeypatch):
    files = tuple(str(tmp_path / f"{name}.png") for name in "ab")
    for number, file in enumerate(files):
        save_image(tmp_path / file, number)
    images = OwnFileImages(files, Reading())
    array = array_of(images)
    assert (array.shape, array.dtype) == ((2, 6, 8, 3), np.uint8)
    assert np.array_equal(array[1], np.asarray(images(1)))
    monkeypatch.setattr("benchbench.data.sources.box_files.IN_MEMORY_BYTES", array.nbytes - 1)
    assert array_of(images) is None
    monkeypatch.undo()
    whole = (tmp_path / "b.png").read_bytes()
    for damaged in (whole[:-40], b""):  # in its pixels, and in its header
        (tmp_path / "b.png").write_bytes(damaged)
        assert array_of(images) is None
    with pytest.raises(DataError, match=r"cannot read the image .*b\.png \(it is empty, of 0 bytes\)"):
        checked_size(files[1], (8, 6), "b.xml", Reading())


def test_an_array_file_has_a_size_too(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((6, 8, 5), np.uint8))
    assert checked_size(str(tmp_path / "a.npy"), (8, 6), "", Reading()) == (8, 6)
    with pytest.raises(DataError, match="take the image that was annotated, or correct the annotation"):
        checked_size(str(tmp_path / "a.npy"), (6, 8), "a.xml", Reading())


def test_boxes_of_an_image_without_a_stated_size_are_compared_with_its_header(tmp_path, save_image):
    save_image(tmp_path / "a.png")
    box = WrittenBox("car", 6, 2, 12, 4, False, 3)
    image = BoxedImage("a.png", str(tmp_path / "a.png"), [box], None, "a.xml")
    assert box_notes([image]) == []
    note = "1 box reaches beyond its image and is cut to it (a.xml:3)"
    assert box_notes([sized(image, Reading())]) == [note]
    (tmp_path / "a.png").write_bytes(b"")
    assert sized(image, Reading()) == image
