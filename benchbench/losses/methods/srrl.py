"""Softmax regression representation learning: the teacher's classifier reads the student's embedding."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import SRRLParams
from benchbench.losses.connectors import connector
from benchbench.losses.embeddings import teacher_width
from benchbench.losses.logits import task_logits
from benchbench.models.outputs import Outputs


def build_connector(width_in: int, width_out: int) -> nn.Sequential:
    """The connector c [B, D_s] -> [B, D_t]: Linear to (D_s + D_t) // 2, ReLU, Linear, ReLU.

    Source: `mlp2` in the public code of Farhat and Chen (arXiv 2404.03263). Its last ReLU suits teachers whose
    embedding is pooled after a ReLU; negative entries, which a transformer's embedding has, are out of its reach.
    """
    middle = (width_in + width_out) // 2
    return nn.Sequential(nn.Linear(width_in, middle), nn.ReLU(), nn.Linear(middle, width_out), nn.ReLU())


def mean_squared_error(value: Tensor, target: Tensor) -> Tensor:
    """1/(B D) sum_ij (value_ij - target_ij)^2, [B, D] each."""
    return F.mse_loss(value, target)


class SRRL(Loss):
    """Terms `feature`: MSE(c(h_s), h_t); `softmax_regression`: MSE(W_t(c(h_s)), logits_t).

    c is the connector [B, D_s] -> [B, D_t], which trains; W_t is the teacher's classifier, through which the gradient
    passes and which stays as it is.

    Source: Yang et al. 2021, "Knowledge distillation via softmax regression representation learning" (ICLR 2021),
    section 3, in the form of Farhat and Chen (arXiv 2404.03263). The code of Yang et al. connects the last feature maps
    before pooling, by a 1x1 convolution without bias, BN and ReLU, and compares spatial means: `maps`. By default an
    MLP connects the pooled embeddings, so that models without feature maps can take part. Both give the two terms equal
    weight.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SRRLParams(**params)
        if context.teacher_head is None:
            raise StageError("loss 'srrl' needs a teacher with a task head; adapt the teacher to the task")
        width = teacher_width(context)
        self.connector = (
            connector(context.student_features[-1][0], width, relu=True)
            if self.params.maps
            else build_connector(context.student_dim, width)
        )
        # In a tuple, a head that is a module stays out of this loss's parameters and state.
        self.teacher_head = (context.teacher_head,)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        connected = self.connector(student.features[-1] if self.params.maps else student.embedding)
        if self.params.maps:
            connected = connected.mean(dim=(2, 3))
        regressed = self.teacher_head[0](connected)
        return {
            "feature": mean_squared_error(connected, teacher.embedding),
            "softmax_regression": mean_squared_error(regressed, task_logits(teacher)),
        }
