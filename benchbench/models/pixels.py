"""Logits of a segmentation [B, C, h, w] beside masks, and as samples of their own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from benchbench.statistics.masks import IGNORED

# Of the weights of all pixels that count, where there is none: the loss is 0 then.
LEAST = 1e-12


def enlarged(logits: Tensor, masks: Tensor) -> Tensor:
    """Logits [B, C, h, w] at the size of masks [B, H, W]: [B, C, H, W], between their points bilinearly."""
    size = masks.shape[-2:]
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def target_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy with the classes of images, or of their pixels where logits are those of a segmentation.

    Args:
        logits: [B, C], or [B, C, h, w], which are enlarged to the size of the masks.
        targets: classes [B]; or masks [B, H, W], of which pixels of `IGNORED` do not count. 0 where none counts.
        weights: of each class [C], as PyTorch takes them.
        label_smoothing: probability mass spread over all classes.
    """
    if logits.dim() == 2:
        return F.cross_entropy(logits, targets, weights, label_smoothing=label_smoothing)
    total = F.cross_entropy(
        enlarged(logits, targets),
        targets,
        weights,
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    counts = (targets != IGNORED).to(total.dtype)
    if weights is not None:
        counts = counts * weights[targets.clamp_max(len(weights) - 1)]
    return total / counts.sum().clamp_min(LEAST)


def by_pixel(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of both sides with each pixel as a sample: [B, C, h, w] each -> [B h w, C], at the student's size."""
    if teacher.shape[-2:] != student.shape[-2:]:
        teacher = F.interpolate(teacher, size=student.shape[-2:], mode="bilinear", align_corners=False)
    s, t = (each.permute(0, 2, 3, 1).flatten(0, 2) for each in (student, teacher))
    return s, t
