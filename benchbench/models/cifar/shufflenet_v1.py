"""ShuffleNet (Zhang et al. 2018, arXiv 1707.01083) with three groups, for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.cifar.base import CifarNetwork, channel_shuffle, conv1x1, conv3x3

GROUPS = 3


class ShuffleNetV1(CifarNetwork):
    """Embedding [B, 960]; maps of 240, 480, 960 channels at 1/2, 1/4, 1/8 of the image.

    Layers, names and initial weights (PyTorch's own) as in RepDistiller (Tian et al. 2020, arXiv 1910.10699). Of the
    network for ImageNet, the stem is a 1x1 convolution of stride 1, and there is a ReLU after each 3x3 convolution.
    """

    dim = 960

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv1x1(3, 24)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = _stage(4, 24, 240)
        self.layer2 = _stage(8, 240, 480)
        self.layer3 = _stage(4, 480, 960)

    def stage(self, index: int, x: Tensor) -> Tensor:
        x = x if index else F.relu(self.bn1(self.conv1(x)), inplace=True)
        return (self.layer1, self.layer2, self.layer3)[index](x)


def _stage(blocks: int, width_in: int, width: int) -> nn.Sequential:
    # The stem's 24 channels are too few to be worth grouping.
    first = ShuffleV1Block(width_in, width, 2, groups_in=1 if width_in == 24 else GROUPS)
    return nn.Sequential(first, *(ShuffleV1Block(width, width, 1, GROUPS) for _ in range(blocks - 1)))


class ShuffleV1Block(nn.Module):
    """1x1 in groups, channel shuffle, 3x3 a channel, 1x1 in groups; [B, C_in, H, W] -> [B, C, H / stride, W / stride].

    With stride 1 x is added; with stride 2 its average over 3x3 is put beside, as C_in of the C channels.
    """

    def __init__(self, width_in: int, width: int, stride: int, groups_in: int):
        super().__init__()
        new = width - width_in if stride == 2 else width
        inner = new // 4
        self.stride, self.groups_in = stride, groups_in
        self.conv1 = conv1x1(width_in, inner, groups=groups_in)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv3x3(inner, inner, stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv1x1(inner, new, groups=GROUPS)
        self.bn3 = nn.BatchNorm2d(new)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(channel_shuffle(out, self.groups_in))), inplace=True)
        out = self.bn3(self.conv3(out))
        if self.stride == 1:
            return F.relu(out + x, inplace=True)
        return F.relu(torch.cat([out, F.avg_pool2d(x, 3, stride=2, padding=1)], 1), inplace=True)
