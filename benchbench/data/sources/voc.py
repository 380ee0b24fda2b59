"""A user's own images with boxes in the layout of Pascal VOC: JPEGImages/, Annotations/ and lists of names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.box_files import BoxedImage
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.common import read_lines
from benchbench.data.sources.drawn_split import Split, draw_unlabelled
from benchbench.data.sources.folder_parts import STAND_INS
from benchbench.data.sources.folder_scan import scan_images
from benchbench.data.sources.mask_pairs import by_stem
from benchbench.data.sources.own_boxes import BoxedParts, boxed_files, boxed_images, boxed_sizes, checked_names
from benchbench.data.sources.own_images import Range, printable
from benchbench.data.sources.voc_xml import Convention, read_voc
from benchbench.errors import DataError, did_you_mean, quoted

ENDING = ".xml"
DRAWN = "`split: {test: 0.2, by: seed}` draws a test part"


class VocParams(OwnFilesParams):
    """Images with one XML file each, as Pascal VOC, LabelImg and CVAT write them.

    Attributes:
        path: the folder that holds JPEGImages/, Annotations/ and ImageSets/Main/.
        classes: names of the classes in the order of their numbers; by default those of the boxes to train on, sorted.
        difficult: `ignore` leaves objects that are marked as difficult out of training and of scores, as VOC does;
            `keep` takes them as any other.
        corners: `pixels` where they are the numbers of the first and the last column and row of an object, counted from
            1, as VOC has them; `edges` where they are positions in pixels from the left upper corner of the image.
        images_folder: the folder of images.
        annotations_folder: the one of XML files.
        lists_folder: the one of lists, of a name without an extension a line.
        train_list: the list of images to train on, without its ending `.txt`.
        test_list: the one of those to test on; where it is left at `test` and there is none, `val`, `valid` or
            `validation`.
        validation_list: images to validate on, in place of the share that `selection` holds out.
        split: draws the parts where there are no lists: `{test: 0.2, by: seed}`. `by: group` keeps the images of one
            sub-folder together.
        exif: `apply` turns an image as its EXIF orientation says, where boxes were drawn over the image as it is shown;
            by default pixels are taken as they are stored.
        channels: of every image: 1 for grey, or any number; as of `imagefolder`.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; as of `imagefolder`.
    """

    path: Path
    classes: list[str] | None = None
    difficult: Literal["ignore", "keep"] = "ignore"
    corners: Convention = "pixels"
    images_folder: str = "JPEGImages"
    annotations_folder: str = "Annotations"
    lists_folder: str = "ImageSets/Main"
    train_list: str = "train"
    test_list: str = "test"
    validation_list: str | None = None
    split: Split | None = None
    exif: Literal["ignore", "apply"] = "ignore"
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    pixel_range: Range | None = None

    _distinct = field_validator("classes", mode="before")(checked_names)

    def info(self, root: Path) -> DataInfo:
        return boxed_sizes(self, _read(self))

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        return boxed_files(_scan(self).parts, split)


def load(params: VocParams, root: Path, split: str) -> ImageDataset:
    """One split, sorted by name; images of one size that fit in memory are an array too.

    Images of a validation part stand after those that train. The size in an XML file is that of its image.

    Raises:
        DataError: a folder or a list is absent, a listed image or its XML file is not there, an XML file is damaged, or
            a class is unknown.
    """
    return boxed_images(params, _read(params), split)


@dataclass(frozen=True)
class _Scan:
    """Images of each part, without their boxes, and notes."""

    parts: Mapping[str, Sequence[BoxedImage]]
    notes: tuple[str, ...]


def _read(params: VocParams) -> BoxedParts:
    """The images of all parts with their boxes."""
    scan, ignores = _scan(params), params.difficult == "ignore"
    parts: dict[str, list[BoxedImage]] = {}
    zeros = 0
    for part, images in scan.parts.items():
        parts[part] = []
        for image in images:
            read = read_voc(image.annotation, params.corners, ignores)
            zeros += any(min(box.left, box.top) < 0 for box in read.boxes)
            parts[part].append(BoxedImage(image.name, image.image, read.boxes, read.size, image.annotation))
    notes = list(scan.notes)
    if zeros and params.corners == "pixels":
        count = f"boxes of {zeros} image{'s' if zeros > 1 else ''}"
        notes.append(f"{count} begin at 0, where VOC counts from 1 (`corners: edges` is for files that count from 0)")
    if params.classes is None:
        return BoxedParts("voc", parts, None, tuple(notes))
    return BoxedParts("voc", parts, tuple(params.classes), tuple(notes), "`classes`")


def _scan(params: VocParams) -> _Scan:
    """The images of all parts, by the names of files alone."""
    folders = [params.path / params.images_folder, params.path / params.annotations_folder]
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"voc: {folder} is not a folder; {params.path} should hold {params.images_folder}/ and "
                f"{params.annotations_folder}/, of files with the same names"
            )
    scan = scan_images(folders[0], params.more_extensions, "voc")
    images = by_stem("voc", folders[0], scan.files(), "images")
    notes = [note for note in (str(scan.left_out),) if note]
    lists = _lists(params, notes)
    names = {part: _listed(params, file) for part, file in lists.items()}
    if params.split is not None:
        pool = names.get("train") or _paired(params, images, notes)
        drawn = draw_unlabelled("voc", pool, params.split)
        parts = ("train", "test", *(["validation"] if params.split.validation else []))
        names |= {each: [name for name, part in zip(pool, drawn, strict=True) if part == each] for each in parts}
    _check_parts(params, names)
    return _Scan({part: _images(params, images, listed, part) for part, listed in names.items()}, tuple(notes))


def _lists(params: VocParams, notes: list[str]) -> dict[str, Path]:
    """The lists that are read, by part; there is a note on one beside them.

    Raises:
        DataError: there is none to train or to test on, or a test list where the test part is to be drawn.
    """
    folder = params.path / params.lists_folder
    there = sorted(file.stem for file in folder.glob("*.txt")) if folder.is_dir() else []
    lists = {} if params.validation_list is None else {"validation": params.validation_list}
    if params.split is None:
        test = params.test_list
        if test not in there and test == VocParams.model_fields["test_list"].default:
            test = next((name for name in STAND_INS if name in there and name != params.validation_list), test)
            notes.append(f"{test}.txt tests, as there is no {params.test_list}.txt")
        lists |= {"train": params.train_list, "test": test}
    elif params.test_list in there:
        raise DataError(f"voc: {folder / params.test_list}.txt is there already; take `split` out, or the list")
    elif params.train_list in there or params.train_list != VocParams.model_fields["train_list"].default:
        lists["train"] = params.train_list
    for part, name in lists.items():
        if name not in there:
            hint = did_you_mean(name, there) if there else DRAWN
            raise DataError(f"voc: there is no list {folder / name}.txt; name it with `{part}_list`; {hint}")
    for name in STAND_INS:
        if name in there and name not in lists.values() and params.split is None:
            notes.append(f"{name}.txt is not read (`validation_list: {name}` chooses epochs by it)")
    return {part: folder / f"{name}.txt" for part, name in lists.items()}


def _listed(params: VocParams, file: Path) -> list[str]:
    """Names in a list, sorted.

    Raises:
        DataError: it is absent or empty, or names an image twice or one elsewhere.
    """
    names = read_lines("voc", file)
    if not names:
        raise DataError(f"voc: the list {file} names no image")
    seen = set[str]()
    for line, name in enumerate(names, start=1):
        if name in seen:
            raise DataError(f"voc: {file}: '{quoted(name)}' is there twice; keep one line")
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise DataError(f"voc: {file}:{line}: '{quoted(name)}' lies outside of {params.images_folder}/")
        seen.add(name)
    return sorted(names)


def _paired(params: VocParams, images: Mapping[str, str], notes: list[str]) -> list[str]:
    """Names of the images that have an XML file, sorted; of the others there is a note."""
    folder = params.path / params.annotations_folder
    paired = sorted(name for name in images if os.path.isfile(folder / f"{name}{ENDING}"))  # by way of links too
    annotations = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob(f"*{ENDING}")}
    alone = sorted({*images} - {*paired}), sorted(annotations - {*paired})
    for names, problem in zip(alone, ("without an XML file", "without an image"), strict=True):
        if names:
            kind = ("image" if "XML" in problem else "XML file") + "s" * (len(names) > 1)
            verb, more = ("are", ", ...") if len(names) > 1 else ("is", "")
            notes.append(f"{len(names)} {kind} {problem} {verb} left out ({printable(names[0])}{more})")
    if not paired:
        raise DataError(
            f"voc: no image in {params.path / params.images_folder} has an XML file of its name in {folder}"
        )
    return paired


def _check_parts(params: VocParams, names: Mapping[str, Sequence[str]]) -> None:
    """No image is in two parts that are to differ.

    Raises:
        DataError: one is.
    """
    for one, other in (("train", "test"), ("train", "validation"), ("test", "validation")):
        if both := sorted({*names.get(one, ())} & {*names.get(other, ())}):
            raise DataError(
                f"voc: {len(both)} image{'s are' if len(both) > 1 else ' is'} both to {one} and to {other} on "
                f"({printable(both[0])}{', ...' if len(both) > 1 else ''}); name other lists in {params.lists_folder}/"
            )


def _images(params: VocParams, images: Mapping[str, str], names: Sequence[str], part: str) -> list[BoxedImage]:
    """Images of a part, without boxes.

    Raises:
        DataError: one is not there, or its XML file is not.
    """
    listed = [(name, str(params.path / params.annotations_folder / (name + ENDING))) for name in names]
    absent = [name for name, _ in listed if name not in images]
    unannotated = [file for _, file in listed if not os.path.isfile(file)]
    for missing, kind, folder in (
        (absent, "images", params.images_folder),
        (unannotated, "XML files", params.annotations_folder),
    ):
        if missing:
            raise DataError(
                f"voc: {len(missing)} of {len(names)} {kind} of the {part} part are not in {params.path / folder} "
                f"({printable(os.path.basename(missing[0]))}{', ...' if len(missing) > 1 else ''}); add them, or take "
                "their names out of the list"
            )
    return [BoxedImage(name + Path(images[name]).suffix, images[name], (), None, file) for name, file in listed]
