"""Structured knowledge distillation, pair-wise: parts of an image are as alike to the student as to the teacher."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import SKDPairwiseParams
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import same_size
from benchbench.losses.positions import require_positions
from benchbench.models.outputs import Outputs


def affinity_gap(f_student: Tensor, f_teacher: Tensor, patch: int = 1) -> Tensor:
    """1/(B N^2) sum_bij (a^s_bij - a^t_bij)^2, a_bij the cosine of the nodes i and j of image b, of N nodes each.

    A node is the mean of a square of `patch` x `patch` positions, or of what the map's border leaves of one.

    Source: Liu et al. 2019, "Structured Knowledge Distillation for Semantic Segmentation" (arXiv 1903.04197), section
    3, with every node connected to every other. Their code takes the maximum in place of the mean, of squares half as
    wide as the map; it takes the norms as constants, and weighs the term by 0.5 or 1.

    Args:
        f_student, f_teacher: maps [B, C_s, H, W] and [B, C_t, H, W]. Memory grows as B N^2.
        patch: positions a side of a node.
    """
    nodes = (F.avg_pool2d(x, patch, ceil_mode=True).flatten(2).mT for x in (f_student, f_teacher))
    s, t = (unit(each) for each in nodes)
    return F.mse_loss(s @ s.mT, t @ t.mT)


class SKDPairwise(Loss):
    """Term `skd_pairwise`: `affinity_gap` of the last maps, the larger one averaged down to the other's size.

    There is nothing to train but the student. The pixel-wise term of the paper is `kd`. A node of the paper has 2 x 2
    positions of stride 8: 16 pixels a side, less than one position of a backbone with stride 32.

    Source: see `affinity_gap`.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SKDPairwiseParams(**params)
        require_positions(context, "loss 'skd_pairwise' compares parts of an image with each other")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        f_student, f_teacher = same_size(student.features[-1], teacher.features[-1])
        patch = min(self.params.patch, max(f_student.shape[-2:]) - 1)  # two nodes at least
        return {"skd_pairwise": affinity_gap(f_student, f_teacher, patch)}
