"""A user's own images with boxes in Pascal VOC's XML."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from benchbench.data.images import HARD
from benchbench.data.info import DataInfo
from benchbench.data.sources.voc import VocParams, load
from benchbench.errors import DataError

BCCD = Path(os.environ.get("BENCHBENCH_TEST_DATA", "")) / "bccd"
OBJECT = (
    "<object>\n<name>{name}</name><difficult>{difficult}</difficult><part><name>head</name><bndbox><xmin>0</xmin></bndbox>"
    "</part><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>\n</object>\n"
)


def xml(*objects, size=(8, 6), head=""):
    """An annotation of objects (name, corners) or (name, corners, difficult), three lines each from line 3 on."""
    sides = "<size><width>{}</width><height>{}</height></size>".format(*size)
    each = [OBJECT.format(*corners, name=name, difficult=int(bool(hard))) for name, corners, *hard in objects]
    return f"{head}<annotation>\n{sides}\n{''.join(each)}</annotation>"


@pytest.fixture
def folder(tmp_path, save_image):
    """Two images to train on and one to test on, of 8 x 6 pixels."""
    whole = tmp_path / "own"
    boxes = {"b": [("car", (1, 1, 8, 6)), ("person", (2, 3, 4, 5), True)], "a": [], "c": [("person", (5, 2, 7, 3))]}
    for folder in ("Annotations", "ImageSets/Main"):
        (whole / folder).mkdir(parents=True)
    for seed, (name, objects) in enumerate(boxes.items()):
        save_image(whole / "JPEGImages" / f"{name}.png", seed)
        (whole / "Annotations" / f"{name}.xml").write_text(xml(*objects))
    (whole / "ImageSets" / "Main" / "train.txt").write_text("b\na\n")
    (whole / "ImageSets" / "Main" / "test.txt").write_text("c\n")
    return whole


def write(folder, *objects, name="b", **given):
    (folder / "Annotations" / f"{name}.xml").write_text(xml(*objects, **given))


def listed(folder, **lists):
    for name, names in lists.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(names))


def params_of(folder, **given):
    return VocParams(path=folder, **given)


def boxes_of(params, index=1, split="train"):
    return load(params, params.path, split).boxes(index)


def refusal(params):
    """The one line that refuses to plan and to load."""
    messages = []
    for refused in (lambda: params.info(params.path), lambda: load(params, params.path, "train")):
        with pytest.raises(DataError) as caught:
            refused()
        messages.append(str(caught.value).replace(f"{params.path}/", ""))
    assert messages[0] == messages[1]
    assert "\n" not in messages[0]
    return messages[0]


def test_corners_are_the_numbers_of_pixels_counted_from_1(folder):
    params = params_of(folder)
    note = "no box to train on has the class 'person'"  # but one that is ignored
    assert params.info(folder) == DataInfo(2, 2, 1, note, names=("car", "person"), task="detection")
    train, test = (load(params, folder, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("car", "person")
    assert [file.rsplit("/", 1)[1] for file in train.image.files] == [
        "a.png",
        "b.png",
    ]  # sorted, not as they are listed
    assert (train.labels.tolist(), train.labels.dtype) == ([0, 0], np.int64)
    assert np.array_equal(train.array[1], np.asarray(train.image(1)))
    empty, boxes = train.boxes(0), pickle.loads(pickle.dumps(train.boxes))(1)  # noqa: S301 (its own bytes)
    assert (empty.corners.shape, empty.classes.tolist()) == ((0, 4), [])
    assert (boxes.corners.dtype, boxes.classes.dtype, boxes.ignored.dtype) == (np.float32, np.int64, np.uint8)
    assert boxes.corners.tolist() == [[0, 0, 8, 6], [1, 2, 4, 5]]
    assert boxes.classes.tolist() == [0, 1]
    assert boxes.ignored.tolist() == [0, HARD]
    assert test.boxes(0).corners.tolist() == [[4, 1, 7, 3]]


def test_edges_and_difficult_objects(folder):
    write(folder, ("car", (0, 0.5, 8, 6)), ("person", (2, 3, 4, 5), True))
    boxes = boxes_of(params_of(folder, corners="edges", difficult="keep", classes=["person", "car"]))
    assert boxes.corners.tolist() == [[0, 0.5, 8, 6], [2, 3, 4, 5]]
    assert boxes.classes.tolist() == [1, 0]
    assert not boxes.ignored.any()
    note = "boxes of 1 image begin at 0, where VOC counts from 1 (`corners: edges` is for files that count from 0)"
    assert params_of(folder).info(folder).note.startswith(note)
    assert boxes_of(params_of(folder)).corners[0].tolist() == [0, 0, 8, 6]


@pytest.mark.parametrize(("text", "code"), [("1", HARD), ("True", HARD), ("False", 0), ("Unspecified", 0), ("", 0)])
def test_difficult_in_words(folder, text, code):
    annotation = xml(("car", (1, 1, 8, 6), True), ("car", (1, 1, 4, 4)))
    file = folder / "Annotations" / "b.xml"
    file.write_text(annotation.replace("<difficult>1</difficult>", f"<difficult>{text}</difficult>"))
    assert boxes_of(params_of(folder, classes=["car", "person"])).ignored.tolist() == [code, 0]


def test_boxes_without_an_area_or_beyond_the_image(folder):
    write(folder, ("car", (3, 3, 3, 3)), ("car", (5, 2, 4, 4)), ("car", (2, 1, 12, 6)), ("car", (20, 1, 22, 6)))
    write(folder, ("person", (3, 3, 4, 4)), ("car", (7, 3, 9, 4)), name="a")  # a pixel beyond: a matter of rounding
    assert params_of(folder).info(folder).note == (
        "2 boxes without an area are dropped (b.xml:3, b.xml:6); 1 box outside of the image is dropped (b.xml:12); "
        "1 box reaches beyond its image and is cut to it (b.xml:9)"
    )
    assert boxes_of(params_of(folder)).corners.tolist() == [[1, 0, 8, 6]]
    assert boxes_of(params_of(folder), 0).corners.tolist() == [[2, 2, 4, 4], [6, 2, 8, 4]]


def test_images_of_several_sizes_are_no_array(folder, save_image):
    save_image(folder / "JPEGImages" / "a.png", size=(9, 6))
    write(folder, name="a", size=(0, 0))  # not stated
    images = load(params_of(folder), folder, "train")
    assert images.array is None
    assert images.image(0).size == (9, 6)
    assert len(images.boxes(0).classes) == 0


def test_an_image_that_is_turned_when_it_is_read(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 8)).save(folder / "JPEGImages" / "b.png", exif=exif)
    message = refusal_of_boxes(params_of(folder))
    assert message == (
        "Annotations/b.xml has boxes of an image of 8 x 6 pixels, and JPEGImages/b.png has 6 x 8; the image carries an "
        "EXIF orientation: `exif: apply` reads it as it was annotated"
    )
    images = load(params_of(folder, exif="apply"), folder, "train")
    assert (images.image(1).size, images.array.shape[1:3]) == ((8, 6), (6, 8))
    assert images.boxes(1).corners[0].tolist() == [0, 0, 8, 6]
    write(folder, ("person", (1, 1, 3, 3)), size=(6, 8))
    assert "`exif: ignore` reads it as it was annotated" in refusal_of_boxes(params_of(folder, exif="apply"))


def refusal_of_boxes(params):
    messages = []
    for refused in (lambda: params.info(params.path), lambda: boxes_of(params)):
        with pytest.raises(DataError) as caught:
            refused()
        messages.append(str(caught.value).replace(f"{params.path}/", ""))
    assert messages[0] == messages[1]
    return messages[0]


def test_an_image_of_another_size_than_its_annotation(folder, save_image):
    save_image(folder / "JPEGImages" / "b.png", size=(16, 12))
    assert refusal_of_boxes(params_of(folder)).endswith(
        "b.png has 16 x 12; take the image that was annotated, or correct the annotation"
    )


class TestLists:
    def test_parts_and_keys(self, folder):
        listed(folder, train=["a"], val=["b"])
        note = "val is not read (`validation_list: val` chooses epochs by it)"
        write(folder, ("person", (1, 1, 3, 3)), name="a")
        assert params_of(folder).info(folder).note == note
        params = params_of(folder, validation_list="val", classes=["car", "person"])
        info = params.info(folder)
        assert (info.train, info.validation, info.test) == (1, 1, 1)
        assert load(params, folder, "train").validation.tolist() == [1]
        assert sorted(params.split_files("train", folder)) == [
            *("../validation/annotation/b.xml", "../validation/image/b.png", "annotation/a.xml", "image/a.png")
        ]
        (folder / "ImageSets" / "Main" / "test.txt").unlink()
        both = params_of(folder, validation_list="val", split={"test": 0.3, "validation": 0.3})
        assert refusal(both).startswith("voc: there is a validation part already, and `split: {validation: ...}` draws")
        assert "val tests, as there is no test" in params_of(folder, classes=["car", "person"]).info(folder).note

    def test_drawn(self, folder, save_image):
        for name in "defg":
            save_image(folder / "JPEGImages" / f"{name}.png")
            write(folder, ("car", (1, 1, 3, 3)), name=name)
        (folder / "Annotations" / "z.xml").write_text(xml())
        save_image(folder / "JPEGImages" / "new.png")
        params = params_of(folder, split={"test": 0.3}, classes=["car", "person"])
        assert refusal(params) == "voc: ImageSets/Main/test.txt is there already; take `split` out, or that part"
        for name in ("train", "test"):
            (folder / "ImageSets" / "Main" / f"{name}.txt").unlink()
        info = params.info(folder)
        assert (info.train, info.test) == (5, 2)
        notes = ["1 image without an XML file left out (new)", "1 XML file without an image left out (z)"]
        assert info.note.split("; ")[:2] == notes
        files = [*params.split_files("train", folder), *params.split_files("test", folder)]
        assert len(set(files)) == 14
        assert "image/new.png" not in files

    @pytest.mark.parametrize("is_beside", [True, False])
    def test_sub_folders(self, folder, tmp_path, save_image, is_beside):
        whole = tmp_path / "whole"
        for part in ("train", "valid"):
            images, annotations = (("", ""), ("JPEGImages", "Annotations"))[not is_beside]
            for seed, name in enumerate("ab"):
                save_image(whole / images / part / f"{name}.png", seed)
                (whole / annotations / part).mkdir(parents=True, exist_ok=True)
                (whole / annotations / part / f"{name}.xml").write_text(xml(("car", (1, 1, 3, 3))))
        params = params_of(whole)
        assert params.info(whole) == DataInfo(1, 2, 2, "valid tests, as there is no test", ("car",), task="detection")
        assert sorted(params.split_files("test", whole)) == [
            *("annotation/valid/a.xml", "annotation/valid/b.xml", "image/valid/a.png", "image/valid/b.png")
        ]
        message = refusal(params_of(whole, train_list="trian"))
        assert message.endswith("trian/; name the part with `train_list`; did you mean 'train'?")
        assert params_of(whole, test_list="no", split={"test": 0.5, "by": "seed"}).info(whole).train == 1  # of train/


BROKEN = [
    ({"train": ["a", "a"]}, "voc: ImageSets/Main/train.txt: 'a' is there twice; keep one line"),
    ({"train": ["../a"]}, "voc: ImageSets/Main/train.txt:1: '../a' lies outside of JPEGImages"),
    ({"train": ["b", "c"]}, "voc: 1 image is both to train and to test on (c); name other lists"),
    ({"train": []}, "voc: the list ImageSets/Main/train.txt names no image"),
    (
        {"train": ["b", "x", "y"]},
        "voc: 2 of 3 images of the train part are not in JPEGImages (x, ...); add them, or take their names out of the "
        "list",
    ),
]


@pytest.mark.parametrize(("lists", "message"), BROKEN)
def test_broken_lists(folder, lists, message):
    listed(folder, **lists)
    assert refusal(params_of(folder)).replace(str(folder / "JPEGImages"), "JPEGImages") == message


def test_what_is_absent_is_named(folder):
    message = refusal(params_of(folder, train_list="trian"))
    assert message.endswith("ImageSets/Main/trian.txt; name the part with `train_list`; did you mean 'train'?")
    (folder / "Annotations" / "b.xml").unlink()
    assert "voc: 1 of 2 XML files of the train part are not in Annotations (b); add" in refusal(params_of(folder))
    assert "Labels is not a folder; " in refusal(params_of(folder, annotations_folder="Labels"))


BOX = ("car", (1, 1, 3, 3))
DAMAGED = [
    ("<annotation><object></annotation>", ":1: it is no well-formed XML (mismatched tag); annotate the image again"),
    ("", ":1: it is no well-formed XML (no element found); annotate the image again"),
    ("<kitti/>", ":1: the outermost element is 'kitti', where VOC has 'annotation'"),
    (xml(BOX, head='<!DOCTYPE a [<!ENTITY x "y">]>\n'), ": it declares a document type, which no annotation needs; "),
    (xml(("", (1, 1, 3, 3))), ":3: this object has no name, which is its class"),
    (xml(("car", (1, "x", 3, 3))), ":3: ymin of this object is 'x', and no number"),
    (xml(("car", (1, 1, "nan", 3))), ":3: xmax of this object is 'nan', and no number"),
    (xml(BOX).replace("<xmax>3</xmax>", ""), ":3: this object has no xmax in a bndbox, and a box has xmin, ymin, "),
    (
        xml(BOX).replace("<difficult>0</difficult>", "<difficult>maybe</difficult>"),
        ":3: `difficult` of this object is 'maybe'; write 0 or 1",
    ),
    (f"<annotation>{'<a>' * 40}", ":1: elements lie more than 32 deep in one another"),
    (
        xml(BOX, head='<?xml version="1.0" encoding="none"?>'),
        ": it cannot be read (LookupError: unknown encoding: none)",
    ),
    (xml(("car", (0.1, 0.2, 0.5, 1))), "no corner of the boxes of train is larger than 1, and they are in pixels"),
    (xml(), "voc: none of the 2 images to train on has a box"),
]


@pytest.mark.parametrize(("text", "message"), DAMAGED)
def test_damaged_annotations(folder, text, message):
    (folder / "Annotations" / "b.xml").write_text(text)
    refused = refusal(params_of(folder, corners="edges"))
    assert message in refused
    assert "Annotations/b.xml" in refused or "train" in refused


def test_unknown_classes(folder):
    write(folder, ("preson", (1, 1, 3, 3)), ("preson", (1, 1, 4, 3)), name="c")
    message = refusal(params_of(folder))
    problem = "the class 'preson' is none of those to train on; did you mean 'person'?"
    assert message == f"voc: Annotations/c.xml:3 and 1 more: {problem}"
    assert "the class 'car' is none of `classes`; did you mean 'cars'?" in refusal(params_of(folder, classes=["cars"]))
    write(folder, ("car", (1, 1, 3, 3)), name="c")
    note = "no box to train on has the classes 'person', 'dog'"
    assert params_of(folder, classes=["car", "person", "dog"]).info(folder).note.endswith(note)
    for classes, problem in (([], "write a list of names"), (["a", "a"], "two classes are named 'a'")):
        with pytest.raises(ValidationError, match=problem):
            params_of(folder, classes=classes)


@pytest.mark.skipif(not BCCD.is_dir(), reason="BENCHBENCH_TEST_DATA names no folder with bccd")
def test_blood_cells():
    params = VocParams(path=BCCD, validation_list="val")
    info = params.info(BCCD)
    assert (info.train, info.validation, info.test) == (205, 87, 72)
    assert info.note == "2 boxes without an area are dropped (BloodImage_00343.xml:50, BloodImage_00338.xml:158)"
    counts = np.zeros(3, int)
    for split in ("train", "test"):
        images = load(params, BCCD, split)
        assert images.array.shape[1:] == (480, 640, 3)
        for index in range(len(images)):
            boxes = images.boxes(index)
            counts += np.bincount(boxes.classes, minlength=3)
            assert (boxes.corners >= 0).all()
            assert (boxes.corners <= (640, 480, 640, 480)).all()
    assert dict(zip(info.names, counts.tolist(), strict=True)) == {"Platelets": 361, "RBC": 4153, "WBC": 372}
