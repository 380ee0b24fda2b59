"""CUB-200-2011 in its official layout: lists of images, labels and split, and a folder of images per species."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import FileImages, check_files, check_labels, read_lines
from benchbench.errors import DataError

OFFICIAL = (200, 5994, 5794)
ARCHIVE = "CUB_200_2011.tgz"


@dataclass(frozen=True)
class _Image:
    file: str
    label: int
    trains: bool


class Cub200Params(DatasetParams):
    """CUB-200-2011 (Wah et al. 2011), official split.

    Attributes:
        path: the archive's folder CUB_200_2011; by default the folder of that name in the data folder.
    """

    path: Path | None = None

    def place(self, root: Path) -> Path | None:
        return root / "CUB_200_2011" if self.path is None else None

    def info(self, root: Path) -> DataInfo:
        return sizes(self, root)


def sizes(params: Cub200Params, root: Path) -> DataInfo:
    """Counts of the lists that are there, else the official ones with a note.

    Raises:
        DataError: a list is broken.
    """
    folder = _folder(params, root)
    if not folder.is_dir():
        return DataInfo(*OFFICIAL, note=_advice(folder))
    classes, images = _read(folder)
    trains = sum(image.trains for image in images)
    return DataInfo(len(classes), trains, len(images) - trains)


def load(params: Cub200Params, root: Path, split: str) -> ImageDataset:
    """One split, of images of many sizes.

    Raises:
        DataError: the files are absent (it says which to get) or broken.
    """
    folder = _folder(params, root)
    if not folder.is_dir():
        raise DataError(_advice(folder))
    classes, images = _read(folder)
    chosen = [image for image in images if image.trains == (split == "train")]
    labels = check_labels("cub200", [image.label for image in chosen], classes, split)
    files = tuple(str(folder / "images" / image.file) for image in chosen)
    check_files("cub200", files, f"unpack {ARCHIVE} again")
    return ImageDataset(labels, tuple(classes), FileImages(files))


def _folder(params: Cub200Params, root: Path) -> Path:
    return params.path if params.path is not None else root / "CUB_200_2011"


def _advice(folder: Path) -> str:
    return (
        f"cub200: {folder} is not there; download {ARCHIVE} (CUB-200-2011, from its authors), unpack it, and put its "
        f"folder CUB_200_2011 there, so that {folder / 'images.txt'} exists"
    )


def _read(folder: Path) -> tuple[list[str], list[_Image]]:
    """Class names by number, and all images in the order of images.txt. Every list has lines "number value"."""
    names = _numbered(folder / "classes.txt")
    files = _numbered(folder / "images.txt")
    labels = _numbered(folder / "image_class_labels.txt")
    trains = _numbered(folder / "train_test_split.txt")
    if sorted(names) != list(range(1, len(names) + 1)):
        raise DataError(f"cub200: {folder / 'classes.txt'} does not number its classes from 1 on")
    # "001.Black_footed_Albatross": the number is for sorting and is no part of the name.
    classes = [re.sub(r"^\d+\.", "", names[number]) for number in sorted(names)]
    images = []
    for number, file in files.items():
        label, flag = labels.get(number, ""), trains.get(number, "")
        if not label.isdecimal() or flag not in ("0", "1"):
            raise DataError(f"cub200: image {number} ({file}) has label '{label}' and split '{flag}' in {folder}")
        images.append(_Image(file, int(label) - 1, flag == "1"))
    return classes, images


def _numbered(file: Path) -> dict[int, str]:
    values = {}
    for line in read_lines("cub200", file):
        number, _, value = line.partition(" ")
        if not number.isdecimal() or not value:
            raise DataError(f"cub200: {file} has the line '{line}', not 'number value'")
        values[int(number)] = value
    return values
