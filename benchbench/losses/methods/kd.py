"""Knowledge distillation: match the teacher's softened class probabilities."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import KDParams
from benchbench.losses.logits import both_logits
from benchbench.models.outputs import Outputs


def distillation_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor = 4.0) -> Tensor:
    """Temperature-scaled KL divergence from teacher to student.

    KD = T^2 / B * sum_i KL(softmax(t_i / T) || softmax(s_i / T)). The factor T^2 keeps the gradient's size comparable
    over T, because the gradient of the softened KL shrinks as 1 / T^2.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), section 2,
    Eq. 1 (the softened softmax) and the remark on T^2. That paper minimises the cross-entropy with the soft targets:
    the KL divergence plus the teacher's entropy, a constant, so that the gradients agree. The public code of Farhat and
    Chen (arXiv 2404.03263) computes this same KL, summed over classes and averaged over the batch.

    Args:
        student_logits: s [B, C].
        teacher_logits: t [B, C].
        temperature: T > 0; a tensor gets a gradient, through both sides.
    """
    student_log_p = F.log_softmax(student_logits / temperature, dim=1)
    teacher_log_p = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(student_log_p, teacher_log_p, reduction="batchmean", log_target=True)


class KD(Loss):
    """Term `kd`: `distillation_kl` of the task logits of both sides, or of their `standardized` form."""

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = KDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        return {"kd": distillation_kl(s, t, self.params.temperature)}
