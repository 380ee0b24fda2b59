"""Wide ResNets (Zagoruyko and Komodakis 2016, arXiv 1605.07146): BatchNorm and ReLU before each convolution."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.cifar.base import CifarNetwork, conv1x1, conv3x3, initialise


class WideResNet(CifarNetwork):
    """Embedding [B, 64k]; maps of 16k, 32k, 64k channels at 1, 1/2, 1/4 of the image.

    The first two maps are sums that the next stage normalises; the last, which is pooled, is normalised and rectified.
    Layers and names as in RepDistiller (Tian et al. 2020, arXiv 1910.10699).

    Args:
        depth: 6n + 4, for n blocks a stage.
        k: how many times wider than a ResNet.
    """

    classifier_name = "fc"

    def __init__(self, depth: int, k: int):
        super().__init__()
        self.dim = 64 * k
        self.conv1 = conv3x3(3, 16)
        blocks = (depth - 4) // 6
        self.block1 = _stage(blocks, 16, 16 * k, 1)
        self.block2 = _stage(blocks, 16 * k, 32 * k, 2)
        self.block3 = _stage(blocks, 32 * k, 64 * k, 2)
        self.bn1 = nn.BatchNorm2d(64 * k)
        initialise(self)

    def stage(self, index: int, x: Tensor) -> Tensor:
        x = (self.block1, self.block2, self.block3)[index](x if index else self.conv1(x))
        return x if index < 2 else F.relu(self.bn1(x), inplace=True)


def _stage(blocks: int, width_in: int, width: int, stride: int) -> nn.Sequential:
    first = WideBlock(width_in, width, stride)
    layers = nn.Sequential(first, *(WideBlock(width, width, 1) for _ in range(blocks - 1)))
    return nn.Sequential(OrderedDict(layer=layers))  # one level more, for the names of the public weights


class WideBlock(nn.Module):
    """shortcut(x) + two 3x3 convolutions of x, [B, C_in, H, W] -> [B, C, H / stride, W / stride].

    A shortcut that changes the width is a 1x1 convolution, and starts from the normalised x as the others do.
    """

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = conv3x3(width_in, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.convShortcut = conv1x1(width_in, width, stride) if width_in != width else None

    def forward(self, x: Tensor) -> Tensor:
        normalised = F.relu(self.bn1(x), inplace=True)
        out = F.relu(self.bn2(self.conv1(normalised)), inplace=True)
        return self.conv2(out) + (x if self.convShortcut is None else self.convShortcut(normalised))
