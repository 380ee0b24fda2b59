"""The checks of data sets tell a broken one what to change."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchbench.components import Params
from benchbench.data.images import Boxes, ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import ArrayImages, FileImages
from benchbench.testing import check_component, checks_of
from benchbench.testing.datasets import CHECKS, DatasetCase
from tests.segments import ArrayMasks


class TinyParams(DatasetParams):
    classes: Any = 2

    def info(self, root):
        return DataInfo(self.classes, train=6, test=4)


def fine(params, root, split):
    labels = np.arange(6 if split == "train" else 4, dtype=np.int64) % 2
    array = np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    return ImageDataset(labels, ("cat", "dog"), ArrayImages(array), array)


def with_(**changes):
    """The good data set with other fields: values, or functions of the split that it gives."""

    def load(params, root, split):
        images = fine(params, root, split)
        given = {name: value(images, split) if callable(value) else value for name, value in changes.items()}
        return replace(images, **given)

    return load


def segmented(task="segmentation", **changes):
    """A good data set of a segmentation with other fields."""

    class Params(DatasetParams):
        def info(self, root):
            return DataInfo(3, train=6, test=4, task=task)

    def load(params, root, split):
        images = fine(params, root, split)
        masks = np.random.default_rng(len(images)).integers(0, 3, (len(images), 8, 8), dtype=np.uint8)
        masks[:, 0] = 255
        whole = replace(images, labels=0 * images.labels, classes=("sky", "tree", "lake"), mask=ArrayMasks(masks))
        given = {name: value(whole, split) if callable(value) else value for name, value in changes.items()}
        return replace(whole, **given)

    load.params = Params
    return load


def masks_as(change):
    """Masks of which each is changed."""
    return lambda images, _: lambda index: change(images.mask(index))


def noisy_masks(images, _):
    return ArrayMasks(np.random.randint(0, 3, (len(images), 8, 8), dtype=np.uint8))


@dataclass
class OneBox:
    """The same box on every image, with other fields."""

    changes: dict[str, Any]

    def __call__(self, index: int) -> Boxes:
        boxes = Boxes(np.array([[0, 1, 8, 6]], np.float32), np.array([1]), np.array([False]))
        return replace(boxes, **self.changes)


def detected(task="detection", reader=None, **changes):
    """A good data set of a detection, whose boxes have other fields."""

    class Params(DatasetParams):
        def info(self, root):
            return DataInfo(2, train=6, test=4, task=task)

    def load(params, root, split):
        images = fine(params, root, split)
        return replace(images, labels=0 * images.labels, boxes=reader(split) if reader else OneBox(changes))

    load.params = Params
    return load


def at(*corners):
    return detected(corners=np.array([corners], np.float32))


def noisy_boxes(split):
    return OneBox({"ignored": np.random.rand(1) < np.random.rand()})


@dataclass
class Modes:
    mode: str

    def __call__(self, index: int) -> Image.Image:
        return Image.new(self.mode, (8, 8))


def shuffled(params, root, split):
    images = fine(params, root, split)
    shuffled.calls += 1
    return replace(images, labels=np.roll(images.labels, shuffled.calls))


def noisy(params, root, split):
    array = np.random.randint(0, 256, (6 if split == "train" else 4, 8, 8, 3), dtype=np.uint8)
    return replace(fine(params, root, split), image=ArrayImages(array), array=array)


shuffled.calls = 0
BROKEN = [
    ("labels", lambda params, root, split: [], "it gives a list: give an ImageDataset"),
    ("labels", with_(labels=lambda i, _: i.labels.astype(np.int32)), r"labels are int32 \[6\]: give np\.array"),
    ("labels", with_(labels=lambda i, _: i.labels.tolist()), "the train labels are list"),
    ("labels", with_(labels=lambda i, _: i.labels + 1), r"a train label is \[2\], but 2 classes are numbered from 0"),
    ("labels", with_(labels=lambda i, _: 0 * i.labels), r"class \[1\] has no training image"),
    ("classes", with_(classes=lambda _i, _: ["cat", "dog"]), r"give tuple\(names\)"),
    ("classes", with_(classes=("cat", "cat")), "two of its classes have one name"),
    (
        "classes",
        with_(classes=lambda _, split: ("cat", "dog")[:: 1 if split == "train" else -1]),
        "number their classes",
    ),
    ("sizes", with_(labels=lambda i, _: i.labels[1:]), r"info\(\) gives train=6, and 5 load: make them agree"),
    (
        "images",
        with_(array=lambda i, _: i.array.astype(float)),
        r"the train array is float64 .*: give uint8 \[6, H, W, 3\]",
    ),
    ("images", with_(array=lambda i, _: i.array[:, ::-1]), r"image\(0\) of train and array\[0\] differ"),
    ("images", with_(image=lambda _i, _: Modes("L"), array=None), r"has mode L: add \.convert\('RGB'\)"),
    ("images", with_(image=lambda _i, _: np.asarray, array=None), "gives a ndarray: give a PIL.Image"),
    ("determinism", shuffled, "comes in another order when it is loaded again"),
    ("determinism", noisy, r"image\(0\) of train differs when it is loaded again: fix the seed"),
    ("pickles", with_(image=lambda i, _: lambda index: i.image(index)), "does not pickle: use a function of a module"),
    ("pickles", segmented(mask=masks_as(lambda mask: mask)), "its `mask` does not pickle: use a function of a module"),
    ("labels", segmented(labels=lambda i, _: i.labels - 1), "a train label is -1: number the strata"),
    ("masks", segmented(task="classification"), r"its images have masks: give DataInfo\(\.\.\., task='segmentation'\)"),
    ("masks", segmented(mask=lambda i, split: i.mask if split == "train" else None), "give both splits a `mask`"),
    ("masks", segmented(mask=masks_as(lambda m: m[..., None])), r"of train is uint8 \[8, 8, 1\]: give a uint8 array"),
    ("masks", segmented(mask=masks_as(lambda m: m.astype(int))), r"of train is int64 \[8, 8\]: give a uint8 array"),
    ("masks", segmented(mask=masks_as(Image.fromarray)), r"mask\(0\) of train is a Image: give a uint8 array"),
    ("masks", segmented(mask=masks_as(lambda m: m[:6])), "of train is 8 x 6 pixels, and its image 8 x 8"),
    (
        "masks",
        segmented(mask=masks_as(lambda m: m + np.uint8(m == 2))),
        r"has the value \[3\]: give 0 to 2, or 255 for no class",
    ),
    ("masks", segmented(mask=masks_as(lambda m: 0 * m + 255)), "every pixel of the masks of 20 images is 255"),
    ("masks", segmented(classes=tuple(map(str, range(255)))), "it has 255 classes, and a mask has room for 254"),
    ("boxes", detected(task="classification"), r"its images have boxes: give DataInfo\(\.\.\., task='detection'\)"),
    ("boxes", detected(reader=lambda split: OneBox({}) if split == "train" else None), "give both splits `boxes`"),
    ("boxes", detected(reader=lambda _: lambda index: [index]), r"boxes\(0\) of train is a list: give Boxes"),
    (
        "boxes",
        detected(corners=np.ones((1, 5))),
        r"the corners of boxes\(0\) of train are float64 \[1, 5\]: give float32",
    ),
    ("boxes", detected(classes=np.array([2])), r"boxes\(0\) of train have the class \[2\]: give 0 to 1"),
    ("boxes", detected(ignored=[False]), r"the ignored of boxes\(0\) of train are list: give uint8 or bool \[1\]"),
    (
        "boxes",
        detected(ignored=np.array([3], np.uint8)),
        r"boxes\(0\) of train are ignored as \[3\]: give 0, or GROUP or HARD",
    ),
    ("boxes", detected(ignored=np.array([True])), "no image of 20 of each split has a box that counts"),
    ("boxes", at(2, 1, 2, 6), r"have the corners \[\[2\. 1\. 2\. 6\.\]\]: leave boxes without an area out"),
    ("boxes", at(0, 1, np.nan, 6), "leave boxes without an area out"),
    ("boxes", at(0, 1, 9, 6), "and the image is 8 x 8: cut them to it"),
    ("determinism", segmented(mask=noisy_masks), r"mask\(0\) of train differs when it is loaded again: fix the seed"),
]


def case(component, target, params=None) -> DatasetCase:
    kind = getattr(target, "params", TinyParams)
    return DatasetCase(component(target, params=kind), params or kind(), Path())


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_data_set_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](case(component, target))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (Params(), "its params derive from Params: derive them from DatasetParams"),
        (TinyParams(classes="two"), r"info\(\) has classes 'two': give whole numbers above 0"),
        (TinyParams(classes=0), r"info\(\) has classes 0"),
    ],
)
def test_sizes_that_are_none(component, params, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS["info"](case(component, fine, params))


def test_every_check_has_a_data_set_that_breaks_it():
    assert {check for check, _, _ in BROKEN} | {"info", "files"} == set(CHECKS)


@pytest.mark.parametrize("target", [fine, segmented(), detected()])
def test_a_good_data_set_breaks_none(component, target):
    remarks = {check(case(component, target)) for check in CHECKS.values()}
    assert remarks <= {None, "", "no box of 'cat' in the images that were looked at"}


def test_a_class_that_no_mask_shows_is_a_remark(component):
    target = segmented(mask=masks_as(lambda mask: np.where(mask == 1, np.uint8(0), mask)))
    assert CHECKS["masks"](case(component, target)) == "no pixel of 'tree' in the masks that were looked at"


@pytest.mark.parametrize("name", ["cifar10_subset", "nuclei"])
def test_those_that_come_with_benchbench_break_none(tmp_path, name):
    from benchbench.data import benchbench_datasets

    subset = next(each for each in benchbench_datasets() if each.name == name)
    assert [str(f) for f in check_component("dataset", subset, data=tmp_path) if f.status != "ok"] == []


def test_boxes_that_come_with_benchbench(tmp_path):
    from benchbench.data import benchbench_datasets

    nuclei = next(each for each in benchbench_datasets() if each.name == "nuclei_boxes")
    checked = DatasetCase(nuclei, nuclei.params(), tmp_path)  # its files are those of `nuclei`, checked above
    for name in ("info", "labels", "classes", "sizes", "images", "boxes", "pickles"):
        assert not CHECKS[name](checked)


class TestFiles:
    """A data set of listed images, of which the keys hold what its parameters and its fingerprint name."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        (tmp_path / "images").mkdir()
        for split, count in (("train", 6), ("test", 4)):
            files = [tmp_path / "images" / f"{split}{number}.png" for number in range(count)]
            for number, file in enumerate(files):
                Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
            (tmp_path / f"{split}.txt").write_text("\n".join(map(str, files)))
        return tmp_path

    def case(self, component, folder: Path, *, given=None, place=None, root="data", **fields) -> DatasetCase:
        class ListedParams(TinyParams):
            lists: Path = folder

            def fingerprint(self):
                return given() if callable(given) else given

            def place(self, root):
                return place

        params = ListedParams(**fields)
        return DatasetCase(component(listed_in(folder), params=ListedParams), params, folder / root)

    def message(self, case: DatasetCase) -> str:
        with pytest.raises(AssertionError) as caught:
            CHECKS["files"](case)
        return str(caught.value)

    def test_are_found(self, component, folder):
        message = self.message(self.case(component, folder, lists=folder / "train.txt"))
        assert message == (
            f"it reads {folder}/images/train0.png and 10 more, and no key holds that: return its path from "
            "ListedParams.fingerprint(), or make it a parameter of type Path"
        )

    def test_by_way_of_a_parameter(self, component, folder):
        CHECKS["files"](self.case(component, folder))

    @pytest.mark.parametrize("form", [lambda *paths: list(paths), lambda *paths: {"a": paths[0], "b": [*paths[1:], 3]}])
    def test_by_way_of_the_fingerprint(self, component, folder, form):
        paths = (folder / "images", folder / "train.txt", folder / "test.txt")
        CHECKS["files"](self.case(component, folder, lists=folder / "none", given=form(*paths)))
        message = self.message(self.case(component, folder, lists=folder / "none", given=form(*paths[:2])))
        assert message.startswith(f"it reads {folder}/test.txt, and no key")

    def test_that_the_fingerprint_reads_itself(self, component, folder):
        def sums() -> list[str]:
            return [file.read_bytes().hex() for file in sorted(folder.rglob("*.*"))]

        CHECKS["files"](self.case(component, folder, lists=folder / "none", given=sums))

    def test_in_the_folder_of_downloads(self, component, folder):
        fields = {"lists": folder / "none", "root": "."}
        message = self.message(self.case(component, folder, **fields))
        remedy = "name its folder in ListedParams.place(root), or give the version of a download in "
        assert message.endswith(f"{remedy}ListedParams.fingerprint()")
        CHECKS["files"](self.case(component, folder, place=folder, **fields))
        CHECKS["files"](self.case(component, folder, given="version 2", **fields))

    def test_a_version_names_no_file_elsewhere(self, component, folder):
        assert "train.txt" in self.message(self.case(component, folder, lists=folder / "none", given="version 2"))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (lambda: object(), "give the same each time"),
            (Path("/nowhere/list.txt"), r"names /nowhere/list\.txt, which does not exist"),
        ],
    )
    def test_wrong_fingerprints(self, component, folder, given, message):
        assert re.search(message, self.message(self.case(component, folder, given=given)))

    def test_read_when_its_module_is_imported(self, folder):
        (folder / "plugin.py").write_text(PLUGIN)
        (result,) = [each for each in (c.run() for c in checks_of(folder / "plugin.py")) if each.check == "files"]
        assert result.status == "failed"
        assert f"it reads {folder}/train.txt, and no key" in result.message


PLUGIN = """
from pathlib import Path
from benchbench import Component, hookimpl
from benchbench.data.info import DataInfo, DatasetParams

LISTED = Path(__file__).with_name("train.txt").read_text()

class EarlyParams(DatasetParams):
    def info(self, root):
        return DataInfo(2, train=6, test=4)

@hookimpl
def benchbench_datasets():
    yield Component("early", f"{__name__}:load", EarlyParams)

def load(params, root, split):
    from tests.testing.test_datasets import fine
    return fine(params, root, split)
"""


def listed_in(folder: Path):
    def load(params, root, split):
        files = (folder / f"{split}.txt").read_text().split()
        return replace(fine(params, root, split), image=FileImages(tuple(files)), array=None)

    return load
