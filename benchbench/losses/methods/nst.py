"""Neuron selectivity transfer: the student's channels are distributed over the image as the teacher's are."""

from __future__ import annotations

import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.embeddings import unit
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs


def kernel_mean(x: Tensor, y: Tensor) -> Tensor:
    """1/(B C_x C_y) sum_b sum_ij (x_bi . y_bj)^2, for channels as vectors [B, C_x, N] and [B, C_y, N].

    Equally, the product of the matrices x^T x and y^T y, summed: that is less work on small maps with many channels.
    """
    if x.shape[2] ** 2 < x.shape[1] * y.shape[1]:
        total = ((x.mT @ x) * (y.mT @ y)).sum(dim=(1, 2))
    else:
        total = (x @ y.mT).square().sum(dim=(1, 2))
    return total.mean() / (x.shape[1] * y.shape[1])


def selectivity_gap(f_student: Tensor, f_teacher: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the two sets of channels, averaged over the batch.

    MMD^2 = 1/C_t^2 sum_ii' k(t_i, t_i') + 1/C_s^2 sum_jj' k(s_j, s_j') - 2/(C_t C_s) sum_ij k(t_i, s_j), where t_i and
    s_j are single channels as vectors of unit length, and k(x, y) = (x . y)^2.

    Source: Huang and Wang 2017, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer" (arXiv
    1707.01219), section 4, with the polynomial kernel of degree 2 without constant. The larger map is averaged down to
    the other's size, as in RepDistiller.

    Args:
        f_student, f_teacher: maps [B, C_s, H_s, W_s] and [B, C_t, H_t, W_t].
    """
    s, t = (unit(f.flatten(2)) for f in same_size(f_student, f_teacher))
    return kernel_mean(t, t) + kernel_mean(s, s) - 2 * kernel_mean(s, t)


class NST(Loss):
    """Term `nst`: the sum of `selectivity_gap` over the paired maps; there is nothing to train but the student.

    RepDistiller and mdistiller sum over the stages too, with the weight 50.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.pairs = paired(context)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        maps = both_maps(student, teacher, self.pairs)
        return {"nst": torch.stack([selectivity_gap(*pair) for pair in maps]).sum()}
