"""VGG (Simonyan and Zisserman 2015, arXiv 1409.1556) with BatchNorm, pooled to one linear classifier."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.cifar.base import CifarNetwork, initialise

WIDTHS = (64, 128, 256, 512, 512)
# From this side of the fourth map on, that of images of 64 px, there is something left to pool before the last stage.
LARGE = 8


class VGG(CifarNetwork):
    """Embedding [B, 512]; maps of 64, 128, 256, 512, 512 channels at 1, 1/2, 1/4, 1/8, 1/8 (from 64 px: 1/16).

    Layers and names as in RepDistiller (Tian et al. 2020, arXiv 1910.10699).

    Args:
        depths: 3x3 convolutions in each of the five stages.
    """

    dim = WIDTHS[-1]
    classifier_name = "classifier"
    stages = len(WIDTHS)

    def __init__(self, depths: tuple[int, int, int, int, int]):
        super().__init__()
        for index, (depth, (width_in, width)) in enumerate(zip(depths, pairwise((3, *WIDTHS)), strict=True)):
            self.add_module(f"block{index}", _stage(depth, width_in, width))
        initialise(self)

    def stage(self, index: int, x: Tensor) -> Tensor:
        pools = index in (1, 2, 3) or (index == 4 and x.shape[-2] >= LARGE)
        return self.get_submodule(f"block{index}")(F.max_pool2d(x, 2) if pools else x)


def _stage(depth: int, width_in: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        width_in = width
    return nn.Sequential(*layers)
