"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for small images."""

from __future__ import annotations

from torch import Tensor, nn

from benchbench.models.cifar.base import CifarNetwork, conv1x1, conv3x3, initialise

# Expansion, width, blocks and stride of each group of blocks, before the network is scaled.
GROUPS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STAGES = ((0, 1), (2,), (3, 4), (5, 6))  # groups of each


class MobileNetV2(CifarNetwork):
    """Embedding [B, 1280]; maps of 24w, 32w, 96w and 1280 channels at 1/2, 1/4, 1/8, 1/16 of the image.

    Layers and names as in RepDistiller (Tian et al. 2020, arXiv 1910.10699). Of the network for ImageNet, the second
    group of blocks keeps its size, ReLU stands in for ReLU6, and widths are rounded down, not to multiples of 8.

    Args:
        w: scales every width but the last.
    """

    dim = 1280
    classifier_name = "classifier.0"
    stages = len(STAGES)

    def __init__(self, w: float):
        super().__init__()
        width = int(32 * w)
        self.conv1 = nn.Sequential(conv3x3(3, width, 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.blocks = nn.ModuleList()
        for expansion, full_width, blocks, stride in GROUPS:
            width_in, width = width, int(full_width * w)
            first = InvertedResidual(width_in, width, stride, expansion)
            rest = (InvertedResidual(width, width, 1, expansion) for _ in range(blocks - 1))
            self.blocks.append(nn.Sequential(first, *rest))
        self.conv2 = nn.Sequential(conv1x1(width, self.dim), nn.BatchNorm2d(self.dim), nn.ReLU(inplace=True))
        initialise(self)

    def stage(self, index: int, x: Tensor) -> Tensor:
        x = x if index else self.conv1(x)
        for group in STAGES[index]:
            x = self.blocks[group](x)
        return x if index < 3 else self.conv2(x)


class InvertedResidual(nn.Module):
    """Wider by 1x1, 3x3 a channel, narrow again by 1x1; added to x where size and width stay.

    [B, C_in, H, W] -> [B, C, H / stride, W / stride].
    """

    def __init__(self, width_in: int, width: int, stride: int, expansion: int):
        super().__init__()
        inner = width_in * expansion
        self.adds = stride == 1 and width_in == width
        self.conv = nn.Sequential(
            conv1x1(width_in, inner),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            conv3x3(inner, inner, stride, groups=inner),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            conv1x1(inner, width),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)
