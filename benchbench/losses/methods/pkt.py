"""Probabilistic knowledge transfer: the same samples are neighbours on both sides."""

from __future__ import annotations

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss
from benchbench.losses.embeddings import unit
from benchbench.models.outputs import Outputs

EPS = 1e-7  # the official code's, inside the logarithm


def neighbour_kl(h_student: Tensor, h_teacher: Tensor) -> Tensor:
    """1/B^2 sum_ij p_ij log((p_ij + eps) / (q_ij + eps)), p from the teacher and q from the student.

    Both are K_ij / sum_k K_ik with the cosine kernel K_ij = (cos(h_i, h_j) + 1) / 2. A batch of one has p = q = 1.

    Source: Passalis and Tefas 2018, "Learning Deep Representations with Probabilistic Knowledge Transfer" (arXiv
    1803.10837), section 3, in the form of the official code: the paper leaves out the pairs i = j and sums over the
    others; the code keeps them, has eps, and takes the mean, so that its weights are large (30000 is in use).

    Args:
        h_student, h_teacher: embeddings [B, D_s] and [B, D_t].
    """

    def neighbours(h: Tensor) -> Tensor:
        z = unit(h)
        kernel = (z @ z.T + 1) / 2
        return kernel / kernel.sum(dim=1, keepdim=True)

    p, q = neighbours(h_teacher), neighbours(h_student)
    return (p * ((p + EPS) / (q + EPS)).log()).mean()


class PKT(Loss):
    """Term `pkt`: `neighbour_kl` of the embeddings of both sides; there is nothing to train but the student.

    It is computed in float64: it is small, and in float32 the fourth digit is off.
    """

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        return {"pkt": neighbour_kl(student.embedding.double(), teacher.embedding.double()).float()}
