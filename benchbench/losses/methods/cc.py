"""Correlation congruence: the same kernel matrix over the batch on both sides."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import CCParams
from benchbench.losses.embeddings import unit
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


class CC(Loss):
    """Term `cc`: 1/B^2 ||C(h_s) - C(h_t)||_F^2, with the matrix C of `correlation`.

    Source: as there, section 3.2 and the defaults of its experiments. It has no official code in public. What another
    collection of methods runs under this name (RepDistiller, which had it from the authors) is a different formula:
    products of the absolute differences of neighbours in the batch, after projections to a common width.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CCParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        h_student, h_teacher = student.embedding, teacher.embedding
        c_student, c_teacher = (correlation(h, self.params.gamma, self.params.order) for h in (h_student, h_teacher))
        return {"cc": F.mse_loss(c_student, c_teacher)}
