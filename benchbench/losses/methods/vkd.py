"""VkD: the projection to the teacher's width is orthogonal, which leaves the learning to the student."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.embeddings import teacher_width
from benchbench.models.outputs import Outputs


def rotated(generator: Tensor, base: Tensor) -> Tensor:
    """C(S/2)^2 P_0 with C(A) = (I - A/2)^-1 (I + A/2) and S = G - G^T: the columns of P_0 [n, k], rotated.

    C is the Cayley map: from skew-symmetric matrices to rotations, near the exponential at small ones. Alone it comes
    to half turns only at infinity; its square, which is nearer to exp(S), makes all rotations of finite S. The inverse
    always exists, so nothing is checked on the host, for which both `matrix_exp` and `solve` would wait.

    Args:
        generator: G [n, n]; 0 makes the identity.
        base: P_0 [n, k].
    """
    quarter = (generator - generator.T) / 4
    eye = torch.eye(len(quarter), dtype=quarter.dtype, device=quarter.device)
    half = torch.linalg.solve_ex(eye - quarter, eye + quarter).result
    return half @ (half @ base)


class Orthogonal(nn.Module):
    """A projection [B, width_in] -> [B, width_out] by a matrix P with orthonormal columns, or rows where it narrows.

    Where it widens, it keeps all dot products. P starts anywhere, uniformly; weight decay pulls it back to
    where it started.
    """

    base: Tensor

    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.widens = width_out >= width_in
        tall = max(width_in, width_out)
        self.generator = nn.Parameter(torch.zeros(tall, tall))
        self.register_buffer("base", nn.init.orthogonal_(torch.empty(tall, min(width_in, width_out))))

    def forward(self, x: Tensor) -> Tensor:
        p = rotated(self.generator, self.base)
        return x @ (p.T if self.widens else p)


def standardised_error(projected: Tensor, h_teacher: Tensor) -> Tensor:
    """1/(B D_t) sum_ij l(x_ij - y_ij) with l(d) = d^2 / 2 where |d| < 1, |d| - 1/2 elsewhere.

    y_ij = (h_t,ij - mean_i) / sqrt(var_i + 1e-5), mean and variance over the D_t entries of each teacher embedding.

    Source: Miles, Elezi and Deng 2024, "VkD: Improving Knowledge Distillation using Orthogonal Projections" (arXiv
    2403.06213), with standardisation, its normalisation for classification, as the official code has it: a layer
    normalisation of the teacher's side alone, then the smooth L1 distance.

    Args:
        projected: x, the student's side [B, D_t].
        h_teacher: [B, D_t].
    """
    return F.smooth_l1_loss(projected, F.layer_norm(h_teacher, h_teacher.shape[1:]))


class VkD(Loss):
    """Term `vkd`: `standardised_error` of the student's embedding after an orthogonal projection, and the teacher's.

    The projection trains with the student. The paper makes it from the exponential of a skew-symmetric matrix, the
    official code, where the widths differ, from Householder reflections; here it is made by `rotated`, which reaches as
    much. The whitening that the paper takes for generative tasks is not here. In official training the divergence of
    the logits stands beside this term: `kd` in a suite.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.projector = Orthogonal(context.student_dim, teacher_width(context))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"vkd": standardised_error(self.projector(student.embedding), teacher.embedding)}
