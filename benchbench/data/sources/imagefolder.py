"""A user's own images: one folder per class, under a folder per split."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.common import check_labels
from benchbench.data.sources.folder_scan import SplitScan, scan_split
from benchbench.data.sources.own_images import OwnFileImages, OwnImagesParams, Range, survey_files
from benchbench.errors import DataError, did_you_mean


class ImageFolderParams(OwnImagesParams):
    """Images in one folder per class.

    Attributes:
        path: the folder that holds the two splits.
        train_folder: the split that trains.
        test_folder: the split that tests; where it is left at `test` and only `val` is there, that one.
        exif: `apply` turns an image as its EXIF orientation says; by default pixels are taken as they are stored, as
            torchvision's ImageFolder and timm take them, so that accuracies compare with theirs.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; by default all of 16 bits, and of 32
            bits the smallest of 0..1, 0..255 and 0..65535 that holds an image.
    """

    path: Path
    train_folder: str = "train"
    test_folder: str = "test"
    exif: Literal["ignore", "apply"] = "ignore"
    pixel_range: Range | None = None

    def info(self, root: Path) -> DataInfo:
        return sizes(self)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        return _scan(self)[split].files()


def sizes(params: ImageFolderParams) -> DataInfo:
    """Counts of both splits, and notes on what is left out and on headers of some images.

    Raises:
        DataError: as `load`.
    """
    scans = _scan(params)
    notes = [f"{scan.folder.name}/: {words}" for scan in scans.values() for words in _doubts(scan)]
    counts = {split: sum(map(len, scan.by_class.values())) for split, scan in scans.items()}
    files = [str(path) for path in scans["train"].files().values()]
    notes += survey_files(files, params.reading)
    names = tuple(scans["train"].by_class)
    return DataInfo(len(names), counts["train"], counts["test"], "; ".join(notes), names)


def load(params: ImageFolderParams, root: Path, split: str) -> ImageDataset:
    """One split. Classes are numbered by sorted folder name (numbers by their value), images of each sorted by path.

    Every kind of image that Pillow reads from a fixed list counts. Links to folders are followed, unless they lead back
    to a folder that they lie in. Hidden files and folders are left out, and so are those that systems make themselves.

    Raises:
        DataError: a folder is absent, a class folder is empty, or the splits have different classes.
    """
    by_class = _scan(params)["train" if split == "train" else "test"].by_class
    classes = tuple(by_class)
    labels = [label for label, files in enumerate(by_class.values()) for _ in files]
    files = tuple(file for files in by_class.values() for file in files)
    return ImageDataset(
        check_labels("imagefolder", labels, classes, split), classes, OwnFileImages(files, params.reading)
    )


def _doubts(scan: SplitScan) -> list[str]:
    return [words for words in (str(scan.left_out), scan.doubtful_names()) if words]


def _scan(params: ImageFolderParams) -> dict[str, SplitScan]:
    """The training and the test split."""
    test_folder = params.path / params.test_folder
    default = ImageFolderParams.model_fields["test_folder"].default
    if params.test_folder == default and not test_folder.is_dir() and (params.path / "val").is_dir():
        test_folder = params.path / "val"
    train, test = scan_split(params.path / params.train_folder), scan_split(test_folder)
    for one, other in ((train, test), (test, train)):
        absent = sorted(set(one.by_class) - set(other.by_class))
        if absent:
            names = ", ".join(f"'{name}'" for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
            hint = did_you_mean(absent[0], set(other.by_class) - set(one.by_class))
            meant = f" ({hint})" if "did you mean" in hint else ""
            raise DataError(f"imagefolder: the splits differ in their classes: {other.folder} lacks {names}{meant}")
    return {"train": train, "test": test}
