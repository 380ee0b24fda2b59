"""Masks on their way with images: through augmenters, both loaders and the transform of tests."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from benchbench.augmenters.geometric import flip, letterbox, random_crop, random_resized_crop
from benchbench.data.images import IGNORED, ImageSubset
from benchbench.data.in_memory import InMemoryLoader
from benchbench.data.loader import make_loader
from benchbench.data.streaming import StreamingLoader
from benchbench.data.transforms import Transform
from tests.segments import SIDE, squares

CPU = torch.device("cpu")
CROP = partial(random_crop, padding=3, resize=None)
RESIZED = partial(random_resized_crop, min_scale=0.5, max_scale=1.0, min_ratio=1.0, max_ratio=1.0)
BRIGHT = 0.4  # between the noise and the squares


def loaders(transform: Transform, count: int = 10) -> list[InMemoryLoader | StreamingLoader]:
    subset = ImageSubset(squares(count), np.arange(count))
    streamed = ImageSubset(replace(subset.images, array=None), subset.indices)
    return [make_loader(each, transform, CPU, 0) for each in (subset, streamed)]


@pytest.mark.parametrize("augment", [[partial(flip, probability=0.5)], [CROP], [RESIZED], [CROP, RESIZED]])
@pytest.mark.parametrize("place", [0, 1])
def test_they_move_with_their_images(augment, place):
    transform = Transform(SIDE, None, augment, moving=frozenset(range(len(augment))))
    loader = loaders(transform)[place]
    assert isinstance(loader, (InMemoryLoader, StreamingLoader)[place])
    for batch in loader.train_batches(0, 0, 5, 0):
        assert batch.masks.dtype == torch.int64
        assert batch.masks.shape == (5, SIDE, SIDE)
        counts = batch.masks != IGNORED
        bright = batch.images.mean(1) > BRIGHT
        assert ((batch.masks == 1) != bright)[counts].float().mean() < (0.05 if RESIZED in augment else 1e-9)
        assert set(batch.masks.unique().tolist()) <= {0, 1, IGNORED}


def test_an_augmenter_that_moves_nothing_leaves_them():
    transform = Transform(SIDE, None, [lambda images, size, random: images * 0])
    (batch,) = loaders(transform)[0].train_batches(0, 0, 10, 0)
    masks = squares(10).mask.array
    assert torch.equal(batch.masks, torch.from_numpy(masks).long()[batch.index])
    assert batch.images.sum() == 0


def test_whole_images_are_tested():
    transform = Transform(8, None, [])
    both = [next(loader.test_batches(10)) for loader in loaders(transform)]
    for batch in both:
        assert batch.masks.shape == (10, 8, 8)
    assert torch.equal(both[0].masks, both[1].masks)
    torch.testing.assert_close(both[0].images, both[1].images)


def test_an_image_that_is_no_square_is_padded_with_pixels_that_do_not_count():
    images, masks = torch.rand(1, 3, 10, 20), torch.ones(1, 10, 20, dtype=torch.uint8)
    small, of_small = letterbox(images, masks, 8)
    assert small.shape == (1, 3, 8, 8)
    assert of_small[0].tolist() == [[1] * 8] * 4 + [[IGNORED] * 8] * 4
    assert small[0, :, 4:].sum() == 0


def test_without_masks_the_same_draws_give_the_same_images():
    images, masks = torch.rand(6, 3, 20, 20), torch.zeros(6, 20, 20, dtype=torch.uint8)
    for augment in (partial(flip, probability=0.5), CROP, RESIZED):
        alone = augment(images, SIDE, torch.Generator().manual_seed(1))
        assert torch.equal(alone, augment(images, SIDE, torch.Generator().manual_seed(1), masks=masks)[0])
