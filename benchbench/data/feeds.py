"""Images on their way to the model: one interface, whether they live on the device or stream from disk.

The order of an epoch, and every augmentation, is drawn from a generator that depends on (seed, epoch, step) or
(seed, epoch, image) alone, so that a resumed run sees what an uninterrupted one would. Mixing needs two images, so it
comes last, on the whole batch on the device.
"""

from __future__ import annotations

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
from benchbench.data.images import ImageSet
from benchbench.errors import DataError
from benchbench.training.seeds import derive, generator

# Sets of this many bytes and fewer live on the device as uint8.
RESIDENT_BYTES = 2 * 2**30

Augmenter = Callable[[Tensor, int, Generator], Tensor]
Mixer = Callable[[Tensor, Generator], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Pipeline:
    """How raw images become the model's input: augmented for training, resized and centre-cropped for testing.

    Attributes:
        mixers: augmenters that mix images and labels; each batch draws one of them.
    """

    image_size: int
    eval_resize: int | None
    augmenters: Sequence[Augmenter]
    mixers: Sequence[Mixer] = ()

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


class Feed(Protocol):
    """Batches of one split.

    Attributes:
        labels: class of every image [N], on the device.
    """

    labels: Tensor

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        """One epoch's batches from step `start` on, in an order drawn from (seed, epoch).

        All have the same size: the images left over after the last full batch sit this epoch out.
        """
        ...

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        """Every image once, in order."""
        ...


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches of one epoch; one batch of all images where there are fewer than `batch_size`."""
    return max(1, count // batch_size)


def make_feed(images: ImageSet, indices: np.ndarray, pipeline: Pipeline, device: torch.device, workers: int) -> Feed:
    """The feed that suits a split's size: resident on the device, or streamed by that many loader processes."""
    if images.array is not None and images.array[0].nbytes * len(indices) <= RESIDENT_BYTES:
        return ResidentFeed(images, indices, pipeline, device)
    return StreamedFeed(images, indices, pipeline, device, workers)


class ResidentFeed:
    """A small set as uint8 [N, 3, H, W] on the device, augmented there a batch at a time."""

    def __init__(self, images: ImageSet, indices: np.ndarray, pipeline: Pipeline, device: torch.device):
        assert images.array is not None
        pixels = np.ascontiguousarray(images.array[indices].transpose(0, 3, 1, 2))
        self.images = torch.from_numpy(pixels).to(device)
        self.labels = torch.from_numpy(images.labels[indices]).to(device)
        self.pipeline = pipeline

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        batches = _order(len(self.labels), seed, epoch, batch_size)
        for step in range(start, len(batches)):
            index = batches[step].to(self.images.device)
            # This copies whole images; `self.images[index]` would go pixel by pixel.
            pixels = _unit(self.images.index_select(0, index))
            images = self.pipeline.train(pixels, generator(seed, "augment", epoch, step))
            yield self.pipeline.mix(Batch(images, self.labels[index], index), seed, epoch, step)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        for index in torch.arange(len(self.labels), device=self.images.device).split(batch_size):
            yield Batch(self.pipeline.test(_unit(self.images[index])), self.labels[index], index)


class StreamedFeed:
    """A large set, or images of many sizes: decoded and augmented one by one in loader processes."""

    def __init__(self, images: ImageSet, indices: np.ndarray, pipeline: Pipeline, device: torch.device, workers: int):
        self.source, self.indices, self.pipeline = images, indices, pipeline
        self.device, self.workers = device, workers
        self.labels = torch.from_numpy(images.labels[indices]).to(device)

    def train_batches(self, seed: int, epoch: int, batch_size: int, start: int) -> Iterator[Batch]:
        batches = _order(len(self.labels), seed, epoch, batch_size)[start:]
        dataset = _Decoded(self.source, self.indices, self.pipeline, train=True)
        keys = [[(int(index), derive(seed, "augment", epoch, int(index))) for index in batch] for batch in batches]
        for step, batch in enumerate(self._load(dataset, keys), start):
            yield self.pipeline.mix(batch, seed, epoch, step)

    def test_batches(self, batch_size: int) -> Iterator[Batch]:
        dataset = _Decoded(self.source, self.indices, self.pipeline, train=False)
        yield from self._load(
            dataset, [[(int(i), 0) for i in b] for b in torch.arange(len(self.labels)).split(batch_size)]
        )

    def _load(self, dataset: _Decoded, keys: list[list[tuple[int, int]]]) -> Iterator[Batch]:
        cuda = self.device.type == "cuda"
        loader: Iterable[Any] = DataLoader(
            dataset, batch_sampler=keys, num_workers=self.workers, collate_fn=_collate, pin_memory=cuda
        )
        for loaded in loader:
            if isinstance(loaded, str):
                raise DataError(loaded)
            pixels, index = (tensor.to(self.device, non_blocking=cuda) for tensor in loaded)
            yield Batch(_unit(pixels), self.labels[index], index)


class _Decoded(Dataset):
    """Decoded and cropped images; an item is named by its index and the seed of its augmentation."""

    def __init__(self, source: ImageSet, indices: np.ndarray, pipeline: Pipeline, train: bool):
        self.source, self.indices, self.pipeline, self.train = source, indices, pipeline, train

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | str:
        index, seed = key
        try:
            image = np.array(self.source.image(int(self.indices[index])).convert("RGB"))
        except DataError as error:  # as a value: an exception from a loader process arrives wrapped in its traceback
            return str(error)
        pixels = _unit(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0))
        random = torch.Generator().manual_seed(seed)
        ready = self.pipeline.train(pixels, random) if self.train else self.pipeline.test(pixels)
        return (ready[0] * 255).round().to(torch.uint8), index


def _collate(items: Sequence[tuple[Tensor, int] | str]) -> tuple[Tensor, Tensor] | str:
    pairs = []
    for item in items:
        if isinstance(item, str):
            return item
        pairs.append(item)
    return torch.stack([pixels for pixels, _ in pairs]), torch.tensor([index for _, index in pairs])


def _order(count: int, seed: int, epoch: int, batch_size: int) -> list[Tensor]:
    shuffled = torch.randperm(count, generator=generator(seed, "order", epoch))
    steps = steps_per_epoch(count, batch_size)
    return list(shuffled.split(min(batch_size, count))[:steps])


def _unit(pixels: Tensor) -> Tensor:
    return pixels.float().div_(255)


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
