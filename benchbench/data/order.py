"""The order of training images: drawn from (seed, epoch) alone, so that a resumed run sees the same batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchbench.data.share import Share
from benchbench.seeds import generator


@dataclass(frozen=True)
class Blend:
    """Real images with generated ones after them, in one training set.

    Attributes:
        real: number of real ones; the others are generated.
        share: of generated images in a batch, in the first epoch and in the last; None adds them to the real ones, and
            shuffles all.
        epochs: of the run.
    """

    real: int
    share: tuple[float, float] | None = None
    epochs: int = 1

    def steps(self, count: int, batch_size: int) -> int:
        """Batches of an epoch of `count` images; as many as there are of real ones alone where the share is fixed."""
        return steps_per_epoch(count if self.share is None else self.real, batch_size)

    def images_a_step(self, count: int, batch_size: int) -> int:
        """Images of each batch, of `count` in all; no more than there are real ones where the share is fixed."""
        return min(batch_size, count if self.share is None else self.real)

    def order(self, count: int, seed: int, epoch: int, batch_size: int) -> Tensor:
        """Indices of the images of each batch of an epoch: [steps, B], drawn from (seed, epoch)."""
        if self.share is None:
            return training_order(count, seed, epoch, batch_size)
        first, last = self.share
        share = first + (last - first) * min(1.0, max(0, epoch) / max(1, self.epochs - 1))
        steps, size = steps_per_epoch(self.real, batch_size), self.images_a_step(count, batch_size)
        generated = round(share * size) if count > self.real else 0
        real = training_order(self.real, seed, epoch, batch_size)[:, : size - generated]
        rounds = range(math.ceil(steps * generated / max(1, count - self.real)))
        drawn = [torch.randperm(count - self.real, generator=generator(seed, "blend", epoch, each)) for each in rounds]
        others = torch.cat([*drawn, torch.empty(0, dtype=torch.int64)])[: steps * generated].view(steps, generated)
        return torch.cat([real, self.real + others], dim=1)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches of one epoch; one batch of all images where there are fewer than `batch_size`."""
    return max(1, count // batch_size)


class TrainingOrder:
    """The order of training images, real ones alone or blended with generated ones.

    Attributes:
        share: of this process, where several share every batch; None where it has all of it.
        balanced: whether every epoch draws each class as often.
        second_view: whether training batches have a second view of each image.
    """

    labels: Tensor
    blend: Blend | None
    share: Share | None = None
    balanced: bool = False
    second_view: bool = False

    def _takes(self, batch: int) -> bool:
        """True where a test batch, by its number, is this process's."""
        return self.share is None or self.share.takes(batch)

    def steps(self, batch_size: int) -> int:
        count = len(self.labels)
        return steps_per_epoch(count, batch_size) if self.blend is None else self.blend.steps(count, batch_size)

    def images_a_step(self, batch_size: int) -> int:
        count = len(self.labels)
        return min(batch_size, count) if self.blend is None else self.blend.images_a_step(count, batch_size)

    def _order(self, seed: int, epoch: int, batch_size: int) -> Tensor:
        count = len(self.labels)
        if self.balanced:
            return balanced_order(self.labels.cpu(), seed, epoch, batch_size)
        if self.blend is None:
            return training_order(count, seed, epoch, batch_size)
        return self.blend.order(count, seed, epoch, batch_size)

    def _synthetic(self, index: Tensor) -> Tensor | None:
        return None if self.blend is None else index >= self.blend.real


def training_order(count: int, seed: int, epoch: int, batch_size: int) -> Tensor:
    """Indices of the images of each batch of an epoch: [steps, B], drawn from (seed, epoch)."""
    shuffled = torch.randperm(count, generator=generator(seed, "order", epoch))
    steps, size = steps_per_epoch(count, batch_size), min(batch_size, count)
    return shuffled[: steps * size].view(steps, size)


def balanced_order(labels: Tensor, seed: int, epoch: int, batch_size: int) -> Tensor:
    """The same with replacement, each class as often: [steps, B]; PyTorch's `WeightedRandomSampler` draws so.

    Args:
        labels: class of every image [N], on the CPU.
        seed, epoch: of the draw.
        batch_size: images.
    """
    weights = labels.bincount().double().reciprocal()[labels]
    steps, size = steps_per_epoch(len(labels), batch_size), min(batch_size, len(labels))
    random = generator(seed, "balanced", epoch)
    return torch.multinomial(weights, steps * size, replacement=True, generator=random).view(steps, size)
