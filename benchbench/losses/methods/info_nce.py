"""Contrast within the batch: an image's teacher embedding against those of the other images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import InfoNCEParams
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs


def info_nce(z_student: Tensor, z_teacher: Tensor, temperature: float = 0.07) -> Tensor:
    """-1/B sum_i log(exp(<z_s,i, z_t,i> / T) / sum_j exp(<z_s,i, z_t,j> / T)).

    The B - 1 other images are the negatives, of the same class too. A batch of one has none: the value is 0.

    Source: van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding" (arXiv 1807.03748),
    Eq. 4, with the scaled cosine as its log density ratio. T = 0.07 is from Wu et al. 2018 (arXiv 1805.01978).

    Args:
        z_student, z_teacher: unit vectors [B, d].
        temperature: T > 0.
    """
    scores = z_student @ z_teacher.T / temperature
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


class InfoNCE(Loss):
    """Term `info_nce`: `info_nce` of z = g(h) / ||g(h)||, with a projector g for each side.

    Both projectors train, the embedding h of the teacher is a constant. The anchors are the student's alone. Projectors
    with batch normalisation normalise a batch of one by their running statistics.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = InfoNCEParams(**params)
        kind, dim, width = self.params.projector, self.params.dim, teacher_width(context)
        self.student_projector = build_projector(kind, context.student_dim, dim)
        self.teacher_projector = build_projector(kind, width, dim)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        h_student, h_teacher = student.embedding, teacher.embedding
        z_student, z_teacher = unit(self.student_projector(h_student)), unit(self.teacher_projector(h_teacher))
        return {"info_nce": info_nce(z_student, z_teacher, self.params.temperature)}
