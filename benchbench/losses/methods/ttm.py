"""Transformed teacher matching: the student as it is aims at the teacher's softened probabilities."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import TTMParams
from benchbench.losses.logits import both_logits
from benchbench.models.outputs import Outputs


def transformed_kl(s: Tensor, t: Tensor, gamma: float = 0.1, weighted: bool = False) -> Tensor:
    """1/B sum_i U_i KL(q_i || softmax(s_i)), q = p^gamma / sum_c p_c^gamma with the teacher's p = softmax(t).

    q is the teacher at temperature 1 / gamma; the student has none, and there is no factor T^2. U_i = 1, or with
    `weighted` the power sum of the sample, sum_c p_c^gamma: more for samples of which the teacher is less sure.

    Source: Zheng and Yang 2024, "Knowledge Distillation Based on Transformed Teacher Matching" (arXiv 2402.11148),
    sections 3 (TTM) and 4 (WTTM). The official example of TTM, VGG-13 and VGG-8 on CIFAR-100, has gamma 0.1 and weight
    45: the preset `cifar100`. That of WTTM, beside `crd`, has 0.2 and 4: `cifar100_wttm`.

    Args:
        s, t: logits of student and teacher [B, C].
        gamma: power, over 0.
        weighted: True for WTTM.
    """
    log_q = F.log_softmax(gamma * t, dim=1)
    gaps = F.kl_div(F.log_softmax(s, dim=1), log_q, reduction="none", log_target=True).sum(dim=1)
    if weighted:
        gaps = torch.logsumexp(gamma * F.log_softmax(t, dim=1), dim=1).exp() * gaps
    return gaps.mean()


class TTM(Loss):
    """Term `ttm`: `transformed_kl` of the task logits of both sides."""

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = TTMParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher)
        return {"ttm": transformed_kl(s, t, self.params.gamma, self.params.weighted)}
