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
from benchbench.losses.maps import both_maps, paired, same_size
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

    A, b and rho [D_t] train with the student; v starts at `variance` in every dimension. With `maps`, the sum of that
    of each pair of feature maps, with mu made of three 1x1 convolutions without bias and ReLU between, and v of each
    channel; the larger map is averaged down to the other's size.

    Source: as there. Paper and official code compare feature maps of several depths, as `maps` does. On the pooled
    embedding, models without feature maps can take part.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = VIDParams(**params)
        self.pairs = paired(context) if self.params.maps else []
        maps = [(context.student_features[s][0], context.teacher_features[t][0]) for s, t in self.pairs]
        widths = maps or [(context.student_dim, teacher_width(context))]
        self.means = nn.ModuleList(_predictor(*each) if maps else build_projector("linear", *each) for each in widths)
        start = self.params.variance - EPS
        # The inverse of softplus, in a form that does not overflow.
        rho = start + math.log(-math.expm1(-start))
        self.rhos = nn.ParameterList(nn.Parameter(torch.full((width,), rho)) for _, width in widths)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        sides = [same_size(*each) for each in both_maps(student, teacher, self.pairs)]
        values = []
        for mean, rho, (s, t) in zip(
            self.means, self.rhos, sides or [(student.embedding, teacher.embedding)], strict=True
        ):
            variance = F.softplus(rho) + EPS
            values.append(gaussian_nll(mean(s), variance[:, None, None] if sides else variance, t))
        return {"vid": values[0] if len(values) == 1 else torch.stack(values).sum()}


def _predictor(c_in: int, c_out: int) -> nn.Sequential:
    layers = [nn.Conv2d(each, c_out, 1, bias=False) for each in (c_in, c_out, c_out)]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
