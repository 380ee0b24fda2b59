"""Colour operations against torchvision's on single images, and what is drawn for each image."""

from __future__ import annotations

import colorsys
import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from benchbench.augmenters.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    color_jitter,
)

SHAPES = [(7, 9), (8, 8), (1, 1)]
OFF = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
MOCO = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    """With pixels at the corners of the cube of colours, grey ones and ones of two equal channels."""
    images = torch.rand(count, 3, height, width, generator=seeded(99))
    images[0, :, 0, 0] = 0.3
    images[-1, :, -1, -1] = torch.tensor([1.0, 1.0, 0.0])
    images[count // 2, :, 0, -1] = torch.tensor([0.0, 0.0, 1.0])
    return images


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (adjust_brightness, tv.adjust_brightness, (0.0, 2.5)),
        (adjust_contrast, tv.adjust_contrast, (0.0, 2.5)),
        (adjust_saturation, tv.adjust_saturation, (0.0, 2.5)),
        (adjust_hue, tv.adjust_hue, (-0.5, 0.5)),
    ],
)
def test_each_image_by_its_own_factor_as_in_torchvision(ours, theirs, factors, shape):
    images = noise(9, *shape)
    factor = torch.linspace(*factors, 9)
    out = ours(images, factor)
    expected = torch.stack([theirs(image, value) for image, value in zip(images, factor.tolist(), strict=True)])
    assert torch.allclose(out, expected, atol=1e-5)
    for number in (0, 8):
        alone = ours(images[number : number + 1], factor[number : number + 1])
        assert torch.allclose(alone[0], expected[number], atol=1e-5)


def test_the_hue_turns_as_in_the_standard_library():
    colors = list(itertools.product((0.0, 0.25, 0.7, 1.0), repeat=3))
    images = torch.tensor(colors).T.reshape(1, 3, 8, 8)
    for turn in (-0.4, -0.1, 0.0, 1 / 3):
        out = adjust_hue(images, torch.tensor([turn]))[0].reshape(3, -1).T
        for color, results in zip(colors, out.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*color)
            assert results == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), abs=1e-5)


def in_every_order(image: torch.Tensor, steps) -> list[torch.Tensor]:
    results = []
    for order in itertools.permutations(steps):
        changed = image
        for adjust, factor in order:
            changed = adjust(changed, factor)
        results.append(changed)
    return results


def test_every_image_has_factors_and_an_order_of_its_own():
    """The factors are the first draws of the generator; each image is what they give in one of the orders."""
    images, count = noise(40, 6, 5), 40
    out = color_jitter(images, 5, seeded(), **MOCO)
    draws = [torch.rand(count, generator=generator) for generator in [seeded()] for _ in range(4)]
    orders = []
    for number, image in enumerate(images):
        strengths = (0.4, 0.4, 0.4, 0.1)
        factors = [x * (2 * draw[number].item() - 1) for x, draw in zip(strengths, draws, strict=True)]
        steps = [
            (tv.adjust_brightness, 1 + factors[0]),
            (tv.adjust_contrast, 1 + factors[1]),
            (tv.adjust_saturation, 1 + factors[2]),
            (tv.adjust_hue, factors[3]),
        ]
        far = [(each - out[number]).abs().max().item() for each in in_every_order(image, steps)]
        orders.append(min(range(24), key=far.__getitem__))
        assert far[orders[-1]] < 1e-4
    assert len(set(orders)) > 12


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_a_factor_is_never_below_0(name):
    images = noise(300, 2, 2)
    out = color_jitter(images, 2, seeded(), **OFF | {name: 3.0})
    factor = 4 * torch.rand(300, generator=seeded())  # from 0 to 1 + 3
    adjust = {"brightness": adjust_brightness, "contrast": adjust_contrast, "saturation": adjust_saturation}[name]
    assert torch.allclose(out, adjust(images, factor), atol=1e-5)
    assert factor.min() < 0.1
    assert factor.max() > 3.9


def test_0_leaves_a_property_alone():
    images = noise(8, 4, 4)
    assert torch.equal(color_jitter(images, 4, seeded(), **OFF), images)
    turned = color_jitter(images, 4, seeded(), **OFF | {"hue": 0.5})
    assert torch.allclose(turned.amax(1), images.amax(1), atol=1e-6)
    assert not torch.allclose(turned, images, atol=0.1)


@pytest.mark.parametrize("shape", [(7, 9), (32, 32), (1, 1)])
@pytest.mark.parametrize("strength", [0.4, 5.0])
def test_pixels_stay_in_the_unit_interval(shape, strength):
    params = {"brightness": strength, "contrast": strength, "saturation": strength, "hue": 0.5}
    for images in (noise(12, *shape), torch.zeros(3, 3, *shape), torch.ones(1, 3, *shape)):
        out = color_jitter(images, 32, seeded(3), **params)
        assert out.shape == images.shape
        assert out.min() >= 0
        assert out.max() <= 1


def test_the_generator_decides():
    images = noise(16, 6, 6)
    before = images.clone()
    torch.manual_seed(1)
    first = color_jitter(images, 6, seeded(4), **MOCO)
    torch.manual_seed(2)
    assert torch.equal(color_jitter(images, 6, seeded(4), **MOCO), first)
    assert not torch.equal(color_jitter(images, 6, seeded(5), **MOCO), first)
    assert torch.equal(images, before)


def test_it_works_where_the_images_are():
    """On a device that holds no numbers, anything that stays behind or waits for one is an error."""
    images = torch.empty(6, 3, 5, 7, device="meta")
    assert color_jitter(images, 5, seeded(), **MOCO).device.type == "meta"
