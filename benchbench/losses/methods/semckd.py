"""Semantic calibration: each of the student's maps learns from those of the teacher that attention points it to."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import SemCKDParams
from benchbench.losses.connectors import connector
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import depths, same_size
from benchbench.models.outputs import Outputs

MOST = 4  # maps of a side that take part


def similarities(features: Tensor, anchors: int) -> Tensor:
    """<F_i, F_j> of every sample i with the first `anchors` samples j of the batch: [B, C, H, W] -> [B, anchors].

    A smaller batch leaves the rest at 0.
    """
    rows = features.flatten(1)
    return F.pad(rows @ rows[:anchors].T, (0, max(anchors - len(rows), 0)))


def attention(queries: Tensor, keys: Tensor) -> Tensor:
    """alpha_bst = softmax over t of <q_bs, k_bt>: which of T maps the student's map s learns from, in each sample.

    Source: Chen et al. 2021, "Cross-Layer Distillation with Semantic Calibration" (arXiv 2012.03236), section 3.

    Args:
        queries, keys: [B, S, d] of the student's maps, and [B, T, d] of the teacher's.
    """
    return (queries @ keys.mT).softmax(dim=2)


def calibrated_error(errors: Tensor, weights: Tensor) -> Tensor:
    """1/(B S) sum_bst alpha_bst e_bst; the sum over t is an average, since the alpha of one s add up to 1.

    Source: as `attention`. The division by S is the official code's, which weighs the loss by 400.

    Args:
        errors: e [B, S, T], mean squared error of map s, projected, against map t of the teacher.
        weights: alpha [B, S, T].
    """
    return (weights * errors).sum(dim=2).mean()


def embedder(anchors: int, dim: int) -> nn.Sequential:
    """An MLP [B, anchors] -> [B, dim]; its hidden layer is twice as wide as its output, as in the official code."""
    return nn.Sequential(nn.Linear(anchors, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))


def projection(c_in: int, c_out: int) -> nn.Sequential:
    """conv1x1-BN-ReLU, conv3x3-BN-ReLU, conv1x1, 2 C_out channels between them, no biases: the official code's."""
    middle = 2 * c_out
    return nn.Sequential(
        connector(c_in, middle, relu=True),
        connector(middle, middle, 3, relu=True),
        nn.Conv2d(middle, c_out, 1, bias=False),
    )


class SemCKD(Loss):
    """Term `semckd`: `calibrated_error` over every pair of up to four maps of each side.

    Queries and keys are unit vectors that MLPs, one a map, make of its `similarities`; each pair has a projection of
    the student's map to the teacher's width, and is compared at the smaller of the two sizes. All of it trains with the
    student. The projections are large: one to C_t channels has some 36 C_t^2 parameters.

    Source: as `attention`. There an MLP reads a sample's similarities to the whole batch, whose size is fixed (64 on
    CIFAR-100, with d = 16). Here batches are of any size, and it reads those to the first `anchors` samples: the same
    where the batch has as many. It is computed in float32, as there, and its gradient is within 1 % of float64's: sums
    over whole maps stand in a softmax.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SemCKDParams(**params)
        counts = len(context.student_features), len(context.teacher_features)
        self.students, self.teachers = (depths(count, min(count, MOST)) for count in counts)
        self.queries, self.keys = (
            nn.ModuleList(embedder(self.params.anchors, self.params.dim) for _ in maps)
            for maps in (self.students, self.teachers)
        )
        self.projections = nn.ModuleList(
            projection(context.student_features[s][0], context.teacher_features[t][0])
            for s, t in product(self.students, self.teachers)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        f_students = [student.features[s] for s in self.students]
        f_teachers = [teacher.features[t] for t in self.teachers]
        queries = self._embedded(self.queries, f_students)
        keys = self._embedded(self.keys, f_teachers)
        errors = []
        for sides, project in zip(product(f_students, f_teachers), self.projections, strict=True):
            f_student, f_teacher = same_size(*sides)
            errors.append((project(f_student) - f_teacher).square().mean(dim=(1, 2, 3)))
        stacked = torch.stack(errors, dim=1).unflatten(1, (len(f_students), len(f_teachers)))
        return {"semckd": calibrated_error(stacked, attention(queries, keys))}

    def _embedded(self, embedders: nn.ModuleList, features: list[Tensor]) -> Tensor:
        """Unit vectors [B, maps, d]."""
        values = [embed(similarities(x, self.params.anchors)) for embed, x in zip(embedders, features, strict=True)]
        return unit(torch.stack(values, dim=1))
