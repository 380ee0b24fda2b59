"""Wasserstein distance of logits: probability moved between classes, at a cost of how alike they are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import WKDLogitsParams
from benchbench.losses.embeddings import unit
from benchbench.losses.logits import both_logits, non_target
from benchbench.losses.methods.nkd import normalized_kd
from benchbench.losses.schedules import decayed
from benchbench.models.outputs import Outputs

EPS = 1e-8  # the official code's, in costs and denominators


def class_costs(weight: Tensor, sharpen: float) -> Tensor:
    """c_kl = 1 - exp(-kappa max(1 - cos(w_k, w_l), 0)) + eps [K, K], w the rows of a classifier and kappa `sharpen`.

    Computed in float64, since a cosine of 1 would be a little more in float32.
    """
    directions = unit(weight.double())
    return (1 - torch.exp(-sharpen * F.relu(1 - directions @ directions.T)) + EPS).to(weight.dtype)


def transport(p: Tensor, q: Tensor, costs: Tensor, epsilon: float = 0.05, iterations: int = 10) -> Tensor:
    """1/B sum_i <P_i, c_i>, P_i the plan from p_i to q_i after Sinkhorn's iterations, which the gradient passes.

    Source: Lv, Yang and Li 2024, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation"
    (arXiv 2412.08139), section 3.1; epsilon and the number of iterations are the official code's.

    Args:
        p, q: distributions of student and teacher [B, N].
        costs: c [B, N, N].
        epsilon: weight of the plan's entropy.
        iterations: of Sinkhorn.
    """
    kernel = torch.exp(-costs / epsilon)
    u = torch.full_like(p, 1 / p.shape[1]).unsqueeze(2)
    v = u
    for _ in range(iterations):
        v = q.unsqueeze(2) / (kernel.mT @ u + EPS)
        u = p.unsqueeze(2) / (kernel @ v + EPS)
    return (u * kernel * v.mT * costs).sum(dim=(1, 2)).mean()


class WKDLogits(Loss):
    """Terms `target`: that of `nkd`; `transport`: gamma `transport` of the other classes' probabilities at T.

    The costs are `class_costs` of the teacher's classifier. From `decay_epoch` on, gamma falls to 0 by half a cosine.

    Source: as `transport`. The paper's costs are CKA between classes of the teacher's features of all training images;
    those of the classifier are the official code's other choice, and need no pass over them.
    """

    costs: Tensor

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = WKDLogitsParams(**params)
        if context.teacher_head is None:
            raise StageError("loss 'wkd_logits' needs a teacher with a task head; adapt the teacher to the task")
        if context.classes < 3:
            raise StageError("loss 'wkd_logits' moves probability between the classes beside the label: it needs three")
        self.register_buffer("costs", class_costs(context.teacher_head.weight.detach(), self.params.sharpen))
        self.epochs = context.epochs

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        p, labels = self.params, batch.labels
        s, t = both_logits(student, teacher)
        target, _ = normalized_kd(s, t, labels)
        s_rest, t_rest = (F.softmax(non_target(z, labels) / p.temperature, dim=1) for z in (s, t))
        column = torch.arange(s.shape[1] - 1, device=labels.device)
        kept = column + (column >= labels.unsqueeze(1))
        costs = self.costs[kept.unsqueeze(2), kept.unsqueeze(1)]
        moved = transport(s_rest, t_rest, costs, p.epsilon, p.iterations)
        return {"target": target, "transport": p.gamma * decayed(batch, p.decay_epoch, self.epochs) * moved}
