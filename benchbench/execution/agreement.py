"""The effect of a way of running a network on what it says: how far outputs move, and whose class changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from benchbench.hardware.accelerator import widest
from benchbench.models.outputs import Outputs

# What the order of float32 sums may move: two memory formats of one network differ by 1e-6 to 1e-5.
ROUNDING = 1e-3
# Images that are run at once.
CHUNK = 64


class Sample(NamedTuple):
    """Real images that two ways of running a network are compared on.

    Attributes:
        images: [N, 3, H, W] in 0..1, on the device that the network is to run on.
        labels: class numbers [N], masks [N, H, W] or boxes [N, M, 6]; without class numbers a network without a head is
            taken to tell every image from all others.
    """

    images: Tensor
    labels: Tensor | None = None


@torch.no_grad()
def changed_classes(
    actual: Callable[[Tensor], Outputs], expected: Callable[[Tensor], Outputs], sample: Sample
) -> float:
    """The share of images whose class is another one in `actual` than in `expected`; 1 where a value is not finite.

    An image's class is the top one of the logits; without a head, that whose mean embedding in `expected` is nearest.

    Args:
        actual, expected: a network in eval mode, run in two ways.
        sample: the images.
    """
    parts = sample.images.split(CHUNK)
    ours, theirs = ([network(images) for images in parts] for network in (actual, expected))
    if ours[0].logits is not None and theirs[0].logits is not None:
        one, other = (torch.cat([part.logits.float() for part in outputs]) for outputs in (ours, theirs))  # type: ignore[union-attr]
        if ours[0].boxes is not None:  # decisions at points, of which most are sure to be no
            return _changed_decisions(one, other)
        classes, others = one.argmax(1), other.argmax(1)
    else:
        wide = widest(sample.images.device)
        # In double precision: a large constant part would leave few bits for the distances.
        one, other = (torch.cat([part.embedding.to(wide) for part in outputs]) for outputs in (ours, theirs))
        labels = sample.labels
        if labels is None or labels.ndim > 1:
            labels = torch.arange(len(other), device=other.device)
        means = torch.stack([other[labels == label].mean(0) for label in labels.unique()])
        classes, others = (torch.cdist(each, means).argmin(1) for each in (one, other))
    if not bool(one.isfinite().all() & other.isfinite().all()):
        return 1.0
    return float((classes != others).cpu().double().mean())


def _changed_decisions(one: Tensor, other: Tensor) -> float:
    """Classes of points [N, A, C] that are taken to be there in one of two alone, by number of those in the second."""
    if not bool(one.isfinite().all() & other.isfinite().all()):
        return 1.0
    changed = ((one > 0) != (other > 0)).sum()
    return min(1.0, float(changed / (other > 0).sum().clamp_min(1)))


def deviation(actual: Outputs, expected: Outputs) -> float:
    """Largest relative RMS difference between two outputs' logits, embeddings and maps.

    Relative to the spread of the expected values over the batch, so that a large constant part, such as embeddings
    after a ReLU have, does not hide a difference. Infinite where a value is not finite.
    """
    if actual.logits is None or expected.logits is None:
        actual, expected = (replace(each, logits=None) for each in (actual, expected))
    largest = 0.0
    for one, other in zip(actual.tensors(), expected.tensors(), strict=True):
        one, other = (each.to(widest(each.device)) for each in (one, other))
        if not bool(one.isfinite().all() & other.isfinite().all()):
            return float("inf")
        spread = float((other - other.mean(dim=0)).norm()) or float(other.norm()) or 1.0
        largest = max(largest, float((one - other).norm()) / spread)
    return largest
