"""Weights of classes in the cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from benchbench.errors import StageError, did_you_mean


def class_weights(
    choice: Literal["balanced"] | Mapping[str, float] | None, labels: Tensor, names: Sequence[str]
) -> Tensor | None:
    """The weight of each class [classes], on the device of the labels; None where all are equal.

    Args:
        choice: "balanced": images / (classes x images of the class), as scikit-learn has it; or weights by name, of
            which those that are not there are 1.
        labels: class of every training image [N], int64.
        names: of the classes, by number.

    Raises:
        StageError: there is no class of a name.
    """
    if choice is None:
        return None
    if choice == "balanced":
        counts = labels.cpu().bincount(minlength=len(names)).clamp(min=1)
        return (len(labels) / (len(names) * counts.double())).float().to(labels.device)
    if unknown := [name for name in choice if name not in names]:
        raise StageError(f"class_weights: there is no class '{unknown[0]}'; {did_you_mean(unknown[0], names)}")
    return torch.tensor([float(choice.get(name, 1.0)) for name in names], device=labels.device)
