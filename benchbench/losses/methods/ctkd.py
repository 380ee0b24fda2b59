"""Curriculum temperature: distillation at a temperature that is trained against the student."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import CTKDParams
from benchbench.losses.logits import both_logits
from benchbench.losses.methods.kd import distillation_kl
from benchbench.models.outputs import Outputs


def curriculum(epoch: float, start: float = 0.0, end: float = 1.0, loops: float = 10.0) -> float:
    """lambda = end + (start - end) (1 + cos(pi e / loops)) / 2, with e the epoch, at least 0 and at most `loops`."""
    done = min(max(epoch / loops, 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


class Adversary(torch.autograd.Function):
    """x, whose gradient is multiplied by -lambda: what descends for the rest ascends for x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


class CTKD(Loss):
    """Term `ctkd`: `distillation_kl` at T = t_min + t_range sigmoid(theta), theta learned against the student.

    theta is one number for all samples (the paper's global version), 1 at first, so that T is 15.6. It ascends the loss
    that the student descends, by the gradient times `curriculum` of the epoch; T^2 is part of what it ascends.

    Source: Li et al. 2023, "Curriculum Temperature for Knowledge Distillation" (arXiv 2211.16231), section 3; the form
    of T, its range of 1 to 21 and the start are the official code's, whose weights are 0.9 for this loss and 0.1 for
    cross-entropy. There lambda moves once an epoch, from epoch 1 on; here with every step, from 0 on. Its optimiser is
    SGD: under Adam, whose steps hardly depend on the gradient's size, the curriculum shows less.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CTKDParams(**params)
        self.theta = nn.Parameter(torch.ones(()))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        p = self.params
        s, t = both_logits(student, teacher, p.standardize)
        theta: Tensor = Adversary.apply(self.theta, curriculum(batch.epoch, p.start, p.end, p.loops))
        return {"ctkd": distillation_kl(s, t, p.t_min + p.t_range * torch.sigmoid(theta))}
