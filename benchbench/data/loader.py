"""Loaders: batches of one split, from memory or streamed from disk.

The order of an epoch, and every augmentation, is drawn from a generator that depends on (seed, epoch, step) or
(seed, epoch, image) alone, so that a resumed run sees what an uninterrupted one would. A transform with views draws
each image's augmentations from (view seed, view, index of the image) instead: the same ones in every epoch that shows
the view, and in every stage that asks for them. Mixing needs two images: it comes last, on the whole batch, on the
device.

Both loaders round drawn views to uint8, since views are stored and cached outputs belong to exactly these pixels. They
round no other image: a training image without views, and a test image, reach the network in the float32 that its
transform gave. The pixels of one draw are the same in both; the draws are not, as the in-memory loader augments a batch
from one generator and the streaming loader each image from its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.device_streaming import DeviceStreamingLoader
from benchbench.data.images import IN_MEMORY_BYTES, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.order import Blend
from benchbench.data.share import Share
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform


class Loader(Protocol):
    """Batches of one split.

    Attributes:
        labels: class of every image [N], on the device.
        share: of this process, where several train one network together: training batches are then split, and test
            batches are those of this process alone.
        balanced: whether training batches have each class as often, drawn with replacement.
        second_view: whether training batches have a second view of each image: another draw of its augmentation, from a
            generator of its own, so that the first view is the same as without.
    """

    labels: Tensor
    share: Share | None
    balanced: bool
    second_view: bool

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        ...

    def images_a_step(self, batch_size: int) -> int:
        """Images of each of them, for all processes together."""
        ...

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        """One epoch's batches from step `start` on, in an order drawn from (seed, epoch).

        All have the same size: the last partial batch is dropped.
        """
        ...

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Every image once, in order."""
        ...

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        """Every view of every image, images in order, from image `start` on: a list has a batch for each view.

        `start` is a multiple of `VIEW_CHUNK`; no image is decoded twice.
        """
        ...


def make_loader(
    subset: ImageSubset,
    transform: Transform,
    device: torch.device,
    workers: int,
    blend: Blend | None = None,
) -> Loader:
    """The loader that suits a split's size: in memory on the device, or streamed by `workers` loader processes."""
    array, count = subset.images.array, len(subset.indices)
    view_bytes = 3 * transform.image_size**2 * count if transform.views else 0  # a view lies in memory as a whole
    if array is not None and max(array[0].nbytes * count, view_bytes) <= IN_MEMORY_BYTES:
        return InMemoryLoader(subset, transform, device, blend)
    streaming = DeviceStreamingLoader if transform.on_device else StreamingLoader
    return streaming(subset, transform, device, workers, blend)
