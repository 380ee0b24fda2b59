"""Correlation congruence: the same kernel matrix over the batch on both sides."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import CCParams
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.models.outputs import Outputs


def correlation(h: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """C_ij = exp(-2 gamma) sum_{p=0..P} (2 gamma)^p / p! <z_i, z_j>^p, with z = h / ||h||: [B, D] -> [B, B].

    This is the Gaussian kernel exp(-gamma ||z_i - z_j||^2), expanded around orthogonal z to order P.

    Source: Peng et al. 2019, "Correlation Congruence for Knowledge Distillation" (arXiv 1904.01802), section 3.3.
    """
    z = unit(h)
    cosine = z @ z.T
    terms = [(2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(terms).sum(dim=0)


def neighbour_products(h_student: Tensor, h_teacher: Tensor) -> Tensor:
    """1/(B - 1) sum_{b < B} <|h_s - h_t|_b, |h_s - h_t|_{b+1}>: distances of neighbours in the batch, multiplied.

    Source: the public code of RepDistiller, which had it from the authors. It is not the formula of the paper, and the
    published CIFAR-100 figures of CC are of it, with weight 0.02 and a linear layer to 128 dimensions on either side.

    Args:
        h_student, h_teacher: [B, D] each. A single sample has no neighbour: 0.
    """
    distance = (h_student - h_teacher).abs()
    return (distance[:-1] * distance[1:]).sum() / max(len(distance) - 1, 1)


class CC(Loss):
    """Term `cc`: 1/B^2 ||C(h_s) - C(h_t)||_F^2, with the matrix C of `correlation`; or `neighbour_products`.

    The second, with `form: neighbours`, is of linear projections of both embeddings to `dim`, which train.

    Source: as `correlation`, section 3.2 and the defaults of its experiments; it has no official code in public. At
    weight 0.02, which is RepDistiller's for its own form, the gradient of the first is thousands of times under CE's.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CCParams(**params)
        self.projectors = nn.ModuleList()
        if self.params.form == "neighbours":
            widths = context.student_dim, teacher_width(context)
            self.projectors.extend(nn.Linear(width, self.params.dim) for width in widths)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        sides = student.embedding, teacher.embedding
        if self.projectors:
            return {"cc": neighbour_products(*(layer(h) for layer, h in zip(self.projectors, sides, strict=True)))}
        c_student, c_teacher = (correlation(h, self.params.gamma, self.params.order) for h in sides)
        return {"cc": F.mse_loss(c_student, c_teacher)}
