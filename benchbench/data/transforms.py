"""Transforms: raw images become the network's input, augmented for training, cropped for testing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from benchbench.augmenters.geometric import center_crop, letterbox, letterbox_boxes, resize, resize_masks
from benchbench.data.batch import Batch, Mix
from benchbench.data.boxes import NO_BOX
from benchbench.seeds import generator
from benchbench.specs.parts import ComponentSpec

# Images that share a generator where views are drawn in batches.
VIEW_CHUNK = 256


# Of a box, the share of its area that must be left in the image after augmentation: less of it shows nothing to learn.
LEAST_VISIBLE = 0.2


# (images, size, generator) -> images; one that moves masks or boxes takes them by that name, and gives them beside the
# images.
Augmenter = Callable[..., Any]
# (images, generator) -> (images, partner of each image, share of its own in each).
Mixer = Callable[[Tensor, Generator], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Transform:
    """The way from raw images to a model's input: augmented for training, resized and centre-cropped for testing.

    Attributes:
        image_size, eval_resize: pixels.
        augmenters: in their order.
        views: augmented views of each image, of which epoch e shows view e modulo `views`; None augments every batch
            afresh.
        view_seed: draws the views.
        mixers: augmenters that mix images and labels; each batch draws one of them.
        moving: places of the augmenters that move pixels, and so masks and boxes.
        on_device: whether images that stream are cropped, and decoded where it can, on the device; see
            `benchbench.data.device_streaming`.
    """

    image_size: int
    eval_resize: int | None
    augmenters: Sequence[Augmenter]
    mixers: Sequence[Mixer] = ()
    views: int | None = None
    view_seed: int = 0
    moving: frozenset[int] = frozenset()
    on_device: bool = False

    def train(self, images: Tensor, random: Generator) -> Tensor:
        for augment in self.augmenters:
            images = augment(images, self.image_size, random)
        if images.shape[-2:] != (self.image_size, self.image_size):
            images = center_crop(resize(images, self.image_size), self.image_size)
        return images

    def train_with_masks(self, images: Tensor, masks: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """The same for images with masks [B, H, W], uint8."""
        images, masks = self._moved(images, random, "masks", masks)
        if images.shape[-2:] != (self.image_size, self.image_size):
            images = resize(images, self.image_size)
            height, width = images.shape[-2:]
            masks = center_crop(resize_masks(masks, (height, width)), self.image_size)
            images = center_crop(images, self.image_size)
        return images, masks

    def train_with_boxes(self, images: Tensor, boxes: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """The same for images with boxes [B, M, 6], as those of a `Batch`; whole images first become squares."""
        images, corners = letterbox_boxes(images, boxes[..., :4], self.image_size)
        images, corners = self._moved(images, random, "boxes", corners)
        if images.shape[-2:] != (self.image_size, self.image_size):
            images, corners = letterbox_boxes(images, corners, self.image_size)
        return images, _cut(torch.cat([corners, boxes[..., 4:]], -1), self.image_size)

    def _moved(self, images: Tensor, random: Generator, name: str, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Images and their masks or boxes after all augmenters."""
        for place, augment in enumerate(self.augmenters):
            if place in self.moving:
                images, targets = augment(images, self.image_size, random, **{name: targets})
            else:
                images = augment(images, self.image_size, random)
        return images, targets

    def mix(self, batch: Batch, seed: int, epoch: int, step: int) -> Batch:
        """A finished training batch with its images mixed, where the transform does that."""
        if not self.mixers:
            return batch
        random = generator(seed, "mix", epoch, step)
        mixer = self.mixers[int(torch.randint(len(self.mixers), (), generator=random))]
        images, partner, share = mixer(batch.images, random)
        return replace(batch, images=images, mix=Mix(batch.labels[partner], share))

    def test(self, images: Tensor) -> Tensor:
        return center_crop(resize(images, max(self.eval_resize or 0, self.image_size)), self.image_size)

    def test_with_masks(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Whole images with their masks, the longer side at `image_size`: no pixel of a mask is left out."""
        return letterbox(images, masks, self.image_size)

    def test_with_boxes(self, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The same for images with boxes [B, M, 6]."""
        images, corners = letterbox_boxes(images, boxes[..., :4], self.image_size)
        return images, torch.cat([corners, boxes[..., 4:]], -1)


def _cut(boxes: Tensor, size: int) -> Tensor:
    """Boxes [B, M, 6] cut at the border of images; those of which too little is left are no boxes any more."""
    corners = boxes[..., :4].clamp(0, size)
    sides, left = (each[..., 2:4] - each[..., :2] for each in (boxes, corners))
    visible = left.prod(-1) >= LEAST_VISIBLE * sides.prod(-1)
    classes = torch.where(visible & (left >= 1).all(-1), boxes[..., 4], NO_BOX)
    return torch.cat([corners, classes.unsqueeze(-1), boxes[..., 5:]], -1)


def to_float(pixels: Tensor) -> Tensor:
    return pixels.float().div_(255)


def to_uint8(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def bind_augmenters(components: Sequence[ComponentSpec], load: Callable[[str], Callable[..., Any]]) -> list[Augmenter]:
    """Augmenters as functions of (images, size, generator); they pickle for loader processes.

    Args:
        components: in the order in which they are applied.
        load: gives an augmenter's target by its name.
    """
    return [partial(load(component.name), **component.arguments) for component in components]


def bind_mixers(components: Sequence[ComponentSpec], load: Callable[[str], Callable[..., Any]]) -> list[Mixer]:
    """Mixing augmenters as functions of (images, generator); arguments as of `bind_augmenters`."""
    return [partial(load(component.name), **component.arguments) for component in components]
