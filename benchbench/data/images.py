"""One split of a data set, however it is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Sets of this many bytes and fewer are kept decoded, as uint8.
IN_MEMORY_BYTES = 2 * 2**30


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
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    image: Callable[[int], Image.Image]
    array: np.ndarray | None = None
    class_index: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageSubset:
    """The images of a split at some indices [N], in their order."""

    images: ImageDataset
    indices: np.ndarray
