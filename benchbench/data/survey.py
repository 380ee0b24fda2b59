"""Survey of a data set: images by class and part, their sizes, those that cannot be read, and copies of one another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchbench.data.images import IGNORED
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.drawn_split import Part
from benchbench.data.sources.own_images import OwnFileImages, open_own
from benchbench.errors import DataError
from benchbench.store import file_sha256

if TYPE_CHECKING:
    from benchbench.data.images import ImageDataset

PARTS: tuple[Part, ...] = ("train", "validation", "test")
# Files of a data set that are decoded within a few seconds.
FEW_BYTES, FEW_IMAGES = 64 * 2**20, 20_000
CHUNK = 64


@dataclass(frozen=True)
class ImageFinding:
    """One image.

    Attributes:
        name: its file or row.
        part, label: where it belongs.
        size: width and height; None where it cannot be read.
        digest: sha256 of its decoded pixels or of its file; None where it cannot be read.
        problem: why it, or its mask or boxes, cannot be read.
        shows: names of the classes that its pixels have, of a segmentation whose masks are decoded; of a detection the
            class of each box that is not ignored. `label` is empty.
        targets: sha256 of its mask, where that is decoded, or of its boxes.
    """

    name: str
    part: Part
    label: str
    size: tuple[int, int] | None = None
    digest: str | None = None
    problem: str = ""
    shows: tuple[str, ...] = ()
    targets: str = ""


@dataclass(frozen=True)
class Copies:
    """Images with the same content."""

    images: tuple[ImageFinding, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for part in PARTS if any(image.part == part for image in self.images))

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(image.label for image in self.images))

    @property
    def contradict(self) -> bool:
        """True where they have different labels, masks or boxes."""
        return len({(image.label, image.targets) for image in self.images}) > 1


@dataclass(frozen=True)
class Survey:
    """Findings about a data set.

    Attributes:
        source: name of its component.
        info: its sizes, with notes on what is left out.
        counts: number of images by class and part, of a segmentation those that show a class, of a detection that of
            boxes; empty where the images or their masks are not looked at.
        compared: what copies were found by: decoded pixels, or the bytes of files; None where images are not looked at.
        images: every image.
        splits: the images themselves, by split, for pictures.
    """

    source: str
    info: DataInfo
    counts: Mapping[str, Mapping[Part, int]] = field(default_factory=dict)
    compared: Literal["pixels", "bytes"] | None = None
    images: Sequence[ImageFinding] = ()
    splits: Mapping[str, ImageDataset] = field(default_factory=dict)

    @property
    def unreadable(self) -> list[ImageFinding]:
        return [image for image in self.images if image.problem]

    @property
    def copies(self) -> list[Copies]:
        """Groups of copies; those that lie in several parts come first, then those of several labels or masks."""
        groups: dict[str, list[ImageFinding]] = {}
        for image in self.images:
            if image.digest is not None:
                groups.setdefault(image.digest, []).append(image)
        copies = [Copies(tuple(group)) for group in groups.values() if len(group) > 1]
        return sorted(copies, key=lambda each: (-len(each.parts), -len(each.labels), not each.contradict))


def survey(
    source: str, load: Callable[..., ImageDataset], params: DatasetParams, root: Path, decode: bool = False
) -> Survey:
    """Looks at every image of a data set.

    Large sets are compared by the bytes of their files, and read as far as their headers, unless `decode` is set.

    Args:
        source: name of its component.
        load: its target.
        params: of the data set.
        root: the folder of downloads.
        decode: whether to decode every image, however many there are.

    Raises:
        DataError: the data set is absent or damaged as a whole.
    """
    info = params.info(root)
    splits = {split: load(params, root, split) for split in ("train", "test")}
    by_pixels = decode or all(_is_quick(images) for images in splits.values())
    images = [image for split in splits for image in _look(splits[split], split, by_pixels)]
    counts = {} if info.task == "segmentation" and not by_pixels else _counts(splits["train"], images)
    return Survey(source, info, counts, "pixels" if by_pixels else "bytes", images, splits)


def _counts(train: ImageDataset, images: Sequence[ImageFinding]) -> dict[str, dict[Part, int]]:
    """Number of images, or of boxes, by class and part."""
    counts: dict[str, dict[Part, int]] = {name: dict.fromkeys(PARTS, 0) for name in train.classes or ("",)}
    for image in images:
        for name in image.shows if has_targets(train) else (image.label,):
            counts[name][image.part] += 1
    return counts


def has_targets(images: ImageDataset) -> bool:
    """True for images with masks or boxes, which have no class of their own."""
    return images.mask is not None or images.boxes is not None


def _is_quick(images: ImageDataset) -> bool:
    """True where all images are decoded within a few seconds."""
    if images.array is not None:
        return True
    if len(images) > FEW_IMAGES:
        return False
    if not isinstance(images.image, OwnFileImages):
        return len(images) * 2**15 <= FEW_BYTES
    return sum(os.path.getsize(file) for file in images.image.files) <= FEW_BYTES


def _look(images: ImageDataset, split: str, by_pixels: bool) -> list[ImageFinding]:
    held_out = set() if images.validation is None else set(images.validation.tolist())
    by_file = not by_pixels and isinstance(images.image, OwnFileImages)

    def look(start: int) -> list[ImageFinding]:
        findings = []
        for index in range(start, min(start + CHUNK, len(images))):
            part: Part = "test" if split == "test" else "validation" if index in held_out else "train"
            label = images.classes[images.labels[index]] if images.classes and not has_targets(images) else ""
            name = _name(images, index, split)
            try:
                size, digest = _file(images, index) if by_file else _pixels(images, index)
                shows, targets = _shown(images, index, by_pixels)
                findings.append(ImageFinding(name, part, label, size, digest, shows=shows, targets=targets))
            except DataError as error:
                findings.append(ImageFinding(name, part, label, problem=str(error)))
        return findings

    # Pillow and hashlib let other threads run while they work.
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        return [finding for chunk in pool.map(look, range(0, len(images), CHUNK)) for finding in chunk]


def _name(images: ImageDataset, index: int, split: str) -> str:
    return images.image.files[index] if isinstance(images.image, OwnFileImages) else f"{split} image {index}"


def _pixels(images: ImageDataset, index: int) -> tuple[tuple[int, int], str]:
    """The size of an image and the hash of its decoded pixels."""
    if images.pixels is not None:
        pixels = images.pixels(index)
        digest = hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()
        return (pixels.shape[1], pixels.shape[0]), digest
    image = images.image(index)
    return image.size, hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()


def _shown(images: ImageDataset, index: int, by_pixels: bool) -> tuple[tuple[str, ...], str]:
    """Names of the classes of an image's pixels, or of each of its boxes, and the hash of its mask or boxes.

    Args:
        images: a split.
        index: of the image.
        by_pixels: whether masks are decoded.

    Raises:
        DataError: its mask or its boxes cannot be read.
    """
    import numpy as np

    if images.boxes is not None:
        boxes = images.boxes(index)
        content = b"".join(part.tobytes() for part in (boxes.corners, boxes.classes, boxes.ignored))
        shows = tuple(images.classes[number] for number in boxes.classes[boxes.ignored == 0])
        return shows, hashlib.sha256(content).hexdigest()
    if images.mask is None or not by_pixels:
        return (), ""
    mask = np.ascontiguousarray(images.mask(index))
    shows = tuple(images.classes[number] for number in np.unique(mask) if number != IGNORED)
    return shows, hashlib.sha256(f"{mask.shape} ".encode() + mask.tobytes()).hexdigest()


def _file(images: ImageDataset, index: int) -> tuple[tuple[int, int], str]:
    """The size in an image's header and the hash of its file.

    Raises:
        DataError: it cannot be read.
    """
    assert isinstance(images.image, OwnFileImages)
    file = images.image.files[index]
    try:
        with open_own(file) as image:
            return image.size, file_sha256(Path(file))
    except Exception:  # a NumPy file, or one that is damaged; decoding says why, in its own words
        return _pixels(images, index)[0], file_sha256(Path(file))
