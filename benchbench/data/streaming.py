"""A loader of a large data set: images are decoded and augmented in loader processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchbench.augmenters.draws import to_device
from benchbench.data.batch import Batch
from benchbench.data.boxes import boxes_of
from benchbench.data.decoded import pixels_of
from benchbench.data.images import ImageSubset
from benchbench.data.order import Blend, TrainingOrder
from benchbench.data.share import Share, SplitBatch
from benchbench.data.transforms import VIEW_CHUNK, Transform, to_float, to_uint8
from benchbench.errors import DataError
from benchbench.hardware.lifetime import end_with_parent
from benchbench.seeds import derive


class StreamingLoader(TrainingOrder):
    """A large set, or images of many sizes: decoded and augmented one by one in loader processes.

    The processes start with the first batch and serve all epochs: they end with the loader. It gives one series of
    batches at a time: one that is begun ends those before it.
    """

    def __init__(
        self,
        subset: ImageSubset,
        transform: Transform,
        device: torch.device,
        workers: int,
        blend: Blend | None = None,
    ):
        self.subset, self.transform = subset, transform
        self.device, self.blend = device, blend
        self._targets: Literal["masks", "boxes"] = "masks" if subset.images.boxes is None else "boxes"
        self.labels = torch.from_numpy(subset.images.labels[subset.indices]).to(device)
        self._series = _Series()
        items, collate = self._reading()
        self._loader: DataLoader[Any] = DataLoader(
            items,
            batch_sampler=self._series,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            worker_init_fn=partial(_begin_loading, os.getpid()),
        )

    def _reading(self) -> tuple[Dataset[Any], Callable[[Sequence[Any]], Any]]:
        """The items that loader processes read by their `Key`s, and the function that makes a batch of some."""
        return _Decoded(self.subset, self.transform), _collate

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        views = self.transform.views

        def key(index: int) -> Key:
            if views:
                return Key(index, (self._view_seed(epoch % views, index),), rounded=True)
            names = ("augment", "second view") if self.second_view else ("augment",)
            return Key(index, tuple(derive(seed, name, epoch, index) for name in names))

        order = self._order(seed, epoch, batch_size)[start:]
        own = order if self.share is None else order[:, self.share.rows(order.shape[1])]
        keys = ([key(index) for index in batch.tolist()] for batch in own)
        for step, batch in enumerate(self._load(keys), start):
            if self.share is None:
                batch.synthetic = self._synthetic(batch.index)
                if self.second_view:
                    batch.images, batch.second_view = batch.images.chunk(2)
                yield self._finish(batch, seed, epoch, step)
                continue
            whole = self._whole(batch.images, order[step - start], self.share)
            finished = self._finish(whole, seed, epoch, step)
            yield whole if finished is whole else SplitBatch.of(finished, self.share)

    def _finish(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """A training batch after what sees it as a whole; the same object where nothing does."""
        return self.transform.mix(batch, seed, epoch, step)

    def _whole(self, own: Tensor, host_index: Tensor, share: Share) -> SplitBatch:
        """A batch of which this process has decoded its own images; mixing asks for the others, and losses may."""
        index = to_device(host_index, self.device)
        return SplitBatch(
            images=None,  # type: ignore[arg-type]
            labels=self.labels.index_select(0, index),
            index=index,
            synthetic=self._synthetic(index),
            host_index=host_index,
            own=own,
            share=share,
        )

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        batches = enumerate(torch.arange(len(self.labels)).split(batch_size))
        yield from self._load(
            [Key(index) for index in each.tolist()] for number, each in batches if self._takes(number)
        )

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        views = range(self.transform.views or 1)
        keys = (
            [Key(index, tuple(self._view_seed(view, index) for view in views), True) for index in batch.tolist()]
            for chunk in torch.arange(start, len(self.labels)).split(VIEW_CHUNK)
            for batch in chunk.split(batch_size)
        )
        for batch in self._load(keys):  # a batch of every view at once
            yield [Batch(images, batch.labels, batch.index) for images in batch.images.split(len(batch.labels))]

    def _view_seed(self, view: int, index: int) -> int:
        return derive(self.transform.view_seed, "view", view, index)

    def _load(self, keys: Iterable[list[Key]]) -> Iterator[Batch]:
        """Batches of these images; of several views, view 0 of all images comes first, then view 1, ..."""
        self._series.keys = keys
        batches = iter(self._loader)
        while (loaded := next(batches, None)) is not None:
            if isinstance(loaded, str):
                raise DataError(loaded)
            yield self._batch(loaded)
            if self._series.keys is not keys:
                raise RuntimeError("another series of this loader's batches has begun")

    def _batch(self, loaded: Any) -> Batch:
        """The tensors of a loader process as a batch on the device."""
        tensors = [self._sent(tensor) for tensor in loaded]
        pixels, index = tensors[:2]
        images = to_float(pixels) if pixels.dtype == torch.uint8 else pixels
        batch = Batch(images, self.labels.index_select(0, index), index, host_index=loaded[1])
        if len(tensors) > 2:
            setattr(batch, self._targets, tensors[2].long() if self._targets == "masks" else tensors[2])
        return batch

    def _sent(self, tensor: Tensor) -> Tensor:
        """A tensor of a loader process on the device."""
        return tensor.to(self.device, non_blocking=self.device.type == "cuda")


# Views, the index, and of a segmentation or a detection the masks or boxes of the views.
Item = tuple[Tensor, int] | tuple[Tensor, int, Tensor]


class Key(NamedTuple):
    """One image to be loaded.

    Attributes:
        image: its index.
        seeds: of its augmented views; None for the test transform.
        rounded: whether views are uint8, and not float32 in 0..1.
    """

    image: int
    seeds: tuple[int, ...] | None = None
    rounded: bool = False


def _begin_loading(parent: int, _worker: int) -> None:
    """Ties a loader process to the one that it loads for, which may be killed while it decodes an image."""
    end_with_parent(parent)


class _Series:
    """The images of each batch, made when a loader process is about to need them."""

    keys: Iterable[list[Key]] = ()

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.keys)


class _Decoded(Dataset):
    """Decoded and cropped images; an item is an image's views [V, 3, S, S], its index, and where it has a mask or boxes
    those of each view: [V, S, S], [V, M, 6]."""

    def __init__(self, subset: ImageSubset, transform: Transform):
        self.subset, self.transform = subset, transform
        self.boxes = boxes_of(subset, torch.device("cpu"))

    def __getitem__(self, key: Key) -> Item | str:
        images, index = self.subset.images, int(self.subset.indices[key.image])
        try:
            image = pixels_of(images, index)
            mask = None if images.mask is None else torch.from_numpy(images.mask(index)).unsqueeze(0)
        except DataError as error:  # as a value: an exception from a loader process arrives wrapped in its traceback
            return str(error)
        pixels = to_float(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0))
        if mask is not None:
            return self._with_mask(key, pixels, mask)
        if self.boxes is not None:
            return self._with_boxes(key, pixels, self.boxes[key.image].unsqueeze(0))
        if key.seeds is None:
            views = self.transform.test(pixels)
        else:
            seeded = [torch.Generator().manual_seed(seed) for seed in key.seeds]
            views = torch.cat([self.transform.train(pixels.clone(), random) for random in seeded])
        return to_uint8(views) if key.rounded else views, key.image

    def _with_mask(self, key: Key, pixels: Tensor, mask: Tensor) -> Item:
        if key.seeds is None:
            pixels, mask = self.transform.test_with_masks(pixels, mask)
        else:
            random = torch.Generator().manual_seed(key.seeds[0])
            pixels, mask = self.transform.train_with_masks(pixels, mask, random)
        return pixels, key.image, mask

    def _with_boxes(self, key: Key, pixels: Tensor, boxes: Tensor) -> Item:
        if key.seeds is None:
            pixels, boxes = self.transform.test_with_boxes(pixels, boxes)
        else:
            random = torch.Generator().manual_seed(key.seeds[0])
            pixels, boxes = self.transform.train_with_boxes(pixels, boxes, random)
        return pixels, key.image, boxes


def _collate(items: Sequence[Item | str]) -> tuple[Tensor, ...] | str:
    whole: list[Item] = []
    for item in items:
        if isinstance(item, str):
            return item
        whole.append(item)
    views = torch.stack([item[0] for item in whole], dim=1)
    targets = [torch.cat([item[2] for item in whole if len(item) == 3])] if len(whole[0]) == 3 else []
    return views.flatten(0, 1), torch.tensor([item[1] for item in whole]), *targets
