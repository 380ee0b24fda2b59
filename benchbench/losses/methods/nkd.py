"""Normalised knowledge distillation: the teacher's confidence in the target, and normalised non-target classes."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import NKDParams
from benchbench.losses.logits import both_logits, non_target
from benchbench.models.outputs import Outputs


def normalized_kd(s: Tensor, t: Tensor, labels: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """The target's soft cross-entropy, and T^2 times that of the others, averaged over the batch.

    target = -1/B sum_i p_t(y_i) log p_s(y_i), with p the softmax over all classes at T = 1.
    others = -T^2/B sum_i sum_{c != y_i} q_t(c) log q_s(c), with q the softmax of z / T over the classes other than y_i.

    These are cross-entropies: the second is least where q_s = q_t, at the entropy of q_t; the first falls until
    p_s(y) = 1, whatever the teacher's p_t(y).

    Source: Yang et al. 2023, "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with
    Normalized Loss and Customized Soft Labels" (arXiv 2303.13005), section 3. That T stays out of the target's part is
    from the official code.

    Args:
        s, t: logits of student and teacher [B, C], C at least 2.
        labels: y [B].
        temperature: T > 0.
    """
    own = labels.unsqueeze(1)
    target = F.softmax(t, dim=1).gather(1, own) * F.log_softmax(s, dim=1).gather(1, own)
    s_others, t_others = non_target(s, labels) / temperature, non_target(t, labels) / temperature
    rest = (F.softmax(t_others, dim=1) * F.log_softmax(s_others, dim=1)).sum(dim=1)
    return -target.mean(), -(temperature**2) * rest.mean()


class NKD(Loss):
    """Terms `target` and `non_target`, the second times gamma: see `normalized_kd`.

    Standardised logits (Sun et al. 2024) are an option that neither paper tried; they then stand in both terms.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = NKDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        target, rest = normalized_kd(s, t, batch.labels, self.params.temperature)
        return {"target": target, "non_target": self.params.gamma * rest}
