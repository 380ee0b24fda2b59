"""A data set of few and small images, for runs whose time would else go into testing on a thousand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SIDE, TEST = 16, 4  # pixels; test images of each class


def write_images(folder: Path, train: int = 6) -> Path:
    """Writes images of all ten classes, so many of each to train on, as files in folders: a source `imagefolder`."""
    from PIL import Image

    from benchbench.data.sources.bundled import Cifar10SubsetParams, load

    for split, count in (("train", train), ("test", TEST)):
        images = load(Cifar10SubsetParams(), Path(), split)
        for label, name in enumerate(images.classes):
            (folder / split / name).mkdir(parents=True)
            for index in (images.labels == label).nonzero()[0][:count]:
                tile = Image.fromarray(images.array[index]).resize((SIDE, SIDE), Image.Resampling.BOX)
                tile.save(folder / split / name / f"{index:04}.png")
    return folder


def source(folder: Path) -> dict[str, Any]:
    """The source as suites have it."""
    return {"imagefolder": {"path": str(folder)}}


def pixels(folder: Path, split: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Images [N, 3, H, W] in 0..1 and labels [N] of a split, in the order of the data set, and names of classes."""
    import torch

    from benchbench.data.sources.imagefolder import ImageFolderParams, load

    images = load(ImageFolderParams(path=folder), Path(), split)
    tensors = [torch.frombuffer(bytearray(images.image(i).tobytes()), dtype=torch.uint8) for i in range(len(images))]
    stacked = torch.stack(tensors).view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)
    return stacked.float() / 255, torch.from_numpy(images.labels), images.classes
