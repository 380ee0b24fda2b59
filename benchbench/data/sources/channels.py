"""A user's own images of other than three channels: grey ones, those with transparency or infrared, and stacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from benchbench.data.images import ImageDataset
from benchbench.data.sources.own_images import (
    DEEP_GREY,
    OwnFileImages,
    OwnImagesParams,
    Reading,
    decode_own,
    open_own,
    printable,
    to_rgb,
    to_uint8,
    upright,
)
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

ARRAY = ".npy"
MOST_CHANNELS = 512
CHANNELS = 3  # of images, unless it is said otherwise


class OwnFilesParams(OwnImagesParams):
    """Base of the data sets that read a user's own files one by one.

    Attributes:
        channels: of every image.
    """

    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)

    @property
    def more_extensions(self) -> tuple[str, ...]:
        """Of files that are images beside the usual ones."""
        return () if self.channels == CHANNELS else (ARRAY,)

    def dataset(self, labels: np.ndarray, classes: tuple[str, ...], files: tuple[str, ...]) -> ImageDataset:
        """The images in some files."""
        if self.channels == CHANNELS:
            return ImageDataset(labels, classes, OwnFileImages(files, self.reading))
        images = ChannelImages(files, self.reading, self.channels)
        return ImageDataset(labels, classes, images, pixels=images.pixels)


@dataclass(frozen=True)
class ChannelImages(OwnFileImages):
    """Image i of a list of files, with so many channels; as a picture, its first ones."""

    channels: int

    def __call__(self, index: int) -> Image.Image:
        from PIL import Image

        pixels = self.pixels(index)
        return Image.fromarray(pixels[..., :3] if self.channels > 2 else pixels[..., 0]).convert("RGB")

    def pixels(self, index: int) -> np.ndarray:
        """All channels: uint8 [H, W, C].

        Raises:
            DataError: the file cannot be read, or has another number of channels.
        """
        file = self.files[index]
        if file.lower().endswith(ARRAY):
            return _array(file, self.reading, self.channels)
        if self.channels == 1:
            import numpy as np

            return np.array(decode_own(file, file, self.reading).convert("L"))[..., None]  # torch wants to own it
        return _bands(file, self.reading, self.channels)


def _array(file: str, reading: Reading, channels: int) -> np.ndarray:
    """A NumPy file of an array [H, W, C], or [H, W] of one channel."""
    import numpy as np

    try:
        values = np.load(file, allow_pickle=False)
    except Exception as error:  # NumPy's reader raises several kinds for damaged files
        raise DataError(f"cannot read the image {printable(file)} ({printable(one_line(error))})") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "uif":
        raise DataError(f"cannot read the image {printable(file)} (it holds no array of numbers)")
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] != channels or 0 in values.shape:
        raise DataError(
            f"cannot read the image {printable(file)} (its shape is {list(values.shape)}, where `channels: {channels}` "
            f"asks for [height, width, {channels}])"
        )
    return values if values.dtype == np.uint8 else to_uint8(values, values.dtype == np.uint16, file, reading)


def _bands(file: str, reading: Reading, channels: int) -> np.ndarray:
    """An image file whose pixels have so many values, or that holds so many grey pages."""
    import numpy as np

    try:
        with open_own(file) as image:
            if getattr(image, "n_frames", 1) == channels:
                return _pages(image, file, reading, channels)
            bands, mode = len(image.getbands()), image.mode
            if bands == channels:
                return np.array(upright(image, reading))
    except DataError:
        raise
    except Exception:  # decoding says why, in its own words
        decode_own(file, file, reading)
        raise DataError(f"cannot read the channels of the image {printable(file)}") from None
    raise DataError(
        f"cannot read the image {printable(file)} (it has {bands} channel{'s' if bands > 1 else ''}, {mode}, and "
        f"`channels: {channels}` asks for {channels}; other numbers are read from {ARRAY} files and from pages of TIFF)"
    )


def _pages(image: Image.Image, file: str, reading: Reading, count: int) -> np.ndarray:
    """Grey pages; 32-bit values of all are scaled from the range that holds them together."""
    import numpy as np

    pages = []
    for page in range(count):
        image.seek(page)
        if image.mode in DEEP_GREY and image.format == "TIFF":
            pages.append(np.array(upright(image, reading)))
        else:
            pages.append(np.asarray(to_rgb(image, file, reading).convert("L")))
    stack, is_deep = np.stack(pages, axis=2), np.array([page.dtype != np.uint8 for page in pages])
    if is_deep.any():
        stack[..., is_deep] = to_uint8(stack[..., is_deep], False, file, reading)
    return stack.astype(np.uint8)
