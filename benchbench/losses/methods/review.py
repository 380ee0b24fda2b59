"""Knowledge review: the student's maps, fused from deep to shallow, are compared at several resolutions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import ReviewParams
from benchbench.losses.connectors import connector
from benchbench.losses.embeddings import teacher_width
from benchbench.losses.maps import both_maps, paired, resized
from benchbench.models.outputs import Outputs

WIDEST = 512  # the official code's: the most channels that the fused maps have
POOLED = (4, 2, 1)  # the official code's: sides of the coarser resolutions


def hierarchical_context(f_student: Tensor, f_teacher: Tensor) -> Tensor:
    """HCL: the weighted mean of MSE(p_l(F^s), p_l(F^t)) over resolutions l, the map's own first.

    p_l averages to l x l for those l of 4, 2, 1 that are smaller than the map; the weights are 1, 1/2, 1/4, ..

    Source: Chen et al. 2021, "Distilling Knowledge via Knowledge Review" (arXiv 2104.09044), section 3; resolutions and
    weights are the official code's.

    Args:
        f_student, f_teacher: maps [B, C, H, W] of one shape.
    """
    sizes = [size for size in POOLED if size < min(f_teacher.shape[2:])]
    gaps = [F.mse_loss(f_student, f_teacher)]
    gaps += [
        F.mse_loss(F.adaptive_avg_pool2d(f_student, size), F.adaptive_avg_pool2d(f_teacher, size)) for size in sizes
    ]
    weights = [0.5**level for level in range(len(gaps))]
    return torch.stack([w * gap for w, gap in zip(weights, gaps, strict=True)]).sum() / sum(weights)


class Fusion(nn.Module):
    """ABF, attention based fusion of one level's map with what the deeper levels have passed on.

    x = conv1x1-BN(F) [B, M, H, W]; with the deeper y, brought to that size, and attention a = sigmoid(conv1x1([x, y]))
    [B, 2, H, W] it becomes a_1 x + a_2 y; brought to the teacher's size, it is passed on, and conv3x3-BN of it is
    compared with the teacher's map. The deepest level has no y.
    """

    def __init__(self, c_student: int, middle: int, c_teacher: int, deepest: bool):
        super().__init__()
        self.enter = connector(c_student, middle)
        self.attention = None if deepest else connector(2 * middle, 2, norm=False)
        self.leave = connector(middle, c_teacher, 3)
        for convolution in (self.enter[0], self.leave[0]):
            assert isinstance(convolution, nn.Conv2d)
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def forward(self, features: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The map for comparison [B, C_t, H_t, W_t] and the one passed on [B, M, H_t, W_t]; `size` is (H_t, W_t)."""
        x = self.enter(features)
        if self.attention is not None and deeper is not None:
            y = resized(deeper, (x.shape[2], x.shape[3]))
            a = self.attention(torch.cat([x, y], dim=1)).sigmoid()
            x = a[:, :1] * x + a[:, 1:] * y
        x = resized(x, size)
        return self.leave(x), x


class Review(Loss):
    """Term `review`: min(epoch / warmup_epochs, 1) sum_l HCL(fused map l, the teacher's map l).

    The levels are the pairs of maps and, as deepest, the pooled embeddings as maps of size 1x1. The `Fusion` modules
    train with the student. M is the width of the student's embedding, and at most 512.

    Source: as `hierarchical_context`. As in the official code, warm-up takes 20 epochs (of 240 on CIFAR-100), the
    teacher's size is the one compared at, and the embedding is a level. It counts whole epochs, here it is a ramp; it
    shrinks maps by the nearest neighbour, here by averaging; and it takes the teacher's maps before the ReLU, here as
    the network gives them.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = ReviewParams(**params)
        self.pairs = paired(context)
        channels = [context.student_features[s][0] for s, _ in self.pairs] + [context.student_dim]
        targets = [context.teacher_features[t][0] for _, t in self.pairs] + [teacher_width(context)]
        middle, last = min(WIDEST, context.student_dim), len(self.pairs)
        self.fusions = nn.ModuleList(
            Fusion(channels[level], middle, targets[level], deepest=level == last) for level in range(last + 1)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        maps = both_maps(student, teacher, self.pairs)
        maps.append((student.embedding[:, :, None, None], teacher.embedding[:, :, None, None]))
        weight = min(batch.epoch / self.params.warmup_epochs, 1.0) if self.params.warmup_epochs else 1.0
        gaps: list[Tensor] = []
        deeper: Tensor | None = None
        for (f_student, f_teacher), fusion in zip(reversed(maps), reversed(self.fusions), strict=True):
            fused, deeper = fusion(f_student, deeper, (f_teacher.shape[2], f_teacher.shape[3]))
            gaps.append(hierarchical_context(fused, f_teacher))
        return {"review": weight * torch.stack(gaps).sum()}
