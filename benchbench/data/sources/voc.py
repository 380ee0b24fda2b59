"""A user's own images with boxes in the layout of Pascal VOC: JPEGImages/, Annotations/ and lists of names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.box_files import BoxedImage
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.common import read_lines
from benchbench.data.sources.drawn_split import TWO_VALIDATIONS, Split, draw_unlabelled
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

    Parts are lists of names. Where there are none, they are sub-folders of the images, and of the XML files.

    Attributes:
        path: the folder that holds JPEGImages/, Annotations/ and ImageSets/Main/; without the first two, images and XML
            files lie beside one another.
        classes: names of the classes in the order of their numbers; by default those of the boxes to train on, sorted.
        difficult: `ignore` leaves objects that are marked as difficult out of training and of scores, as VOC does;
            `keep` takes them as any other.
        corners: `pixels` where they are the numbers of the first and the last column and row of an object, counted from
            1, as VOC has them; `edges` where they are positions in pixels from the left upper corner of the image.
        images_folder: the folder of images.
        annotations_folder: the one of XML files.
        lists_folder: the one of lists, of a name without an extension a line.
        train_list: the list of images to train on, without its ending `.txt`, or their sub-folder.
        test_list: the one of those to test on; where it is left at `test` and there is none, `val`, `valid` or
            `validation`.
        validation_list: the one of those to validate on, in place of the share that `selection` holds out.
        split: draws the parts where there are none: `{test: 0.2, by: seed}`. `by: group` keeps the images of one
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
    files = _Files(params)
    names = {part: files.named(name) for part, name in _part_names(files).items()}
    if params.split is not None:
        if params.split.validation and "validation" in names:
            raise DataError(f"voc: {TWO_VALIDATIONS}")
        pool = names.get("train") or files.paired
        drawn = draw_unlabelled("voc", pool, params.split)
        parts = ("train", "test", *(["validation"] if params.split.validation else []))
        names |= {each: [name for name, part in zip(pool, drawn, strict=True) if part == each] for each in parts}
    _check_parts(names)
    return _Scan({part: files.boxed(part, listed) for part, listed in names.items()}, tuple(files.notes))


class _Files:
    """The names of images, of XML files and of lists.

    Attributes:
        images, annotations: folders; both are the whole where it holds neither, and files lie beside one another.
        lists: files by the names of parts; empty where sub-folders are the parts.
        parts: names of all parts that there are.
        notes: on what is left out.
    """

    def __init__(self, params: VocParams):
        self.params, self.notes = params, list[str]()
        self.images, self.annotations = self._folders()
        scan = scan_images(self.images, params.more_extensions, "voc")
        if self.images == self.annotations:
            scan.left_out.kinds.pop(ENDING, None)
        self._image_of = by_stem("voc", self.images, scan.files(), "images")
        folder = params.path / params.lists_folder
        self.lists = {file.stem: file for file in sorted(folder.glob("*.txt"))}
        self.parts = sorted(self.lists or {name.split("/")[0] for name in self._image_of if "/" in name})
        self.notes += [note for note in (str(scan.left_out),) if note]

    def place(self, name: str) -> str:
        """The place of a part, or where it would be."""
        if self.lists:
            return f"{self.params.path / self.params.lists_folder / name}.txt"
        return f"{self.images / name}/"

    def named(self, name: str) -> list[str]:
        """Names of the images of a part, sorted."""
        if self.lists:
            return _listed(self.lists[name], self.images)
        inside = [each for each in self.paired if each.startswith(f"{name}/")]
        if not inside:
            raise DataError(f"voc: no image in {self.place(name)} has an XML file of its name")
        return inside

    @cached_property
    def paired(self) -> list[str]:
        """Names of the images that have an XML file, sorted; of the others there is a note."""
        folder, images = self.annotations, self._image_of
        paired = sorted(name for name in images if os.path.isfile(folder / f"{name}{ENDING}"))  # by way of links too
        annotated = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob(f"*{ENDING}")}
        for kind, other, names in (
            ("image", "XML file", {*images} - {*paired}),
            ("XML file", "image", annotated - {*paired}),
        ):
            if names:
                kinds, more = (f"{kind}s", ", ...") if len(names) > 1 else (kind, "")
                self.notes.append(f"{len(names)} {kinds} without an {other} left out ({printable(min(names))}{more})")
        if not paired:
            raise DataError(f"voc: no image in {self.images} has an XML file of its name in {folder}")
        return paired

    def boxed(self, part: str, names: Sequence[str]) -> list[BoxedImage]:
        """Images of a part, without boxes.

        Raises:
            DataError: one is not there, or its XML file is not.
        """
        listed = [(name, str(self.annotations / f"{name}{ENDING}")) for name in names]
        absent = [name for name in names if name not in self._image_of]
        unannotated = [name for name, file in listed if not os.path.isfile(file)]
        for missing, kind, folder in ((absent, "images", self.images), (unannotated, "XML files", self.annotations)):
            if missing:
                named = printable(missing[0]) + (", ..." if len(missing) > 1 else "")
                raise DataError(
                    f"voc: {len(missing)} of {len(names)} {kind} of the {part} part are not in {folder} ({named}); add "
                    "them, or take their names out of the list"
                )
        images = [(self._image_of[name], name, file) for name, file in listed]
        return [BoxedImage(name + os.path.splitext(image)[1], image, (), None, file) for image, name, file in images]

    def _folders(self) -> tuple[Path, Path]:
        params, fields = self.params, VocParams.model_fields
        given = (params.images_folder, params.annotations_folder)
        images, annotations = params.path / given[0], params.path / given[1]
        is_usual = given == (fields["images_folder"].default, fields["annotations_folder"].default)
        if is_usual and params.path.is_dir() and not images.is_dir() and not annotations.is_dir():
            return params.path, params.path
        for folder in (images, annotations):
            if not folder.is_dir():
                raise DataError(
                    f"voc: {folder} is not a folder; {params.path} should hold {given[0]}/ and {given[1]}/, of files "
                    "with the same names"
                )
        return images, annotations


def _part_names(files: _Files) -> dict[str, str]:
    """Names of the parts that are read; there is a note on one beside them.

    Raises:
        DataError: there is none to train or to test on, or a test part where one is to be drawn.
    """
    params, there = files.params, files.parts
    parts = {} if params.validation_list is None else {"validation": params.validation_list}
    if params.split is None:
        test = params.test_list
        if test not in there and test == VocParams.model_fields["test_list"].default:
            test = next((name for name in STAND_INS if name in there and name != params.validation_list), test)
            files.notes.append(f"{test} tests, as there is no {params.test_list}")
        parts |= {"train": params.train_list, "test": test}
    elif params.test_list in there:
        raise DataError(f"voc: {files.place(params.test_list)} is there already; take `split` out, or that part")
    elif params.train_list in there or params.train_list != VocParams.model_fields["train_list"].default:
        parts["train"] = params.train_list
    for part, name in parts.items():
        if name not in there:
            hint = did_you_mean(name, there) if there else DRAWN
            raise DataError(f"voc: there is no {files.place(name)}; name the part with `{part}_list`; {hint}")
    for name in STAND_INS:
        if name in there and name not in parts.values() and params.split is None:
            files.notes.append(f"{name} is not read (`validation_list: {name}` chooses epochs by it)")
    return parts


def _listed(file: Path, images: Path) -> list[str]:
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
            raise DataError(f"voc: {file}:{line}: '{quoted(name)}' lies outside of {images}")
        seen.add(name)
    return sorted(names)


def _check_parts(names: Mapping[str, Sequence[str]]) -> None:
    """No image is in two parts that are to differ.

    Raises:
        DataError: one is.
    """
    for one, other in (("train", "test"), ("train", "validation"), ("test", "validation")):
        if both := sorted({*names.get(one, ())} & {*names.get(other, ())}):
            raise DataError(
                f"voc: {len(both)} image{'s are' if len(both) > 1 else ' is'} both to {one} and to {other} on "
                f"({printable(both[0])}{', ...' if len(both) > 1 else ''}); name other lists"
            )
