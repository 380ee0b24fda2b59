"""Alignment and uniformity as a distillation loss: the method's own embedding loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import AlignUniformParams
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs


def align(z_student: Tensor, z_teacher: Tensor, alpha: float = 2.0) -> Tensor:
    """Alignment: 1/B sum_i ||z_s,i - z_t,i||_2^alpha.

    Source: Wang and Isola 2020 (arXiv 2005.10242), section 4.1.1; the positive pair is one image seen by both sides.

    Args:
        z_student, z_teacher: unit vectors [B, d].
        alpha: the power, at least 1.
    """
    return torch.linalg.vector_norm(z_student - z_teacher, dim=1).pow(alpha).mean()


def uniform(z: Tensor, t: float = 2.0) -> Tensor:
    """Uniformity: log of the mean of exp(-t ||z_i - z_j||^2) over the B(B-1)/2 pairs i < j.

    Source: Wang and Isola 2020 (arXiv 2005.10242), section 4.1.2. Their code takes the logarithm of the mean itself;
    the log-sum-exp here has the same value and stays finite where every potential underflows (large t). A batch of one
    has no pairs: the value is 0 and so is the gradient.

    Args:
        z: unit vectors [B, d].
        t: sharpness, above 0.
    """
    pairs = z.shape[0] * (z.shape[0] - 1) // 2
    if pairs == 0:
        return 0.0 * z.sum()
    return torch.logsumexp(-t * torch.pdist(z).square(), dim=0) - math.log(pairs)


class AlignUniform(Loss):
    """Terms `align`: `align(z_s, z_t)`; `uniform`: (uniform(z_s) + uniform(z_t)) / 2.

    z = g(h) / ||g(h)||, with a projector g for each side; both train, the embedding h of the teacher is a constant.
    Projectors with batch normalisation normalise a batch of one by their running statistics.

    Source: Farhat and Chen 2024 (arXiv 2404.03263), and their public code, where both terms have weight 1.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = AlignUniformParams(**params)
        self.student_projector = build_projector(self.params.projector, context.student_dim, self.params.dim)
        self.teacher_projector = build_projector(self.params.projector, teacher_width(context), self.params.dim)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        z_student = unit(self.student_projector(student.embedding))
        z_teacher = unit(self.teacher_projector(teacher.embedding))
        spread = (uniform(z_student, self.params.t) + uniform(z_teacher, self.params.t)) / 2
        return {"align": align(z_student, z_teacher, self.params.alpha), "uniform": spread}
