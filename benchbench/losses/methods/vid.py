"""Variational information distillation: how well the student's embedding predicts the teacher's."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import VIDParams
from benchbench.losses.embeddings import teacher_width
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs

EPS = 1e-5  # the official code's: the least variance


def gaussian_nll(mean: Tensor, variance: Tensor, target: Tensor) -> Tensor:
    """1/(B D) sum_ij 1/2 [(t_ij - mu_ij)^2 / v_j + log v_j]; the constant log(2 pi) / 2 is left out.

    Negative where the prediction is good. The least over v_j is at the mean squared error of column j.

    Source: Ahn et al. 2019, "Variational Information Distillation for Knowledge Transfer" (arXiv 1904.05835), section
    3.1. The paper sums over dimensions; the mean is the official code's.

    Args:
        mean: mu [B, D].
        variance: v [D], above 0.
        target: t [B, D].
    """
    return 0.5 * ((target - mean).square() / variance + variance.log()).mean()


class VID(Loss):
    """Term `vid`: `gaussian_nll` of the teacher's embedding, with mu = A h_s + b and v = softplus(rho) + eps.

    A, b and rho [D_t] train with the student; v starts at `variance` in every dimension.

    Source: as there. Paper and official code compare feature maps of several depths, with mu made of 1x1 convolutions;
    here it is the pooled embedding, with one affine map.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = VIDParams(**params)
        width = teacher_width(context)
        self.mean = build_projector("linear", context.student_dim, width)
        start = self.params.variance - EPS
        # The inverse of softplus, in a form that does not overflow.
        self.rho = nn.Parameter(torch.full((width,), start + math.log(-math.expm1(-start))))
        self.to(context.device)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"vid": gaussian_nll(self.mean(student.embedding), F.softplus(self.rho) + EPS, teacher.embedding)}
