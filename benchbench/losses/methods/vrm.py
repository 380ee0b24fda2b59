"""Virtual relation matching: differences of predictions between two views of the images of a batch."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.logits import VRMParams
from benchbench.losses.embeddings import unit
from benchbench.losses.logits import both_logits
from benchbench.models.outputs import Outputs


def edges(real: Tensor, virtual: Tensor) -> Tensor:
    """E_mn = (u_m - v_n) / ||u_m - v_n||, [N, M, D] of vertices [N, D] and [M, D]; 0 where the two coincide.

    Source: Zhang, Xie, Cai and Ma 2025, "VRM: Knowledge Distillation via Virtual Relation Matching" (ICCV 2025, arXiv
    2502.20760), section 4.
    """
    return unit(real[:, None] - virtual[None])


def reliable(real: Tensor, virtual: Tensor, pruned: float) -> Tensor:
    """The edges [B, B] that are kept: all but a share of them, those of the largest joint entropy H(p_m) + H(p_n).

    Args:
        real, virtual: logits of the student for both views [B, C]; p are their softmax.
        pruned: the share.
    """
    first, second = (-(F.softmax(z, 1) * F.log_softmax(z, 1)).sum(1) for z in (real.detach(), virtual.detach()))
    entropy = first[:, None] + second[None]
    kept = max(1, math.ceil((1 - pruned) * entropy.numel()))
    return entropy <= entropy.flatten().sort().values[kept - 1]


def edge_error(student: Tensor, teacher: Tensor, kept: Tensor | None = None) -> Tensor:
    """Mean over edges [N, M, D], or those kept [N, M], of 1/D sum_d Huber(E^s_d - E^t_d), quadratic up to 1."""
    errors = F.huber_loss(student, teacher, reduction="none").mean(2)
    return errors.mean() if kept is None else torch.where(kept, errors, 0.0).sum() / kept.sum()


class VRM(Loss):
    """Terms `samples`: alpha `edge_error` of the `edges` between the logits of one view of each image and those of the
    other view of each; `classes`: beta that of the edges between the logits of each class over the batch, likewise.

    The first view is the batch, the second one another draw of the recipe's augmentation; both networks run on both. Of
    the samples' edges the `reliable` ones count. Edges within a view, and the other half of those between views, are
    redundant and left out, as in the paper. Memory grows with B^2 C and C^2 B.

    Source: as `edges`. In the paper the second view alone has RandAugment. Its official code could not be compared:
    the two weights, the share that is pruned, and entropies that add up as those of independent predictions are this
    package's; cross-entropy, a loss of its own here, reads the first view.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = VRMParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        params, second_s, second_t = self.params, student.second_view, teacher.second_view
        assert second_s is not None
        assert second_t is not None
        s, t = both_logits(student, teacher, params.standardize)
        virtual_s, virtual_t = both_logits(second_s, second_t, params.standardize)
        kept = reliable(s, virtual_s, params.pruned)
        return {
            "samples": params.alpha * edge_error(edges(s, virtual_s), edges(t, virtual_t), kept),
            "classes": params.beta * edge_error(edges(s.T, virtual_s.T), edges(t.T, virtual_t.T)),
        }
