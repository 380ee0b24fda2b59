"""Boxes of images in files: as annotations have them, and as they are read, cut to the image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from benchbench.data.images import IN_MEMORY_BYTES, Boxes
from benchbench.data.sources.mask_files import image_size
from benchbench.data.sources.own_images import OwnFileImages, Reading, decode_own, open_own, orientation_of, printable
from benchbench.errors import DataError, did_you_mean, one_line, quoted

if TYPE_CHECKING:
    import numpy as np

NAMED = 3
# Of a box that reaches out of its image, what is a matter of rounding: in pixels, and as a share of the side.
ROUNDING, ROUNDED_SHARE = 1.0, 0.005


class WrittenBox(NamedTuple):
    """A box of an annotation.

    Attributes:
        label: name of its class.
        left, top, right, bottom: in pixels from the left upper corner of the image, or in shares of its sides.
        ignored: as of `Boxes`.
        place: line of its file, or its number or other name.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    ignored: int
    place: int | str


@dataclass(frozen=True)
class BoxedImage:
    """An image and the boxes that are written of it.

    Attributes:
        name: of the image, below the folder of its part.
        image: its file.
        boxes: in the order of the file.
        size: width and height by the annotation; None where it does not say.
        annotation: the file that its boxes are written in; empty where there is none.
        relative: whether boxes are in shares of the sides.
        is_shared: whether that file has the boxes of other images too; places are then numbers, and else lines of it.
    """

    name: str
    image: str
    boxes: Sequence[WrittenBox]
    size: tuple[int, int] | None = None
    annotation: str = ""
    relative: bool = False
    is_shared: bool = False

    def place(self, box: WrittenBox) -> str:
        """The place of a box in a note: `a.xml:12`, or `annotation 12 of a.jpg`."""
        if self.is_shared:
            return printable(f"annotation {box.place} of {self.name}")
        return printable(f"{os.path.basename(self.annotation)}:{box.place}")

    def location(self, box: WrittenBox) -> str:
        """The place of a box for an error, with the path of its file."""
        return printable(
            f"{self.annotation}: {self.place(box)}" if self.is_shared else f"{self.annotation}:{box.place}"
        )


@dataclass(frozen=True, eq=False)
class FileBoxes:
    """Boxes of image i, cut to it, without those of which nothing is left; only the image's header is read.

    Attributes:
        images: the files.
        annotations: the files that boxes are written in; empty where there is none.
        sizes: width and height by the annotations [N, 2]; 0 where they do not say.
        corners: of all boxes [M, 4], float64.
        classes: class numbers of all boxes [M], int64.
        ignored: as of `Boxes` [M], uint8.
        starts: the first box of each image, and behind them M: [N + 1].
        relative: whether corners are in shares of the sides.
        reading: of the images.
    """

    images: tuple[str, ...]
    annotations: tuple[str, ...]
    sizes: np.ndarray
    corners: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray
    starts: np.ndarray
    relative: bool
    reading: Reading

    def __call__(self, index: int) -> Boxes:
        import numpy as np

        width, height = stated = tuple(self.sizes[index].tolist())
        width, height = checked_size(self.images[index], stated, self.annotations[index], self.reading)
        chosen = slice(self.starts[index], self.starts[index + 1])
        sides = np.array([width, height, width, height], np.float64)
        corners = self.corners[chosen] * (sides if self.relative else 1)
        cut = np.clip(corners, 0, sides).astype(np.float32)
        whole = (cut[:, 2:] > cut[:, :2]).all(1)
        return Boxes(cut[whole], self.classes[chosen][whole], self.ignored[chosen][whole])


def file_boxes(images: Sequence[BoxedImage], classes: Sequence[str], reading: Reading) -> FileBoxes:
    """Boxes of some images, whose labels are all among the classes.

    Args:
        images: with their annotations.
        classes: names by number.
        reading: of the images.
    """
    import numpy as np

    numbers = {name: number for number, name in enumerate(classes)}
    boxes = [box for image in images for box in image.boxes]
    return FileBoxes(
        images=tuple(image.image for image in images),
        annotations=tuple(image.annotation for image in images),
        sizes=np.array([image.size or (0, 0) for image in images], np.int64).reshape(-1, 2),
        corners=np.array([box[1:5] for box in boxes], np.float64).reshape(-1, 4),
        classes=np.array([numbers[box.label] for box in boxes], np.int64),
        ignored=np.array([box.ignored for box in boxes], np.uint8),
        starts=np.cumsum([0, *(len(image.boxes) for image in images)]),
        relative=any(image.relative for image in images),
        reading=reading,
    )


def checked_size(image: str, stated: tuple[int, int], annotation: str, reading: Reading) -> tuple[int, int]:
    """Width and height of an image as it is read, which are those of its annotation.

    Args:
        image: its file.
        stated: width and height by the annotation; 0 where it does not say.
        annotation: its file.
        reading: of the image.

    Raises:
        DataError: it cannot be read, or has another size.
    """
    try:
        size = image_size(image, reading)
    except Exception as error:  # PIL's decoders raise many kinds for damaged files
        decode_own(image, image, reading)  # says why, in its own words
        raise DataError(f"cannot read the image {printable(image)} ({printable(one_line(error))})") from None
    if not all(stated) or stated == size:
        return size
    raise DataError(
        f"{printable(annotation)} has boxes of an image of {stated[0]} x {stated[1]} pixels, and "
        f"{printable(image)} has {size[0]} x {size[1]}; {_remedy(image, stated == size[::-1], reading)}"
    )


def _remedy(image: str, is_turned: bool, reading: Reading) -> str:
    if is_turned and _has_orientation(image):
        other = "apply" if reading.exif == "ignore" else "ignore"
        return f"the image carries an EXIF orientation: `exif: {other}` reads it as it was annotated"
    return "take the image that was annotated, or correct the annotation"


def _has_orientation(image: str) -> bool:
    try:
        with open_own(image) as opened:
            return orientation_of(opened) != 1
    except Exception:  # a NumPy file
        return False


def array_of(images: OwnFileImages) -> np.ndarray | None:
    """All pixels [N, H, W, 3], uint8, of images that have one size and fit in memory; None where one is damaged."""
    import numpy as np

    sizes = set[tuple[int, int]]()
    try:
        for file in images.files:
            sizes.add(checked_size(file, (0, 0), "", images.reading))
            if len(sizes) > 1:
                return None
        width, height = sizes.pop()
        if 3 * width * height * len(images.files) > IN_MEMORY_BYTES:
            return None
        array = np.empty((len(images.files), height, width, 3), np.uint8)
        for index in range(len(array)):
            array[index] = np.asarray(images(index))
    except DataError:  # it is named, with its reason and all others, when images are checked
        return None
    return array


def sized(image: BoxedImage, reading: Reading) -> BoxedImage:
    """The same with the size in its header where none is stated, and boxes are in pixels."""
    if image.size is not None or image.relative:
        return image
    try:
        return replace(image, size=image_size(image.image, reading))
    except Exception:  # it is named, with its reason, when all images are checked
        return image


def box_notes(images: Iterable[BoxedImage]) -> list[str]:
    """Notes on boxes that are dropped or cut.

    Args:
        images: of all parts, whose sizes are known where boxes are in pixels.
    """
    kinds: dict[str, list[str]] = {"without an area": [], "outside of the image": [], "cut": []}
    for image in images:
        for box in image.boxes:
            if kind := _kind(box, image):
                kinds[kind].append(image.place(box))
    notes = [
        f"{_counted(kinds[kind])} {kind} {'is' if len(kinds[kind]) == 1 else 'are'} dropped ({_first(kinds[kind])})"
        for kind in ("without an area", "outside of the image")
        if kinds[kind]
    ]
    if cut := kinds["cut"]:
        beyond = "reaches beyond its image and is" if len(cut) == 1 else "reach beyond their images and are"
        notes.append(f"{_counted(cut)} {beyond} cut to it ({_first(cut)})")
    return notes


def _kind(box: WrittenBox, image: BoxedImage) -> str:
    """The defect for which a box is dropped or cut; empty where it stays as it is."""
    if not (box.right > box.left and box.bottom > box.top):
        return "without an area"
    if image.relative:
        width, height, slack_x, slack_y = 1.0, 1.0, ROUNDED_SHARE, ROUNDED_SHARE
    elif image.size is not None:
        (width, height), slack_x, slack_y = image.size, ROUNDING, ROUNDING
    else:
        return ""
    if box.right <= 0 or box.bottom <= 0 or box.left >= width or box.top >= height:
        return "outside of the image"
    beyond_x, beyond_y = max(-box.left, box.right - width), max(-box.top, box.bottom - height)
    return "cut" if beyond_x > slack_x or beyond_y > slack_y else ""


def _counted(places: Sequence[str]) -> str:
    return f"{len(places)} box{'es' if len(places) > 1 else ''}"


def _first(places: Sequence[str]) -> str:
    return ", ".join(places[:NAMED]) + (", ..." if len(places) > NAMED else "")


def check_labels(source: str, images: Sequence[BoxedImage], classes: Sequence[str], group: str) -> None:
    """Every box has one of the classes.

    Args:
        source: name of the data set, for errors.
        images: of one part.
        classes: names.
        group: what the classes are called in the error.

    Raises:
        DataError: one has none; with its place, and a name that is like it.
    """
    known = set(classes)
    unknown = [(image, box) for image in images for box in image.boxes if box.label not in known]
    if unknown:
        image, box = unknown[0]
        others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise DataError(
            f"{source}: {image.location(box)}{others}: the class '{quoted(box.label)}' is none of {group}; "
            f"{did_you_mean(box.label, classes)}"
        )


def check_units(source: str, part: str, images: Sequence[BoxedImage]) -> None:
    """Boxes in pixels are no shares of the image's sides.

    Raises:
        DataError: no corner of all boxes is larger than 1.
    """
    largest = max((max(box[1:5]) for image in images if not image.relative for box in image.boxes), default=2.0)
    if largest <= 1:
        raise DataError(
            f"{source}: no corner of the boxes of {part} is larger than {largest:g}, and they are in pixels; multiply "
            "them with the width and height of their images, or take `yolo` for files of shares"
        )


def untrained(images: Iterable[BoxedImage], classes: Sequence[str]) -> list[str]:
    """A note on classes that no box to train on has."""
    counts = Counter(box.label for image in images for box in image.boxes if not box.ignored)
    absent = [name for name in classes if not counts[name]]
    if not absent:
        return []
    names = ", ".join(f"'{quoted(name)}'" for name in absent[:NAMED]) + (", ..." if len(absent) > NAMED else "")
    return [f"no box to train on has the class{'es' if len(absent) > 1 else ''} {names}"]
