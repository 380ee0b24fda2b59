"""A look at a folder of photographs, as far as a suite for it depends on them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from benchbench.data.sources.drawn_split import Split
from benchbench.data.sources.folder_parts import STAND_INS
from benchbench.data.sources.imagefolder import ImageFolderParams, load
from benchbench.data.survey import survey
from benchbench.errors import BenchBenchError

TEST_SHARE = 0.2


@dataclass(frozen=True)
class ImageFolder:
    """A folder of photographs.

    Attributes:
        path: of the folder.
        is_split: true where a share of each class is to be drawn to test on, since there is no part for that.
        train, test: number of images.
        classes: their number.
        side: median of the images' shorter sides, in pixels.
        note: what is left out or odd, in words; empty for nothing.
    """

    path: Path
    is_split: bool
    train: int
    test: int
    classes: int
    side: int
    note: str


def look_at(path: Path) -> ImageFolder:
    """Counts what a folder with one folder of images per class holds, in parts or as a whole.

    Raises:
        BenchBenchError: it is no such folder, or a class has too few images.
    """
    if not path.is_dir():
        raise BenchBenchError(f"{path} is not a folder; name one that holds a folder of images for each class")
    is_split = not ((path / "train").is_dir() and any((path / name).is_dir() for name in ("test", *STAND_INS)))
    split = Split(test=TEST_SHARE) if is_split else None
    found = survey("imagefolder", load, ImageFolderParams(path=path, split=split), path)
    sides = [min(image.size) for image in found.images if image.size]
    if not sides:
        raise BenchBenchError(f"{path}: none of {len(found.images)} images can be read; are they photographs?")
    info = found.info
    side = round(statistics.median(sides))
    return ImageFolder(path, is_split, info.train, info.test, info.classes, side, info.note)
