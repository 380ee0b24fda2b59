"""Positions of the last maps as samples, for losses that compare vectors: drawn anew in every step."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchbench.errors import StageError
from benchbench.losses.base import LossContext
from benchbench.losses.maps import same_size
from benchbench.models.outputs import Outputs


def read_positions(f_student: Tensor, f_teacher: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Vectors of both sides at the same places of each image: [B, N, C_s] and [B, N, C_t].

    The larger map is averaged down to the other's size, h x w, so that a position is one part of the image on both
    sides. Where there are more than `count`, N = count of them are drawn from each image, none of them twice; else they
    are all taken, in their order, and nothing is drawn.

    Args:
        f_student, f_teacher: maps [B, C_s, H_s, W_s] and [B, C_t, H_t, W_t].
        count: positions of each image.
    """
    s, t = (each.flatten(2).mT for each in same_size(f_student, f_teacher))
    if count >= s.shape[1]:
        return s, t
    places = torch.rand(s.shape[:2], device=s.device).argsort(1)[:, :count, None]
    return s.gather(1, places.expand(-1, -1, s.shape[2])), t.gather(1, places.expand(-1, -1, t.shape[2]))


def dense_outputs(student: Outputs, teacher: Outputs, count: int) -> tuple[Outputs, Outputs]:
    """Outputs whose embeddings [B N, D] are vectors of the last maps, by `read_positions`, those of an image in a row.

    All else is as it was: a loss that reads anything else of the batch cannot take them.
    """
    s, t = read_positions(student.features[-1], teacher.features[-1], count)
    return replace(student, embedding=s.flatten(0, 1)), replace(teacher, embedding=t.flatten(0, 1))


def dense_context(context: LossContext) -> LossContext:
    """The same task and networks, with embeddings as wide as the last maps."""
    widths = context.student_features[-1][0], context.teacher_features[-1][0]
    return replace(context, student_dim=widths[0], teacher_dim=widths[1])


def require_positions(context: LossContext, problem: str) -> None:
    """Refuses networks whose last maps have one position at the size of the smaller one.

    Args:
        context: of the loss.
        problem: that there is then, as the beginning of a sentence: "loss 'cwd' compares ...".

    Raises:
        StageError: that is so.
    """
    (_, h_student, w_student), (_, h_teacher, w_teacher) = context.student_features[-1], context.teacher_features[-1]
    if min(h_student, h_teacher) * min(w_student, w_teacher) == 1:
        raise StageError(
            f"{problem}, and at the size of the smaller last map there is but one position; take larger images or "
            "other networks"
        )
