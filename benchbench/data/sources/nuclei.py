"""Nuclei of the Data Science Bowl 2018; `bundled/README.md` names the source and the form of those in the package."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.bundled import FOLDER
from benchbench.data.sources.common import ArrayImages, FileImages, check_files, decode, read_lines
from benchbench.data.sources.mask_files import check_size, read_values
from benchbench.data.sources.own_images import Reading, open_own
from benchbench.errors import DataError, one_line

if TYPE_CHECKING:
    import numpy as np

NAMES = {2: ("background", "nucleus"), 3: ("background", "interior", "boundary")}
SIZES = {"train": 234, "test": 100}
SIDE = 256


class NucleiParams(DatasetParams):
    """334 grey micrographs of 256 x 256 pixels with 9,543 nuclei (Caicedo et al. 2019), 234 of which train.

    Attributes:
        path: a folder with train.txt, test.txt, images/NAME.webp and instances/NAME.png, where a pixel of an instance
            map is 0 for the background and else the number of its nucleus; by default the images in the package.
        classes: 2 are background and nucleus. 3 are background, interior and boundary: the pixels of a nucleus of
            which one of the four neighbours belongs to another nucleus or to the background.
    """

    path: Path | None = None
    classes: Literal[2, 3] = 2

    def info(self, root: Path) -> DataInfo:
        sizes = SIZES if self.path is None else {split: len(_listed(self.path, split)) for split in SIZES}
        names = NAMES[self.classes]
        return DataInfo(len(names), sizes["train"], sizes["test"], names=names, task="segmentation")


@dataclass(frozen=True, eq=False)
class ArrayInstances:
    """Instance map i of an array [N, H, W]."""

    array: np.ndarray

    def __call__(self, index: int) -> np.ndarray:
        return self.array[index]


@dataclass(frozen=True)
class FileInstances:
    """Instance map [H, W] of image i, decoded when asked for; `images` are the files whose sizes they have."""

    files: tuple[str, ...]
    images: tuple[str, ...]

    def __call__(self, index: int) -> np.ndarray:
        file, reading = self.files[index], Reading()
        numbers = read_values(file, reading)
        check_size(file, (numbers.shape[1], numbers.shape[0]), self.images[index], reading)
        return numbers


@dataclass(frozen=True)
class NucleusMasks:
    """Classes of the pixels of image i, from its instance map: [H, W], uint8; see `NucleiParams.classes`."""

    instances: Callable[[int], np.ndarray]
    classes: int

    def __call__(self, index: int) -> np.ndarray:
        import numpy as np

        numbers = self.instances(index)
        mask = (numbers > 0).astype(np.uint8)
        return mask if self.classes == 2 else mask + (boundary(numbers) & (numbers > 0))


def boundary(numbers: np.ndarray) -> np.ndarray:
    """Pixels of an instance map [H, W] of which one of the four neighbours has another number; the edge has none."""
    import numpy as np

    differs = np.zeros(numbers.shape, bool)
    down, right = numbers[1:] != numbers[:-1], numbers[:, 1:] != numbers[:, :-1]
    differs[1:] |= down
    differs[:-1] |= down
    differs[:, 1:] |= right
    differs[:, :-1] |= right
    return differs


def load(params: NucleiParams, root: Path, split: str) -> ImageDataset:
    """One split, in the order of its list; images of one size are an array too.

    Raises:
        DataError: the installed package is damaged, or a file of `path` is absent or cannot be read.
    """
    return _of_package(params, split) if params.path is None else _of_folder(params, params.path, split)


def rows(split: str) -> list[str]:
    """Names of the images of a split, in the order of their tiles.

    Raises:
        DataError: the installed package is damaged.
    """
    try:
        with open(FOLDER / "nuclei.csv", newline="", encoding="utf-8") as file:
            return [row["image"] for row in csv.DictReader(file) if row["split"] == split]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"nuclei: the installed package is damaged ({one_line(error)})") from error


def _of_package(params: NucleiParams, split: str) -> ImageDataset:
    import numpy as np

    grey, numbers = _tiles(f"nuclei_{split}.webp"), _tiles(f"nuclei_{split}_instances.webp")
    if not len(grey) == len(numbers) == len(rows(split)):
        raise DataError("nuclei: the installed package is damaged (its files are of different lengths)")
    array = np.repeat(grey[..., None], 3, axis=3)
    return _dataset(params, ArrayImages(array), array, ArrayInstances(numbers))


def _tiles(name: str) -> np.ndarray:
    """The tiles of a mosaic of grey values: [N, SIDE, SIDE], uint8."""
    import numpy as np

    mosaic = np.asarray(decode(FOLDER / name, f"{name} of the installed package"))[..., 0]
    tiles = mosaic.reshape(mosaic.shape[0] // SIDE, SIDE, -1, SIDE).swapaxes(1, 2)
    return np.ascontiguousarray(tiles.reshape(-1, SIDE, SIDE))


def _of_folder(params: NucleiParams, folder: Path, split: str) -> ImageDataset:
    import numpy as np

    names = _listed(folder, split)
    files = tuple(str(folder / "images" / f"{name}.webp") for name in names)
    maps = tuple(str(folder / "instances" / f"{name}.png") for name in names)
    check_files("nuclei", (*files, *maps), f"complete {folder}, or take the name out of {split}.txt")
    images = FileImages(files)
    array = np.stack([np.asarray(images(i)) for i in range(len(files))]) if _have_one_size(files) else None
    return _dataset(params, images if array is None else ArrayImages(array), array, FileInstances(maps, files))


def _have_one_size(files: Sequence[str]) -> bool:
    sizes = set()
    for file in files:
        try:
            with open_own(file) as image:
                sizes.add(image.size)
        except Exception:  # its decoder says why, when the image is read
            return False
    return len(sizes) == 1


def _dataset(
    params: NucleiParams,
    images: ArrayImages | FileImages,
    array: np.ndarray | None,
    instances: ArrayInstances | FileInstances,
) -> ImageDataset:
    import numpy as np

    count = len(images.files) if isinstance(images, FileImages) else len(images.array)
    masks = NucleusMasks(instances, params.classes)
    return ImageDataset(np.zeros(count, np.int64), NAMES[params.classes], images, array, mask=masks)


def _listed(folder: Path, split: str) -> list[str]:
    """Names of the images of a split.

    Raises:
        DataError: the list is absent or empty, or names an image twice.
    """
    file = folder / f"{split}.txt"
    names = read_lines("nuclei", file)
    if not names:
        raise DataError(f"nuclei: the list {file} names no image")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"nuclei: the list {file} names '{twice}' twice")
    return names
