"""One split of a data set, however it is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchbench.statistics.masks import IGNORED as IGNORED

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

# Sets of this many bytes and fewer are kept decoded, as uint8. It is the same on every device: draws depend on it.
IN_MEMORY_BYTES = 2 * 2**30
# Of the free memory of a GPU, for the views of a set and the cached outputs of a network each.
RESIDENT_SHARE = 0.25


def resident_bytes(device: torch.device) -> int:
    """Bytes of views, or of cached outputs, that may lie on a device: they are computed or read again otherwise."""
    if device.type != "cuda":
        return IN_MEMORY_BYTES
    import torch

    return max(IN_MEMORY_BYTES, int(RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]))


# Kinds of boxes to be ignored. What is found in a group lies in it; what is found of a hard object has its size.
GROUP, HARD = 1, 2


@dataclass(frozen=True)
class Boxes:
    """Boxes around the objects of one image.

    Attributes:
        corners: left, top, right and bottom of each [N, 4], float32, in pixels from the left upper corner of the image;
            within it, and right and bottom are larger than left and top.
        classes: class numbers [N], int64.
        ignored: boxes that count neither as found nor as missed, and that nothing is trained on [N], uint8: GROUP of
            objects (COCO's `iscrowd`), or HARD, of one that is too hard (VOC's `difficult`); 0 is a box that counts. As
            truth values all are groups.
    """

    corners: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray


@dataclass
class ImageDataset:
    """N labelled images.

    Attributes:
        labels: class numbers [N], int64.
        classes: class names by number.
        image: decodes image i to an RGB `PIL.Image`; raises DataError naming the file where it cannot be read. Called
            from loader processes, so it must pickle.
        array: all pixels [N, H, W, 3], uint8, where every image has one size and they fit in memory; else None.
        class_index: of generated images, the index of each within its class [N]; else None.
        pixels: decodes image i of other than three channels to [H, W, C], uint8, of which `image` gives a picture for
            people; None where the pixels are those of `image`.
        validation: indices of the validation part [V] that a training split comes with; else None.
        mask: of a segmentation, decodes the classes of image i's pixels to [H, W], uint8, `IGNORED` where none counts;
            raises DataError naming the file where it cannot be read or is of another size than the image. `classes` are
            then those of pixels, and `labels` the strata that subsets are drawn by: all 0 mostly. Pickles, as `image`.
        boxes: of a detection, the boxes of image i; raises DataError naming the file where they cannot be read.
            `classes` are then those of boxes, and `labels` strata, as with masks. It decodes no image. Pickles.
        version: tells apart the images that the same parameters have given at different times, of a download that may
            be replaced; empty where parameters, or the hashes of files in them, say it all.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    image: Callable[[int], Image.Image]
    array: np.ndarray | None = None
    class_index: np.ndarray | None = None
    validation: np.ndarray | None = None
    pixels: Callable[[int], np.ndarray] | None = None
    mask: Callable[[int], np.ndarray] | None = None
    boxes: Callable[[int], Boxes] | None = None
    version: str = ""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageSubset:
    """The images of a split at some indices [N], in their order."""

    images: ImageDataset
    indices: np.ndarray
