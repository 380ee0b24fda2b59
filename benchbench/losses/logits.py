"""Common parts of the losses on logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchbench.errors import StageError
from benchbench.models.outputs import Outputs
from benchbench.models.pixels import by_pixel

EPS = 1e-7  # the official code's, beside the standard deviation


def task_logits(outputs: Outputs) -> Tensor:
    """The task logits [B, C] of a network.

    Raises:
        StageError: it has no task head.
    """
    if outputs.logits is None:
        raise StageError("a loss reads the task logits of a network that has no task head")
    return outputs.logits


def both_logits(student: Outputs, teacher: Outputs, standardize: bool = False) -> tuple[Tensor, Tensor]:
    """The task logits [B, C] of student and teacher, in their `standardized` form with `standardize`.

    Of a segmentation each pixel is a sample, at the size of the student's logits.

    Raises:
        StageError: one of them has no task head.
    """
    s, t = task_logits(student), task_logits(teacher)
    if s.dim() > 2:
        s, t = by_pixel(s, t)
    return (standardized(s), standardized(t)) if standardize else (s, t)


def standardized(logits: Tensor) -> Tensor:
    """Logit standardisation: (z_ic - mean_i) / (std_i + eps), mean and deviation over the C logits of each sample.

    It stands before the temperature, so that the student matches the teacher's logits up to shift and scale.

    Source: Sun et al. 2024, "Logit Standardization in Knowledge Distillation" (arXiv 2403.01427), section 4, with the
    deviation sqrt(1/C sum (z - mean)^2) of their Algorithm 1. Their code has eps, and divides by C - 1 instead of C,
    so that theirs at temperature T is this one at T k, divided by k^2, with k = sqrt(C / (C - 1)).

    Args:
        logits: [B, C].
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / math.sqrt(logits.shape[1])
    return centred / (deviation + EPS)


def non_target(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits of all classes but the sample's own, in order: [B, C] -> [B, C - 1]."""
    column = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, column + (column >= labels.unsqueeze(1)))
