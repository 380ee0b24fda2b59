"""A user's own images without labels: a folder of images, for a pre-training that distils."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from benchbench.data.images import ImageDataset
from benchbench.data.info import DataInfo
from benchbench.data.sources.channels import CHANNELS, MOST_CHANNELS, OwnFilesParams
from benchbench.data.sources.folder_scan import SplitScan, scan_images
from benchbench.data.sources.own_images import Range, survey_files


class UnlabelledParams(OwnFilesParams):
    """Images without labels, in one folder and those below it.

    Attributes:
        path: the folder.
        channels: of every image: 1 for grey, or any number; as of `imagefolder`.
        exif: `apply` turns an image as its EXIF orientation says; by default pixels are taken as they are stored.
        pixel_range: `[BLACK, WHITE]`, the values of grey images of 16 or 32 bits; as of `imagefolder`.
    """

    path: Path
    channels: int = Field(default=CHANNELS, ge=1, le=MOST_CHANNELS)
    exif: Literal["ignore", "apply"] = "ignore"
    pixel_range: Range | None = None

    def info(self, root: Path) -> DataInfo:
        return sizes(self)

    def split_files(self, split: Literal["train", "test"], root: Path) -> dict[str, Path]:
        return scan_images(self.path, self.more_extensions).files() if split == "train" else {}


def sizes(params: UnlabelledParams) -> DataInfo:
    """The number of images, and notes on what is left out and on headers of some images.

    Raises:
        DataError: as `load`.
    """
    scan = scan_images(params.path, params.more_extensions)
    files = [str(path) for path in scan.files().values()]
    notes = [words for words in (str(scan.left_out), scan.doubtful_names()) if words]
    notes += survey_files(files, params.reading)
    return DataInfo(0, len(files), 0, "; ".join(notes), channels=params.channels)


def load(params: UnlabelledParams, root: Path, split: str) -> ImageDataset:
    """All images, sorted by path, as the training split; there is no test split.

    Raises:
        DataError: the folder is absent or holds no image.
    """
    import numpy as np

    files = _paths(scan_images(params.path, params.more_extensions)) if split == "train" else ()
    return params.dataset(np.zeros(len(files), np.int64), (), files)


def _paths(scan: SplitScan) -> tuple[str, ...]:
    return tuple(path for paths in scan.by_class.values() for path in paths)
