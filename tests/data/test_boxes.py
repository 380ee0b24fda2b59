"""Boxes move with their images, in memory and streamed."""

import numpy as np
import pytest
import torch

from benchbench.augmenters.geometric import flip, letterbox_boxes, random_crop, random_resized_crop
from benchbench.data.boxes import NO_BOX, boxes_of
from benchbench.data.images import Boxes, ImageDataset, ImageSubset
from benchbench.data.loader import InMemoryLoader, StreamingLoader
from benchbench.data.sources.common import ArrayImages
from benchbench.data.transforms import Transform

SIDE = 32
GEOMETRIC = {
    "flip": lambda images, size, random, **boxes: flip(images, size, random, probability=0.5, **boxes),
    "random_crop": lambda images, size, random, **boxes: random_crop(
        images, size, random, padding=6, resize=40, **boxes
    ),
    "random_resized_crop": lambda images, size, random, **boxes: random_resized_crop(
        images, size, random, min_scale=0.4, max_scale=1.0, min_ratio=0.8, max_ratio=1.25, **boxes
    ),
}


def squares(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Black images with one white rectangle each, and its corners [N, 1, 4]."""
    random = np.random.default_rng(seed)
    images, corners = torch.zeros(count, 3, SIDE, SIDE), torch.zeros(count, 1, 4)
    for image, box in zip(images, corners, strict=True):
        left, top = random.integers(2, 16, 2)
        right, bottom = left + random.integers(6, 14), top + random.integers(6, 14)
        image[:, top:bottom, left:right] = 1
        box[0] = torch.tensor([left, top, right, bottom])
    return images, corners


def white_box(image: torch.Tensor) -> torch.Tensor:
    rows, columns = (image[0] > 0.5).any(1).nonzero(), (image[0] > 0.5).any(0).nonzero()
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


@pytest.mark.parametrize("name", GEOMETRIC)
def test_boxes_stay_around_what_they_show(name):
    images, corners = squares(24)
    moved, boxes = GEOMETRIC[name](images, SIDE, torch.Generator().manual_seed(3), boxes=corners)
    alone = GEOMETRIC[name](images, SIDE, torch.Generator().manual_seed(3))
    assert torch.equal(moved, alone)  # the same draws
    for image, box in zip(moved, boxes[:, 0].clamp(0, SIDE), strict=True):
        if (image[0] > 0.5).any():
            assert (white_box(image) - box).abs().max() <= 1.5, name


def test_letterbox_scales_boxes_with_wide_images():
    images, corners = torch.rand(1, 3, 20, 40), torch.tensor([[[10.0, 5, 30, 15]]])
    boxed, boxes = letterbox_boxes(images, corners, 20)
    assert boxed.shape == (1, 3, 20, 20)
    assert boxed[0, :, 10:].abs().max() == 0
    assert boxes.tolist() == [[[5, 2.5, 15, 7.5]]]


def subset_of(count: int, wide: bool = False) -> ImageSubset:
    images, corners = squares(count)
    array = (images.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    if wide:
        array = np.concatenate([array, np.zeros_like(array)], 2)

    def boxes(index: int) -> Boxes:
        if index == 0:  # an image without objects
            return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
        return Boxes(corners[index].numpy(), np.array([index % 2]), np.array([index == 1]))

    data = ImageDataset(np.zeros(count, np.int64), ("a", "b"), ArrayImages(array), array, boxes=boxes)
    return ImageSubset(data, np.arange(count))


@pytest.mark.parametrize("wide", [False, True], ids=["square", "wide"])
def test_both_loaders_give_the_same_boxes_of_test_images(wide):
    transform, device = Transform(SIDE, None, ()), torch.device("cpu")
    subset = subset_of(6, wide)
    memory, streamed = (
        list(loader.test_batches(4))
        for loader in (InMemoryLoader(subset, transform, device), StreamingLoader(subset, transform, device, 0))
    )
    for one, other in zip(memory, streamed, strict=True):
        assert torch.equal(one.boxes, other.boxes)
        assert torch.equal(one.images, other.images)
    boxes = torch.cat([each.boxes for each in memory])
    assert boxes.shape == (6, 1, 6)
    assert boxes[:, 0, 4].tolist() == [NO_BOX, 1, 0, 1, 0, 1]
    assert boxes[:, 0, 5].tolist() == [0, 1, 0, 0, 0, 0]
    scale = 0.5 if wide else 1.0
    assert torch.equal(boxes[1:, 0, :4], scale * boxes_of(subset, device)[1:, 0, :4])


@pytest.mark.parametrize("kind", [InMemoryLoader, lambda *arguments: StreamingLoader(*arguments, 0)])
def test_a_box_of_which_too_little_is_left_is_dropped(kind):
    def shift(images, size, random, boxes):
        return images, boxes + boxes.new_tensor([26, 0, 26, 0])

    subset, transform = subset_of(8), Transform(SIDE, None, (shift,), moving=frozenset({0}))
    before = boxes_of(subset, torch.device("cpu"))
    for batch in kind(subset, transform, torch.device("cpu")).train_batches(0, 0, 4, 0):
        for index, box in zip(batch.index.tolist(), batch.boxes[:, 0], strict=True):
            left, _, right, _ = (before[index, 0, :4] + torch.tensor([26, 0, 26, 0])).tolist()
            visible = max(0, SIDE - left) >= 0.2 * (right - left) and SIDE - left >= 1
            assert (box[4] == NO_BOX) == (index == 0 or not visible)
            assert box[:4].max() <= SIDE
