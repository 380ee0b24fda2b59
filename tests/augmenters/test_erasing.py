"""The area that is erased: its place, its size, and its pixels afterwards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.augmenters.erasing import cutout, random_erasing

ZHONG = {"probability": 1.0, "min_scale": 0.02, "max_scale": 0.4, "min_ratio": 0.3, "max_ratio": 1 / 0.3}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    return 0.01 + 0.98 * torch.rand(count, 3, height, width, generator=seeded(99))  # nothing is black


def boxes(before: torch.Tensor, after: torch.Tensor) -> np.ndarray:
    """Top, left, height and width of what has changed in each image, all 0 where nothing has; it is a full box."""
    changed = (before != after).any(1)
    (top, height), (left, width) = span(changed.any(2)), span(changed.any(1))
    assert torch.equal(changed.sum((1, 2)), height * width)
    return torch.stack([top, left, height, width], 1).numpy()


def span(lines: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First of the lines [N, L] that are True, and how many there are from it to the last; 0 and 0 where none is."""
    first, behind = lines.int().argmax(1), lines.shape[1] - lines.flip(1).int().argmax(1)
    return first, torch.where(lines.any(1), behind - first, 0)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (31, 50)])
def test_rectangles_are_those_of_the_parameters(height, width):
    images = noise(2000, height, width)
    params = ZHONG | {"min_scale": 0.1, "max_scale": 0.3, "min_ratio": 0.5, "max_ratio": 2.0}
    top, left, tall, wide = boxes(images, random_erasing(images, 32, seeded(), **params, fill="black")).T
    area, ratio = tall * wide / (height * width), np.log(tall / wide)
    assert area.min() > 0.1 - 0.01  # sides are whole pixels
    assert area.max() < 0.3 + 0.015
    assert area.mean() == pytest.approx(0.2, abs=0.006)  # uniform: the mean's deviation is 0.0013
    assert ratio.min() > math.log(0.5) - 0.11
    assert ratio.max() < math.log(2.0) + 0.11
    assert ratio.mean() == pytest.approx(0, abs=0.04)
    for start, side, whole in ((top, tall, height), (left, wide, width)):
        assert (start / (whole - side)).mean() == pytest.approx(0.5, abs=0.03)
        assert set(start[side == 14]) == set(range(whole - 14 + 1))  # every place, the first and the last included


def test_what_does_not_fit_is_drawn_again_and_at_last_left_alone():
    images = noise(400, 10, 40)
    # Areas of half the image at ratio 1 are 14 pixels a side: too tall.
    square = ZHONG | {"min_scale": 0.5, "max_scale": 0.5, "min_ratio": 1.0, "max_ratio": 1.0}
    assert torch.equal(random_erasing(images, 32, seeded(), **square, fill="black"), images)
    # From 14 x 14 to 8 x 25: those of up to 9.5 rows fit, and ten of them are drawn.
    some = square | {"min_ratio": 0.32}
    erased = boxes(images, random_erasing(images, 32, seeded(), **some, fill="black"))
    fitting = math.log(9.5**2 / 200 / 0.32) / math.log(1 / 0.32)
    assert (erased[:, 2] > 0).mean() == pytest.approx(1 - (1 - fitting) ** 10, abs=0.025)
    assert erased[:, 2].max() < 10


@pytest.mark.parametrize("length", [1, 5, 6, 20])
def test_a_square_is_cut_out_around_any_pixel(length):
    height, width = 9, 12
    images = noise(3000, height, width)
    out = cutout(images, 9, seeded(), probability=1.0, length=length, fill="black")
    results = {tuple(box) for box in boxes(images, out)}
    expected = set()
    for y in range(height):
        for x in range(width):
            top, left = y - length // 2, x - length // 2
            bottom, right = min(top + length, height), min(left + length, width)
            top, left = max(top, 0), max(left, 0)
            expected.add((top, left, bottom - top, right - left))
    assert results == expected


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_as_many_lose_something_as_the_probability_says(probability):
    images = noise(3000, 8, 9)
    for out in (
        random_erasing(images, 8, seeded(), **ZHONG | {"probability": probability, "min_scale": 0.1}, fill="black"),
        cutout(images, 8, seeded(), probability=probability, length=3, fill="black"),
    ):
        share = (boxes(images, out)[:, 2] > 0).mean()
        assert share == pytest.approx(probability, abs=0.035 if 0 < probability < 1 else 0)


@pytest.mark.parametrize("erase", ["random_erasing", "cutout"])
def test_what_a_patch_is_filled_with(erase):
    images = noise(200, 16, 13)

    def erased(fill: str) -> torch.Tensor:
        if erase == "cutout":
            return cutout(images, 16, seeded(), probability=0.9, length=8, fill=fill)
        return random_erasing(images, 16, seeded(), **ZHONG | {"probability": 0.9}, fill=fill)

    black = erased("black")
    inside = (black == 0).all(1, keepdim=True).expand_as(images)
    assert torch.equal(inside, (black != images).any(1, keepdim=True).expand_as(images))
    assert 0.05 < inside.float().mean() < 0.4
    means = images.flatten(2).mean(2)[:, :, None, None].expand_as(images)
    assert torch.allclose(erased("mean"), torch.where(inside, means, images), atol=1e-6)
    noisy = erased("noise")
    assert torch.equal(noisy[~inside], images[~inside])
    values = noisy[inside]
    assert len(values.unique()) > 0.99 * len(values)  # of every pixel and channel its own
    assert values.min() >= 0
    assert values.max() < 1
    assert values.mean().item() == pytest.approx(0.5, abs=0.02)
    assert values.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.02)


CALLS = {
    "random_erasing": lambda images, generator, fill: random_erasing(images, 8, generator, **ZHONG, fill=fill),
    "cutout": lambda images, generator, fill: cutout(images, 8, generator, probability=0.5, length=5, fill=fill),
}


@pytest.mark.parametrize("fill", ["noise", "mean", "black"])
@pytest.mark.parametrize("name", CALLS)
class TestBoth:
    def test_the_generator_decides(self, name, fill):
        images = noise(16, 12, 11)
        before = images.clone()
        torch.manual_seed(1)
        first = CALLS[name](images, seeded(4), fill)
        torch.manual_seed(2)
        assert torch.equal(CALLS[name](images, seeded(4), fill), first)
        assert not torch.equal(CALLS[name](images, seeded(5), fill), first)
        assert torch.equal(images, before)

    @pytest.mark.parametrize("shape", [(1, 3, 7, 9), (1, 3, 1, 1), (3, 3, 2, 5), (2, 3, 32, 32)])
    def test_small_batches_and_images_stay_what_they_are(self, name, fill, shape):
        images = noise(shape[0], *shape[2:])
        for seed in range(5):
            out = CALLS[name](images, seeded(seed), fill)
            assert out.shape == images.shape
            assert out.dtype == torch.float32
            assert out.min() >= 0
            assert out.max() <= 1

    def test_it_works_where_the_images_are(self, name, fill):
        assert CALLS[name](torch.empty(6, 3, 8, 9, device="meta"), seeded(), fill).device.type == "meta"
