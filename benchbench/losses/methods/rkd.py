"""Relational knowledge distillation: the same distances and angles between samples on both sides."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import RKDParams
from benchbench.losses.embeddings import unit
from benchbench.models.outputs import Outputs


def relations(h: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [B, B] in units of their mean, and cosines [B, B, B] of the angles at the first index.

    distance_ij = ||h_i - h_j|| / mu, mu the mean over the pairs that are apart; cosine_jik = <e_ji, e_jk>, with
    e_ji = (h_i - h_j) / ||h_i - h_j||, and 0 where two of the samples coincide.

    Source: Park et al. 2019, "Relational Knowledge Distillation" (arXiv 1904.05068), sections 3.2.1 and 3.2.2.

    Args:
        h: embeddings [B, D]. Memory grows as B^2 D and B^3.
    """
    difference = h.unsqueeze(0) - h.unsqueeze(1)  # [j, i]: h_i - h_j
    distance = torch.linalg.vector_norm(difference, dim=2)
    pairs = (distance > 0).sum()
    mean = distance.sum() / pairs.clamp(min=1)
    direction = unit(difference)
    return distance / torch.where(pairs > 0, mean, 1.0), direction @ direction.transpose(1, 2)


class RKD(Loss):
    """Terms `distance` and `angle`: a weight times the mean Huber loss (delta = 1) between both sides' `relations`.

    The means are the official code's, over all B^2 pairs and B^3 triplets, where a sample paired with itself adds 0;
    the paper sums over distinct samples. Its weights, the defaults, are those of classification. The public script
    for that scales embeddings to unit length first, which the paper does not mention and this does not do. A batch of
    one has no relations: both terms are 0.

    Source: see `relations`; sections 3.2.3 and 4.2.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = RKDParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        (d_student, a_student), (d_teacher, a_teacher) = relations(student.embedding), relations(teacher.embedding)
        return {
            "distance": self.params.distance * F.smooth_l1_loss(d_student, d_teacher),
            "angle": self.params.angle * F.smooth_l1_loss(a_student, a_teacher),
        }
