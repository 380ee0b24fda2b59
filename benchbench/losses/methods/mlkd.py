"""Multi-level logit distillation: predictions aligned by instance, by batch and by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import MLKDParams
from benchbench.losses.logits import both_logits
from benchbench.losses.methods.kd import distillation_kl
from benchbench.models.outputs import Outputs


def relation_errors(s: Tensor, t: Tensor, temperatures: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The squared differences of the sides' relations between samples, and between classes, summed over temperatures.

    batch = 1/B sum_T ||P_s P_s' - P_t P_t'||^2 and class = 1/C sum_T ||P_s' P_s - P_t' P_t||^2, with P = softmax(z / T)
    [B, C], ' the transpose and ||.|| the Frobenius norm.

    Args:
        s, t: logits of student and teacher [B, C].
        temperatures: every T > 0.
    """
    p, q = (torch.stack([F.softmax(z / temperature, dim=1) for temperature in temperatures]) for z in (s, t))
    samples, classes = p @ p.mT - q @ q.mT, p.mT @ p - q.mT @ q
    return samples.square().sum() / s.shape[0], classes.square().sum() / s.shape[1]


class MLKD(Loss):
    """Terms `instance`: sum_T `distillation_kl` at T; `batch` and `class`: see `relation_errors`.

    `standardize` concerns the instances alone, as in the public code of Sun et al. 2024 (arXiv 2403.01427), who combine
    their method with this one.

    Source: Jin, Wang and Lin 2023, "Multi-Level Logit Distillation" (CVPR 2023), section 3, which adds the three up
    with equal weights; the temperatures are the official code's. That code takes two views of each image: all terms of
    the weakly augmented one, the instances' also of the strong one. It masks the samples and classes of which the
    teacher is more confident than of the median one; but its masks multiply values that are averages already, so that
    they act as a factor of about one half on the weak view's terms. Here there is one view, the batch's own, and no
    mask. Its default weights are 0.9 for each term and 0.1 for the cross-entropy of each view.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = MLKDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        temperatures = self.params.temperatures
        s, t = both_logits(student, teacher, self.params.standardize)
        instance = torch.stack([distillation_kl(s, t, temperature) for temperature in temperatures]).sum()
        samples, classes = relation_errors(*both_logits(student, teacher), temperatures)
        return {"instance": instance, "batch": samples, "class": classes}
