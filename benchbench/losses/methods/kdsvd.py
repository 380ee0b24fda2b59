"""Singular value distillation: how the main directions of a map's columns relate to those of the map before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext, Shape
from benchbench.losses.catalog.features import KDSVDParams
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs

WIDTH = (
    8.0  # of the Gaussian kernel; and candidates of the student beyond the teacher's directions: the official code's
)
MORE = 3


def directions(features: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The first right singular vectors [B, W, k] of the matrices [C H, W], and their singular values, at unit norm.

    Directions of equal singular values have no derivative: what is not finite in the gradient counts as 0.

    Args:
        features: [B, C, H, W].
        rank: k; there are as many as the smaller of C H and W at most.
    """
    if features.requires_grad:
        features.register_hook(lambda gradient: torch.nan_to_num(gradient, 0.0, 0.0, 0.0))
    _, values, vectors = torch.linalg.svd(features.flatten(1, 2), full_matrices=False)
    return vectors.mT[..., :rank], unit(values[:, :rank])


def aligned(v_student: Tensor, v_teacher: Tensor) -> Tensor:
    """The student's direction with the largest |cosine| to each of the teacher's, its sign changed to agree: [B, W, k].

    Args:
        v_student, v_teacher: unit vectors [B, W, k'] and [B, W, k].
    """
    cosines = v_student.mT @ v_teacher
    largest = cosines.abs().argmax(dim=1, keepdim=True)
    chosen = v_student.gather(2, largest.expand(-1, v_student.shape[1], -1))
    return chosen * cosines.gather(1, largest).sign().detach()


def kernel(v: Tensor, before: Tensor) -> Tensor:
    """exp(-(v_wk - u_xk)^2 / 8) [B, W, X, k], of directions of one map and of the map before."""
    return torch.exp(-(v.unsqueeze(2) - before.unsqueeze(1)).square() / WIDTH)


class KDSVD(Loss):
    """Term `kdsvd`: 1/B sum_l ||kernel of the student's maps l, l - 1 - the teacher's||^2, computed in float64.

    Directions are `aligned` first, and those of both sides weighted by the teacher's singular values.

    Source: Lee, Kim and Song 2018, "Self-supervised Knowledge Distillation Using Singular Value Decomposition" (ECCV
    2018, arXiv 1807.06819), in the form of RepDistiller and mdistiller, which take the map as a matrix of channels and
    rows by columns; the original has positions by channels. A larger map is averaged down to the other's size. On a GPU
    each step waits for the decompositions: the host reads whether they have converged.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = KDSVDParams(**params)
        sides = context.student_features, context.teacher_features
        self.pairs = [(s, t) for s, t in paired(context) if min(sides[0][s][2], sides[1][t][2]) > 1]
        if len(self.pairs) < 2:
            raise StageError(
                "loss 'kdsvd' relates maps to the map before, and these networks have fewer than two pairs of maps "
                "with two columns or more; take larger images"
            )
        largest = min(self._directions(sides[0][s], sides[1][t]) for s, t in self.pairs)
        if self.params.rank > largest:
            raise StageError(
                f"loss 'kdsvd' takes {self.params.rank} singular vectors of each map, and of these networks the "
                f"smallest has {largest}; set `rank` to {largest} or less, or take larger images"
            )

    @staticmethod
    def _directions(student: Shape, teacher: Shape) -> int:
        """Singular vectors of the teacher's map [C H, W] at the smaller of the two sizes: the smaller of C H and W."""
        height, width = min(student[1], teacher[1]), min(student[2], teacher[2])
        return min(teacher[0] * height, width)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        gaps, rank = [], self.params.rank
        before: tuple[Tensor, Tensor] | None = None
        for f_student, f_teacher in both_maps(student, teacher, self.pairs):
            f_s, f_t = same_size(f_student.double(), f_teacher.double())
            v_teacher, weights = directions(f_t, rank)
            v_student = aligned(directions(f_s, rank + MORE)[0], v_teacher)
            both = v_student * weights.unsqueeze(1), v_teacher * weights.unsqueeze(1)
            if before is not None:
                gap = kernel(both[0], before[0]) - kernel(both[1], before[1]).detach()
                gaps.append(gap.square().sum() / len(gap))
            before = both
        return {"kdsvd": torch.stack(gaps).sum().float()}
