"""Images that are decoded once, and read from files of their pixels in every later epoch, stage and run.

Decoding a JPEG takes most of the time of a streamed image, and a GPU waits for it. The pixels are those of the decoder,
at their full size, so nothing changes but the time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchbench.data.images import ImageDataset

# Bytes of one split's pixels, and their share of the free disk space, that are kept at most.
MOST_BYTES, MOST_OF_FREE = 32 * 2**30, 0.25
# Images whose sizes stand for all.
SAMPLE = 32
FILES_PER_FOLDER = 1000
# Beside the images of a split that has been found to fit.
FITS = "fits"


def decoded_once(images: ImageDataset, folder: Path) -> ImageDataset:
    """The same split, which reads pixels from a folder where they are there, and puts them there where they are not.

    It is left as it is where it lies in memory, or where the folder has no room for it.

    Args:
        images: the split.
        folder: of its own, named by its content.
    """
    if images.array is not None or not _fits(images, folder):
        return images
    return replace(images, image=DecodedImages(images.image, folder))


def _fits(images: ImageDataset, folder: Path) -> bool:
    if (folder / FITS).exists():
        return True
    indices = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)
    sizes = [images.image(int(index)).size for index in indices]
    estimate = len(images) * float(np.mean([3 * width * height for width, height in sizes]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        fits = estimate <= min(MOST_BYTES, MOST_OF_FREE * free)
        if fits:
            (folder / FITS).touch()
            print(f"pixels of decoded images are kept in {folder}: about {estimate / 2**30:.1f} GiB")
        return fits
    except OSError:  # a folder that cannot be written to
        return False


@dataclass(frozen=True)
class DecodedImages:
    """Image i of a split; it pickles, and loader processes of many workers share the folder.

    Attributes:
        image: decodes image i.
        folder: of files of pixels; one that is damaged is written again.
    """

    image: Callable[[int], Image.Image]
    folder: Path

    def __call__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels(index))

    def pixels(self, index: int) -> np.ndarray:
        """RGB pixels of image i: uint8 [H, W, 3].

        Raises:
            DataError: it cannot be decoded.
        """
        path = self.folder / f"{index // FILES_PER_FOLDER:04}" / f"{index:07}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):  # absent, or cut short by a power cut
            array = np.load(path, allow_pickle=False)
            if array.dtype == np.uint8 and array.ndim == 3:
                return array
        array = np.array(self.image(index).convert("RGB"))
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk, say
            path.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            temporary.replace(path)
        return array


def pixels_of(images: ImageDataset, index: int) -> np.ndarray:
    """RGB pixels of image i of a split: uint8 [H, W, 3].

    Raises:
        DataError: it cannot be decoded.
    """
    if isinstance(images.image, DecodedImages):
        return images.image.pixels(index)
    return np.array(images.image(index).convert("RGB"))
