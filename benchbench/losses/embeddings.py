"""Common parts of the losses on embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbench.losses.base import LossContext


def teacher_width(context: LossContext) -> int:
    """D_t, the width of the teacher's embedding, of a loss that needs a teacher."""
    assert context.teacher_dim is not None
    return context.teacher_dim


def unit(x: Tensor) -> Tensor:
    """x / ||x|| along the last dimension; a zero vector stays zero, and its gradient stays finite.

    Embeddings after a ReLU can be all zero, and those of two samples can coincide. Dividing by a small constant there,
    as is common, multiplies the gradient by the inverse of that constant.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(norm > 0, norm, 1.0)
