"""The images that come with the package; `bundled/README.md` names their source and their form."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.common import ArrayImages, check_labels, decode
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "bundled"
SIDE = 32


class Cifar10SubsetParams(DatasetParams):
    """The images that come with the package; nothing to choose."""

    def info(self, root: Path) -> DataInfo:
        return DataInfo(classes=10, train=1000, test=1000)


def rows(split: str) -> list[tuple[int, int, str]]:
    """For each image of a split: its position in the mosaic, its index in that split of CIFAR-10, and its class name.

    Raises:
        DataError: the package was installed without the file.
    """
    try:
        with open(FOLDER / "cifar10_subset.csv", newline="", encoding="utf-8") as file:
            listed = enumerate(csv.DictReader(file))
            return [(position, int(row["index"]), row["class"]) for position, row in listed if row["split"] == split]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cifar10_subset: the installed package is damaged ({one_line(error)})") from error


def load(params: Cifar10SubsetParams, root: Path, split: str) -> ImageDataset:
    """1,000 images of 32 x 32 pixels, 100 a class; nothing is downloaded.

    Raises:
        DataError: the installed package is damaged.
    """

    chosen = rows(split)
    classes = tuple(sorted({name for _, _, name in chosen}))  # alphabetical, which is CIFAR-10's own order
    array = _tiles()[[position for position, _, _ in chosen]]
    labels = check_labels("cifar10_subset", [classes.index(name) for _, _, name in chosen], classes, split)
    return ImageDataset(labels, classes, ArrayImages(array), array)


@functools.cache  # both splits are of it
def _tiles() -> np.ndarray:
    """All images in the order of the mosaic, uint8 [2000, 32, 32, 3].

    Raises:
        DataError: the installed package is damaged.
    """
    import numpy as np

    mosaic = np.asarray(decode(FOLDER / "cifar10_subset.webp", "cifar10_subset.webp of the installed package"))
    return mosaic.reshape(mosaic.shape[0] // SIDE, SIDE, -1, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
