"""Parts of a user's own images with boxes, whatever the form of their annotations: sizes, notes, files and images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic_core import PydanticCustomError

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.box_files import (
    BoxedImage,
    WrittenBox,
    array_of,
    box_notes,
    check_labels,
    check_units,
    checked_size,
    file_boxes,
    sized,
    untrained,
)
from benchbench.data.sources.channels import CHANNELS, OwnFilesParams
from benchbench.data.sources.folder_parts import VALIDATION
from benchbench.data.sources.own_images import SAMPLE, OwnFileImages, survey_files
from benchbench.errors import DataError, quoted

PURPOSES = {"train": "train", "test": "test", "validation": "validate"}


@dataclass(frozen=True)
class BoxedParts:
    """The images of a data set with their boxes.

    Attributes:
        source: name of the data set, for errors.
        parts: `train`, `test` and, where there is one, `validation`; images sorted by name.
        classes: names of the classes by number; those of the boxes to train on, sorted, where it is None.
        notes: on what is left out.
        group: what the classes are called where a box has none of them.
    """

    source: str
    parts: Mapping[str, Sequence[BoxedImage]]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...] = ()
    group: str = "those to train on"

    def checked_classes(self) -> tuple[str, ...]:
        """Names of the classes, once every box has one of them.

        Raises:
            DataError: one has none, no box that counts is there to train or to test on, or boxes in pixels are written
                as shares.
        """
        trained = [image for part in ("train", "validation") for image in self.parts.get(part, ())]
        classes = self.classes or tuple(sorted({box.label for image in trained for box in image.boxes}))
        for name, purpose in PURPOSES.items():
            self._require_boxes(self.parts.get(name), purpose)
        for name, images in self.parts.items():
            check_labels(self.source, images, classes, self.group)
            check_units(self.source, name, images)
        return classes

    def _require_boxes(self, images: Sequence[BoxedImage] | None, purpose: str) -> None:
        if images is None or any(_counts(box) for image in images for box in image.boxes):
            return
        that = " that counts: all are ignored or have no area" if any(image.boxes for image in images) else ""
        raise DataError(f"{self.source}: none of the {len(images)} images to {purpose} on has a box{that}")


def _counts(box: WrittenBox) -> bool:
    return not box.ignored and box.right > box.left and box.bottom > box.top


def checked_names(given: object) -> object:
    """Distinct names of classes, in words where they are not; for pydantic."""
    if given is None:
        return None
    if not isinstance(given, list) or not given or not all(isinstance(name, str) and name for name in given):
        raise PydanticCustomError("classes", "write a list of names, as in [car, person]")
    if twice := [name for name in given if given.count(name) > 1]:
        raise PydanticCustomError("classes", "two classes are named '{name}'", {"name": quoted(twice[0])})
    return given


def boxed_sizes(params: OwnFilesParams, boxed: BoxedParts) -> DataInfo:
    """Counts of all parts, with notes on boxes that are dropped and on headers of some images.

    Raises:
        DataError: a box has no class, or of some images that are looked at, one has another size than it is annotated.
    """
    classes = boxed.checked_classes()
    ordered = [boxed.parts[part] for part in ("train", "validation", "test") if part in boxed.parts]
    every = [sized(image, params.reading) for images in ordered for image in images]
    for images in ordered:
        for image in images[:: max(1, -(-len(images) // SAMPLE))]:
            _check_header(image, params)
    notes = [*boxed.notes, *box_notes(every), *untrained(boxed.parts["train"], classes)]
    notes += survey_files([image.image for image in boxed.parts["train"]], params.reading)
    counts = {part: len(images) for part, images in boxed.parts.items()}
    return DataInfo(
        len(classes),
        counts["train"],
        counts["test"],
        "; ".join(notes),
        classes,
        counts.get("validation", 0),
        params.channels,
        "detection",
    )


def boxed_images(params: OwnFilesParams, boxed: BoxedParts, split: str) -> ImageDataset:
    """One split, sorted by name; images of a validation part stand after those that train."""
    import numpy as np

    classes, images, counts = boxed.checked_classes(), list[BoxedImage](), []
    for name in ("train", "validation") if split == "train" else ("test",):
        images += boxed.parts.get(name, ())
        counts.append(len(images))
    files = tuple(image.image for image in images)
    dataset = params.dataset(np.zeros(len(images), np.int64), classes, files)
    held_out = np.arange(counts[0], counts[-1]) if counts[-1] > counts[0] else None
    is_rgb = params.channels == CHANNELS and isinstance(dataset.image, OwnFileImages)
    array = array_of(OwnFileImages(files, params.reading)) if is_rgb else None
    boxes = file_boxes(images, classes, params.reading)
    return replace(dataset, array=array, validation=held_out, boxes=boxes)


def boxed_files(images: Mapping[str, Sequence[BoxedImage]], split: Literal["train", "test"]) -> dict[str, Path]:
    """Images of a split and their own annotations, by names that do not depend on the place of the folder.

    Args:
        images: of each part; their boxes are not looked at.
        split: training images have those of a validation part among them.
    """
    files: dict[str, Path] = {}
    for part in ("train", "validation") if split == "train" else ("test",):
        folder = f"{VALIDATION}/" if part == "validation" else ""
        for image in images.get(part, ()):
            files[f"{folder}image/{image.name}"] = Path(image.image)
            if image.annotation and not image.is_shared:
                stem, ending = os.path.splitext(image.name)[0], os.path.splitext(image.annotation)[1]
                files[f"{folder}annotation/{stem}{ending}"] = Path(image.annotation)
    return files


def _check_header(image: BoxedImage, params: OwnFilesParams) -> None:
    try:
        checked_size(image.image, image.size or (0, 0), image.annotation, params.reading)
    except DataError as error:
        if "cannot read the image" not in str(error):  # those are found with all others, before anything trains
            raise
