"""Matching logits: regression onto the teacher's outputs before the softmax."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import LogitParams
from benchbench.losses.logits import both_logits
from benchbench.models.outputs import Outputs


def logit_error(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """1/(B C) sum_ic (s_ic - t_ic)^2.

    Source: Ba and Caruana 2014, "Do Deep Nets Really Need to be Deep?" (arXiv 1312.6184), section 2.2. That objective
    is 1/(2B) sum_i ||s_i - t_i||^2, which is C / 2 times this one: a weight of C / 2 in the suite gives theirs. The
    mean over classes keeps one weight usable on data sets with few and with many classes.

    Args:
        student_logits: s [B, C].
        teacher_logits: t [B, C].
    """
    return F.mse_loss(student_logits, teacher_logits)


class LogitMSE(Loss):
    """Term `logit_mse`: `logit_error` of the task logits of both sides.

    Of standardised logits (Sun et al. 2024; an option that neither paper tried) it is 2 - 2 times Pearson's correlation
    of the two sides, averaged over the samples.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = LogitParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"logit_mse": logit_error(*both_logits(student, teacher, self.params.standardize))}
