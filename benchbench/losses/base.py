"""The contract of a loss: named terms from student and teacher outputs; the suite gives the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.models.outputs import Outputs


@dataclass
class LossContext:
    """What a loss may know when it is built, once per training run.

    Attributes:
        classes: number of classes.
        student_dim: width D_s of the student's embedding.
        teacher_dim: width D_t of the teacher's embedding; None without a teacher.
        teacher_head: the teacher's frozen classifier, embedding [B, D_t] -> logits [B, classes]; or None.
        student_features: shapes (C, H, W) of the student's feature maps; empty unless the loss needs `features`.
        teacher_features: the teacher's, likewise.
        labels: class of every training sample [samples], int64, on the training device; `Batch.index` points into it.
        device: the training device.
    """

    classes: int
    student_dim: int
    teacher_dim: int | None
    teacher_head: Callable[[Tensor], Tensor] | None
    student_features: list[tuple[int, int, int]]
    teacher_features: list[tuple[int, int, int]]
    labels: Tensor
    device: Any


class Loss(nn.Module):
    """A loss with parts of its own: projectors (parameters, trained with the student) or memory banks (buffers).

    Whatever must survive a checkpoint is a parameter or a buffer. Random numbers come from torch's global generator,
    which the training loop seeds anew at every step, so that a resumed run draws the same ones.
    """

    def __init__(self, context: LossContext):
        super().__init__()

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms; the training loop adds them up and multiplies the sum by the suite's weight."""
        raise NotImplementedError
