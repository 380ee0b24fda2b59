"""Published data sets of detections: Pascal VOC 2007 and 2012, and COCO 2017.

torchvision's classes do the download, the checksums and the lists of VOC; COCO is put there by users. torchvision is
imported when a set is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.box_files import BoxedImage, check_labels, file_boxes
from benchbench.data.sources.coco_json import read_coco
from benchbench.data.sources.common import FileImages, check_files
from benchbench.data.sources.own_images import Reading
from benchbench.data.sources.segmentation_sets import CUT_SHORT, VOC_NAMES, check_count
from benchbench.data.sources.torchvision_sets import downloaded
from benchbench.data.sources.voc_xml import read_voc
from benchbench.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import VOCDetection

OBJECTS = VOC_NAMES[1:]  # without the background
# Of each set of VOC: (year, list) of the images to train on and of those to test on, and their numbers.
VOC_SETS = {
    "2007": ((("2007", "trainval"),), (("2007", "test"),), (5011, 4952)),
    "2012": ((("2012", "train"),), (("2012", "val"),), (5717, 5823)),
    "2007+2012": ((("2007", "trainval"), ("2012", "trainval")), (("2007", "test"),), (16551, 4952)),
}
ARCHIVES = {
    ("2007", "trainval"): "VOCtrainval_06-Nov-2007.tar",
    ("2007", "test"): "VOCtest_06-Nov-2007.tar",
    ("2012", "train"): "VOCtrainval_11-May-2012.tar",
    ("2012", "val"): "VOCtrainval_11-May-2012.tar",
    ("2012", "trainval"): "VOCtrainval_11-May-2012.tar",
}
COCO_NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant"),
    *("bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle"),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli"),
    *("carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table"),
    *("toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
COCO_PARTS = {"train": "train2017", "test": "val2017"}


class VocDetectionParams(DatasetParams):
    """Pascal VOC (Everingham et al.) with boxes; difficult objects are ignored, as in its evaluation.

    Attributes:
        years: `2007` trains on its trainval list and tests on its test list; `2012` trains on its train list and tests
            on val; `2007+2012` trains on both trainval lists and tests on that of 2007, as most papers do.
    """

    years: Literal["2007", "2012", "2007+2012"] = "2007"

    def info(self, root: Path) -> DataInfo:
        train, test = VOC_SETS[self.years][2]
        return DataInfo(len(OBJECTS), train, test, names=OBJECTS, task="detection")


class CocoDetectionParams(DatasetParams):
    """COCO 2017 (Lin et al. 2014) with boxes of 80 classes: train2017 trains, val2017 tests; crowds are ignored.

    Attributes:
        path: the folder that holds train2017/, val2017/ and annotations/, unpacked; by default coco in the data folder.
    """

    path: Path | None = None

    def place(self, root: Path) -> Path | None:
        return root / "coco" if self.path is None else None

    def info(self, root: Path) -> DataInfo:
        folder = _coco_folder(self, root)
        note = "" if folder.is_dir() else _coco_advice(folder)
        return DataInfo(len(COCO_NAMES), 118287, 5000, note, COCO_NAMES, task="detection")


def voc_detection(params: VocDetectionParams, root: Path, split: str) -> ImageDataset:
    """Pascal VOC; downloaded to `root` where it is not there.

    Raises:
        DataError: it cannot be downloaded, or the files on disk are not the published set.
    """
    train, test, _ = VOC_SETS[params.years]
    images: list[BoxedImage] = []
    for year, part in train if split == "train" else test:
        data = downloaded("voc_detection", root, root, _voc_files(year, part), partial(_voc, root, year, part))
        folder = root / "VOCdevkit" / f"VOC{year}"
        check_files("voc_detection", [*data.images, *data.targets], CUT_SHORT.format(folder=folder))
        for image, annotation in zip(data.images, data.targets, strict=True):
            read = read_voc(annotation, "pixels", ignores_difficult=True)
            images.append(BoxedImage(Path(image).name, image, read.boxes, read.size, annotation))
    check_count("voc_detection", split, root / "VOCdevkit", len(images), params.info(root))
    return _file_set("voc_detection", images, OBJECTS)


def coco_detection(params: CocoDetectionParams, root: Path, split: str) -> ImageDataset:
    """COCO 2017, sorted by name.

    Raises:
        DataError: the files are absent (it says which to get), or are not the published set.
    """
    folder, part = _coco_folder(params, root), COCO_PARTS[split]
    if not folder.is_dir():
        raise DataError(_coco_advice(folder))
    annotation = folder / "annotations" / f"instances_{part}.json"
    if not annotation.is_file():
        raise DataError(f"coco_detection: {annotation} is not there; unpack annotations_trainval2017.zip into {folder}")
    content = read_coco(annotation)
    check_count("coco_detection", split, folder, len(content.images), params.info(root))
    images = [
        BoxedImage(each.file, str(folder / part / each.file), each.boxes, each.size, str(annotation), is_shared=True)
        for each in content.images
    ]
    check_files("coco_detection", [image.image for image in images], f"unpack {part}.zip into {folder}")
    return _file_set("coco_detection", images, COCO_NAMES)


def _voc(root: Path, year: str, part: str) -> VOCDetection:
    from torchvision.datasets import VOCDetection

    # torchvision unpacks an archive anew wherever a download is allowed. Two of them make up the folder of 2007.
    listed = root / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Main" / f"{part}.txt"
    return VOCDetection(root, year, part, download=not listed.is_file())


def _voc_files(year: str, part: str) -> str:
    return f"{ARCHIVES[year, part]}, or the folder VOCdevkit that is in it,"


def _coco_folder(params: CocoDetectionParams, root: Path) -> Path:
    return params.path if params.path is not None else root / "coco"


def _coco_advice(folder: Path) -> str:
    return (
        f"coco_detection: {folder} is not there; get train2017.zip, val2017.zip and annotations_trainval2017.zip from "
        "https://cocodataset.org and unpack all three into it"
    )


def _file_set(name: str, images: Sequence[BoxedImage], classes: tuple[str, ...]) -> ImageDataset:
    """A split of images in files, whose boxes all have one of the classes."""
    import numpy as np

    check_labels(name, images, classes, "the published ones")
    files = FileImages(tuple(image.image for image in images))
    boxes = file_boxes(images, classes, Reading())
    return ImageDataset(np.zeros(len(images), np.int64), classes, files, boxes=boxes)
