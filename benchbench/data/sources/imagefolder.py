"""A user's own images: one folder per class, under a folder per split, or in one folder that is split here."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.common import check_labels
from benchbench.data.sources.drawn_split import Split, draw_parts
from benchbench.data.sources.folder_parts import STAND_INS, check_apart, distinct, files_of, unread
from benchbench.data.sources.folder_scan import SplitScan, class_folders, scan_images, scan_split
from benchbench.data.sources.own_images import Range, survey_files
from benchbench.errors import DataError, did_you_mean


class ImageFolderParams(OwnFilesParams):
    """Images in one folder per class.

    Attributes:
        path: the folder that holds the splits, or with `split` the class folders themselves.
        train_folder: the split that trains.
        test_folder: the split that tests; where it is left at `test` and there is none, `val`, `valid` or `validation`.
        validation_folder: images of its own to validate on, in place of the share that `selection` holds out.
        split: draws the test part (and one to validate on) from a folder without one: `{test: 0.2, by: seed}`. Shares
            are of each class; `by: group` keeps the images of one sub-folder of the class folders together; `seed: 0`
            is the draw's own.
        exif: `apply` turns an image as its EXIF orientation says; by default pixels are taken as they are stored, as
            torchvision's ImageFolder and timm take them, so that accuracies compare with theirs. A TIFF is always
            turned, there as here.
        channels: of every image: 1 for grey, 4 with transparency or infrared, or any number. Networks are built for
            them. `.npy` files of arrays [height, width, channels] count then, and pages of a TIFF are channels.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; by default all of 16 bits, and of 32
            bits the smallest of 0..1, 0..255 and 0..65535 that holds an image.
    """

    path: Path
    train_folder: str = "train"
    test_folder: str = "test"
    validation_folder: str | None = None
    split: Split | None = None
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    exif: Literal["ignore", "apply"] = "ignore"
    pixel_range: Range | None = None

    def info(self, root: Path) -> DataInfo:
        return sizes(self)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        return files_of(_scan(self), split)


def sizes(params: ImageFolderParams) -> DataInfo:
    """Counts of all parts, and notes on what is left out and on headers of some images.

    Raises:
        DataError: as `load`.
    """
    scans = _scan(params)
    notes = [f"{scan.folder.name}/: {words}" for scan in distinct(scans) for words in _doubts(scan)]
    counts = {split: sum(map(len, scan.by_class.values())) for split, scan in scans.items()}
    notes += unread(params, scans)
    files = [str(path) for path in scans["train"].files().values()]
    notes += survey_files(files, params.reading)
    names = tuple(scans["train"].by_class)
    return DataInfo(
        len(names),
        counts["train"],
        counts["test"],
        "; ".join(notes),
        names,
        counts.get("validation", 0),
        params.channels,
        fewest=min(map(len, scans["train"].by_class.values())),
    )


def load(params: ImageFolderParams, root: Path, split: str) -> ImageDataset:
    """One split. Classes are numbered by sorted folder name (numbers by their value), images of each sorted by path.

    Every kind of image that Pillow reads from a fixed list counts. Links to folders are followed, unless they lead back
    to a folder that they lie in. Hidden files and folders are left out, and so are those that systems make themselves.
    Images of a validation part stand after those that train.

    Raises:
        DataError: a folder is absent, a class folder is empty, the splits have different classes, or a class has too
            few images for `split`.
    """
    import numpy as np

    scans = _scan(params)
    classes = tuple(scans["train"].by_class)
    chosen = [scans[name] for name in (("train", "validation") if split == "train" else ("test",)) if name in scans]
    labels: list[int] = []
    files: list[str] = []
    counts = []
    for scan in chosen:
        for label, name in enumerate(classes):
            labels += [label] * len(scan.by_class.get(name, ()))
            files += scan.by_class.get(name, ())
        counts.append(len(files))
    held_out = np.arange(counts[0], counts[1]) if len(counts) > 1 else None
    images = params.dataset(check_labels("imagefolder", labels, classes, split), classes, tuple(files))
    return replace(images, validation=held_out)


def _doubts(scan: SplitScan) -> list[str]:
    return [words for words in (str(scan.left_out), scan.doubtful_names()) if words]


def _scan(params: ImageFolderParams) -> dict[str, SplitScan]:
    """The parts `train`, `test` and, where there is one, `validation`."""
    scans = _drawn(params) if params.split else _folders(params)
    if params.validation_folder is not None:
        scans["validation"] = scan_split(params.path / params.validation_folder, params.more_extensions)
    check_apart("imagefolder", {part: map(str, scan.files().values()) for part, scan in scans.items()})
    train = scans["train"]
    for one, other in ((train, scans["test"]), (scans["test"], train), (scans.get("validation", train), train)):
        absent = sorted(set(one.by_class) - set(other.by_class))
        if absent:
            names = ", ".join(f"'{name}'" for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
            hint = did_you_mean(absent[0], set(other.by_class) - set(one.by_class))
            meant = f" ({hint})" if "did you mean" in hint else ""
            raise DataError(f"imagefolder: the splits differ in their classes: {other.folder} lacks {names}{meant}")
    return scans


def _folders(params: ImageFolderParams) -> dict[str, SplitScan]:
    """The splits of folders of their own."""
    train, test = params.path / params.train_folder, params.path / params.test_folder
    if not train.is_dir():
        advice = "name the training part with `train_folder`, or, if these are classes, `split: {test: 0.2, by: seed}`"
        raise DataError(f"imagefolder: {train} is not a folder{_advice(params.path, advice)} draws a test part")
    scan = scan_split(train, params.more_extensions)
    test = test if test.is_dir() else _stand_in(params) or test
    if not test.is_dir():
        advice = "name the test part with `test_folder`, or `split: {test: 0.2, by: seed}`"
        raise DataError(
            f"imagefolder: {test} is not a folder{_advice(params.path, advice)} draws one from {train.name}/"
        )
    return {"train": scan, "test": scan_split(test, params.more_extensions)}


def _advice(folder: Path, advice: str) -> str:
    """The folders that are there instead, and a remedy."""
    there = class_folders(folder)
    if not there:
        return f"; {folder} should hold one folder of images per class: {advice}"
    names = ", ".join(f"{name}/" for name in there[:5]) + (", ..." if len(there) > 5 else "")
    return f"; {folder} holds {names}: {advice}"


def _stand_in(params: ImageFolderParams) -> Path | None:
    """A folder that tests where there is none called `test`, and no other was asked for."""
    if params.test_folder != ImageFolderParams.model_fields["test_folder"].default:
        return None
    names = [name for name in STAND_INS if name != params.validation_folder]
    return next((params.path / name for name in names if (params.path / name).is_dir()), None)


def _drawn(params: ImageFolderParams) -> dict[str, SplitScan]:
    """The parts of one folder: `train_folder` where it is there, else the whole."""
    assert params.split is not None
    train = params.path / params.train_folder
    # A stage is given every parameter, so one at its default says nothing of what the suite asks for.
    is_named = params.train_folder != ImageFolderParams.model_fields["train_folder"].default
    if train.is_dir() and not is_named:
        _check_alone(params)
    folder = train if train.is_dir() or is_named else params.path
    test = params.path / params.test_folder
    if test.is_dir() and not (is_named and folder == params.path):
        raise DataError(
            f"imagefolder: {test} is there already; take `split` out, or the folder, or write `train_folder: .` where "
            "all folders are classes"
        )
    if params.validation_folder is not None and (params.split.validation or folder == params.path):
        raise DataError(
            "imagefolder: `validation_folder` lies beside train/; here `split: {validation: ...}` draws one"
        )
    whole = scan_split(folder, params.more_extensions)
    files = [(label, path) for label, paths in whole.by_class.items() for path in paths]
    labels, by_group = [label for label, _ in files], params.split.by == "group"
    groups = [_group(whole, label, path, by_group) for label, path in files]
    parts = draw_parts("imagefolder", labels, groups, params.split)
    names = ("train", "test", *(["validation"] if params.split.validation else []))
    by_part: dict[str, dict[str, list[str]]] = {name: {label: [] for label in whole.by_class} for name in names}
    for (label, path), part in zip(files, parts, strict=True):
        by_part[part][label].append(path)
    return {name: SplitScan(folder, by_class, whole.left_out) for name, by_class in by_part.items()}


def _check_alone(params: ImageFolderParams) -> None:
    """Raises DataError where train/ has folders of images beside it, and may be a class as they are."""
    parts = (params.train_folder, params.test_folder, params.validation_folder, *STAND_INS)
    beside = [name for name in class_folders(params.path) if name not in parts and _holds_images(params, name)]
    if beside:
        names = ", ".join(f"{name}/" for name in beside[:5]) + (", ..." if len(beside) > 5 else "")
        raise DataError(
            f"imagefolder: {params.path} holds {params.train_folder}/ and {names}: write `train_folder: .` where all "
            f"are classes, `train_folder: ./{params.train_folder}` where it is the training part"
        )


def _holds_images(params: ImageFolderParams, name: str) -> bool:
    try:
        return bool(scan_images(params.path / name, params.more_extensions).by_class)
    except DataError:
        return False


def _group(scan: SplitScan, label: str, path: str, by_group: bool) -> str:
    """The sub-folder that an image lies in, below that of its class; else its own name."""
    name = path.removeprefix(os.path.join(scan.folder, ""))
    inside = os.path.dirname(name)[len(label) + 1 :]
    return inside if by_group and inside else name
