"""A loader of a small data set that lives on the training device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.images import IN_MEMORY_BYTES, ImageSubset
from benchbench.data.order import Blend, TrainingOrder
from benchbench.data.transforms import VIEW_CHUNK, Transform, to_float, to_uint8
from benchbench.seeds import generator


class InMemoryLoader(TrainingOrder):
    """A small set as uint8 [N, 3, H, W] on the device, augmented there a batch at a time."""

    def __init__(
        self,
        subset: ImageSubset,
        transform: Transform,
        device: torch.device,
        blend: Blend | None = None,
    ):
        images, indices = subset.images, subset.indices
        assert images.array is not None
        pixels = np.ascontiguousarray(images.array[indices].transpose(0, 3, 1, 2))
        self.images = torch.from_numpy(pixels).to(device)
        self.labels = torch.from_numpy(images.labels[indices]).to(device)
        self.transform, self.blend = transform, blend
        self._views: dict[int, Tensor] = {}

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        order = self._order(seed, epoch, batch_size).to(self.images.device)
        view = self._view(epoch % self.transform.views) if self.transform.views else None
        for step in range(start, len(order)):
            index = order[step]
            # This copies whole images; indexing with [index] would go pixel by pixel.
            pixels = to_float((self.images if view is None else view).index_select(0, index))
            if view is None:
                pixels = self.transform.train(pixels, generator(seed, "augment", epoch, step))
            batch = Batch(pixels, self.labels[index], index, synthetic=self._synthetic(index))
            yield self.transform.mix(batch, seed, epoch, step)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        for index in torch.arange(len(self.labels), device=self.images.device).split(batch_size):
            yield Batch(self.transform.test(to_float(self.images[index])), self.labels[index], index)

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        for index in torch.arange(start, len(self.labels), device=self.images.device).split(VIEW_CHUNK):
            views = [self._draw(view, index) for view in range(self.transform.views or 1)]
            for part in torch.arange(len(index), device=index.device).split(batch_size):
                yield [Batch(to_float(view[part]), self.labels[index[part]], index[part]) for view in views]

    def _view(self, view: int) -> Tensor:
        """One view of every image: uint8 [N, 3, S, S]; as many are kept as there is room for."""
        if view not in self._views:
            chunks = torch.arange(len(self.labels), device=self.images.device).split(VIEW_CHUNK)
            drawn = torch.cat([self._draw(view, chunk) for chunk in chunks])
            if (len(self._views) + 1) * drawn.nbytes > IN_MEMORY_BYTES:
                self._views.clear()
            self._views[view] = drawn
        return self._views[view]

    def _draw(self, view: int, index: Tensor) -> Tensor:
        random = generator(self.transform.view_seed, "view", view, int(index[0]))
        return to_uint8(self.transform.train(to_float(self.images[index]), random))
