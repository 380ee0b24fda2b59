"""A user's own images with boxes in the layout of YOLO: folders of images, and of text files of the same names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.box_files import BoxedImage
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.drawn_split import TWO_VALIDATIONS, Split, draw_unlabelled
from benchbench.data.sources.folder_parts import STAND_INS, check_apart, distinct, unread
from benchbench.data.sources.folder_scan import class_folders, scan_images
from benchbench.data.sources.mask_pairs import by_stem
from benchbench.data.sources.own_boxes import BoxedParts, boxed_files, boxed_images, boxed_sizes, checked_names
from benchbench.data.sources.own_images import Range, printable
from benchbench.data.sources.yolo_txt import NAME_LISTS, YoloClasses, classes_in, names_file, read_yolo
from benchbench.errors import DataError

ENDING = ".txt"
DRAWN = "`split: {test: 0.2, by: seed}`"


class YoloParams(OwnFilesParams):
    """Images with one text file each, a line per box: class number, centre, width and height in shares of the sides.

    Parts are images/PART and labels/PART, or PART/images and PART/labels, or PART with images and text files beside one
    another. An image without a text file has no objects.

    Attributes:
        path: the folder that holds the parts.
        classes: names of the classes in the order of their numbers; by default those in data.yaml (under `names`) or
            another YAML file beside the parts, else in classes.txt or obj.names. Nothing else of that file is read.
        train_folder: the part that trains.
        test_folder: the part that tests; where it is left at `test` and there is none, `val`, `valid` or `validation`.
        validation_folder: images of its own to validate on, in place of the share that `selection` holds out.
        split: draws the test part (and one to validate on) from a folder without one: `{test: 0.2, by: seed}`.
            `by: group` keeps the images of one sub-folder together.
        exif: `apply` turns an image as its EXIF orientation says, where boxes were drawn over the image as it is shown;
            by default pixels are taken as they are stored.
        channels: of every image: 1 for grey, or any number; as of `imagefolder`.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; as of `imagefolder`.
    """

    path: Path
    classes: list[str] | None = None
    train_folder: str = "train"
    test_folder: str = "test"
    validation_folder: str | None = None
    split: Split | None = None
    exif: Literal["ignore", "apply"] = "ignore"
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    pixel_range: Range | None = None

    _distinct = field_validator("classes", mode="before")(checked_names)

    def info(self, root: Path) -> DataInfo:
        return boxed_sizes(self, _read(self))

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        files = boxed_files({part: scan.images for part, scan in _scans(self).items()}, split)
        names = None if self.classes else names_file(self.path)
        return files if names is None else files | {f"names{names.suffix}": names}


def load(params: YoloParams, root: Path, split: str) -> ImageDataset:
    """One split, sorted by name; images of one size that fit in memory are an array too.

    Images of a validation part stand after those that train.

    Raises:
        DataError: a folder is absent or empty, the classes have no names, or a text file is damaged.
    """
    return boxed_images(params, _read(params), split)


@dataclass(frozen=True)
class _Scan:
    """Images of a part, without their boxes.

    Attributes:
        folder: that is named after the part.
        images: sorted by name; with their text files where they have one.
        notes: on what is left out.
    """

    folder: Path
    images: Sequence[BoxedImage]
    notes: tuple[str, ...]

    def files(self) -> dict[str, Path]:
        return {image.name: Path(image.image) for image in self.images}


def _read(params: YoloParams) -> BoxedParts:
    """The images of all parts with their boxes."""
    scans, (names, keypoint_values) = _scans(params), _classes(params)
    parts = {
        part: [
            replace(image, boxes=read_yolo(image.annotation, names, keypoint_values) if image.annotation else ())
            for image in scan.images
        ]
        for part, scan in scans.items()
    }
    notes = [f"{scan.folder.name}/: {note}" for scan in distinct(scans) for note in scan.notes]
    return BoxedParts("yolo", parts, names, (*notes, *unread(params, scans)))


def _classes(params: YoloParams) -> YoloClasses:
    if params.classes:
        return YoloClasses(tuple(params.classes))
    file = names_file(params.path)
    if file is None:
        raise DataError(
            f"yolo: {params.path} holds no data.yaml and no {NAME_LISTS[0]} with the names of the classes; name them "
            "with `classes: [car, person]`"
        )
    return classes_in(file)


def _scans(params: YoloParams) -> dict[str, _Scan]:
    """The parts `train`, `test` and, where there is one, `validation`, by the names of files alone."""
    scans = _drawn(params) if params.split else _folders(params)
    if params.validation_folder is not None:
        scans["validation"] = _required(params, params.validation_folder, "`validation_folder` names it")
    check_apart("yolo", {part: [image.image for image in scan.images] for part, scan in scans.items()})
    return scans


def _folders(params: YoloParams) -> dict[str, _Scan]:
    """The parts of folders of their own."""
    there = class_folders(params.path) + class_folders(params.path / "images")
    holds = f"{params.path} holds {', '.join(f'{name}/' for name in there[:5]) or 'no folder'}"
    train = _required(
        params, params.train_folder, f"{holds}; name the part with `train_folder`, or {DRAWN} draws parts"
    )
    test = params.test_folder
    if _place(params, test) is None and test == YoloParams.model_fields["test_folder"].default:
        names = [name for name in STAND_INS if name != params.validation_folder]
        test = next((name for name in names if _place(params, name) is not None), test)
    return {"train": train, "test": _required(params, test, f"name it with `test_folder`, or {DRAWN} draws one")}


def _drawn(params: YoloParams) -> dict[str, _Scan]:
    """The parts of one folder: `train_folder` where it is there, else the whole."""
    assert params.split is not None
    if params.split.validation and params.validation_folder is not None:
        raise DataError(f"yolo: {TWO_VALIDATIONS}")
    if _place(params, params.test_folder) is not None:
        raise DataError(f"yolo: {params.path} has {params.test_folder}/ already; take `split` out, or the folder")
    is_named = params.train_folder != YoloParams.model_fields["train_folder"].default
    part = params.train_folder if is_named or _place(params, params.train_folder) is not None else ""
    whole = _required(params, part, "`train_folder` names it")
    drawn = draw_unlabelled("yolo", [image.name for image in whole.images], params.split)
    names = ("train", "test", *(["validation"] if params.split.validation else []))
    return {
        name: replace(whole, images=[image for image, part in zip(whole.images, drawn, strict=True) if part == name])
        for name in names
    }


def _place(params: YoloParams, part: str) -> tuple[Path, Path] | None:
    """The folders of images and of text files of a part, or of the whole; None where there are no images."""
    inside = params.path / part
    places = ((params.path / "images" / part, params.path / "labels" / part), (inside / "images", inside / "labels"))
    return next((place for place in (*places, (inside, inside)) if place[0].is_dir()), None)


def _required(params: YoloParams, part: str, hint: str) -> _Scan:
    """A part that is there.

    Raises:
        DataError: it is not, or it has no text files.
    """
    place = _place(params, part)
    if place is None:
        raise DataError(f"yolo: neither {params.path / 'images' / part} nor {params.path / part} is a folder; {hint}")
    images, labels = place
    if not labels.is_dir():
        raise DataError(f"yolo: {labels} is not a folder; the text files of the images in {images} belong there")
    scan = scan_images(images, params.more_extensions, "yolo")
    if images == labels:
        for ending in (ENDING, ".yaml", ".yml", ".names"):
            scan.left_out.kinds.pop(ending, None)
    image_of = by_stem("yolo", images, scan.files(), "images")
    text_of = {name: str(labels / f"{name}{ENDING}") for name in image_of}
    text_of = {name: text for name, text in text_of.items() if os.path.isfile(text)}  # by way of links too
    if not text_of:
        raise DataError(f"yolo: none of the images in {images} has a text file of its name in {labels}")
    notes = [note for note in (str(scan.left_out), scan.doubtful_names()) if note]
    texts = {file.relative_to(labels).as_posix() for file in labels.rglob(f"*{ENDING}") if file.name not in NAME_LISTS}
    if alone := sorted(texts - {f"{name}{ENDING}" for name in text_of}):
        kind, more = ("text files", ", ...") if len(alone) > 1 else ("text file", "")
        notes.append(f"{len(alone)} {kind} without an image ({printable(alone[0])}{more})")
    boxed = [
        BoxedImage(name + os.path.splitext(image)[1], image, (), None, text_of.get(name, ""), relative=True)
        for name, image in sorted(image_of.items())
    ]
    return _Scan(params.path / part, boxed, tuple(notes))
