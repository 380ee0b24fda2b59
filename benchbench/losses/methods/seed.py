"""SEED: the student's similarities to a queue of earlier images match the teacher's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import SEEDParams
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs


def similarity_cross_entropy(
    z_student: Tensor, z_teacher: Tensor, queue: Tensor, tau_student: float = 0.2, tau_teacher: float = 0.01
) -> Tensor:
    """-1/B sum_i sum_{j=0..K} p_t(i, j) log p_s(i, j).

    p_t(i, .) = softmax_j(<z_t,i, d_ij> / tau_t) and p_s(i, .) = softmax_j(<z_s,i, d_ij> / tau_s), where d_i0 = z_t,i is
    the image's own teacher embedding, and d_i1 to d_iK are the queue's rows.

    Source: Fang et al. 2021, "SEED: Self-supervised Distillation For Visual Representation" (arXiv 2101.04731), section
    3.2, with its temperatures; the official code's default for the teacher's is 0.0001.

    Args:
        z_student, z_teacher: unit vectors [B, D].
        queue: unit vectors [K, D].
        tau_student, tau_teacher: temperatures, above 0.
    """

    def scores(z: Tensor) -> Tensor:
        return torch.cat([(z * z_teacher).sum(dim=1, keepdim=True), z @ queue.T], dim=1)

    return F.cross_entropy(scores(z_student) / tau_student, (scores(z_teacher) / tau_teacher).softmax(dim=1))


class SEED(Loss):
    """Term `seed`: `similarity_cross_entropy` of z_s = g(h_s) / ||g(h_s)|| and z_t = h_t / ||h_t||.

    The projector g: D_s -> D_t trains with the student. The queue keeps the teacher's last K embeddings of unit length,
    starts as random ones, and takes the batch in after the loss, in place of its oldest rows. It has K x D_t numbers:
    half a gigabyte at the paper's K for an embedding 2048 wide, and as much again during a step.

    Source: as there. The teachers of the paper are self-supervised, and z_t is the output of their own projection head,
    128 wide; here it is the embedding. Its default projector is the official code's head of the student.
    """

    queue: Tensor
    oldest: Tensor

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SEEDParams(**params)
        width = teacher_width(context)
        self.projector = build_projector(self.params.projector, context.student_dim, width)
        self.register_buffer("queue", unit(torch.randn(self.params.queue, width)))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        z_student, z_teacher = unit(self.projector(student.embedding)), unit(teacher.embedding)
        # The backward pass needs the queue as it is now, hence the copy.
        taus = self.params.student_temperature, self.params.teacher_temperature
        terms = {"seed": similarity_cross_entropy(z_student, z_teacher, self.queue.clone(), *taus)}
        self.enqueue(z_teacher)
        return terms

    @torch.no_grad()
    def enqueue(self, rows: Tensor) -> None:
        """Puts the last K of these rows [B, D_t] in place of the oldest; behind its end the queue begins anew."""
        rows = rows[-len(self.queue) :]
        slots = (self.oldest + torch.arange(len(rows), device=rows.device)) % len(self.queue)
        self.queue.index_copy_(0, slots, rows)
        self.oldest.copy_((self.oldest + len(rows)) % len(self.queue))
