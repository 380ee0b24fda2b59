"""The checks of augmenters tell a broken one what to change."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from benchbench.components import Params
from benchbench.plugins import load_plugins
from benchbench.testing.augmenters import (
    CHECKS,
    MIXING_CHECKS,
    AugmenterCase,
    check_boxes,
    check_kept,
    check_masks,
    checks_for,
)


def fine(images, size, generator):
    return images * torch.rand(len(images), 1, 1, 1, generator=generator)


def in_place(images, size, generator):
    return images.mul_(0.5)


BROKEN = [
    ("shape", lambda x, size, g: x[:1], r"it gives shape \[1, 3, 40, 40\] .*: keep the batch"),
    ("shape", lambda x, size, g: x.mean(dim=1, keepdim=True), "keep the batch and the three channels"),
    ("shape", lambda x, size, g: x.double(), "it gives torch.float64 for torch.float32"),
    ("shape", lambda x, size, g: x.numpy(), "it gives a ndarray"),
    ("shape", lambda x, size, g: x * torch.ones((), requires_grad=True), "requires a gradient"),
    ("range", lambda x, size, g: x * 1.5, r"images leave 0\.\.1 .*: end with \.clamp\(0, 1\)"),
    ("range", lambda x, size, g: x / x.amax(dim=(1, 2, 3), keepdim=True), "black images become NaN"),
    ("generator", lambda x, size, g: x * torch.rand(()), "draw from the generator that is passed"),
    ("generator", lambda x, size, g: x * random.random(), "draw from the generator that is passed"),
    ("generator", lambda x, size, g: x + 0 * float(np.random.rand()), "draws from a global random state"),
    ("generator", lambda x, size, g: x + 0 * torch.rand(()), "draws from a global random state"),
    ("input", in_place, "write into a copy, not in place"),
    ("single", lambda x, size, g: torch.cat([x, x]), "one image becomes 2"),
    ("pickles", lambda x, size, g: x, "define it at the top level"),
]


def mixes(images, generator, share=0.7, told=0.7):
    """A mixture with the next image of the batch."""
    mixed = share * images + (1 - share) * images.roll(-1, 0)
    return mixed, (torch.arange(len(images)) + 1) % len(images), torch.full((len(images),), told)


def mixes_changed(place, change):
    """The same, with one of its three results changed."""

    def target(images, generator):
        result = list(mixes(images, generator))
        result[place] = change(result[place])
        return tuple(result)

    return target


def draws_elsewhere(images, generator):
    return mixes(images, generator, *[random.random()] * 2)


BROKEN_MIXERS = [
    ("mixture", lambda x, g: x, r"it gives a Tensor: .* gives \(images, partner, share\)"),
    ("mixture", lambda x, g: (x, None), "it gives 2 values"),
    ("mixture", mixes_changed(0, lambda x: x[..., 1:]), "a mixture keeps the shape"),
    ("mixture", mixes_changed(1, lambda x: x.int()), r"partners are torch.int32 \[5\]: give int64 \[B\]"),
    ("mixture", mixes_changed(1, lambda x: x + 1), "a partner is not in the batch"),
    ("mixture", mixes_changed(1, lambda x: x * 0), "another share of themselves, or another partner, than it returns"),
    ("mixture", mixes_changed(2, lambda x: x[0]), r"shares are torch.float32 \[\]: give float32 \[B\]"),
    ("mixture", mixes_changed(2, lambda x: x * 2), "a share is not in 0..1"),
    ("mixture", lambda x, g: mixes(x, g, told=0.6), "another share of themselves, or another partner, than it returns"),
    ("mixture", draws_elsewhere, "gives other partners or shares"),
    ("range", mixes_changed(0, lambda x: x * 1.5), r"images leave 0\.\.1"),
    ("generator", draws_elsewhere, "draw from the generator that is passed"),
    ("input", lambda x, g: mixes(x.mul_(0.5), g), "write into a copy, not in place"),
]


@pytest.mark.parametrize(("check", "target", "message"), BROKEN_MIXERS)
def test_one_that_mixes_wrongly_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        MIXING_CHECKS[check](AugmenterCase(component(target, needs=frozenset({"labels"}))))


def test_one_that_mixes_well_breaks_no_check(component):
    case = AugmenterCase(component(mixes, needs=frozenset({"labels"})))
    assert set(checks_for(case.component)) == {*CHECKS, "mixture"}
    for check in checks_for(case.component).values():
        check(case)


class Moved(Params):
    masks = "moved"


def moves(images, size, generator, masks=None):
    """Mirrors all images."""
    return images.flip(-1) if masks is None else (images.flip(-1), masks.flip(-1))


def leaves_masks(images, size, generator, masks=None):
    return images.flip(-1) if masks is None else (images.flip(-1), masks)


def moves_again(images, size, generator, masks=None):
    shift = int(torch.randint(9, (), generator=generator)) + (masks is not None)
    moved = images.roll(shift, -1)
    return moved if masks is None else (moved, masks.roll(shift, -1))


BROKEN_MOVERS = [
    (leaves_masks, "masks are not where their images are"),
    (lambda x, size, g, masks=None: (x, masks.float()), "masks become torch.float32: keep uint8"),
    (lambda x, size, g, masks=None: (x, masks[:, 1:]), "another size than their images"),
    (moves_again, "make the same draws"),
]


@pytest.mark.parametrize(("target", "message"), BROKEN_MOVERS)
def test_one_that_moves_masks_wrongly_is_told_what_to_change(component, target, message):
    with pytest.raises(AssertionError, match=message):
        check_masks(AugmenterCase(component(target, params=Moved)))


def test_one_that_moves_masks_well_breaks_no_check(component):
    case = AugmenterCase(component(moves, params=Moved))
    assert set(checks_for(case.component)) == {*CHECKS, "masks"}
    for check in checks_for(case.component).values():
        check(case)


class Kept(Params):
    masks = "kept"


def blurs(images, size, generator):
    return tv.gaussian_blur(images, [9, 9], [2.0, 2.0])


def fills(images, size, generator):
    images = images.clone()
    images[:, :, 8:24, 40:56] = images.mean((2, 3), keepdim=True)
    return images


KEEPING = {
    "brightness": fine,
    "inverted": lambda x, size, g: 1 - x,
    "grey": lambda x, size, g: x.mean(1, keepdim=True).expand_as(x),
    "darkest and brightest": lambda x, size, g: tv.autocontrast(x),
    "histogram": lambda x, size, g: tv.equalize(x),
    "blurred": blurs,
    "noise": lambda x, size, g: (x + 0.2 * torch.randn(x.shape, generator=g)).clamp(0, 1),
    "filled": fills,
}


@pytest.mark.parametrize("name", KEEPING)
def test_one_that_moves_no_pixel_may_keep_masks(component, name):
    check_kept(AugmenterCase(component(KEEPING[name], params=Kept)))


def mirrors_few(images, size, generator):
    chosen = torch.rand(len(images), generator=generator) < 0.1
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def shifts(images, size, generator):
    """By up to 4 pixels, of which none may be detected in some images."""
    offsets = torch.randint(-4, 5, (len(images),), generator=generator).tolist()
    return torch.stack([image.roll(offset, -2) for image, offset in zip(images, offsets, strict=True)])


NOT_KEEPING = {
    "a few mirrored": (mirrors_few, "it keeps masks, and moves pixels"),
    "upside down": (lambda x, size, g: x.flip(-2), "it keeps masks, and moves pixels"),
    "transposed": (lambda x, size, g: x.mT, "it keeps masks, and moves pixels"),
    "half a turn": (lambda x, size, g: x.flip(-1, -2), "it keeps masks, and moves pixels"),
    "shifted": (shifts, "it keeps masks, and moves pixels"),
    "turned": (lambda x, size, g: tv.rotate(x, 10.0), "it keeps masks, and moves pixels"),
    "cropped": (lambda x, size, g: x[..., 4:-4, 4:-4], "it keeps masks, and changes the size of images"),
}


@pytest.mark.parametrize("name", NOT_KEEPING)
def test_one_that_moves_pixels_may_not_keep_masks(component, name):
    target, message = NOT_KEEPING[name]
    with pytest.raises(AssertionError, match=message):
        check_kept(AugmenterCase(component(target, params=Kept)))


class BoxesMoved(Params):
    boxes = "moved"


def mirrored_boxes(images, boxes):
    left, top, right, bottom = boxes.unbind(-1)
    width = images.shape[-1]
    return torch.stack([width - right, top, width - left, bottom], -1)


def mirrors(images, size, generator, boxes=None):
    return images.flip(-1) if boxes is None else (images.flip(-1), mirrored_boxes(images, boxes))


def with_boxes(change):
    """`mirrors`, with another change of its boxes."""
    return lambda x, size, g, boxes=None: x.flip(-1) if boxes is None else (x.flip(-1), change(x, boxes))


def mirrors_or_not(images, size, generator, boxes=None):
    if boxes is None or torch.rand((), generator=generator) < 0.5:
        return mirrors(images, size, generator, boxes)
    return images, boxes


BROKEN_BOXES = {
    "left where they were": (with_boxes(lambda x, boxes: boxes), "boxes do not enclose what they did"),
    "corners in disorder": (with_boxes(lambda x, boxes: mirrored_boxes(x, boxes)[..., [2, 1, 0, 3]]), "do not enclose"),
    "all of the image": (with_boxes(lambda x, boxes: boxes * 0 + torch.tensor([0, 0, 48, 48])), "larger than what"),
    "images alone": (with_boxes(lambda x, boxes: boxes[:, :1]), r"become torch.float32 \[5, 1, 4\]: give the corners"),
    "whole numbers": (with_boxes(lambda x, boxes: mirrored_boxes(x, boxes).int()), "become torch.int32"),
    "no boxes": (lambda x, size, g, boxes=None: x.flip(-1), r"it gives a Tensor .*: give \(images, boxes\)"),
    "other draws": (mirrors_or_not, "images move otherwise with boxes than without: make the same draws"),
}


@pytest.mark.parametrize("name", BROKEN_BOXES)
def test_one_that_moves_boxes_wrongly_is_told_what_to_change(component, name):
    target, message = BROKEN_BOXES[name]
    with pytest.raises(AssertionError, match=message):
        check_boxes(AugmenterCase(component(target, params=BoxesMoved)))


def test_one_that_moves_boxes_well_breaks_no_check(component):
    case = AugmenterCase(component(mirrors, params=BoxesMoved))
    assert set(checks_for(case.component)) == {*CHECKS, "boxes"}
    for check in checks_for(case.component).values():
        check(case)


@pytest.mark.parametrize(("check", "target", "message"), BROKEN)
def test_a_broken_augmenter_is_told_what_to_change(component, check, target, message):
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](AugmenterCase(component(target)))


def test_every_check_has_an_augmenter_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_a_good_augmenter_breaks_none(component):
    for check in CHECKS.values():
        check(AugmenterCase(component(fine)))


BUILT_IN = [offer for offer in load_plugins().registry.of_kind("augmenter") if not offer.component.generates]


@pytest.mark.parametrize("offer", BUILT_IN, ids=lambda offer: offer.component.name)
def test_those_that_come_with_benchbench_break_none(offer):
    case = AugmenterCase(offer.component, offer.component.params().model_dump())
    for check in checks_for(offer.component).values():
        check(case)


def test_flips_and_crops_are_checked_with_masks_and_boxes():
    moving = {offer.component.name for offer in BUILT_IN if {"masks", "boxes"} <= set(checks_for(offer.component))}
    assert moving == {"flip", "random_crop", "random_resized_crop"}
