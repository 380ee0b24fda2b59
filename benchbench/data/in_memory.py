"""A loader of a small data set that lives on the training device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchbench.augmenters.draws import to_device
from benchbench.data.batch import Batch
from benchbench.data.boxes import boxes_of
from benchbench.data.images import ImageSubset, resident_bytes
from benchbench.data.order import Blend, TrainingOrder
from benchbench.data.share import SplitBatch
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
        self.masks = masks_of(subset, device)
        self.boxes = boxes_of(subset, device)
        self.transform, self.blend = transform, blend
        self._views: dict[int, Tensor] = {}
        self._view_bytes = resident_bytes(device)

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        host_order = self._order(seed, epoch, batch_size)
        order = to_device(host_order, self.images.device)
        view = self._view(epoch % self.transform.views) if self.transform.views else None
        for step in range(start, len(order)):
            index = order[step]
            # This copies whole images; indexing with [index] would go pixel by pixel.
            pixels = to_float((self.images if view is None else view).index_select(0, index))
            batch = Batch(pixels, self.labels.index_select(0, index), index, host_index=host_order[step])
            batch.synthetic = self._synthetic(index)
            if view is None:
                self._augment(batch, generator(seed, "augment", epoch, step))
            if self.second_view:
                images = to_float(self.images.index_select(0, index))
                batch.second_view = self.transform.train(images, generator(seed, "second view", epoch, step))
            batch = self.transform.mix(batch, seed, epoch, step)
            # Augmentation draws for the whole batch at once, so that every process augments all of it.
            yield batch if self.share is None else SplitBatch.of(batch, self.share)

    def _augment(self, batch: Batch, random: torch.Generator) -> None:
        """Augments a batch of images as they are stored, with their masks or boxes."""
        if self.masks is not None:
            masks = self.masks.index_select(0, batch.index)
            batch.images, masks = self.transform.train_with_masks(batch.images, masks, random)
            batch.masks = masks.long()
        elif self.boxes is not None:
            boxes = self.boxes.index_select(0, batch.index)
            batch.images, batch.boxes = self.transform.train_with_boxes(batch.images, boxes, random)
        else:
            batch.images = self.transform.train(batch.images, random)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        batches = torch.arange(len(self.labels), device=self.images.device).split(batch_size)
        for index in [each for number, each in enumerate(batches) if self._takes(number)]:
            pixels = to_float(self.images[index])
            if self.masks is not None:
                pixels, masks = self.transform.test_with_masks(pixels, self.masks[index])
                yield Batch(pixels, self.labels[index], index, masks=masks.long())
            elif self.boxes is not None:
                pixels, boxes = self.transform.test_with_boxes(pixels, self.boxes[index])
                yield Batch(pixels, self.labels[index], index, boxes=boxes)
            else:
                yield Batch(self.transform.test(pixels), self.labels[index], index)

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        for index in self._chunks(start):
            views = [self._draw(view, index) for view in range(self.transform.views or 1)]
            index = to_device(index, self.images.device)
            for part in torch.arange(len(index), device=index.device).split(batch_size):
                yield [Batch(to_float(view[part]), self.labels[index[part]], index[part]) for view in views]

    def _view(self, view: int) -> Tensor:
        """One view of every image: uint8 [N, 3, S, S]; as many are kept as there is room for."""
        if view not in self._views:
            drawn = torch.cat([self._draw(view, chunk) for chunk in self._chunks()])
            if (len(self._views) + 1) * drawn.nbytes > self._view_bytes:
                self._views.clear()
            self._views[view] = drawn
        return self._views[view]

    def _chunks(self, start: int = 0) -> Iterable[Tensor]:
        """Indices of the images that share a generator, on the CPU."""
        return torch.arange(start, len(self.labels)).split(VIEW_CHUNK)

    def _draw(self, view: int, chunk: Tensor) -> Tensor:
        first, last = int(chunk[0]), int(chunk[-1])
        random = generator(self.transform.view_seed, "view", view, first)
        return to_uint8(self.transform.train(to_float(self.images[first : last + 1]), random))


def masks_of(subset: ImageSubset, device: torch.device) -> Tensor | None:
    """The masks of images of one size, uint8 [N, H, W]; None where they have none."""
    mask = subset.images.mask
    if mask is None:
        return None
    return torch.from_numpy(np.stack([mask(int(index)) for index in subset.indices])).to(device)
