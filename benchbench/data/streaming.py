"""A loader of a large data set: images are decoded and augmented in loader processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchbench.data.batch import Batch
from benchbench.data.images import ImageSubset
from benchbench.data.order import Blend, TrainingOrder
from benchbench.data.transforms import VIEW_CHUNK, Transform, to_float, to_uint8
from benchbench.errors import DataError
from benchbench.seeds import derive


class StreamingLoader(TrainingOrder):
    """A large set, or images of many sizes: decoded and augmented one by one in loader processes."""

    def __init__(
        self,
        subset: ImageSubset,
        transform: Transform,
        device: torch.device,
        workers: int,
        blend: Blend | None = None,
    ):
        self.subset, self.transform = subset, transform
        self.device, self.workers, self.blend = device, workers, blend
        self.labels = torch.from_numpy(subset.images.labels[subset.indices]).to(device)

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        batches = self._order(seed, epoch, batch_size)[start:]

        def image_seed(index: int) -> int:
            if self.transform.views:
                return self._view_seed(epoch % self.transform.views, index)
            return derive(seed, "augment", epoch, index)

        keys: list[list[Key]] = [[(int(index), (image_seed(int(index)),)) for index in batch] for batch in batches]
        for step, batch in enumerate(self._load(keys, rounded=bool(self.transform.views)), start):
            batch.synthetic = self._synthetic(batch.index)
            yield self.transform.mix(batch, seed, epoch, step)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        batches = torch.arange(len(self.labels)).split(batch_size)
        yield from self._load([[(int(index), None) for index in batch] for batch in batches])

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        views = range(self.transform.views or 1)
        keys: list[list[Key]] = [
            [(int(index), tuple(self._view_seed(view, int(index)) for view in views)) for index in batch]
            for chunk in torch.arange(start, len(self.labels)).split(VIEW_CHUNK)
            for batch in chunk.split(batch_size)
        ]
        for batch in self._load(keys, rounded=True):  # a batch of every view at once
            yield [Batch(images, batch.labels, batch.index) for images in batch.images.split(len(batch.labels))]

    def _view_seed(self, view: int, index: int) -> int:
        return derive(self.transform.view_seed, "view", view, index)

    def _load(self, keys: list[list[Key]], rounded: bool = False) -> Iterator[Batch]:
        """Batches of these images; of several views, view 0 of all images comes first, then view 1, ..."""
        cuda = self.device.type == "cuda"
        dataset = _Decoded(self.subset, self.transform, rounded)
        loader: Iterable[Any] = DataLoader(
            dataset, batch_sampler=keys, num_workers=self.workers, collate_fn=_collate, pin_memory=cuda
        )
        for loaded in loader:
            if isinstance(loaded, str):
                raise DataError(loaded)
            pixels, index = (tensor.to(self.device, non_blocking=cuda) for tensor in loaded)
            images = to_float(pixels) if rounded else pixels
            yield Batch(images, self.labels.index_select(0, index), index, host_index=loaded[1])


# An image's index, and the seeds of its augmented views; None for the test transform.
Key = tuple[int, tuple[int, ...] | None]


class _Decoded(Dataset):
    """Decoded and cropped images; an item is an image's views [V, 3, S, S] and its index.

    Args:
        rounded: whether views are uint8, and not float32 in 0..1.
    """

    def __init__(self, subset: ImageSubset, transform: Transform, rounded: bool):
        self.subset, self.transform, self.rounded = subset, transform, rounded

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | str:
        index, seeds = key
        try:
            image = np.array(self.subset.images.image(int(self.subset.indices[index])).convert("RGB"))
        except DataError as error:  # as a value: an exception from a loader process arrives wrapped in its traceback
            return str(error)
        pixels = to_float(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0))
        if seeds is None:
            views = self.transform.test(pixels)
        else:
            seeded = [torch.Generator().manual_seed(seed) for seed in seeds]
            views = torch.cat([self.transform.train(pixels.clone(), random) for random in seeded])
        return to_uint8(views) if self.rounded else views, index


def _collate(items: Sequence[tuple[Tensor, int] | str]) -> tuple[Tensor, Tensor] | str:
    pairs = []
    for item in items:
        if isinstance(item, str):
            return item
        pairs.append(item)
    views = torch.stack([pixels for pixels, _ in pairs], dim=1)
    return views.flatten(0, 1), torch.tensor([index for _, index in pairs])
