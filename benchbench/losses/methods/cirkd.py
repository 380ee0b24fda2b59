"""Cross-image relations: a position is to those of every image of the batch what it is to the teacher."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import CIRKDParams
from benchbench.losses.embeddings import unit
from benchbench.losses.positions import read_positions, require_positions
from benchbench.models.outputs import Outputs


def cross_image_kl(s: Tensor, t: Tensor, temperature: float = 0.1) -> Tensor:
    """1/(B^2 N) sum_bdi KL(softmax_j(<t_bi, t_dj> / T) || softmax_j(<s_bi, s_dj> / T)), of unit vectors.

    Each position i of image b has one distribution over the N positions j of every image d, its own too.

    Source: Yang et al. 2022, "Cross-Image Relational Knowledge Distillation for Semantic Segmentation" (arXiv
    2204.06986), section 3: the term within the mini-batch. Their code has T = 0.1 and weight 1 beside `kd`, and two
    terms with a memory of pixels and regions, which are not here.

    Args:
        s, t: vectors of positions [B, N, C_s] and [B, N, C_t], brought to unit length here. Memory grows as B^2 N^2.
        temperature: T > 0.
    """
    count = s.shape[1]
    log_s, log_t = (
        F.log_softmax((rows @ rows.T).unflatten(1, (-1, count)) / temperature, dim=2)
        for rows in (unit(s).flatten(0, 1), unit(t).flatten(0, 1))
    )
    return F.kl_div(log_s.flatten(0, 1), log_t.flatten(0, 1), reduction="batchmean", log_target=True)


class CIRKD(Loss):
    """Term `cirkd`: `cross_image_kl` of positions of the last maps, by `read_positions`.

    The paper takes all positions, of which its maps of stride 8 have many. There is nothing to train but the student.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CIRKDParams(**params)
        require_positions(context, "loss 'cirkd' compares positions with those of other images")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        s, t = read_positions(student.features[-1], teacher.features[-1], self.params.positions)
        return {"cirkd": cross_image_kl(s, t, self.params.temperature)}
