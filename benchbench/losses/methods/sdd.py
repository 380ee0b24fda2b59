"""Scale decoupled distillation: logits of parts of an image, and more weight where they disagree with the whole."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import SDDParams
from benchbench.losses.logits import both_logits, non_target
from benchbench.losses.maps import map_reader, require_pooled
from benchbench.losses.schedules import warmed
from benchbench.models.outputs import Outputs


def cell_logits(logits: Tensor, features: Tensor, head: nn.Linear, scales: list[int]) -> Tensor:
    """Logits [B, R, K] of the whole image, and of the mean of each cell of each k x k grid under the classifier.

    Args:
        logits: of the whole image [B, K], the first of the R.
        features: the last map [B, C, H, W].
        head: C -> K.
        scales: k of each further grid, at most H and W.
    """
    cells = [F.adaptive_avg_pool2d(features, scale).flatten(2).mT for scale in scales]
    return torch.cat([logits.unsqueeze(1), head(torch.cat(cells, dim=1))], dim=1)


def agreement_weights(t: Tensor, labels: Tensor) -> Tensor:
    """2 [B, R] for cells of which the teacher is right and of the whole wrong, or the reverse; else 1.

    Args:
        t: the teacher's logits [B, R, K], of the whole image first.
        labels: y [B].
    """
    right = t.argmax(dim=2) == labels.unsqueeze(1)
    return 1.0 + (right != right[:, :1]).float()


def divergences(s: Tensor, t: Tensor, labels: Tensor, params: SDDParams) -> Tensor:
    """The base loss of each sample [N], of logits s, t [N, K] and labels [N]: that of `kd`, `dkd` or `nkd`."""
    temperature, own = params.temperature, labels.unsqueeze(1)

    def kl(z_s: Tensor, z_t: Tensor) -> Tensor:
        log_s, log_t = F.log_softmax(z_s, dim=1), F.log_softmax(z_t, dim=1)
        return temperature**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=1)

    if params.base == "kd":
        return kl(s / temperature, t / temperature)
    s_others, t_others = (non_target(z, labels) / temperature for z in (s, t))
    if params.base == "dkd":
        binary = [
            torch.cat([z.gather(1, own) / temperature, others.logsumexp(dim=1, keepdim=True)], dim=1)
            for z, others in ((s, s_others), (t, t_others))
        ]
        return params.alpha * kl(*binary) + params.beta * kl(s_others, t_others)
    target = F.softmax(t, dim=1).gather(1, own) * F.log_softmax(s, dim=1).gather(1, own)
    rest = (F.softmax(t_others, dim=1) * F.log_softmax(s_others, dim=1)).sum(dim=1)
    return -target.squeeze(1) - params.gamma * temperature**2 * rest


class SDD(Loss):
    """Term `sdd`: 1/(B R) sum_ir w_ir `divergences` of `cell_logits`, with w = `agreement_weights`.

    Of the scales, those that either map has no room for are left out; 1 is the image itself, and always there. The
    embeddings, which the classifiers read, must be the means of the last maps.

    Source: Wei, Luo and Luo 2024, "Scaled Decoupled Distillation" (CVPR 2024, arXiv 2403.13512), section 3, with the
    weights 1 and 2 of the official code. On CIFAR-100 it has the scales 1, 2 and 4, or 1 and 2, by pair, and its `dkd`
    and `nkd` warm up over 20 epochs. There the whole image counts as a cell as well. Its `nkd` keeps the label's class
    among the others; here it is left out, as in the paper of NKD.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = SDDParams(**params)
        (c_student, *s_size), (c_teacher, *t_size) = context.student_features[-1], context.teacher_features[-1]
        self.scales = [scale for scale in self.params.scales if 1 < scale <= min(*s_size, *t_size)]
        if not self.scales:
            raise StageError(
                "loss 'sdd' compares parts of the last map, and it is too small; take larger images, or kd"
            )
        # In a tuple, heads that are modules stay out of this loss's parameters and state.
        self.heads = (
            map_reader("sdd", "student", context.student_head, c_student),
            map_reader("sdd", "teacher", context.teacher_head, c_teacher),
        )
        require_pooled("sdd", "student", context, instead="kd")
        require_pooled("sdd", "teacher", context, instead="kd")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        sides = zip(both_logits(student, teacher), (student, teacher), self.heads, strict=True)
        s, t = (cell_logits(logits, side.features[-1], head, self.scales) for logits, side, head in sides)
        t = t.detach()
        labels = batch.labels.repeat_interleave(s.shape[1])
        values = divergences(s.flatten(0, 1), t.flatten(0, 1), labels, self.params)
        weights = agreement_weights(t, batch.labels).flatten()
        return {"sdd": warmed(batch, self.params.warmup_epochs) * (weights * values).mean()}
