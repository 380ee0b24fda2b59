"""Regression of the student's embedding onto the teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.embeddings import teacher_width
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs


def embedding_error(connected: Tensor, target: Tensor) -> Tensor:
    """1/(B D_t) sum_ij (c(h_s)_ij - h_t,ij)^2, [B, D_t] each."""
    return F.mse_loss(connected, target)


class EmbeddingMSE(Loss):
    """Term `embedding_mse`: `embedding_error` of the student's embedding, after a connector c, and the teacher's.

    The connector is one affine map [B, D_s] -> [B, D_t], and there is one even where the widths agree: the coordinates
    of two networks mean different things whatever their number, and students of different widths stay comparable.

    Source: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets" (arXiv 1412.6550), section 2.2, with the pooled
    embedding as the hint. Theirs is a hidden layer behind a convolutional regressor, its squared error is summed and
    halved, and it is trained before the task; here it is a term beside the others.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.connector = build_projector("linear", context.student_dim, teacher_width(context))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"embedding_mse": embedding_error(self.connector(student.embedding), teacher.embedding)}
