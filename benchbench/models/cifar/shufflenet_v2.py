"""ShuffleNetV2 1x (Ma et al. 2018, arXiv 1807.11164) for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.cifar.base import CifarNetwork, channel_shuffle, conv1x1, conv3x3


class ShuffleNetV2(CifarNetwork):
    """Embedding [B, 1024]; maps of 116, 232, 1024 channels at 1/2, 1/4, 1/8 of the image.

    Layers, names and initial weights (PyTorch's own) as in RepDistiller (Tian et al. 2020, arXiv 1910.10699). Of the
    network for ImageNet, the stem is a 1x1 convolution of stride 1 without max-pooling.
    """

    dim = 1024

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv1x1(3, 24)
        self.bn1 = nn.BatchNorm2d(24)
        self.layer1 = _stage(3, 24, 116)
        self.layer2 = _stage(7, 116, 232)
        self.layer3 = _stage(3, 232, 464)
        self.conv2 = conv1x1(464, self.dim)
        self.bn2 = nn.BatchNorm2d(self.dim)

    def stage(self, index: int, x: Tensor) -> Tensor:
        x = x if index else F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = (self.layer1, self.layer2, self.layer3)[index](x)
        return x if index < 2 else F.relu(self.bn2(self.conv2(x)), inplace=True)


def _stage(blocks: int, width_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(DownBlock(width_in, width), *(ShuffleV2Block(width // 2) for _ in range(blocks)))


class ShuffleV2Block(nn.Module):
    """Half of the channels pass as they are; 1x1, 3x3 a channel, 1x1 on the other half; then both are shuffled.

    [B, 2 half, H, W] -> the same.
    """

    def __init__(self, half: int):
        super().__init__()
        self.conv1 = conv1x1(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = conv3x3(half, half, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        passed, out = x.chunk(2, dim=1)
        out = F.relu(self.bn1(self.conv1(out)), inplace=True)
        out = self.bn2(self.conv2(out))
        out = F.relu(self.bn3(self.conv3(out)), inplace=True)
        return channel_shuffle(torch.cat([passed, out], 1), 2)


class DownBlock(nn.Module):
    """Two branches of stride 2 over all channels, each to half of the new ones; [B, C_in, H, W] -> [B, C, H/2, W/2]."""

    def __init__(self, width_in: int, width: int):
        super().__init__()
        half = width // 2
        self.conv1 = conv3x3(width_in, width_in, 2, groups=width_in)
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv2 = conv1x1(width_in, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(width_in, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = conv3x3(half, half, 2, groups=half)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = conv1x1(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: Tensor) -> Tensor:
        left = self.bn1(self.conv1(x))
        left = F.relu(self.bn2(self.conv2(left)), inplace=True)
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = self.bn4(self.conv4(right))
        right = F.relu(self.bn5(self.conv5(right)), inplace=True)
        return channel_shuffle(torch.cat([left, right], 1), 2)
