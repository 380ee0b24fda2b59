"""Wasserstein distance of maps: means and deviations of each channel, over the map or the cells of a grid."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.errors import StageError
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import WKDFeaturesParams
from benchbench.losses.connectors import connector
from benchbench.losses.maps import both_maps, paired
from benchbench.losses.schedules import decayed
from benchbench.models.outputs import Outputs

EPS = 1e-5  # the official code's, of the variance


def gaussians(features: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation (of n - 1, and eps in the variance) of each channel in each cell: [B, C, grid^2] each.

    Args:
        features: [B, C, H, W], with two positions or more in each cell of grid x grid.
        grid: cells a side; neighbouring ones overlap where the size is no multiple.
    """
    edges = [[(i * side // grid, -(-(i + 1) * side // grid)) for i in range(grid)] for side in features.shape[2:]]
    cells = [features[:, :, a:b, c:d].flatten(2) for a, b in edges[0] for c, d in edges[1]]
    means, variances = zip(*((cell.mean(dim=2), cell.var(dim=2)) for cell in cells), strict=True)
    return torch.stack(means, dim=2), (torch.stack(variances, dim=2) + EPS).sqrt()


def wasserstein(f_student: Tensor, f_teacher: Tensor, grid: int = 1) -> tuple[Tensor, Tensor]:
    """1/(B G) sum (mu^s - mu^t)^2 and 1/(B G) sum (sigma^s - sigma^t)^2, over channels and G cells.

    Their sum is the squared Wasserstein distance of Gaussians with diagonal covariances.

    Source: Lv, Yang and Li 2024, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation"
    (arXiv 2412.08139), section 3.2.

    Args:
        f_student, f_teacher: [B, C, H, W], of any two sizes.
        grid: cells a side.
    """
    both = zip(gaussians(f_student, grid), gaussians(f_teacher, grid), strict=True)
    mean, deviation = (F.mse_loss(s, t, reduction="sum") / (len(s) * s.shape[2]) for s, t in both)
    return mean, deviation


class WKDFeatures(Loss):
    """Terms `mean`: gamma times the first of `wasserstein`; `deviation`: the second; of the last maps.

    A 1x1 convolution with BN and ReLU, which trains with the student, takes its map to the teacher's channels.

    Source: as there. Weight, gamma and grid are chosen by pair: 0.08, 4 and 1 for ResNet-32x4 and ResNet-8x4 on
    CIFAR-100, where both terms fall to 0 by half a cosine from epoch 150 on. The official code has this convolution on
    CIFAR-100; on ImageNet it has a bottleneck in its place: 1x1, 3x3 and 1x1 convolutions by way of 256 channels.
    """

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = WKDFeaturesParams(**params)
        self.pairs, grid = paired(context, most=1), self.params.grid
        maps = context.student_features[-1], context.teacher_features[-1]
        # The smallest cell of `gaussians` is as long as a side over the grid, rounded up.
        if any(min(height, width) < grid or -(-height // grid) * -(-width // grid) < 2 for _, height, width in maps):
            sizes = " and ".join(f"{height}x{width}" for _, height, width in maps)
            problem = f"loss 'wkd_features' takes deviations over positions, and the last maps have {sizes}"
            raise StageError(f"{problem}; take larger images" + (" or a smaller grid" if grid > 1 else ""))
        self.epochs = context.epochs
        self.connector = connector(maps[0][0], maps[1][0], relu=True)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        mean, deviation = wasserstein(self.connector(f_student), f_teacher, self.params.grid)
        weight = decayed(batch, self.params.decay_epoch, self.epochs)
        return {"mean": weight * self.params.gamma * mean, "deviation": weight * deviation}
