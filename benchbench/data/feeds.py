"""Images on their way to the model: one interface, whether they live on the device or stream from disk.

The order of an epoch, and every augmentation, is drawn from a generator that depends on (seed, epoch, step) or
(seed, epoch, image) alone, so that a resumed run sees what an uninterrupted one would. A pipeline with views draws each
image's augmentations from (view seed, view, place of the image) instead: the same ones in every epoch that shows the
view, and in every stage that asks for them. Mixing needs two images: it comes last, on the whole batch on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from benchbench.augmenters.geometric import center_crop, resize
from benchbench.data.batch import Batch, Mix
from benchbench.data.images import RESIDENT_BYTES, ImageSet
from benchbench.errors import DataError
from benchbench.training.seeds import derive, generator

# Images that share a generator where views are drawn in batches.
VIEW_CHUNK = 256

Augmenter = Callable[[Tensor, int, Generator], Tensor]
Mixer = Callable[[Tensor, Generator], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Pipeline:
    """How raw images become the model's input: augmented for training, resized and centre-cropped for testing.

    Attributes:
        image_size, eval_resize: pixels.
        augmenters: in their order.
        views: augmented views of each image, of which epoch e shows view e modulo `views`; None augments every batch
            afresh.
        view_seed: draws the views.
        mixers: augmenters that mix images and labels; each batch draws one of them.
    """

    image_size: int
    eval_resize: int | None
    augmenters: Sequence[Augmenter]
    mixers: Sequence[Mixer] = ()
    views: int | None = None
    view_seed: int = 0

    def train(self, images: Tensor, random: Generator) -> Tensor:
        for augment in self.augmenters:
            images = augment(images, self.image_size, random)
        if images.shape[-2:] != (self.image_size, self.image_size):
            images = center_crop(resize(images, self.image_size), self.image_size)
        return images

    def mix(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """A finished training batch with its images mixed, where the pipeline does that."""
        if not self.mixers:
            return batch
        random = generator(seed, "mix", epoch, step)
        mixer = self.mixers[int(torch.randint(len(self.mixers), (), generator=random))]
        images, partner, share = mixer(batch.images, random)
        return replace(batch, images=images, mix=Mix(batch.labels[partner], share))

    def test(self, images: Tensor) -> Tensor:
        return center_crop(resize(images, max(self.eval_resize or 0, self.image_size)), self.image_size)


@dataclass(frozen=True)
class Blend:
    """Real images with generated ones after them, in one training set.

    Attributes:
        real: how many are real; the others are generated.
        share: of generated images in a batch, in the first epoch and in the last; None adds them to the real ones, and
            shuffles all.
        epochs: of the run.
    """

    real: int
    share: tuple[float, float] | None = None
    epochs: int = 1

    def steps(self, count: int, batch_size: int) -> int:
        """Batches of an epoch of `count` images; as many as there are of real ones alone where the share is fixed."""
        return steps_per_epoch(count if self.share is None else self.real, batch_size)

    def order(self, count: int, seed: int, epoch: int, batch_size: int) -> Tensor:
        """Which images each batch of an epoch holds: [steps, B], drawn from (seed, epoch)."""
        if self.share is None:
            return training_order(count, seed, epoch, batch_size)
        first, last = self.share
        share = first + (last - first) * min(1.0, max(0, epoch) / max(1, self.epochs - 1))
        steps, size = steps_per_epoch(self.real, batch_size), min(batch_size, self.real)
        made = round(share * size) if count > self.real else 0
        real = training_order(self.real, seed, epoch, batch_size)[:, : size - made]
        rounds = range(math.ceil(steps * made / max(1, count - self.real)))
        drawn = [torch.randperm(count - self.real, generator=generator(seed, "blend", epoch, each)) for each in rounds]
        others = torch.cat([*drawn, torch.empty(0, dtype=torch.int64)])[: steps * made].view(steps, made)
        return torch.cat([real, self.real + others], dim=1)


class Feed(Protocol):
    """Batches of one split.

    Attributes:
        labels: class of every image [N], on the device.
    """

    labels: Tensor

    def steps(self, batch_size: int) -> int:
        """Batches of one epoch."""
        ...

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        """One epoch's batches from step `start` on, in an order drawn from (seed, epoch).

        All have the same size: the images left over after the last full batch sit this epoch out.
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


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches of one epoch; one batch of all images where there are fewer than `batch_size`."""
    return max(1, count // batch_size)


def make_feed(
    images: ImageSet,
    indices: np.ndarray,
    pipeline: Pipeline,
    device: torch.device,
    workers: int,
    blend: Blend | None = None,
) -> Feed:
    """The feed that suits a split's size: resident on the device, or streamed by that many loader processes."""
    shown = 3 * pipeline.image_size**2 * len(indices) if pipeline.views else 0  # a view lies in memory as a whole
    if images.array is not None and max(images.array[0].nbytes * len(indices), shown) <= RESIDENT_BYTES:
        return ResidentFeed(images, indices, pipeline, device, blend)
    return StreamedFeed(images, indices, pipeline, device, workers, blend)


class _Ordered:
    """The order of training images, real ones alone or blended with generated ones."""

    labels: Tensor
    blend: Blend | None

    def steps(self, batch_size: int) -> int:
        count = len(self.labels)
        return steps_per_epoch(count, batch_size) if self.blend is None else self.blend.steps(count, batch_size)

    def _order(self, seed: int, epoch: int, batch_size: int) -> Tensor:
        count = len(self.labels)
        if self.blend is None:
            return training_order(count, seed, epoch, batch_size)
        return self.blend.order(count, seed, epoch, batch_size)

    def _synthetic(self, index: Tensor) -> Tensor | None:
        return None if self.blend is None else index >= self.blend.real


class ResidentFeed(_Ordered):
    """A small set as uint8 [N, 3, H, W] on the device, augmented there a batch at a time."""

    def __init__(
        self,
        images: ImageSet,
        indices: np.ndarray,
        pipeline: Pipeline,
        device: torch.device,
        blend: Blend | None = None,
    ):
        assert images.array is not None
        pixels = np.ascontiguousarray(images.array[indices].transpose(0, 3, 1, 2))
        self.images = torch.from_numpy(pixels).to(device)
        self.labels = torch.from_numpy(images.labels[indices]).to(device)
        self.pipeline, self.blend = pipeline, blend
        self._views: dict[int, Tensor] = {}

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        order = self._order(seed, epoch, batch_size).to(self.images.device)
        view = self._view(epoch % self.pipeline.views) if self.pipeline.views else None
        for step in range(start, len(order)):
            index = order[step]
            # This copies whole images; indexing with [index] would go pixel by pixel.
            pixels = _unit((self.images if view is None else view).index_select(0, index))
            if view is None:
                pixels = self.pipeline.train(pixels, generator(seed, "augment", epoch, step))
            batch = Batch(pixels, self.labels[index], index, synthetic=self._synthetic(index))
            yield self.pipeline.mix(batch, seed, epoch, step)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        for index in torch.arange(len(self.labels), device=self.images.device).split(batch_size):
            yield Batch(self.pipeline.test(_unit(self.images[index])), self.labels[index], index)

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        for index in torch.arange(start, len(self.labels), device=self.images.device).split(VIEW_CHUNK):
            views = [self._draw(view, index) for view in range(self.pipeline.views or 1)]
            for part in torch.arange(len(index), device=index.device).split(batch_size):
                yield [Batch(_unit(view[part]), self.labels[index[part]], index[part]) for view in views]

    def _view(self, number: int) -> Tensor:
        """One view of every image: uint8 [N, 3, S, S]; as many are kept as there is room for."""
        if number not in self._views:
            chunks = torch.arange(len(self.labels), device=self.images.device).split(VIEW_CHUNK)
            drawn = torch.cat([self._draw(number, chunk) for chunk in chunks])
            if (len(self._views) + 1) * drawn.nbytes > RESIDENT_BYTES:
                self._views.clear()
            self._views[number] = drawn
        return self._views[number]

    def _draw(self, view: int, index: Tensor) -> Tensor:
        random = generator(self.pipeline.view_seed, "view", view, int(index[0]))
        return _bytes(self.pipeline.train(_unit(self.images[index]), random))


class StreamedFeed(_Ordered):
    """A large set, or images of many sizes: decoded and augmented one by one in loader processes."""

    def __init__(
        self,
        images: ImageSet,
        indices: np.ndarray,
        pipeline: Pipeline,
        device: torch.device,
        workers: int,
        blend: Blend | None = None,
    ):
        self.source, self.indices, self.pipeline = images, indices, pipeline
        self.device, self.workers, self.blend = device, workers, blend
        self.labels = torch.from_numpy(images.labels[indices]).to(device)

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        batches = self._order(seed, epoch, batch_size)[start:]

        def name(index: int) -> int:
            if self.pipeline.views:
                return self._view_seed(epoch % self.pipeline.views, index)
            return derive(seed, "augment", epoch, index)

        keys: list[list[Key]] = [[(int(index), (name(int(index)),)) for index in batch] for batch in batches]
        for step, batch in enumerate(self._load(keys), start):
            batch.synthetic = self._synthetic(batch.index)
            yield self.pipeline.mix(batch, seed, epoch, step)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        batches = torch.arange(len(self.labels)).split(batch_size)
        yield from self._load([[(int(index), None) for index in batch] for batch in batches])

    def view_batches(self, batch_size: int, start: int) -> Iterator[list[Batch]]:
        views = range(self.pipeline.views or 1)
        keys: list[list[Key]] = [
            [(int(index), tuple(self._view_seed(view, int(index)) for view in views)) for index in batch]
            for chunk in torch.arange(start, len(self.labels)).split(VIEW_CHUNK)
            for batch in chunk.split(batch_size)
        ]
        for batch in self._load(keys):  # a batch of every view at once
            yield [Batch(images, batch.labels, batch.index) for images in batch.images.split(len(batch.labels))]

    def _view_seed(self, view: int, index: int) -> int:
        return derive(self.pipeline.view_seed, "view", view, index)

    def _load(self, keys: list[list[Key]]) -> Iterator[Batch]:
        """Batches of these images; of several views, view 0 of all images comes first, then view 1, ..."""
        cuda = self.device.type == "cuda"
        dataset = _Decoded(self.source, self.indices, self.pipeline)
        loader: Iterable[Any] = DataLoader(
            dataset, batch_sampler=keys, num_workers=self.workers, collate_fn=_collate, pin_memory=cuda
        )
        for loaded in loader:
            if isinstance(loaded, str):
                raise DataError(loaded)
            pixels, index = (tensor.to(self.device, non_blocking=cuda) for tensor in loaded)
            yield Batch(_unit(pixels), self.labels[index], index)


# An image's index, and the seeds of its augmented views; None for the test pipeline.
Key = tuple[int, tuple[int, ...] | None]


class _Decoded(Dataset):
    """Decoded and cropped images; an item is an image and its views: uint8 [V, 3, S, S]."""

    def __init__(self, source: ImageSet, indices: np.ndarray, pipeline: Pipeline):
        self.source, self.indices, self.pipeline = source, indices, pipeline

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | str:
        index, seeds = key
        try:
            image = np.array(self.source.image(int(self.indices[index])).convert("RGB"))
        except DataError as error:  # as a value: an exception from a loader process arrives wrapped in its traceback
            return str(error)
        pixels = _unit(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0))
        if seeds is None:
            return _bytes(self.pipeline.test(pixels)), index
        views = [self.pipeline.train(pixels.clone(), torch.Generator().manual_seed(seed)) for seed in seeds]
        return _bytes(torch.cat(views)), index


def _collate(items: Sequence[tuple[Tensor, int] | str]) -> tuple[Tensor, Tensor] | str:
    pairs = []
    for item in items:
        if isinstance(item, str):
            return item
        pairs.append(item)
    views = torch.stack([pixels for pixels, _ in pairs], dim=1)
    return views.flatten(0, 1), torch.tensor([index for _, index in pairs])


def training_order(count: int, seed: int, epoch: int, batch_size: int) -> Tensor:
    """Which images each batch of an epoch holds: [steps, B], drawn from (seed, epoch)."""
    shuffled = torch.randperm(count, generator=generator(seed, "order", epoch))
    steps, size = steps_per_epoch(count, batch_size), min(batch_size, count)
    return shuffled[: steps * size].view(steps, size)


def _unit(pixels: Tensor) -> Tensor:
    return pixels.float().div_(255)


def _bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def bind_augmenters(recipe: Mapping[str, Any], load: Callable[[str], Callable[..., Tensor]]) -> list[Augmenter]:
    """The recipe's augmenters as functions of (images, size, generator); they pickle for loader processes."""
    return [_Bound(load(entry["name"]), entry["params"]) for entry in recipe["augment"]]


@dataclass(frozen=True)
class _Bound:
    function: Callable[..., Tensor]
    params: dict[str, Any]

    def __call__(self, images: Tensor, size: int, random: Generator) -> Tensor:
        return self.function(images, size, random, **self.params)


def bind_mixers(recipe: Mapping[str, Any], load: Callable[[str], Callable[..., Any]]) -> list[Mixer]:
    """The recipe's mixing augmenters as functions of (images, generator)."""
    return [partial(load(entry["name"]), **entry["params"]) for entry in recipe.get("mix", ())]
