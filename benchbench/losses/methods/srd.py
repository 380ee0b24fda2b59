"""The simple recipe: a linear projector, batch normalisation of both sides, and a distance that stresses outliers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import SRDParams
from benchbench.losses.embeddings import teacher_width
from benchbench.losses.projectors import BatchNorm, build_projector
from benchbench.models.outputs import Outputs

BN_EPS = 1e-4  # the official code's
EPS = 1e-7  # keeps the logarithm finite where the two sides agree; the official code has none


def log_sum(z_student: Tensor, z_teacher: Tensor, alpha: float = 4.0) -> Tensor:
    """log(sum_ij |z_s,ij - z_t,ij|^alpha + eps).

    Source: Miles and Mikolajczyk 2024, "Understanding the Role of the Projector in Knowledge Distillation" (arXiv
    2303.11098), the LogSum distance with alpha = 4. The sum runs over batch and dimensions, as in the official code.

    Args:
        z_student, z_teacher: normalised embeddings [B, D_t].
        alpha: 1 or more; the larger, the more the largest differences count.
    """
    return ((z_student - z_teacher).abs().pow(alpha).sum() + EPS).log()


class SRD(Loss):
    """Term `srd`: `log_sum` of BN(A h_s + b) and BN(h_t), batch normalisation without scale and shift.

    A: D_s -> D_t and b train with the student. A batch of one is normalised by the running statistics.

    Source: as there. The official code on ImageNet weighs this term by 2 and adds the divergence of the logits at
    temperature 1: `kd` in a suite.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SRDParams(**params)
        width = teacher_width(context)
        self.projector = build_projector("linear", context.student_dim, width)
        self.student_norm = BatchNorm(width, eps=BN_EPS, affine=False)
        self.teacher_norm = BatchNorm(width, eps=BN_EPS, affine=False)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        h_student, h_teacher = student.embedding, teacher.embedding
        z_student, z_teacher = self.student_norm(self.projector(h_student)), self.teacher_norm(h_teacher)
        return {"srd": log_sum(z_student, z_teacher, self.params.alpha)}
