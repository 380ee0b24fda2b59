"""DIST: match the relations within the teacher's predictions, not the predictions themselves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import DISTParams
from benchbench.losses.logits import both_logits
from benchbench.models.outputs import Outputs

EPS = 1e-8  # the official code's, beside the product of the two norms


def relation_gap(x: Tensor, y: Tensor) -> Tensor:
    """1 minus Pearson's correlation of x_i and y_i, averaged over the rows i.

    A row without spread counts as uncorrelated, and passes no gradient. Because of eps the same is nearly true of rows
    whose spread is small (about 1e-4), so that the gap of a side from itself is above 0 by their share.

    Source: Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher" (arXiv 2205.10536), section 3; eps is
    the official code's.

    Args:
        x, y: [rows, columns].
    """
    x, y = x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True)
    norms = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(y, dim=1)
    return 1 - ((x * y).sum(dim=1) / (norms + EPS)).mean()


class DIST(Loss):
    """Terms `inter`: beta tau^2 gap(P_s, P_t); `intra`: gamma tau^2 gap(P_s^T, P_t^T), with P = softmax(z / tau).

    inter relates the classes of one sample (rows), intra the samples of one class (columns). One sample has no
    intra-class relation: for a batch of one that term is 0.

    Source: see `relation_gap`; the total loss without the task's cross-entropy. The factor tau^2 is the official
    code's, and so are the defaults. Standardised logits (Sun et al. 2024) are an option that neither paper tried.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = DISTParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        tau = self.params.temperature
        s, t = torch.softmax(s / tau, dim=1), torch.softmax(t / tau, dim=1)
        intra = relation_gap(s.T, t.T) if len(s) > 1 else 0.0 * s.sum()
        return {"inter": self.params.beta * tau**2 * relation_gap(s, t), "intra": self.params.gamma * tau**2 * intra}
