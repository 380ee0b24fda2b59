"""What the losses on embeddings share."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.models.outputs import Outputs


def teacher_width(name: str, context: LossContext) -> int:
    """D_t, the width of the teacher's embedding.

    Raises:
        StageError: there is no teacher; `name` is the loss that asks.
    """
    if context.teacher_dim is None:
        raise StageError(f"loss '{name}' needs a teacher")
    return context.teacher_dim


def both_embeddings(name: str, student: Outputs, teacher: Outputs | None) -> tuple[Tensor, Tensor]:
    """The embeddings of student [B, D_s] and teacher [B, D_t] in float32; the teacher's get no gradient.

    Raises:
        StageError: there is no teacher; `name` is the loss that asks.
    """
    if teacher is None:
        raise StageError(f"loss '{name}' needs a teacher")
    return student.embedding.float(), teacher.embedding.detach().float()


def unit(x: Tensor) -> Tensor:
    """x / ||x|| along the last dimension; a zero vector stays zero, and its gradient stays finite.

    Embeddings after a ReLU can be all zero, and those of two samples can coincide. Dividing by a small constant there,
    as is common, multiplies the gradient by the inverse of that constant.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(norm > 0, norm, 1.0)
