"""A segmentation that is learnt in a few steps: bright squares on dark noise, in images of a few pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchbench.data.images import IGNORED, ImageDataset
from benchbench.data.sources.common import ArrayImages

SIDE, CLASSES = 16, ("background", "square")


@dataclass(frozen=True, eq=False)
class ArrayMasks:
    """Mask i of an array [N, H, W]."""

    array: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        return self.array[index]


def arrays(count: int, seed: int = 0, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, S, S, 3] and masks [N, S, S], each with one square; the first row of each mask is ignored."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 90, (count, side, side, 3), dtype=np.uint8)
    masks = np.zeros((count, side, side), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        top, left, size = (*random.integers(1, side - 6, 2), int(random.integers(4, 7)))
        image[top : top + size, left : left + size] += 120
        mask[top : top + size, left : left + size] = 1
        mask[0] = IGNORED
    return images, masks


def squares(count: int, seed: int = 0) -> ImageDataset:
    images, masks = arrays(count, seed)
    return ImageDataset(np.zeros(count, np.int64), CLASSES, ArrayImages(images), images, mask=ArrayMasks(masks))


def write_squares(folder: Path, train: int = 12, test: int = 4) -> Path:
    """The same as files, for a source `maskfolder`."""
    for split, count in (("train", train), ("test", test)):
        for kind, array in zip(("images", "masks"), arrays(count, len(split)), strict=True):
            (folder / split / kind).mkdir(parents=True)
            for index, each in enumerate(array):
                Image.fromarray(each).save(folder / split / kind / f"{index:03}.png")
    return folder


def source(folder: Path) -> str:
    """The source as `--set` takes it."""
    return f"{{maskfolder: {{path: {folder}, classes: [{', '.join(CLASSES)}]}}}}"
