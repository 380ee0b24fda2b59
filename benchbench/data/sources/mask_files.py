"""Masks in files: each pixel's stored value becomes the number of a class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from benchbench.data.images import IGNORED
from benchbench.data.sources.own_images import Reading, open_own, orientation_of, printable
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Kinds of file that keep values as they are. A JPEG does not, and a WebP has colours.
EXTENSIONS = (".png", ".tif", ".tiff", ".gif", ".bmp", ".pgm", ".pbm")
# Pillow's modes of one value a pixel: of a palette that is the index.
MODES = ("1", "L", "P", "I", "F")
# Pillow spreads grey values of 2 and 4 bits over 0..255: the largest one that is stored.
FEW_BITS = {"L;2": 3, "L;4": 15}
LARGEST_VALUE = 2**16 - 1
# In a table of classes, a value that has none; so the last class is the one before.
NO_CLASS = IGNORED - 1
MOST_CLASSES = NO_CLASS
NAMED_VALUES = 5


@dataclass(frozen=True)
class ClassValues:
    """Classes of the values in masks.

    Attributes:
        pairs: (value, class number), `IGNORED` in place of a class where a value counts nowhere.
        advice: on a value that has none, for the error; `VALUE` stands for it.
    """

    pairs: tuple[tuple[int, int], ...]
    advice: str

    def classes_of(self, values: np.ndarray, mask: str) -> np.ndarray:
        """Class numbers [H, W], uint8, of values [H, W].

        Args:
            values: of whole numbers.
            mask: their file, for the error.

        Raises:
            DataError: a value has no class.
        """
        import numpy as np

        table = _table(self.pairs)
        if values.dtype == np.uint8:
            classes = table[values]
        else:
            inside = (values >= 0) & (values < len(table))
            classes = np.where(inside, table[np.where(inside, values, 0)], np.uint8(NO_CLASS))
        unknown = classes == NO_CLASS
        if unknown.any():
            others = [str(each) for each in np.unique(values[unknown])]
            named = ", ".join(others[:NAMED_VALUES]) + (", ..." if len(others) > NAMED_VALUES else "")
            word = "value" if len(others) == 1 else "values"
            raise DataError(
                f"the mask {printable(mask)} holds the {word} {named}, of no class; "
                f"{self.advice.replace('VALUE', others[0])}"
            )
        return classes


@cache
def _table(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Classes by value, uint8."""
    import numpy as np

    table = np.full(max(256, 1 + max(value for value, _ in pairs)), NO_CLASS, np.uint8)
    for value, number in pairs:
        table[value] = number
    return table


@dataclass(frozen=True)
class MaskFiles:
    """Classes of the pixels of image i: [H, W], uint8; decoded when asked for.

    Attributes:
        masks: files.
        images: the files that they belong to, for a check of sizes.
        values: classes of their values.
        reading: of the images, whose orientation masks follow.
    """

    masks: tuple[str, ...]
    images: tuple[str, ...]
    values: ClassValues
    reading: Reading

    def __call__(self, index: int) -> np.ndarray:
        mask, image = self.masks[index], self.images[index]
        values = read_values(mask, self.reading)
        check_size(mask, (values.shape[1], values.shape[0]), image, self.reading)
        return self.values.classes_of(values, mask)


def read_values(mask: str, reading: Reading) -> np.ndarray:
    """Values of a mask's pixels [H, W] as they are stored, in whole numbers: of a palette the index, of 1 bit 0 and 1.

    Of a PBM file black is 0 and white is 1, as in all other kinds, though such a file stores them the other way round.

    Raises:
        DataError: it cannot be read, or holds colours.
    """
    import numpy as np
    from PIL import ImageOps

    try:
        with open_own(mask) as image:
            _check_mode(mask, image)
            stored, shown = _largest(image)
            image.load()
            turned = reading.exif == "apply" and orientation_of(image) != 1
            values = np.asarray(ImageOps.exif_transpose(image) if turned else image)
    except DataError:
        raise
    except Exception as error:  # PIL's decoders raise many kinds for damaged files, SyntaxError among them
        raise _unreadable(mask, error) from None
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            raise DataError(f"the mask {printable(mask)} holds fractions; write whole numbers, one for each class")
        return whole.astype(np.int64)
    if values.dtype == bool:
        return values.astype(np.uint8)
    return values if stored == shown else np.rint(values * (stored / shown)).astype(values.dtype)


def check_header(mask: str, image: str, reading: Reading) -> None:
    """A mask has one value a pixel and the size of its image, by the headers of both.

    Raises:
        DataError: it has not, or cannot be read. An image that cannot be read passes: it is found with all others.
    """
    try:
        with open_own(mask) as opened:
            _check_mode(mask, opened)
            size = _size(opened, reading)
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(mask, error) from None
    check_size(mask, size, image, reading)


def check_size(mask: str, size: tuple[int, int], image: str, reading: Reading) -> None:
    """A mask has the size of its image.

    Args:
        mask: file of the mask.
        size: its width and height.
        image: file of the image.
        reading: of the image.

    Raises:
        DataError: it has another; with both.
    """
    try:
        expected = image_size(image, reading)
    except Exception:  # its decoder says why, when the image is read
        return
    if size != expected:
        raise DataError(
            f"the mask {printable(mask)} is {size[0]} x {size[1]} pixels, and its image {printable(image)} "
            f"{expected[0]} x {expected[1]}; a mask has the size of its image"
        )


def image_size(image: str, reading: Reading) -> tuple[int, int]:
    """Width and height of an image as it is read, by its header; its decoder's errors where that is damaged."""
    if os.path.splitext(image)[1].lower() == ".npy":
        import numpy as np

        height, width = np.load(image, mmap_mode="r", allow_pickle=False).shape[:2]
        return width, height
    with open_own(image) as opened:
        return _size(opened, reading)


def _size(image: Image.Image, reading: Reading) -> tuple[int, int]:
    """Width and height of an open image once it is decoded."""
    if image.format == "TIFF":  # Pillow turns it by itself, some versions when they decode it
        if orientation_of(image) != 1:
            image.load()
        return image.size
    if reading.exif == "apply" and orientation_of(image) >= 5:
        return image.size[1], image.size[0]
    return image.size


def _check_mode(mask: str, image: Image.Image) -> None:
    if image.mode not in MODES and not image.mode.startswith("I;16"):
        raise DataError(
            f"the mask {printable(mask)} has colours ({image.mode}), and a mask has one value a pixel; save it as "
            "a grey PNG of class numbers, or as one with a palette"
        )


def _largest(image: Image.Image) -> tuple[int, int]:
    """The largest grey value that an open image stores, and what it becomes when Pillow decodes it; equal for most."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3]
        raw, *others = (arguments,) if isinstance(arguments, str) else arguments or ("",)
        if image.format == "PPM" and image.mode != "1" and others:  # of a PGM its header says it
            return int(others[0]), 255 if image.mode == "L" else LARGEST_VALUE
        return FEW_BITS.get(str(raw)[:3], 255), 255
    return 255, 255


def _unreadable(mask: str, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    reason = one_line(error)
    if isinstance(error, UnidentifiedImageError):
        reason = "it is empty, of 0 bytes" if not os.path.getsize(mask) else "it is damaged, or no image"
    return DataError(f"cannot read the mask {printable(mask)} ({printable(reason)})")
