"""Masked generative distillation: the teacher's map is generated from a part of the student's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import Masked, MGDParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs


def random_mask(features: Tensor, ratio: float, masked: Masked) -> Tensor:
    """0 with probability `ratio`, else 1: [B, C, 1, 1] for `channels`, [B, 1, H, W] for `pixels`."""
    size, channels, height, width = features.shape
    shape = (size, channels, 1, 1) if masked == "channels" else (size, 1, height, width)
    return (torch.rand(shape, device=features.device) >= ratio).float()


def generation_error(generated: Tensor, f_teacher: Tensor, alpha: float = 7e-5) -> Tensor:
    """alpha / B sum_bchw (G_bchw - F^t_bchw)^2.

    Source: Yang et al. 2022, "Masked Generative Distillation" (arXiv 2205.01529), section 3. Their equation sums over
    channels and positions; the mean over the batch is the official code's.

    Args:
        generated: G [B, C, H, W], from the student's masked map.
        f_teacher: F^t [B, C, H, W].
    """
    return alpha * (generated - f_teacher).square().sum(dim=(1, 2, 3)).mean()


class MGD(Loss):
    """Term `mgd`: `generation_error` of the last maps, with G = conv3x3(ReLU(conv3x3(mask * align(F^s)))).

    The larger map is averaged down to the other's size; a 1x1 convolution aligns the widths where they differ. All
    convolutions have biases and train with the student.

    Source: as there, with alpha = 7e-5 and lambda = 0.15 for classification. The paper's text masks pixels; the
    official code for classification masks channels, and is followed by default.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = MGDParams(**params)
        self.pairs = paired(context, most=1)
        c_student, c_teacher = context.student_features[-1][0], context.teacher_features[-1][0]
        self.align = connector(c_student, c_teacher, norm=False) if c_student != c_teacher else nn.Identity()
        self.generation = nn.Sequential(
            connector(c_teacher, c_teacher, 3, norm=False, relu=True), connector(c_teacher, c_teacher, 3, norm=False)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        f_student, f_teacher = same_size(f_student, f_teacher)
        aligned = self.align(f_student)
        generated = self.generation(aligned * random_mask(aligned, self.params.ratio, self.params.masked))
        return {"mgd": generation_error(generated, f_teacher, self.params.alpha)}
