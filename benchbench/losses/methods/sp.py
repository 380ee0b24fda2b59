"""Similarity-preserving distillation: the same similarities within the batch on both sides."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import SPParams
from benchbench.losses.embeddings import unit
from benchbench.models.outputs import Outputs


def similarity_gap(h_student: Tensor, h_teacher: Tensor) -> Tensor:
    """1/B^2 ||G_s - G_t||_F^2, where the rows of G are those of h h^T, each divided by its Euclidean norm.

    A batch of one has G = 1 on both sides: the value is 0.

    Source: Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation" (arXiv 1907.09682), section 3.

    Args:
        h_student, h_teacher: embeddings [B, D_s] and [B, D_t].
    """
    return F.mse_loss(unit(h_student @ h_student.T), unit(h_teacher @ h_teacher.T))


class SP(Loss):
    """Term `sp`: `similarity_gap` of the embeddings of both sides; there is nothing to train but the student.

    With `maps`, of the last feature maps, flattened, as in RepDistiller and mdistiller, which weigh it by 3000; the
    paper adds up several depths. On the pooled embedding, models without feature maps can take part.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SPParams(**params)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        if self.params.maps:
            return {"sp": similarity_gap(student.features[-1].flatten(1), teacher.features[-1].flatten(1))}
        return {"sp": similarity_gap(student.embedding, teacher.embedding)}
