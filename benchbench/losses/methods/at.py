"""Attention transfer: where the teacher's maps are strong, the student's are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import ATParams
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs


def attention_gap(a_student: Tensor, a_teacher: Tensor, p: float = 2.0) -> Tensor:
    """1/(B H W) sum_b || Q_s / ||Q_s|| - Q_t / ||Q_t|| ||^2, with the attention map Q = 1/C sum_c |A_c|^p.

    A larger attention map is averaged down to the other's size before it is normalised.

    Source: Zagoruyko and Komodakis 2017, "Paying More Attention to Attention" (arXiv 1612.03928), section 3.1, Eq. 2;
    the mean over channels, which the norm cancels, and the mean of the squares in place of their root are the official
    code's. The paper resizes attention maps; RepDistiller averages the maps A themselves, and signs cancel.

    Args:
        a_student, a_teacher: maps [B, C_s, H_s, W_s] and [B, C_t, H_t, W_t].
        p: power, 1 or more.
    """
    q_student, q_teacher = same_size(*(a.abs().pow(p).mean(dim=1, keepdim=True) for a in (a_student, a_teacher)))
    return F.mse_loss(unit(q_student.flatten(1)), unit(q_teacher.flatten(1)))


class AT(Loss):
    """Term `at`: the sum of `attention_gap` over the paired maps; there is nothing to train but the student.

    Source: as there; the weight is 1000 in the official code, in RepDistiller and in mdistiller.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = ATParams(**params)
        self.pairs = paired(context)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        gaps = [attention_gap(*maps, self.params.p) for maps in both_maps(student, teacher, self.pairs)]
        return {"at": torch.stack(gaps).sum()}
