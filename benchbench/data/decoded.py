"""Images that are decoded once, and read from files of their pixels in every later epoch, stage and run.

Decoding a JPEG takes most of the time of a streamed image, and a GPU waits for it. The pixels are those of the decoder,
at their full size, so nothing changes but the time; a loader that crops on the device asks for smaller ones.

The folders of all splits lie in one. There is a bound to what they take together: for a new one, those go that were not
used for the longest time. A split that a process uses is locked, and stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from benchbench.augmenters.geometric import resize
from benchbench.data.images import ImageDataset
from benchbench.data.jpeg import encoded
from benchbench.data.transforms import to_float, to_uint8

# Bytes of one split's pixels, and their share of the free disk space, that are kept at most; and bytes of all splits.
MOST_BYTES, MOST_OF_FREE, ALL_BYTES = 32 * 2**30, 0.25, 64 * 2**30
# Images whose sizes stand for all.
SAMPLE = 32
FILES_PER_FOLDER = 1000
# Beside the images of a split that has been found to fit: its bytes. The file was changed when the split was last used.
FITS = "fits"
LEFTOVER_SECONDS = 3600  # age at which a file that is not finished is no writer's any more


def decoded_once(
    images: ImageDataset, folder: Path, largest_side: int | None = None, by_device: bool = False
) -> ImageDataset:
    """The same split, which reads pixels from a folder where they are there, and puts them there where they are not.

    It is left as it is where it lies in memory, where it is not of RGB, or where the folder has no room for it.

    Args:
        images: the split.
        folder: of its own, named by its content.
        largest_side: of larger images, the shorter side with which they are kept; None keeps all of their pixels.
        by_device: whether a device decodes the files that it can each time.
    """
    if images.array is not None or images.pixels is not None:
        return images
    needed = 0
    if not (folder / FITS).exists():
        needed = _estimate(images, largest_side, by_device)
        if not needed:
            return images
    lock = _reserve(folder, needed)
    return images if lock is None else replace(images, image=DecodedImages(images.image, folder, lock, largest_side))


def reduced(pixels: np.ndarray, largest_side: int | None) -> np.ndarray:
    """Pixels [H, W, C], uint8, with the shorter side at a limit where it is above: antialiased, and rounded again."""
    if largest_side is None or min(pixels.shape[:2]) <= largest_side:
        return pixels
    images = to_float(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0))
    return np.ascontiguousarray(to_uint8(resize(images, largest_side))[0].permute(1, 2, 0).numpy())


def _estimate(images: ImageDataset, largest_side: int | None = None, by_device: bool = False) -> int:
    """Bytes of all pixels to be kept, from the sizes of some images."""
    limit, pixels = largest_side or math.inf, []
    for index in np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int):
        if by_device and encoded(images.image, int(index), limit):
            pixels.append(0.0)
            continue
        width, height = images.image(int(index)).size
        pixels.append(width * height * min(1.0, limit / min(width, height)) ** 2)
    return round(len(images) * 3 * float(np.mean(pixels)))


def _reserve(folder: Path, needed: int) -> BufferedReader | None:
    """Takes room for a split that is about to be used; gives the lock that keeps it, None where there is no room."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / ".lock").open("w") as turn:  # one process at a time looks for room
            _lock(turn.fileno(), fcntl.LOCK_EX)
            if not (folder / FITS).exists() and not _make_room(folder, needed):
                return None
            os.utime(folder / FITS)
            _remove_leftovers(folder)
            lock = (folder / FITS).open("rb")
            _lock(lock.fileno(), fcntl.LOCK_SH)
            return lock
    except OSError:  # a folder that cannot be written to
        return None


class _Split(NamedTuple):
    used: float
    folder: Path
    size: int


def _make_room(folder: Path, needed: int) -> bool:
    """Makes the folder of a split where there is room for it, or will be without those that nobody uses."""
    others = sorted(_Split(marker.stat().st_mtime, marker.parent, _size(marker)) for marker in _markers(folder.parent))
    total, free = sum(split.size for split in others), shutil.disk_usage(folder.parent).free
    if needed > MOST_BYTES or needed > MOST_OF_FREE * (free + total):
        return False
    for split in others:  # the one that was not used for the longest time first
        if total + needed <= ALL_BYTES and needed <= MOST_OF_FREE * free:
            break
        if _evict(split.folder):
            total, free = total - split.size, shutil.disk_usage(folder.parent).free
    if total + needed > ALL_BYTES or needed > MOST_OF_FREE * free:
        return False
    folder.mkdir(exist_ok=True)
    (folder / FITS).write_text(f"{needed}\n")
    print(f"pixels of decoded images are kept in {folder}: about {needed / 2**30:.1f} GiB")
    return True


def _markers(root: Path) -> list[Path]:
    for gone in root.glob(".gone-*"):  # an eviction that was killed
        shutil.rmtree(gone, ignore_errors=True)
    return [marker for marker in root.glob(f"*/{FITS}") if not marker.parent.is_symlink()]


def _size(marker: Path) -> int:
    """Bytes that a split takes, or will take."""
    with contextlib.suppress(ValueError):
        return int(marker.read_text())
    return sum(path.stat().st_size for path in marker.parent.rglob("*.npy"))  # by a version that did not note them


def _evict(folder: Path) -> bool:
    """Removes a split's pixels, unless a process uses them."""
    try:
        with (folder / FITS).open("rb") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = folder.with_name(f".gone-{uuid.uuid4().hex}")
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    except OSError:  # in use, or on a file system without locks
        return False
    print(f"pixels of decoded images in {folder} were not used for the longest time, and made room for others")
    return True


def _remove_leftovers(folder: Path) -> None:
    """Removes what writers that were killed have not finished."""
    for path in folder.glob("*/.*.npy.*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()


def _lock(descriptor: int, kind: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks, where nothing is evicted
        fcntl.flock(descriptor, kind)


@dataclass(frozen=True)
class DecodedImages:
    """Image i of a split; it pickles, and loader processes of many workers share the folder.

    Attributes:
        image: decodes image i.
        folder: of files of pixels; one that is damaged is written again.
        lock: keeps the folder while this object lives, and the processes that were forked meanwhile.
        largest_side: of larger images, the shorter side with which they are kept.
    """

    image: Callable[[int], Image.Image]
    folder: Path
    lock: BufferedReader | None = field(default=None, compare=False, repr=False)
    largest_side: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "lock": None}

    def __call__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels(index))

    def pixels(self, index: int) -> np.ndarray:
        """RGB pixels of image i: uint8 [H, W, 3], reduced where it is larger than asked for.

        Raises:
            DataError: it cannot be decoded.
        """
        path = self.folder / f"{index // FILES_PER_FOLDER:04}" / f"{index:07}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):  # absent, or cut short by a power cut
            array = np.load(path, mmap_mode="c", allow_pickle=False)  # copied once, on its way to the batch
            if array.dtype == np.uint8 and array.ndim == 3:
                return array
        array = reduced(np.array(self.image(index).convert("RGB")), self.largest_side)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(OSError):  # a full disk, say
            path.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            temporary.replace(path)
        return array


def pixels_of(images: ImageDataset, index: int) -> np.ndarray:
    """Pixels of image i of a split: uint8 [H, W, C], RGB mostly.

    Raises:
        DataError: it cannot be decoded.
    """
    if images.pixels is not None:
        return images.pixels(index)
    if isinstance(images.image, DecodedImages):
        return images.image.pixels(index)
    return np.array(images.image(index).convert("RGB"))
