"""Refined logit distillation: what a teacher that errs says of a sample, without what contradicts its label."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import RLDParams
from benchbench.losses.logits import both_logits
from benchbench.losses.schedules import warmed
from benchbench.models.outputs import Outputs


def sample_confidence(s: Tensor, t: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 / B sum_i KL(b(max_c p_t(c)) || b(p_s(y_i))), with b(x) = (x, 1 - x) and p = softmax(z / T).

    The student is to be as sure of the true class as the teacher is of the one it prefers, whichever that is.

    Args:
        s, t: logits of student and teacher [B, C].
        labels: y [B].
        temperature: T > 0.
    """
    log_s, log_t = (_log_binary(z / temperature, k) for z, k in ((s, labels), (t, t.argmax(dim=1))))
    return temperature**2 * F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def masked_correlation(s: Tensor, t: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 / B sum_i KL(q_t || q_s), with q the softmax of z / T over the classes that the teacher puts below y_i.

    A sample of which the teacher puts no class below the true one counts as 0.

    Args:
        s, t, labels, temperature: as for `sample_confidence`.
    """
    masked = t >= t.gather(1, labels.unsqueeze(1))
    # Not -inf: where all are masked, the softmax is uniform on both sides, and the divergence 0.
    log_s, log_t = (F.log_softmax((z / temperature).masked_fill(masked, -1e9), dim=1) for z in (s, t))
    return temperature**2 * F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def _log_binary(z: Tensor, classes: Tensor) -> Tensor:
    """(log p(k), log(1 - p(k))) [B, 2] of one class k of each sample, exact where p is close to 1."""
    own = classes.unsqueeze(1)
    log_p = F.log_softmax(z, dim=1)
    rest = log_p.scatter(1, own, float("-inf")).logsumexp(dim=1, keepdim=True)
    return torch.cat([log_p.gather(1, own), rest], dim=1)


class RLD(Loss):
    """Terms `confidence`, alpha times `sample_confidence`; `correlation`, beta times `masked_correlation`.

    Source: Sun et al. 2024, "Knowledge Distillation with Refined Logits" (arXiv 2408.07703), section 3. The official
    code raises both terms from 0 over 20 epochs: `warmup_epochs`. The defaults are those of `dkd`.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = RLDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = both_logits(student, teacher, self.params.standardize)
        options, weight = (batch.labels, self.params.temperature), warmed(batch, self.params.warmup_epochs)
        return {
            "confidence": weight * self.params.alpha * sample_confidence(s, t, *options),
            "correlation": weight * self.params.beta * masked_correlation(s, t, *options),
        }
