"""A user's own images: one folder per class, under a folder per split."""

from __future__ import annotations

import os
from pathlib import Path

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import FileImages, check_labels
from benchbench.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm")


class ImageFolderParams(DatasetParams):
    """Images in one folder per class.

    Attributes:
        path: the folder that holds the two splits.
        train_folder: the split that trains.
        test_folder: the split that tests; where it is left at `test` and only `val` is there, that one.
    """

    path: Path
    train_folder: str = "train"
    test_folder: str = "test"

    def info(self, root: Path) -> DataInfo:
        return sizes(self)


def sizes(params: ImageFolderParams) -> DataInfo:
    """Counts of both splits; no image is opened.

    Raises:
        DataError: as `load`.
    """
    train, test = _scan(params)
    return DataInfo(len(train), sum(map(len, train.values())), sum(map(len, test.values())))


def load(params: ImageFolderParams, root: Path, split: str) -> ImageDataset:
    """One split. Classes are numbered by sorted folder name, images sorted by path within their class.

    Raises:
        DataError: a folder is absent, a class folder is empty, or the splits have different classes.
    """
    train, test = _scan(params)
    by_class = train if split == "train" else test
    classes = tuple(by_class)
    labels = [label for label, files in enumerate(by_class.values()) for _ in files]
    files = tuple(file for files in by_class.values() for file in files)
    return ImageDataset(check_labels("imagefolder", labels, classes, split), classes, FileImages(files))


def _scan(params: ImageFolderParams) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Files by class, of the training and of the test split."""
    train_folder = params.path / params.train_folder
    test_folder = params.path / params.test_folder
    default = ImageFolderParams.model_fields["test_folder"].default
    if params.test_folder == default and not test_folder.is_dir() and (params.path / "val").is_dir():
        test_folder = params.path / "val"
    train, test = _classes(train_folder), _classes(test_folder)
    for one, other, folder in ((train, test, test_folder), (test, train, train_folder)):
        absent = sorted(set(one) - set(other))
        if absent:
            names = ", ".join(f"'{name}'" for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
            raise DataError(f"imagefolder: the splits differ in their classes: {folder} lacks {names}")
    return train, test


def _classes(folder: Path) -> dict[str, list[str]]:
    if not folder.is_dir():
        raise DataError(f"imagefolder: {folder} is not a folder; it should hold one folder of images per class")
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not names:
        raise DataError(f"imagefolder: {folder} holds no class folders")
    by_class = {name: _images(folder / name) for name in names}
    for name, files in by_class.items():
        if not files:
            readable = " ".join(EXTENSIONS)
            raise DataError(f"imagefolder: the class folder {folder / name} holds no image (of {readable})")
    return by_class


def _images(folder: Path) -> list[str]:
    """Images in a folder and its subfolders, sorted; hidden ones are left out (some systems and editors put stubs)."""
    images = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        images += [os.path.join(parent, file) for file in files if file.lower().endswith(EXTENSIONS) and file[0] != "."]
    return sorted(images)
