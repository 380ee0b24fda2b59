"""One batch as losses and models see it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Batch:
    """B training samples on the training device.

    Attributes:
        images: [B, 3, H, W], float in 0..1, augmented, not normalised: every model applies its own mean and std.
        labels: class numbers [B], int64.
        index: each sample's number in the training set [B], int64, 0 <= index < samples; memory banks go by it.
        epoch: epochs done so far, with the part of the current one; below 0 while a loss prepares.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    epoch: float = 0.0
