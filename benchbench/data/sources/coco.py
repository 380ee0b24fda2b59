"""A user's own images with boxes in COCO's JSON: a file for each part, and the images below a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.box_files import BoxedImage
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.coco_json import CocoFile, read_coco
from benchbench.data.sources.common import check_files
from benchbench.data.sources.drawn_split import TWO_VALIDATIONS, Split, draw_unlabelled
from benchbench.data.sources.folder_parts import VALIDATION
from benchbench.data.sources.folder_scan import scan_images
from benchbench.data.sources.own_boxes import BoxedParts, boxed_files, boxed_images, boxed_sizes
from benchbench.data.sources.own_images import Range, printable
from benchbench.errors import DataError

NAMED = 3


class CocoParams(OwnFilesParams):
    """Images whose boxes are in JSON files of COCO's form, one for each part.

    Classes are the categories of the file to train on, numbered by their sorted ids. Boxes that are marked as `iscrowd`
    are ignored. Outlines (`segmentation`) are not read.

    Attributes:
        train: the JSON file of the images to train on.
        test: the one of those to test on; with `split` there is none.
        validation: the one of those to validate on, in place of the share that `selection` holds out.
        images: the folder that the names of files are below; by default the folder of each JSON file.
        train_images: the one of the images to train on, where parts have folders of their own.
        test_images: the one of those to test on.
        validation_images: the one of those to validate on.
        split: draws the parts from `train` where there is no `test`: `{test: 0.2, by: seed}`. `by: group` keeps the
            images of one sub-folder together.
        exif: `apply` turns an image as its EXIF orientation says, where boxes were drawn over the image as it is shown;
            by default pixels are taken as they are stored.
        channels: of every image: 1 for grey, or any number; as of `imagefolder`.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; as of `imagefolder`.
    """

    train: Path
    test: Path | None = None
    validation: Path | None = None
    images: Path | None = None
    train_images: Path | None = None
    test_images: Path | None = None
    validation_images: Path | None = None
    split: Split | None = None
    exif: Literal["ignore", "apply"] = "ignore"
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    pixel_range: Range | None = None

    @model_validator(mode="after")
    def _has_a_test_part(self) -> CocoParams:
        if (self.test is None) == (self.split is None):
            problem = "give `test`, a JSON file, or `split: {test: 0.2, by: seed}`, which draws parts from `train`"
            raise PydanticCustomError("test", "{problem}", {"problem": problem})
        return self

    def info(self, root: Path) -> DataInfo:
        boxed = _read(self)
        return boxed_sizes(
            self, BoxedParts("coco", boxed.parts, boxed.classes, (*boxed.notes, *_unlisted(self, boxed)))
        )

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        files, annotations = boxed_files(_read(self).parts, split), self.annotations
        if split == "train" and "validation" in annotations:
            files[f"{VALIDATION}/annotations.json"] = annotations["validation"]
        return files | {"annotations.json": annotations.get(split, self.train)}

    @property
    def annotations(self) -> dict[str, Path]:
        """The JSON files by part."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {part: file for part, file in named.items() if file is not None}

    def folder(self, part: str) -> Path:
        """The folder of the images of a part."""
        own: Path | None = getattr(self, f"{part}_images")
        return own or self.images or self.annotations[part].parent


def load(params: CocoParams, root: Path, split: str) -> ImageDataset:
    """One split, sorted by name; images of one size that fit in memory are an array too.

    Images of a validation part stand after those that train. The width and height of an image in a JSON file are those
    of its file.

    Raises:
        DataError: a JSON file is absent or damaged, an image is not there, or a category is none of those to train on.
    """
    return boxed_images(params, _read(params), split)


def _read(params: CocoParams) -> BoxedParts:
    """The images of all parts with their boxes."""
    contents = {part: read_coco(file) for part, file in params.annotations.items()}
    parts = {part: _boxed(params, content, part) for part, content in contents.items()}
    if params.split is not None:
        if params.split.validation and "validation" in parts:
            raise DataError(f"coco: {TWO_VALIDATIONS}")
        whole = parts["train"]
        drawn = draw_unlabelled("coco", [image.name for image in whole], params.split)
        for name in ("train", "test", *(["validation"] if params.split.validation else [])):
            parts[name] = [image for image, part in zip(whole, drawn, strict=True) if part == name]
    _check_parts(parts)
    notes = [note for content in contents.values() for note in content.notes]
    return BoxedParts("coco", parts, contents["train"].classes, tuple(notes))


def _boxed(params: CocoParams, content: CocoFile, part: str) -> list[BoxedImage]:
    """The images of a file, once all are there."""
    folder, annotation = params.folder(part), str(params.annotations[part])
    files = [str(folder / image.file) for image in content.images]
    hint = f"`{part}_images` or `images` names the folder that images are below, and {folder} is taken"
    check_files("coco", files, hint)
    return [
        BoxedImage(image.file, file, image.boxes, image.size, annotation, is_shared=True)
        for image, file in zip(content.images, files, strict=True)
    ]


def _check_parts(parts: Mapping[str, list[BoxedImage]]) -> None:
    """No image is in two parts.

    Raises:
        DataError: one is.
    """
    seen: dict[str, str] = {}
    for part, images in parts.items():
        for image in images:
            if image.image in seen:
                raise DataError(
                    f"coco: {printable(image.image)} is both to {seen[image.image]} and to {part} on; take it out of "
                    "one of the JSON files"
                )
            seen[image.image] = part


def _unlisted(params: CocoParams, boxed: BoxedParts) -> list[str]:
    """Notes on images in the folders that no JSON file lists."""
    listed = {image.image for images in boxed.parts.values() for image in images}
    notes = []
    for folder in dict.fromkeys(params.folder(part) for part in params.annotations):
        scan = scan_images(folder, params.more_extensions, "coco")
        others = [name for name, path in scan.files().items() if str(path) not in listed]
        if others:
            count = f"{len(others)} images are" if len(others) > 1 else "1 image is"
            named = ", ".join(map(printable, others[:NAMED])) + (", ..." if len(others) > NAMED else "")
            notes.append(f"{count} in {folder.name}/ and in no file of annotations ({named})")
    return notes
