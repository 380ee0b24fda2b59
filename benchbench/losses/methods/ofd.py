"""Overhaul of feature distillation: a margin ReLU on the teacher's maps, and a partial distance to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.connectors import connector
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs


def partial_distance(f_student: Tensor, f_teacher: Tensor, margin: Tensor) -> Tensor:
    """1/B sum_bchw d(max(F^t, m_c), F^s), where d(t, s) = 0 if s <= t <= 0, else (t - s)^2.

    A negative value of the teacher's need not be reproduced: the student's may be any smaller one.

    Source: Heo et al. 2019, "A Comprehensive Overhaul of Feature Distillation" (arXiv 1904.01866), section 3, with the
    margin ReLU max(., m) and the partial L2 distance. Sum over channels and positions, mean over the batch: the
    official code's, which weighs the loss by 1e-3 on CIFAR-100.

    Args:
        f_student, f_teacher: maps [B, C, H, W] of one shape.
        margin: m [C], at most 0.
    """
    target = torch.maximum(f_teacher, margin[:, None, None])
    counts = (f_student > target) | (target > 0)
    return ((f_student - target).square() * counts).sum(dim=(1, 2, 3)).mean()


class Margin(nn.Module):
    """m [C]: the mean of all negative values that each channel has shown in training so far; 0 where it had none."""

    mean: Tensor
    count: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("count", torch.zeros(channels))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """m after the map [B, C, H, W], which counts in train mode alone."""
        if self.training:
            count = (features < 0).sum(dim=(0, 2, 3)).to(self.count.dtype)
            self.count += count
            # A running mean, since a sum over the whole training would lose the digits of what is added last.
            self.mean += (features.clamp(max=0).sum(dim=(0, 2, 3)) - count * self.mean) / self.count.clamp(min=1)
        return self.mean


class OFD(Loss):
    """Term `ofd`: sum over l = 1..L of 2^(l - L) `partial_distance` of connected map l, shallow to deep.

    The larger map of a pair is averaged down to the other's size, and a connector (1x1 convolution without bias, BN),
    which trains with the student, takes the student's to the teacher's width.

    Source: as there. The paper takes maps before the ReLU, and computes the margin, the expectation of a channel's
    negative values, from the scale and shift of the BN before it. Here maps come as the networks give them and the
    margin is their `Margin`; after a ReLU it is 0, and where the teacher's map is 0 the student's may lie below. The
    connectors start as in the official code: weights N(0, 2 / C_t), C_t the channels that come out.
    """

    def __init__(self, context: LossContext):
        super().__init__(context)
        self.pairs = paired(context)
        widths = [(context.student_features[s][0], context.teacher_features[t][0]) for s, t in self.pairs]
        self.connectors = nn.ModuleList(connector(c_student, c_teacher) for c_student, c_teacher in widths)
        for layer in self.connectors.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        self.margins = nn.ModuleList(Margin(c_teacher) for _, c_teacher in widths)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        maps = both_maps(student, teacher, self.pairs)
        distances = []
        for sides, connect, margin in zip(maps, self.connectors, self.margins, strict=True):
            f_student, f_teacher = same_size(*sides)
            distances.append(partial_distance(connect(f_student), f_teacher, margin(f_teacher)))
        weights = [2.0 ** (depth + 1 - len(distances)) for depth in range(len(distances))]
        return {"ofd": torch.stack([w * d for w, d in zip(weights, distances, strict=True)]).sum()}
