"""Published data sets of segmentations: Pascal VOC 2012, Cityscapes, and the trimaps of Oxford-IIIT Pet.

torchvision's classes do the download, the checksums and the lists of VOC and of Oxford-IIIT Pet; of Cityscapes, which
users put there by hand, it has the table of classes. torchvision is imported when a set is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchbench.data.images import IGNORED, ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import FileImages, check_files
from benchbench.data.sources.mask_files import ClassValues, MaskFiles
from benchbench.data.sources.own_images import Reading
from benchbench.data.sources.torchvision_sets import downloaded
from benchbench.errors import DataError

Pairs = tuple[tuple[int, int], ...]

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CITYSCAPES_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
IMAGE_ENDING = "_leftImg8bit.png"  # of Cityscapes
CITYSCAPES_SIZES = {"train": 2975, "val": 500}
PETS_NAMES = ("background", "pet")
# Of a trimap: the animal, what is around it, and the border between the two, which counts nowhere.
PETS_VALUES = ((1, 1), (2, 0), (3, IGNORED))
CUT_SHORT = "the download was cut short: delete {folder} and run again"
CHANGED = "the file is not of the published set: delete it and put the published one there"


class VocSegmentationParams(DatasetParams):
    """Pascal VOC 2012 (Everingham et al.): the official train list trains, val tests; borders (255) count nowhere.

    1,464 images train: those of the challenge, without the outlines that others have added to more images since.
    """

    def info(self, root: Path) -> DataInfo:
        return DataInfo(len(VOC_NAMES), 1464, 1449, names=VOC_NAMES, task="segmentation")


class CityscapesParams(DatasetParams):
    """Cityscapes (Cordts et al. 2016), fine annotations: the official train part trains, val tests.

    The 19 classes of its evaluation; pixels of all others count nowhere.

    Attributes:
        path: the folder that holds leftImg8bit/ and gtFine/, unpacked; by default cityscapes in the data folder.
    """

    path: Path | None = None

    def place(self, root: Path) -> Path | None:
        return root / "cityscapes" if self.path is None else None

    def info(self, root: Path) -> DataInfo:
        folder, counts, note = _cityscapes_folder(self, root), CITYSCAPES_SIZES, ""
        if folder.is_dir():
            counts = {part: len(_cityscapes_files(folder, part)) for part in CITYSCAPES_SIZES}
        else:
            note = _cityscapes_advice(folder)
        names = CITYSCAPES_NAMES
        return DataInfo(len(names), counts["train"], counts["val"], note, names, task="segmentation")


class PetsSegmentationParams(DatasetParams):
    """Trimaps of Oxford-IIIT Pet (Parkhi et al. 2012): background and pet; the border between them counts nowhere.

    The official trainval list trains, the test list tests.
    """

    def info(self, root: Path) -> DataInfo:
        return DataInfo(len(PETS_NAMES), 3680, 3669, names=PETS_NAMES, task="segmentation")


def voc_segmentation(params: VocSegmentationParams, root: Path, split: str) -> ImageDataset:
    """Pascal VOC 2012; downloaded to `root` where it is not there.

    Raises:
        DataError: it cannot be downloaded, or the files on disk are not the published set.
    """
    from torchvision.datasets import VOCSegmentation

    folder = root / "VOCdevkit" / "VOC2012"
    files = "VOCtrainval_11-May-2012.tar, or the folder VOCdevkit that is in it,"
    part = "train" if split == "train" else "val"

    def build() -> VOCSegmentation:
        # torchvision unpacks the archive anew wherever a download is allowed.
        return VOCSegmentation(root, "2012", part, download=not folder.is_dir())

    data = downloaded("voc_segmentation", root, root, files, build)
    check_count("voc_segmentation", split, folder, len(data.images), params.info(root))
    pairs = (*((value, value) for value in range(len(VOC_NAMES))), (255, IGNORED))
    listed = list(zip(data.images, data.masks, strict=True))
    return _file_set("voc_segmentation", listed, VOC_NAMES, pairs, CUT_SHORT.format(folder=folder))


def pets_segmentation(params: PetsSegmentationParams, root: Path, split: str) -> ImageDataset:
    """Trimaps of Oxford-IIIT Pet.

    Raises:
        DataError: as `voc_segmentation`.
    """
    from torchvision.datasets import OxfordIIITPet

    folder = root / "oxford-iiit-pet"
    files = "images.tar.gz and annotations.tar.gz, or their unpacked folders images and annotations,"
    part = "trainval" if split == "train" else "test"
    build = partial(OxfordIIITPet, root, part, "segmentation", download=True)
    data = downloaded("pets_segmentation", root, folder, files, build)
    check_count("pets_segmentation", split, folder, len(data._images), params.info(root))
    listed = [(str(image), str(mask)) for image, mask in zip(data._images, data._segs, strict=True)]
    return _file_set("pets_segmentation", listed, PETS_NAMES, PETS_VALUES, CUT_SHORT.format(folder=folder))


def cityscapes(params: CityscapesParams, root: Path, split: str) -> ImageDataset:
    """Cityscapes with the classes of its evaluation, sorted by city and name.

    Raises:
        DataError: the files are absent (it says which to get), or an image has no mask.
    """
    from torchvision.datasets import Cityscapes

    folder, part = _cityscapes_folder(params, root), "train" if split == "train" else "val"
    if not folder.is_dir():
        raise DataError(_cityscapes_advice(folder))
    files = []
    for image in _cityscapes_files(folder, part):
        mask = image.name.removesuffix(IMAGE_ENDING) + "_gtFine_labelIds.png"
        files.append((str(image), str(folder / "gtFine" / part / image.parent.name / mask)))
    numbers = {each.id: each.train_id for each in Cityscapes.classes if each.id >= 0}
    pairs = tuple((value, number if 0 <= number < IGNORED else IGNORED) for value, number in numbers.items())
    return _file_set("cityscapes", files, CITYSCAPES_NAMES, pairs, f"unpack gtFine_trainvaltest.zip into {folder}")


def _cityscapes_folder(params: CityscapesParams, root: Path) -> Path:
    return params.path if params.path is not None else root / "cityscapes"


def _cityscapes_advice(folder: Path) -> str:
    return (
        f"cityscapes: {folder} is not there; get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
        "https://www.cityscapes-dataset.com (with an account) and unpack both into it"
    )


def _cityscapes_files(folder: Path, part: str) -> list[Path]:
    """Images of a part, sorted; what else lies there is passed over.

    Raises:
        DataError: there are none.
    """
    images = folder / "leftImg8bit" / part
    files = sorted(images.glob(f"*/*{IMAGE_ENDING}"))
    if not files:
        raise DataError(f"cityscapes: {images} holds no image; unpack leftImg8bit_trainvaltest.zip into {folder}")
    return files


def check_count(name: str, split: str, folder: Path, count: int, info: DataInfo) -> None:
    """As many images as are published; plans and costs were made with that.

    Raises:
        DataError: there are more or fewer.
    """
    expected = info.train if split == "train" else info.test
    if count != expected:
        raise DataError(
            f"{name}: the {split} split in {folder} has {count} images, not {expected}; the files were changed or the "
            "download was cut short: delete them and run again"
        )


def _file_set(
    name: str, files: Sequence[tuple[str, str]], classes: tuple[str, ...], pairs: Pairs, remedy: str
) -> ImageDataset:
    """A split of images and masks in files, once all are there.

    Args:
        name: of the data set.
        files: (image, mask) [N].
        classes: names of the classes.
        pairs: (value, class number) of the values in masks.
        remedy: where a file is absent.
    """
    import numpy as np

    images, masks = (tuple(each) for each in zip(*files, strict=True))
    check_files(name, (*images, *masks), remedy)
    mask = MaskFiles(masks, images, ClassValues(pairs, CHANGED), Reading())
    return ImageDataset(np.zeros(len(images), np.int64), classes, FileImages(images), mask=mask)
