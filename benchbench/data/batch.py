"""One batch of a training set, on its way to models and losses."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """The other images that those of a batch were mixed with.

    Attributes:
        labels: class numbers of the other images [B], int64.
        share: each image's own share in the mixture [B], float32 in 0..1; the rest is the other image's.
    """

    labels: Tensor
    share: Tensor


@dataclass
class Batch:
    """B training samples on the training device.

    Attributes:
        images: [B, 3, H, W], float in 0..1, augmented, not normalised: every model applies its own mean and std.
        labels: class numbers [B], int64.
        index: of each sample in the training set [B], int64, 0 <= index < samples; memory banks go by it.
        epoch: epochs done so far, with the part of the current one; below 0 while a loss prepares.
        synthetic: which of them were generated [B], bool; None where all are real.
        mix: of images that are mixtures of two (mixup, cutmix), the second ones; `labels` and `index` are of the first.
        host_index: `index` on the CPU, for values that lie there: to ask the device would wait for it. None where it
            is not known.
        masks: of a segmentation, classes of the images' pixels [B, H, W], int64, `benchbench.data.images.IGNORED` where
            none counts; `labels` are of no use then.
        boxes: of a detection, the boxes of every image [B, M, 6], float32: left, top, right and bottom in pixels, the
            class, and above 0 for a box to be ignored, as `benchbench.data.images.Boxes.ignored`. Rows of class -1 fill
            up; `labels` are of no use.
        second_view: of the same images, each augmented by another draw [B, 3, H, W]; None unless a loss asks for it.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    epoch: float = 0.0
    synthetic: Tensor | None = None
    mix: Mix | None = None
    host_index: Tensor | None = None
    masks: Tensor | None = None
    boxes: Tensor | None = None
    second_view: Tensor | None = None

    @property
    def targets(self) -> Tensor:
        """Targets to learn: the class of each image [B], or of its pixels [B, H, W], or its boxes [B, M, 6]."""
        if self.boxes is not None:
            return self.boxes
        return self.main_labels if self.masks is None else self.masks

    @property
    def own_images(self) -> Tensor:
        """The images that this process runs networks on: all of them, but where several processes share a batch."""
        return self.images

    def tensors(self) -> list[Tensor]:
        """All tensors on the device."""
        return [tensor for tensor in (self.images, *self._without_images()) if tensor is not None]

    def _without_images(self) -> tuple[Tensor | None, ...]:
        mix = (self.mix.labels, self.mix.share) if self.mix else ()
        return self.labels, self.index, self.synthetic, self.masks, self.boxes, self.second_view, *mix

    @property
    def main_labels(self) -> Tensor:
        """One class for each image [B]: of a mixture, that of the larger share."""
        if self.mix is None:
            return self.labels
        return torch.where(self.mix.share >= 0.5, self.labels, self.mix.labels)

    def parts(self, count: int) -> list[Batch]:
        """Part i has every `count`-th sample from sample i on: a share of whatever the batch is made of, in its order.

        Of several processes each takes its own images alone, whose number `count` divides.
        """
        return [self._every(slice(first, None, count)) for first in range(count)]

    def _every(self, rows: slice) -> Batch:
        part = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(part, name, value[rows].contiguous())
        if self.mix is not None:
            part.mix = Mix(self.mix.labels[rows].contiguous(), self.mix.share[rows].contiguous())
        return part

    def part(self, chosen: Tensor) -> Batch:
        """The samples at some indices [K]; of batches that are not mixed."""
        assert self.mix is None, "a sample of a mixture belongs to two labels"
        images, labels, index = (each[chosen] for each in (self.images, self.labels, self.index))
        others = (self.synthetic, self.masks, self.boxes, self.second_view)
        synthetic, masks, boxes, second = (None if each is None else each[chosen] for each in others)
        return Batch(images, labels, index, self.epoch, synthetic, masks=masks, boxes=boxes, second_view=second)
