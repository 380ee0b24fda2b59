"""ViTKD: the first layers imitate the teacher's, the last one generates the teacher's from a part of its tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import ViTKDParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import same_size
from benchbench.models.outputs import Outputs

SHALLOW = 2  # layers that imitate: the paper's


def masked_tokens(features: Tensor, share: float) -> Tensor:
    """1 at the tokens that are masked, the given share of each image rounded up, drawn at random: [B, 1, H, W]."""
    size, _, height, width = features.shape
    order = torch.rand(size, height * width, device=features.device).argsort(dim=1).argsort(dim=1)
    kept = int(height * width * (1 - share))
    return (order >= kept).float().view(size, 1, height, width)


def summed_error(value: Tensor, target: Tensor) -> Tensor:
    """1/B sum (value - target)^2 over channels and positions of maps [B, C, H, W]."""
    return (value - target).square().sum() / len(value)


class ViTKD(Loss):
    """Terms `imitation`: alpha times `summed_error` of the first two maps; `generation`: beta / lambda times it.

    A linear map of each token takes the student's channels to the teacher's, where they differ. Of the last map a share
    lambda of the tokens is replaced by one that is learned, two 3x3 convolutions with a ReLU between follow, and the
    masked tokens alone are compared. A larger map is averaged down to the other's size.

    Source: Yang et al. 2024, "ViTKD: Feature-based Knowledge Distillation for Vision Transformers" (CVPR workshops
    2024, arXiv 2209.02432); the constants are the official code's. Written for transformers of one number of tokens,
    which it suits; other networks are compared in the same way.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = ViTKDParams(**params)
        s, t = context.student_features, context.teacher_features
        if min(len(s), len(t)) <= SHALLOW:
            raise StageError(f"loss 'vitkd' compares the first {SHALLOW} maps and the last; take deeper networks")
        self.levels = [*range(SHALLOW), -1]
        self.align = nn.ModuleList(
            nn.Identity() if s[level][0] == t[level][0] else connector(s[level][0], t[level][0], norm=False)
            for level in self.levels
        )
        width = t[-1][0]
        self.token = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.generation = nn.Sequential(
            connector(width, width, 3, norm=False, relu=True), connector(width, width, 3, norm=False)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        maps = [same_size(student.features[level], teacher.features[level]) for level in self.levels]
        pairs = [(align(f_s), f_t) for align, (f_s, f_t) in zip(self.align, maps, strict=True)]
        (value, target), shallow = pairs[-1], pairs[:-1]
        imitation = torch.stack([summed_error(f_s, f_t) for f_s, f_t in shallow]).sum()
        mask = masked_tokens(value, self.params.share)
        generated = self.generation(torch.where(mask > 0, self.token, value))
        generation = summed_error(generated * mask, target * mask) / self.params.share
        return {"imitation": self.params.alpha * imitation, "generation": self.params.beta * generation}
