"""Each operation of RandAugment against PIL or torchvision on single images, and which image draws which."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms.v2 import functional as tv

from benchbench.augmenters.rand_augment import AFFINE, OPERATIONS, operate, rand_augment

BILINEAR = InterpolationMode.BILINEAR
SHAPES = [(17, 23), (32, 32), (5, 2), (1, 1)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    """In steps of 1/255, as images come; of a part of the range, so that contrasts can be stretched."""
    return torch.randint(20, 200, (count, 3, height, width), generator=seeded(99)) / 255


def numbers(*names: str) -> torch.Tensor:
    return torch.tensor([OPERATIONS.index(name) for name in names])


def pil(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def strengths(height: int, width: int, magnitude: int) -> dict[str, float]:
    """Torchvision's strengths at a magnitude, by the name of the operation as it is written here."""
    space = RandAugment()._augmentation_space(31, (height, width))
    snake = {"ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x", "TranslateY": "translate_y"}
    return {
        snake.get(name, name.lower()): float(values[magnitude]) if values.ndim else 0.0
        for name, (values, _) in space.items()
    }


def test_the_operations_are_torchvision_s():
    assert list(strengths(8, 8, 0)) == list(OPERATIONS)


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", SHAPES)
def test_affine_operations(shape, sign, magnitude):
    height, width = shape
    level = {name: sign * value for name, value in strengths(height, width, magnitude).items()}
    images = noise(5, height, width)
    out = operate(images, numbers(*AFFINE), torch.full((5,), sign), magnitude)

    def affine(image, move=(0, 0), shear=(0.0, 0.0)):
        # Shears are about the upper left corner, as in torchvision's RandAugment; translations are of whole pixels.
        turned = [math.degrees(math.atan(slope)) for slope in shear]
        return tv.affine(image, 0.0, list(move), 1.0, turned, BILINEAR, center=[0, 0] if any(shear) else None)

    expected = [
        affine(images[0], shear=(level["shear_x"], 0.0)),
        affine(images[1], shear=(0.0, level["shear_y"])),
        affine(images[2], move=(int(level["translate_x"]), 0)),
        affine(images[3], move=(0, int(level["translate_y"]))),
        tv.rotate(images[4], level["rotate"], BILINEAR),
    ]
    assert torch.allclose(out, torch.stack(expected), atol=1e-4)


ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("shape", [(17, 23), (32, 32), (3, 3)])
def test_blends_are_those_of_pil(shape, magnitude):
    images = noise(8, *shape)
    sign = torch.tensor([1, -1] * 4)
    out = operate(images, numbers(*(name for name in ENHANCERS for _ in range(2))), sign, magnitude)
    for number, image in enumerate(images):
        name = list(ENHANCERS)[number // 2]
        factor = 1 + sign[number].item() * strengths(*shape, magnitude)[name]
        expected = tensor(ENHANCERS[name](pil(image)).enhance(factor))
        # PIL rounds the other side of a blend to a whole step, and then the result.
        assert (out[number] - expected).abs().max() < 1.6 / 255


@pytest.mark.parametrize("shape", [(17, 23), (32, 32), (1, 1)])
@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_tones_are_those_of_pil(shape, magnitude):
    images = noise(4, *shape)
    level = strengths(*shape, magnitude)
    bits = int(level["posterize"])
    out = operate(images, numbers("posterize", "solarize", "autocontrast", "equalize"), torch.ones(4).long(), magnitude)
    expected = [
        ImageOps.posterize(pil(images[0]), bits),
        ImageOps.solarize(pil(images[1]), level["solarize"]),
        ImageOps.autocontrast(pil(images[2])),
        ImageOps.equalize(pil(images[3])),
    ]
    # A level of 2^bits is at k / 2^bits of 1 here, and at k 2^(8 - bits) / 255 there.
    for found, image, steps in zip(out, expected, (1.0, 0.01, 1.0, 0.01), strict=True):
        assert (found - tensor(image)).abs().max() <= steps / 255 + 1e-6
    assert len(out[0].unique()) <= 2**bits


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("magnitude", [9, 30])
def test_a_batch_gives_each_image_what_it_would_have_alone(shape, magnitude):
    images = noise(40, *shape)
    drawn = torch.randint(len(OPERATIONS), (40,), generator=seeded(1))
    sign = 2 * torch.randint(2, (40,), generator=seeded(2)) - 1
    out = operate(images, drawn, sign, magnitude)
    alone = [operate(images[n : n + 1], drawn[n : n + 1], sign[n : n + 1], magnitude) for n in range(40)]
    assert torch.allclose(out, torch.cat(alone), atol=1e-5)
    assert torch.equal(out[drawn == 0], images[drawn == 0])


def test_operations_and_signs_are_drawn_anew_for_each_image_and_round():
    count = 3000
    generator = seeded()
    rounds = [
        (torch.randint(14, (count,), generator=generator), torch.randint(2, (count,), generator=generator))
        for _ in range(3)
    ]
    images = noise(count, 4, 4)
    expected = images
    for drawn, sign in rounds:
        expected = operate(expected, drawn, 2 * sign - 1, 9)
        assert (torch.bincount(drawn, minlength=14) / count - 1 / 14).abs().max() < 0.02
    assert torch.equal(rand_augment(images, 4, seeded(), num_ops=3, magnitude=9), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_stay_in_the_unit_interval(shape):
    for images in (
        torch.rand(60, 3, *shape, generator=seeded(8)),
        torch.zeros(60, 3, *shape),
        torch.ones(60, 3, *shape),
    ):
        for magnitude in (0, 30):
            out = rand_augment(images, 32, seeded(3), num_ops=4, magnitude=magnitude)
            assert out.shape == images.shape
            assert out.dtype == torch.float32
            assert out.min() >= 0
            assert out.max() <= 1


def test_the_generator_decides():
    images = noise(16, 6, 6)
    before = images.clone()
    torch.manual_seed(1)
    first = rand_augment(images, 6, seeded(4), num_ops=2, magnitude=9)
    torch.manual_seed(2)
    assert torch.equal(rand_augment(images, 6, seeded(4), num_ops=2, magnitude=9), first)
    assert not torch.equal(rand_augment(images, 6, seeded(5), num_ops=2, magnitude=9), first)
    assert torch.equal(images, before)


def test_it_works_where_the_images_are():
    """On a device that holds no numbers, anything that stays behind or waits for one is an error."""
    images = torch.empty(60, 3, 9, 7, device="meta")
    assert rand_augment(images, 9, seeded(), num_ops=3, magnitude=9).device.type == "meta"
