"""Flips and crops against windows and boxes worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator

from benchbench.augmenters.geometric import center_crop, flip, random_crop, random_resized_crop, resize

FULL = {"min_scale": 1.0, "max_scale": 1.0, "min_ratio": 1.0, "max_ratio": 1.0}
INCEPTION = {"min_scale": 0.08, "max_scale": 1.0, "min_ratio": 3 / 4, "max_ratio": 4 / 3}


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=seeded(99))


def antialiased(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each output pixel is the mean of the input pixels under a triangle as wide as the reduction."""

    def weights(count: int, size: int) -> np.ndarray:
        scale = count / size
        away = np.abs(np.arange(count) + 0.5 - (np.arange(size) + 0.5)[:, None] * scale)
        triangle = np.maximum(0, 1 - away / max(scale, 1.0))
        return triangle / triangle.sum(1, keepdims=True)

    return weights(pixels.shape[-2], height) @ pixels @ weights(pixels.shape[-1], width).T


@pytest.mark.parametrize(
    ("shape", "shorter", "expected"),
    [
        ((12, 12), 6, (6, 6)),
        ((12, 12), 20, (20, 20)),
        ((10, 25), 5, (5, 12)),  # 12.5, to the even neighbour
        ((25, 11), 5, (11, 5)),
        ((100, 7), 14, (200, 14)),
    ],
)
def test_resize_keeps_the_ratio_and_averages(shape, shorter, expected):
    images = noise(2, *shape)
    out = resize(images, shorter)
    assert out.shape == (2, 3, *expected)
    assert np.allclose(out.numpy(), antialiased(images.double().numpy(), *expected), atol=1e-5)


def test_resize_leaves_the_right_size_alone():
    images = noise(2, 8, 20)
    assert torch.equal(resize(images, 8), images)


@pytest.mark.parametrize(("height", "width", "top", "left"), [(8, 8, 2, 2), (9, 4, 2, 0), (4, 11, 0, 3), (4, 4, 0, 0)])
def test_center_crop_is_the_middle(height, width, top, left):
    images = noise(2, height, width)
    assert torch.equal(center_crop(images, 4), images[:, :, top : top + 4, left : left + 4])


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flip_mirrors_the_chosen_and_no_others(probability):
    images = noise(64, 5, 7)
    out = flip(images, 5, seeded(), probability=probability)
    mirrored = torch.flip(images, [3])
    chosen = torch.tensor([torch.equal(*pair) for pair in zip(out, mirrored, strict=True)])
    assert torch.equal(out[chosen], mirrored[chosen])
    assert torch.equal(out[~chosen], images[~chosen])
    assert torch.equal(chosen, torch.rand(64, generator=seeded()) < probability)


def test_flip_takes_as_many_as_its_probability_says():
    images = torch.tensor([0.0, 1.0]).expand(4000, 3, 1, 2)
    out = flip(images, 2, seeded(), probability=0.3)
    assert out[:, 0, 0, 0].mean().item() == pytest.approx(0.3, abs=0.03)  # 4 standard deviations


@pytest.mark.parametrize(("height", "width", "padding"), [(9, 9, 0), (9, 9, 2), (9, 14, 0), (13, 9, 3)])
def test_random_crop_takes_windows_of_the_padded_image(height, width, padding):
    size = 9
    images = noise(300, height, width) + 0.01  # nothing but the padding is 0
    out = random_crop(images, size, seeded(), padding=padding, resize=None)
    assert out.shape == (300, 3, size, size)
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    tops, lefts = range(height + 2 * padding - size + 1), range(width + 2 * padding - size + 1)
    results = []
    for one, crop in zip(padded, out.numpy(), strict=True):
        (place,) = [
            (top, left)
            for top in tops
            for left in lefts
            if np.array_equal(one[:, top : top + size, left : left + size], crop)
        ]
        results.append(place)
    # Every place comes up, the first and the last included.
    assert {top for top, _ in results} == set(tops)
    assert {left for _, left in results} == set(lefts)


@pytest.mark.parametrize("padding", [0, 2])
def test_random_crop_cuts_where_the_generator_says(padding):
    """However the images lie in memory: rows and columns are its first and second draws."""
    whole = noise(7, 11, 13)
    layouts = {
        "contiguous": whole,
        "channels last": whole.contiguous(memory_format=torch.channels_last),
        "a part of more": noise(9, 15, 17)[1:8, :, 2:13, 1:14].copy_(whole),
        "rows of bytes": whole.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    }
    generator = seeded(5)
    top, left = (
        (torch.rand(7, generator=generator) * (side + 2 * padding - 9 + 1)).long().tolist() for side in (11, 13)
    )
    padded = torch.nn.functional.pad(whole, (padding,) * 4)
    expected = [each[:, y : y + 9, x : x + 9] for each, y, x in zip(padded, top, left, strict=True)]
    for name, images in layouts.items():
        out = random_crop(images, 9, seeded(5), padding=padding, resize=11)
        assert torch.equal(out, torch.stack(expected)), name


@pytest.mark.parametrize(("shape", "to"), [((8, 8), 16), ((40, 30), 16), ((40, 30), None), ((6, 6), None)])
def test_random_crop_resizes_first(shape, to):
    """To `resize`, or to the size of the crop: an image that is smaller grows, one that is larger shrinks."""
    images = noise(5, *shape)
    out = random_crop(images, 12, seeded(), padding=0, resize=to)
    shrunk = resize(images, to or 12)
    assert torch.equal(out, random_crop(shrunk, 12, seeded(), padding=0, resize=min(shrunk.shape[-2:])))
    assert out.shape == (5, 3, 12, 12)


def test_random_crop_never_resizes_below_the_crop():
    assert random_crop(noise(2, 30, 30), 12, seeded(), padding=0, resize=8).shape == (2, 3, 12, 12)


def boxes(height: int, width: int, size: int, count: int, **params: float) -> dict[str, np.ndarray]:
    """The boxes that were cropped, read off images whose pixels say where they are."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    ramps = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.zeros(height, width)])
    out = random_resized_crop(ramps.expand(count, 3, height, width), size, seeded(), **params).double().numpy()
    middle = size // 2  # pixels at the border are clamped to the outermost centres

    def side(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        step = (values[:, middle + 1] - values[:, middle - 2]) / 3
        box = step * size * length
        return box, (values[:, middle - 1] + values[:, middle]) / 2 * length - box / 2

    box_w, left = side(out[:, 0, 0, :], width)
    box_h, top = side(out[:, 1, :, 0], height)
    return {"width": box_w, "height": box_h, "left": left, "top": top}


@pytest.mark.parametrize(("height", "width"), [(24, 24), (20, 24), (100, 130)])
def test_random_resized_crop_s_boxes_are_those_of_its_parameters(height, width):
    box = boxes(height, width, 12, 3000, min_scale=0.2, max_scale=0.5, min_ratio=0.8, max_ratio=1.25)
    area = box["width"] * box["height"] / (height * width)
    ratio = np.log(box["width"] / box["height"])
    slack = 3e-3  # a reduction bends the ramps a little at the border
    assert area.min() > 0.2 - slack
    assert area.max() < 0.5 + slack
    assert area.mean() == pytest.approx(0.35, abs=0.008)  # uniform: the mean's deviation is 0.0016
    assert area.std() == pytest.approx(0.3 / math.sqrt(12), abs=0.005)
    assert ratio.min() > math.log(0.8) - slack
    assert ratio.max() < math.log(1.25) + slack
    assert ratio.mean() == pytest.approx(0, abs=0.012)
    assert abs(np.corrcoef(area, ratio)[0, 1]) < 0.08
    for start, length, whole in (("left", "width", width), ("top", "height", height)):
        room = whole - box[length]
        place = box[start] / room
        assert place.min() > -slack
        assert place.max() < 1 + slack
        assert place.mean() == pytest.approx(0.5, abs=0.025)


def test_random_resized_crop_clips_boxes_that_stick_out():
    box = boxes(20, 40, 10, 500, min_scale=1.0, max_scale=1.0, min_ratio=0.5, max_ratio=0.5)
    # The area of 800 at half the width would be 20 x 40: no more than 20 rows are there.
    assert np.allclose(box["height"], 20, atol=1e-3)
    assert np.allclose(box["width"], 20, atol=1e-3)
    assert np.allclose(box["top"], 0, atol=1e-3)
    assert np.ptp(box["left"]) > 15


@pytest.mark.parametrize("size", [12, 20])
def test_random_resized_crop_of_everything_is_a_resize(size):
    images = noise(3, 12, 12)
    out = random_resized_crop(images, size, seeded(), **FULL)
    expected = torch.nn.functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    assert torch.allclose(out, expected, atol=1e-5)


def test_random_resized_crop_of_a_large_image_does_not_alias():
    """A chequered image of single pixels is grey from afar."""
    squares = (torch.arange(255)[:, None] + torch.arange(255)) % 2
    out = random_resized_crop(squares.float().expand(2, 3, 255, 255), 16, seeded(), **FULL)
    assert (out - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("shape", [(8, 8), (33, 57), (300, 40), (1, 1)])
def test_values_and_shapes_are_kept(shape):
    images = noise(6, *shape) * 0.5 + 0.25
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    for out in (
        random_resized_crop(images, 16, seeded(), **INCEPTION),
        random_crop(images, 16, seeded(), padding=0, resize=None),
    ):
        assert out.shape == (6, 3, 16, 16)
        assert (out.amin((1, 2, 3)) >= low - 1e-6).all()
        assert (out.amax((1, 2, 3)) <= high + 1e-6).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_stays_black_and_white_stays_white(value):
    images = torch.full((40, 3, 37, 50), value)
    out = random_resized_crop(images, 16, seeded(), **INCEPTION)
    assert torch.allclose(out, torch.full_like(out, value), atol=1e-6)
    assert torch.allclose(resize(images, 16), torch.full((40, 3, 16, 22), value), atol=1e-6)
    assert resize(images, 16).max() <= 1


AUGMENTERS = {
    "flip": lambda images, generator: flip(images, 12, generator, probability=0.5),
    "random_crop": lambda images, generator: random_crop(images, 12, generator, padding=2, resize=None),
    "random_resized_crop": lambda images, generator: random_resized_crop(images, 12, generator, **INCEPTION),
}


@pytest.mark.parametrize("name", AUGMENTERS)
def test_the_generator_decides(name):
    augment, images = AUGMENTERS[name], noise(16, 12, 12)
    before = images.clone()
    torch.manual_seed(1)
    first = augment(images, seeded(4))
    torch.manual_seed(2)
    assert torch.equal(augment(images, seeded(4)), first)
    assert not torch.equal(augment(images, seeded(5)), first)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_each_image_is_drawn_for_on_its_own(name):
    images = noise(1, 12, 12).expand(16, 3, 12, 12)
    out = AUGMENTERS[name](images, seeded())
    assert len({each.numpy().tobytes() for each in out}) > 1
