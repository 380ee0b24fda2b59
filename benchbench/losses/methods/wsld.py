"""Weighted soft labels: soft targets count where the student still lags behind the teacher."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import WSLDParams
from benchbench.losses.logits import both_logits
from benchbench.models.outputs import Outputs

EPS = 1e-7  # the official code's, beside the teacher's cross-entropy


def weighted_soft_labels(s: Tensor, t: Tensor, labels: Tensor, temperature: float = 2.0) -> Tensor:
    """T^2/B sum_i w_i H(softmax(t_i / T), softmax(s_i / T)), with w_i = 1 - exp(-CE(s_i, y_i) / (CE(t_i, y_i) + eps)).

    H is the cross-entropy of the softened sides, CE that with the label at T = 1. A weight is a constant: no gradient
    passes through it. For given weights the value is least where the softened sides agree, and is not 0 there.

    Source: Zhou et al. 2021, "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective"
    (arXiv 2102.00650), section 4; eps is the official code's, whose weight of this loss beside cross-entropy, alpha =
    2.5 at T = 2 (ImageNet), is the suite's to give.

    Args:
        s, t: logits of student and teacher [B, C].
        labels: y [B].
        temperature: T > 0.
    """
    soft = F.cross_entropy(s / temperature, F.softmax(t / temperature, dim=1), reduction="none")
    hard_s, hard_t = (F.cross_entropy(z.detach(), labels, reduction="none") for z in (s, t))
    weight = -torch.expm1(-hard_s / (hard_t + EPS))
    return temperature**2 * (weight * soft).mean()


class WSLD(Loss):
    """Term `wsld`: `weighted_soft_labels` of the task logits of both sides.

    Standardised logits (Sun et al. 2024) are an option that neither paper tried; they then stand in the weights, too.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = WSLDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        return {"wsld": weighted_soft_labels(s, t, batch.labels, self.params.temperature)}
