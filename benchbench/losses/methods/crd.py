"""Contrastive representation distillation: an image's embedding on the other side against many negatives."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.embeddings import CRDParams
from benchbench.losses.embeddings import teacher_width, unit
from benchbench.losses.projectors import build_projector
from benchbench.models.outputs import Outputs

EPS = 1e-7  # the official code's, beside m Pn in both denominators


def nce_loss(scores: Tensor, log_z: Tensor, samples: int) -> Tensor:
    """Noise-contrastive estimation with m negatives per anchor and the noise distribution Pn = 1 / N.

    With P = exp(score) / Z:
    L = -1/B sum_i [log(P_i0 / (P_i0 + m Pn + eps)) + sum_{k=1..m} log(m Pn / (P_ik + m Pn + eps))].

    Source: Tian et al. 2020 (arXiv 1910.10699), Eq. 18 with the critic of Eq. 19; Z, which that critic has not, and eps
    are the official code's. Both logarithms are computed as log-sigmoids of log P: the same value, without overflow.

    Args:
        scores: <v, u> / tau [B, 1 + m], the positive in column 0.
        log_z: log Z, a scalar.
        samples: N, the size of the memory bank.
    """
    m = scores.shape[1] - 1
    noise = m / samples
    logit = scores - log_z - math.log(noise + EPS)
    positive, negatives = F.logsigmoid(logit[:, 0]), F.logsigmoid(-logit[:, 1:])
    return -(positive.sum() + negatives.sum()) / scores.shape[0] + m * math.log1p(EPS / noise)


def draw_negatives(anchors: Tensor, order: Tensor, start: Tensor, count: Tensor, negatives: int) -> Tensor:
    """Samples of other classes than each anchor's: indices [B, K], uniform, with replacement, on the anchors' device.

    The official sampler draws without replacement wherever the other classes have K samples; that takes a permutation
    an anchor, and for N much larger than K the two hardly differ.

    Args:
        anchors: class of each anchor [B].
        order: sample numbers sorted by class [N].
        start: where each class's block begins in `order` [classes].
        count: how long the block is [classes].
        negatives: K.
    """
    own_start, own_count = start[anchors].unsqueeze(1), count[anchors].unsqueeze(1)
    # The remainder of a 62-bit number is uniform up to N / 2^62, and each row can have a range of its own.
    rank = torch.randint(1 << 62, (len(anchors), negatives), device=anchors.device) % (len(order) - own_count)
    return order[rank + own_count * (rank >= own_start)]


class CRD(Loss):
    """Terms `crd_student` (student anchors, teacher's bank) and `crd_teacher` (teacher anchors, student's bank).

    v = g(h) / ||g(h)|| on each side, both projectors train, the teacher's embedding h is a constant. A bank keeps the
    last v of every training sample: row = normalise(momentum * row + (1 - momentum) * v), after the loss is computed.
    Z = N * mean(exp(score)) over the first batch, and stays so, as in the official code.

    Source: Tian et al. 2020, "Contrastive Representation Distillation" (arXiv 1910.10699), section 3.1. The default of
    4096 negatives is that of the data loaders in the official code, RepDistiller. Its training script passes 16384 to
    them by default, and so has the preset `cifar100`.
    """

    order: Tensor
    start: Tensor
    count: Tensor
    student_bank: Tensor
    teacher_bank: Tensor
    student_log_z: Tensor
    teacher_log_z: Tensor

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = CRDParams(**params)
        dim, samples = self.params.dim, len(context.labels)
        count = torch.bincount(context.labels)
        if int(count.max()) == samples:
            raise StageError("loss 'crd' draws negatives from other classes, and all training samples are of one class")
        self.student_projector = build_projector(self.params.projector, context.student_dim, dim)
        self.teacher_projector = build_projector(self.params.projector, teacher_width(context), dim)
        # Derived from the labels, hence not part of a checkpoint.
        self.register_buffer("order", torch.argsort(context.labels, stable=True), persistent=False)
        self.register_buffer("start", count.cumsum(0) - count, persistent=False)
        self.register_buffer("count", count, persistent=False)
        bound = 1 / math.sqrt(dim / 3)  # rows of unit length on average
        self.register_buffer("student_bank", torch.empty(samples, dim).uniform_(-bound, bound))
        self.register_buffer("teacher_bank", torch.empty(samples, dim).uniform_(-bound, bound))
        # Z = 0 stands for "not set"; of the anchors on that side.
        self.register_buffer("student_log_z", torch.tensor(-math.inf))
        self.register_buffer("teacher_log_z", torch.tensor(-math.inf))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        v_student = unit(self.student_projector(student.embedding))
        v_teacher = unit(self.teacher_projector(teacher.embedding))
        negatives = draw_negatives(batch.labels, self.order, self.start, self.count, self.params.negatives)
        index = torch.cat([batch.index.unsqueeze(1), negatives], dim=1)
        terms = {
            "crd_student": self.contrast(v_student, self.teacher_bank, index, self.student_log_z),
            "crd_teacher": self.contrast(v_teacher, self.student_bank, index, self.teacher_log_z),
        }
        self.update(self.student_bank, v_student, batch.index)
        self.update(self.teacher_bank, v_teacher, batch.index)
        return terms

    def contrast(self, anchors: Tensor, bank: Tensor, index: Tensor, log_z: Tensor) -> Tensor:
        """`nce_loss` of anchors [B, d] against the bank's rows at `index` [B, 1 + K]; sets log Z at the first call."""
        scores = torch.bmm(bank[index], anchors.unsqueeze(2)).squeeze(2) / self.params.temperature
        estimate = scores.detach().logsumexp(dim=(0, 1)) - math.log(scores.numel() / len(bank))
        log_z.copy_(torch.where(log_z.isinf(), estimate, log_z))  # no branch, which would wait for the device
        return nce_loss(scores, log_z, len(bank))

    @torch.no_grad()
    def update(self, bank: Tensor, anchors: Tensor, index: Tensor) -> None:
        """Moves the bank's rows at `index` [B] towards the anchors [B, d] and back onto the unit sphere."""
        momentum = self.params.momentum
        bank.index_copy_(0, index, unit(momentum * bank[index] + (1 - momentum) * anchors))
