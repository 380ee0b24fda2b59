"""MIT-67 indoor scenes in their official layout: Images/<class>/*.jpg, TrainImages.txt and TestImages.txt."""

from __future__ import annotations

from pathlib import Path

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import FileImages, check_files, check_labels, read_lines
from benchbench.errors import DataError

OFFICIAL = (67, 5360, 1340)
LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}


class Mit67Params(DatasetParams):
    """MIT-67 indoor scenes (Quattoni and Torralba 2009), official split.

    Attributes:
        path: the folder that holds Images/, TrainImages.txt and TestImages.txt; by default mit67 in the data folder.
    """

    path: Path | None = None

    def place(self, root: Path) -> Path | None:
        return root / "mit67" if self.path is None else None

    def info(self, root: Path) -> DataInfo:
        return sizes(self, root)


def sizes(params: Mit67Params, root: Path) -> DataInfo:
    """Counts of the lists that are there, else the official ones with a note.

    Raises:
        DataError: a list is broken.
    """
    folder = _folder(params, root)
    if not folder.is_dir():
        return DataInfo(*OFFICIAL, note=_advice(folder))
    listed = {split: _read(folder, split) for split in LISTS}
    return DataInfo(len({name for name, _ in listed["train"]}), len(listed["train"]), len(listed["test"]))


def load(params: Mit67Params, root: Path, split: str) -> ImageDataset:
    """One split, of images of many sizes. The lists name 80 training and 20 test images a class, not all there are.

    Raises:
        DataError: the files are absent (it says which to get) or broken.
    """
    folder = _folder(params, root)
    if not folder.is_dir():
        raise DataError(_advice(folder))
    classes = sorted({name for name, _ in _read(folder, "train")})
    label_of = {name: label for label, name in enumerate(classes)}
    listed = _read(folder, split)
    unknown = sorted({name for name, _ in listed} - set(classes))
    if unknown:
        raise DataError(f"mit67: class '{unknown[0]}' of {LISTS[split]} never occurs in {LISTS['train']}")
    labels = check_labels("mit67", [label_of[name] for name, _ in listed], classes, split)
    files = tuple(str(folder / "Images" / name / file) for name, file in listed)
    check_files("mit67", files, "unpack indoorCVPR_09.tar again")
    return ImageDataset(labels, tuple(classes), FileImages(files))


def _folder(params: Mit67Params, root: Path) -> Path:
    return params.path if params.path is not None else root / "mit67"


def _advice(folder: Path) -> str:
    return (
        f"mit67: {folder} is not there; download indoorCVPR_09.tar, TrainImages.txt and TestImages.txt (MIT indoor "
        f"scenes, from their authors), put both lists there and unpack the archive there, so that {folder / 'Images'} "
        "exists"
    )


def _read(folder: Path, split: str) -> list[tuple[str, str]]:
    """Class and file name of each line of a list."""
    listed = []
    for line in read_lines("mit67", folder / LISTS[split]):
        name, _, file = line.partition("/")
        if not name or not file:
            raise DataError(f"mit67: {folder / LISTS[split]} has the line '{line}', not 'class/file'")
        listed.append((name, file))
    return listed
