"""Loaders on a CUDA device: batches are there, the host waits for none, and epochs take no more memory each time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from benchbench.augmenters.geometric import flip, random_crop, random_resized_crop
from benchbench.data.device_streaming import DeviceStreamingLoader
from benchbench.data.images import ImageDataset, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.prefetch import prefetch
from benchbench.data.transforms import Transform
from tests.cuda import CUDA, LAUNCHES, STREAMS, STUB, assert_on_device, no_waiting, stub_count
from tests.data.test_boxes import subset_of

pytestmark = pytest.mark.cuda
COUNT, BATCH = 64, 16


def loader(device: torch.device = CUDA, views: int | None = None, size: int = 32) -> InMemoryLoader:
    """Images of noise, cropped and flipped."""
    array = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    images = ImageDataset(np.arange(COUNT) % 10, tuple("0123456789"), lambda index: None, array)
    augmenters = [partial(random_crop, padding=4, resize=None), partial(flip, probability=0.5)]
    transform = Transform(size, None, augmenters, views=views)
    return InMemoryLoader(ImageSubset(images, np.arange(COUNT)), transform, device)


@pytest.mark.parametrize("views", [None, 2])
def test_batches_are_on_the_device_and_no_one_waits(views):
    on_device = loader(CUDA, views)
    list(prefetch(on_device.train_batches(0, 0, BATCH, 0), CUDA))
    batches = prefetch(on_device.train_batches(0, 0, BATCH, 0), CUDA)
    first = next(batches)  # with the order of the epoch, which is copied once
    with no_waiting():
        rest = list(batches)
    for batch in (first, *rest):
        assert_on_device(batch.images, batch.labels, batch.index)
    assert len(rest) == COUNT // BATCH - 1


@pytest.mark.parametrize("targets", ["boxes", "masks"])
def test_boxes_and_masks_move_without_waiting(targets):
    subset = subset_of(COUNT, wide=True)
    if targets == "masks":
        mask = np.zeros((32, 64), np.uint8)
        subset = ImageSubset(replace(subset.images, boxes=None, mask=lambda index: mask), subset.indices)
    augmenters = [partial(flip, probability=0.5), CROP, partial(random_crop, padding=4, resize=None)]
    on_device = InMemoryLoader(subset, Transform(32, None, augmenters, moving=frozenset({0, 1, 2})), CUDA)
    for batches in (lambda: on_device.train_batches(0, 0, BATCH, 0), lambda: on_device.test_batches(BATCH)):
        list(prefetch(batches(), CUDA))
        series = prefetch(batches(), CUDA)
        next(series)
        with no_waiting():
            batch = next(series)
        assert_on_device(batch.images, getattr(batch, targets))


def photographs(transform: Transform, device: torch.device) -> DeviceStreamingLoader:
    """Images of two sizes, cropped on the device."""
    arrays = [
        np.random.default_rng(index).integers(0, 256, (40 + index % 2, 48, 3), np.uint8) for index in range(COUNT)
    ]
    images = ImageDataset(np.arange(COUNT) % 10, tuple("0123456789"), lambda index: Image.fromarray(arrays[index]))
    return DeviceStreamingLoader(ImageSubset(images, np.arange(COUNT)), transform, device, 0)


CROP = partial(random_resized_crop, min_scale=0.2, max_scale=1, min_ratio=0.75, max_ratio=1.5)
CROPPED = Transform(32, 36, [CROP], on_device=True)


def test_images_are_cropped_on_the_device_in_few_launches():
    on_device = photographs(CROPPED, CUDA)
    next(on_device.train_batches(0, 0, BATCH, 0))
    before = stub_count(LAUNCHES)
    batches = prefetch(on_device.train_batches(0, 1, BATCH, 0), CUDA)
    first = next(batches)
    with no_waiting():
        rest = list(batches)
    for batch in (first, *rest):
        assert_on_device(batch.images, batch.labels, batch.index)
    assert stub_count(LAUNCHES) - before <= 24 * (COUNT // BATCH)
    assert len(rest) == COUNT // BATCH - 1


@pytest.mark.skipif(STUB is not None, reason="numbers mean nothing on the stub")
def test_crops_are_the_cpus():
    for one, other in zip(
        *(photographs(CROPPED, device).train_batches(0, 0, BATCH, 0) for device in (CUDA, torch.device("cpu"))),
        strict=True,
    ):
        assert torch.equal(one.index.cpu(), other.index)
        torch.testing.assert_close(one.images.cpu(), other.images, rtol=0, atol=1e-4)


@pytest.mark.skipif(STUB is not None, reason="numbers mean nothing on the stub")
def test_batches_are_the_cpus():
    ours, theirs = (
        list(prefetch(loader(device).train_batches(0, 0, BATCH, 0), device)) for device in (CUDA, torch.device("cpu"))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index.cpu(), other.index)
        torch.testing.assert_close(one.images.cpu(), other.images)


@pytest.mark.allocator
def test_epochs_share_one_stream_and_its_memory():
    on_device, reserved = loader(CUDA, size=128), []
    for epoch in range(6):
        for _ in prefetch(on_device.train_batches(0, epoch, BATCH, 0), CUDA):
            pass
        if epoch == 0:
            streams = stub_count(STREAMS)
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] == reserved[1], reserved
    assert stub_count(STREAMS) == streams
