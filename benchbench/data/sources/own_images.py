"""Images of a user's own: every kind of file that cameras, scanners and microscopes write becomes 8-bit RGB.

The published data sets hold 8-bit files alone, which `common.decode` reads.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from benchbench.data.info import DatasetParams
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Pillow's names. A fixed list: Pillow would give a file of another kind to a program, as PostScript to Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "TGA", "DIB", "PCX", "QOI", "SGI")
# fmt: off
EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff", ".gif", ".avif", ".jfif", ".jpe", ".jp2", ".j2k",
    ".jpx", ".jpf", ".jpc", ".apng", ".pgm", ".pbm", ".pnm", ".pfm", ".dib", ".tga", ".pcx", ".qoi", ".sgi", ".mpo",
)
# fmt: on
SAMPLE = 200  # images whose headers `plan` looks at
ORIENTATION = 0x0112  # of EXIF
DEEP_GREY = ("F", "I")  # Pillow's modes of 32-bit values; those of 16 bits begin with "I;16"
# Of 32-bit values that come without a range: the smallest of these that holds all of an image.
RANGES = (255.0, 65535.0)

Range = tuple[float, float]


@dataclass(frozen=True)
class Reading:
    """The way in which files become images.

    Attributes:
        exif: "apply" turns an image as its EXIF orientation says; "ignore" takes the pixels as they are stored. A TIFF
            is always turned as its orientation says: Pillow does so.
        pixel_range: the values of a grey image of 16 or 32 bits that become black and white; None for those of its
            format.
    """

    exif: Literal["ignore", "apply"] = "ignore"
    pixel_range: Range | None = None


class OwnImagesParams(DatasetParams):
    """Base of the data sets that read a user's own files.

    Attributes:
        exif: of files with an EXIF orientation.
        pixel_range: of grey images of 16 or 32 bits.
    """

    exif: Literal["ignore", "apply"] = Field(default="ignore")
    pixel_range: Range | None = None

    @field_validator("pixel_range", mode="before")
    @classmethod
    def _rises(cls, given: object) -> object:
        """Two numbers, in words where they are not."""
        if isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(each, int | float) for each in given):
            if given[0] < given[1]:
                return given
        elif given is None:
            return None
        raise PydanticCustomError("range", "write [BLACK, WHITE], two numbers, the first below the second")

    @property
    def reading(self) -> Reading:
        return Reading(self.exif, self.pixel_range)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path] | None:
        """The files that a split is read from, by names that do not depend on the place of the whole.

        Their names and bytes are all that a key holds of the data: those of the training split alone. None where the
        files are not on this machine yet.

        Raises:
            DataError: as `info`.
        """
        raise NotImplementedError


def decode_own(source: str | Path | IO[bytes], location: str, reading: Reading) -> Image.Image:
    """An image in RGB, of any kind in `FORMATS`: its first frame, without transparency.

    Grey values of 16 bits keep their high byte, as Pillow does with colours of 16 bits; those of 32 bits are scaled
    from `reading.pixel_range`, or from the smallest of 0..1, 0..255 and 0..65535 that holds them.

    Args:
        source: a file's path or its bytes.
        location: for the error.
        reading: of orientation and range.

    Raises:
        DataError: it cannot be read or decoded.
    """
    from PIL import UnidentifiedImageError

    try:
        with open_own(source) as image:
            return to_rgb(image, location, reading)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"cannot read the image {printable(location)} ({_unknown(source)})") from None
    except Exception as error:  # PIL's decoders raise many kinds for damaged files, SyntaxError among them
        reason = printable(one_line(error))
        raise DataError(f"cannot read the image {printable(location)} ({reason})") from error


def open_own(source: str | Path | IO[bytes]) -> Image.Image:
    """An image whose pixels are not decoded yet; only formats of the fixed list are tried."""
    from PIL import Image, ImageFile

    image = Image.open(source, formats=_formats())
    if image.format == "TIFF" and isinstance(image, ImageFile.ImageFile):
        # By name, Pillow maps the file with the width and height of the turned image, which scrambles the pixels.
        image.filename = ""
    return image


@cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow can read."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _unknown(source: str | Path | IO[bytes]) -> str:
    size = os.path.getsize(source) if isinstance(source, str | Path) else source.seek(0, io.SEEK_END)
    return "it is empty, of 0 bytes" if not size else f"it is damaged, or none of {', '.join(_formats())}"


def printable(text: str) -> str:
    """Text with the bytes of file names that are no UTF-8 written out, so that a terminal and JSON take it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation that an image carries, 1 to 8; 1 where it has none, or one that makes no sense."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF is no reason to refuse the pixels
        return 1
    return value if value in range(2, 9) else 1


def to_rgb(image: Image.Image, location: str, reading: Reading) -> Image.Image:
    """An open image in RGB; errors as of `decode_own`."""
    is_16_bit = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    image = upright(image, reading)
    if is_16_bit or image.mode in DEEP_GREY:
        return _eight_bits(image, is_16_bit, location, reading).convert("RGB")
    if "transparency" in image.info:  # Pillow warns of losing it, and gives the same colours
        image = image.convert("RGBA")
    return image.convert("RGB")


def upright(image: Image.Image, reading: Reading) -> Image.Image:
    """An open image, decoded, and turned as its EXIF orientation says where that is asked for."""
    from PIL import ImageOps

    image.load()
    if reading.exif == "apply" and orientation_of(image) != 1:
        return ImageOps.exif_transpose(image)
    return image


def _eight_bits(image: Image.Image, is_16_bit: bool, location: str, reading: Reading) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(to_uint8(np.asarray(image), is_16_bit, location, reading))


def to_uint8(values: np.ndarray, is_16_bit: bool, location: str, reading: Reading) -> np.ndarray:
    """Values of 16 or 32 bits as `decode_own` scales them.

    Raises:
        DataError: 32-bit values in no usual range, or values that are no number.
    """
    import numpy as np

    if reading.pixel_range is None and is_16_bit:
        return (values >> 8).astype(np.uint8)
    if np.isnan(values).any():
        raise DataError(f"cannot read the image {printable(location)} (some of its values are NaN; write numbers)")
    low, high = reading.pixel_range or _range_of(values, location)
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _range_of(values: np.ndarray, location: str) -> Range:
    low, high = float(values.min()), float(values.max())
    ranges = RANGES if values.dtype.kind in "iu" else (1.0, *RANGES)
    for top in ranges:
        if low >= 0 and high <= top:
            return 0.0, top
    raise DataError(
        f"cannot read the image {printable(location)} (32-bit values from {low:g} to {high:g}, of which the file does "
        "not say what is black and white: give the source `pixel_range: [BLACK, WHITE]`)"
    )


@dataclass(frozen=True)
class OwnFileImages:
    """Image i of a list of files, decoded when asked for."""

    files: tuple[str, ...]
    reading: Reading

    def __call__(self, index: int) -> Image.Image:
        return decode_own(self.files[index], self.files[index], self.reading)


def survey_files(files: list[str], reading: Reading) -> list[str]:
    """The same of a list of files, from a sample spread over it."""
    step = max(1, -(-len(files) // SAMPLE))
    return survey([partial(str, path) for path in files[::step]], len(files), reading)


def survey(samples: Sequence[Callable[[], str | IO[bytes]]], count: int, reading: Reading) -> list[str]:
    """Notes on the files of a split, from the headers of some.

    Args:
        samples: give paths or bytes of those that are looked at.
        count: of all files.
        reading: of the source.
    """
    turned = deep = 0
    for sample in samples:
        try:
            with open_own(sample()) as image:
                # Of PNG only what stands before the pixels: they would be decoded for the rest. Pillow turns a TIFF.
                has_exif = image.format not in ("PNG", "TIFF") or (image.format == "PNG" and "exif" in image.info)
                turned += has_exif and orientation_of(image) != 1
                deep += image.mode in DEEP_GREY and image.format not in ("PNG", "PPM")
        except Exception:  # it is named, with its reason, when all images are checked
            continue
    looked_at = (
        f"of the {count} training images" if len(samples) == count else f"of {len(samples)} training images, a sample"
    )
    notes = []
    if turned:
        done = (
            "ignored (`exif: apply` turns them)" if reading.exif == "ignore" else "applied (`exif: ignore` leaves it)"
        )
        notes.append(f"{turned} {looked_at} carry an EXIF orientation, which is {done}")
    if deep and reading.pixel_range is None:
        notes.append(
            f"{deep} {looked_at} hold 32-bit values, scaled from the smallest of 0..1, 0..255 and 0..65535 that holds "
            "each (`pixel_range: [BLACK, WHITE]` says it for all)"
        )
    return notes
