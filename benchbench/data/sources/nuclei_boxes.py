"""Boxes around the nuclei of `nuclei`, from its instance maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.data.images import Boxes, ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.nuclei import NucleiParams, NucleusMasks
from benchbench.data.sources.nuclei import load as load_masks

if TYPE_CHECKING:
    import numpy as np

NAMES = ("nucleus",)


class NucleiBoxesParams(DatasetParams):
    """The images of `nuclei` with a box around each nucleus, in place of its pixels; touching nuclei are two boxes.

    Attributes:
        path: a folder in the layout of `nuclei`; by default the images in the package.
    """

    path: Path | None = None

    def info(self, root: Path) -> DataInfo:
        sizes = NucleiParams(path=self.path).info(root)
        return DataInfo(len(NAMES), sizes.train, sizes.test, names=NAMES, task="detection")


@dataclass(frozen=True)
class InstanceBoxes:
    """Boxes around the instances of image i, in the order of their numbers."""

    instances: Callable[[int], np.ndarray]

    def __call__(self, index: int) -> Boxes:
        return boxes_around(self.instances(index))


def load(params: NucleiBoxesParams, root: Path, split: str) -> ImageDataset:
    """One split, in the order of its list; images of one size are an array too.

    Raises:
        DataError: as of `nuclei`.
    """
    images = load_masks(NucleiParams(path=params.path), root, split)
    assert isinstance(images.mask, NucleusMasks)
    return replace(images, classes=NAMES, mask=None, boxes=InstanceBoxes(images.mask.instances))


def boxes_around(numbers: np.ndarray) -> Boxes:
    """Boxes of one class around the instances of a map [H, W], whose 0 is the background.

    A box ends behind its last pixel, so that one of a single pixel is 1 wide and 1 high.
    """
    import numpy as np

    rows, columns = np.nonzero(numbers)
    found, places = np.unique(numbers[rows, columns], return_inverse=True)
    corners = np.empty((len(found), 4), np.float32)
    corners[:, :2], corners[:, 2:] = np.inf, -np.inf
    for column, (reduce, values) in enumerate(
        ((np.minimum, columns), (np.minimum, rows), (np.maximum, columns + 1), (np.maximum, rows + 1))
    ):
        reduce.at(corners[:, column], places, values.astype(np.float32))
    return Boxes(corners, np.zeros(len(found), np.int64), np.zeros(len(found), np.uint8))
