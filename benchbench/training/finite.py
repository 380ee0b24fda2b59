"""Signs that a training has diverged: numbers that are not finite, in its loss, its network or its outputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchbench.errors import DivergedError
from benchbench.hardware.accelerator import widest

# In place of a class, where logits are not finite.
NO_CLASS = -1
LISTED = 3
# Standard deviation of a dimension that counts as constant, in root mean squares of all dimensions.
CONSTANT = 1e-3
REMEDY = "lower the rate or the term's weight"


def top_classes(logits: Tensor) -> Tensor:
    """The class with the highest logit [B], int64; NO_CLASS where that is no finite number, or any is NaN."""
    highest, classes = logits.max(1)
    return torch.where(highest.isfinite(), classes, NO_CLASS)


def require_finite_outputs(classes: np.ndarray, images: str) -> None:
    """Fails where the logits of images are not finite.

    Args:
        classes: of each image, as `top_classes` gives them [N]; or of its pixels [N, C, C].
        images: "validation" or "test".

    Raises:
        DivergedError: with the number of such images and the first of them.
    """
    broken = np.flatnonzero((classes == NO_CLASS).any(tuple(range(1, classes.ndim))))
    if len(broken):
        raise DivergedError(
            f"logits are not finite on {len(broken)} of {len(classes)} {images} images (the first is number "
            f"{broken[0]}); lower the rate, or take `precision: fp32`"
        )


def broken_tensors(module: nn.Module) -> list[str]:
    """Names of the parameters and buffers that hold a number that is not finite."""
    both = (*module.named_parameters(), *module.named_buffers())
    named = [(name, tensor) for name, tensor in both if tensor.is_floating_point()]
    if not named:
        return []
    finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in named]).tolist()  # one wait for all
    return [name for (name, _), each in zip(named, finite, strict=True) if not each]


def require_finite_network(model: nn.Module, masks: Collection[str], epoch: str) -> None:
    """Fails where a step has left a network with numbers that are not finite.

    Args:
        model: the network.
        masks: names of tensors that were infinite before any step.
        epoch: the one that has ended, in words.

    Raises:
        DivergedError: with the first few names.
    """
    if names := [name for name in broken_tensors(model) if name not in masks]:
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        raise DivergedError(
            f"weights are not finite after {epoch} ({', '.join(names[:LISTED])}{more}), though its losses are; {REMEDY}"
        )


def require_finite_losses(means: Mapping[str, float], first: int | None, steps: int, epoch: str) -> None:
    """Fails where a mean loss of an epoch is not finite.

    Args:
        means: of the loss and its terms.
        first: the step (from 1) whose loss is the first such one, where that is known.
        steps: of an epoch.
        epoch: in words.

    Raises:
        DivergedError: with the terms and the step.
    """
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        names = ", ".join(name for name in broken if name != "loss") or "loss"
        since = f" (first at step {first} of {steps})" if first is not None and steps > 1 else ""
        raise DivergedError(f"loss is {means['loss']} in {epoch} (terms: {names}); {REMEDY}{since}")


class Spread(NamedTuple):
    """Spread of embeddings: their distance from each other.

    Attributes:
        relative: root mean square distance to their mean, as a share of their root mean square norm: 0 where all are
            equal, 1 where their mean is 0.
        constant: share of the dimensions that are the same for all of them, within `CONSTANT` of the usual size of one.
    """

    relative: float
    constant: float


class EmbeddingSpread:
    """Spread of the embeddings of images, over batches."""

    def __init__(self) -> None:
        self._count = 0
        self._sums: tuple[Tensor, Tensor] | None = None
        self._origin: Tensor

    @classmethod
    def of(cls, parts: Iterable[EmbeddingSpread]) -> EmbeddingSpread:
        """The spread of all embeddings, of which processes have parts; on the CPU."""
        whole = cls()
        for part in parts:
            if part._sums is None:
                continue
            origin, first, second = (each.cpu() for each in (part._origin, *part._sums))
            if whole._sums is None:
                whole._origin, whole._sums = origin, (torch.zeros_like(origin), torch.zeros_like(origin))
            shift = origin - whole._origin
            moved = second + 2 * shift * first + part._count * shift.square()
            whole._sums = whole._sums[0] + first + part._count * shift, whole._sums[1] + moved
            whole._count += part._count
        return whole

    def add(self, embedding: Tensor) -> None:
        """Adds those of a batch [B, D]."""
        values = embedding.detach().flatten(1).to(widest(embedding.device))
        if self._sums is None:
            self._origin = values[0].clone()  # sums of squares about a near point lose no digits
            self._sums = torch.zeros_like(self._origin), torch.zeros_like(self._origin)
        shifted = values - self._origin
        self._sums = self._sums[0] + shifted.sum(0), self._sums[1] + shifted.square().sum(0)
        self._count += len(values)

    def measure(self) -> Spread | None:
        """The spread over all images; None for fewer than two, and where it is not finite."""
        if self._sums is None or self._count < 2:
            return None
        mean, square = (each / self._count for each in self._sums)
        variance = (square - mean.square()).clamp_min(0)
        norm = variance.sum() + (self._origin + mean).square().sum()  # mean square norm
        relative = float((variance.sum() / norm).sqrt()) if float(norm) else 0.0
        if not math.isfinite(relative):
            return None
        constant = variance <= CONSTANT**2 * norm / len(variance)
        return Spread(relative, float(constant.cpu().double().mean()))
