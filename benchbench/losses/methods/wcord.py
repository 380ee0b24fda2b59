"""Wasserstein contrastive distillation: optimal transport within the batch, and a Lipschitz critic over pairs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import WCoRDParams
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs


@torch.no_grad()
def transport_plan(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """T [B, B], near the minimum of sum_ij T_ij C_ij + epsilon sum_ij T_ij log T_ij with rows and columns of sum 1/B.

    Sinkhorn's iterations, on logarithms. The columns' sums are exact, the rows' as near as the iterations bring them.

    Args:
        cost: C [B, B].
        epsilon: above 0; the smaller, the nearer to optimal transport, and the more iterations it takes.
        iterations: how many; always all of them, since a stopping rule would wait for the device.
    """
    scaled, log_mass = -cost / epsilon, -math.log(len(cost))
    rows = columns = torch.zeros_like(cost[0])
    for _ in range(iterations):
        rows = log_mass - torch.logsumexp(scaled + columns, dim=1)
        columns = log_mass - torch.logsumexp(scaled + rows.unsqueeze(1), dim=0)
    return (scaled + rows.unsqueeze(1) + columns).exp()


def transport_cost(z_student: Tensor, z_teacher: Tensor, epsilon: float = 0.05, iterations: int = 20) -> Tensor:
    """sum_ij T_ij C_ij with C_ij = 1 - <z_s,i, z_t,j> and T = `transport_plan` of C, a constant to the gradient.

    Which image of the teacher's each image of the student's is compared with is left to T: the value does not depend on
    the order of either side. A constant T gives the gradient of the optimum that T is near (the envelope theorem),
    without a backward pass through the iterations.

    Source: Chen et al. 2021, "Wasserstein Contrastive Representation Distillation" (arXiv 2012.08674), the local term
    in the primal form.

    Args:
        z_student, z_teacher: unit vectors [B, D].
        epsilon, iterations: see `transport_plan`.
    """
    cost = 1 - z_student @ z_teacher.T
    return (transport_plan(cost, epsilon, iterations) * cost).sum()


def dual_contrast(scores: Tensor) -> Tensor:
    """1/(B (B - 1)) sum_{i != j} f_ij - 1/B sum_i f_ii, f_ij the critic's score of student image i, teacher image j.

    For a 1-Lipschitz critic its negative estimates a lower bound of the Wasserstein distance between the distributions
    of pairs of one image and pairs of two. A batch of one has no pair of two: the value is 0.

    Source: as above, the global term in the dual form, where no logarithm is left of the NCE of `crd`.

    Args:
        scores: f [B, B].
    """
    size = len(scores)
    if size == 1:
        return 0.0 * scores.sum()
    same = scores.diagonal().double().sum().to(scores.dtype)  # `trace`, whose backward pass waits for the device
    return (scores.sum() - same) / (size * (size - 1)) - same / size


class WCoRD(Loss):
    """Terms `local`: `transport_cost`; `global`: `dual_contrast`; each times its weight.

    z_s = g(h_s) / ||g(h_s)|| with one affine map g: D_s -> D_t, and z_t = h_t / ||h_t||, which is not projected: two
    projectors could bring the transport's cost to 0 by mapping everything to one point. The critic is
    f(z_s, z_t) = <U z_s, V z_t> / sqrt(2) with spectrally normalised U and V [d, D_t], 1-Lipschitz on unit vectors. It
    and g train with the student, towards the same minimum.

    Source: as there. Simplified: the negatives are the other images of the batch, where the paper draws them from a
    memory bank as `crd` does; together they weigh as much as the positive; and the critic is the one above. Epsilon,
    iterations, d and both weights are choices made here, not the paper's.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = WCoRDParams(**params)
        width, dim = teacher_width(context), self.params.dim
        self.connector = build_projector("linear", context.student_dim, width)
        self.student_critic = spectral_norm(nn.Linear(width, dim, bias=False))
        self.teacher_critic = spectral_norm(nn.Linear(width, dim, bias=False))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        params = self.params
        z_student, z_teacher = unit(self.connector(student.embedding)), unit(teacher.embedding)
        scores = self.student_critic(z_student) @ self.teacher_critic(z_teacher).T / math.sqrt(2)
        return {
            "local": params.local_weight * transport_cost(z_student, z_teacher, params.epsilon, params.iterations),
            "global": params.global_weight * dual_contrast(scores),
        }
