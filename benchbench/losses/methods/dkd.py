"""Decoupled knowledge distillation: the target class and the others, each with a weight of its own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import DKDParams
from benchbench.losses.logits import both_logits, non_target
from benchbench.losses.schedules import warmed
from benchbench.models.outputs import Outputs


def decoupled_kl(s: Tensor, t: Tensor, labels: Tensor, temperature: float = 4.0) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD, each T^2 times a KL divergence from teacher to student, averaged over the batch.

    TCKD compares b = (p_y, 1 - p_y), the softened probabilities of the target y against all others together; NCKD
    compares the distribution over the other C - 1 classes alone, renormalised. KD is TCKD + (1 - p_y of the teacher)
    NCKD, sample by sample.

    Source: Zhao et al. 2022, "Decoupled Knowledge Distillation" (arXiv 2203.08679), section 3.1. The factor
    T^2 is the official code's. That code takes y out of NCKD by subtracting 1000 from its logit; here it is left out.

    Args:
        s, t: logits of student and teacher [B, C], C at least 2.
        labels: y [B].
        temperature: T > 0.
    """

    def log_binary(z: Tensor, others: Tensor) -> Tensor:
        masses = torch.cat([z.gather(1, labels.unsqueeze(1)), others.logsumexp(dim=1, keepdim=True)], dim=1)
        return F.log_softmax(masses, dim=1)

    s, t = s / temperature, t / temperature
    s_others, t_others = non_target(s, labels), non_target(t, labels)
    pairs = [
        (log_binary(s, s_others), log_binary(t, t_others)),
        (F.log_softmax(s_others, dim=1), F.log_softmax(t_others, dim=1)),
    ]
    target, rest = (F.kl_div(p, q, reduction="batchmean", log_target=True) for p, q in pairs)
    return temperature**2 * target, temperature**2 * rest


class DKD(Loss):
    """Terms `target`: alpha TCKD; `non_target`: beta NCKD; `decoupled_kl`, of standardised logits with `standardize`.

    Source: as there, section 3.3. The defaults suit most of its CIFAR-100 pairs; its ImageNet runs have beta 0.5 and
    T 1. `warmup_epochs` raises both terms linearly from 0, as the official code does over 20 epochs on CIFAR-100 and
    over one on ImageNet; it counts whole epochs, here it is a ramp.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = DKDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        target, rest = decoupled_kl(s, t, batch.labels, self.params.temperature)
        weight = warmed(batch, self.params.warmup_epochs)
        return {"target": weight * self.params.alpha * target, "non_target": weight * self.params.beta * rest}
