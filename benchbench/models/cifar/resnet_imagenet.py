"""The ResNets of ImageNet (He et al. 2016, arXiv 1512.03385) for small images: a 3x3 stem, no max-pooling."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.cifar.base import CifarNetwork, conv1x1, conv3x3, initialise


class ImageNetResNet(CifarNetwork):
    """Maps of 64, 128, 256, 512 channels at 1, 1/2, 1/4, 1/8 of the image; four times as many with bottlenecks.

    Layers and names as in RepDistiller (Tian et al. 2020, arXiv 1910.10699).

    Args:
        blocks: how many in each of the four stages.
        bottleneck: blocks of three convolutions (ResNet-50 and deeper) instead of two.
    """

    stages = 4

    def __init__(self, blocks: tuple[int, int, int, int], bottleneck: bool):
        super().__init__()
        self.block: type[BasicBlock | Bottleneck] = Bottleneck if bottleneck else BasicBlock
        self.dim = 512 * self.block.expansion
        self.conv1 = conv3x3(3, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = self._stage(blocks[0], 64, 64, 1)
        self.layer2 = self._stage(blocks[1], 64 * self.block.expansion, 128, 2)
        self.layer3 = self._stage(blocks[2], 128 * self.block.expansion, 256, 2)
        self.layer4 = self._stage(blocks[3], 256 * self.block.expansion, 512, 2)
        initialise(self)

    def _stage(self, blocks: int, width_in: int, width: int, stride: int) -> nn.Sequential:
        rest = (self.block(width * self.block.expansion, width, 1) for _ in range(blocks - 1))
        return nn.Sequential(self.block(width_in, width, stride), *rest)

    def stage(self, index: int, x: Tensor) -> Tensor:
        x = x if index else F.relu(self.bn1(self.conv1(x)), inplace=True)
        return (self.layer1, self.layer2, self.layer3, self.layer4)[index](x)


class BasicBlock(nn.Module):
    """relu(shortcut(x) + two 3x3 convolutions of x), [B, C_in, H, W] -> [B, width, H / stride, W / stride]."""

    expansion = 1

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = conv3x3(width_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(width_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x), inplace=True)


class Bottleneck(nn.Module):
    """relu(shortcut(x) + 1x1, 3x3, 1x1 of x), [B, C_in, H, W] -> [B, 4 width, H / stride, W / stride]."""

    expansion = 4

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = conv1x1(width_in, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, 4 * width)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut = _shortcut(width_in, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.shortcut(x), inplace=True)


def _shortcut(width_in: int, width_out: int, stride: int) -> nn.Sequential:
    if stride == 1 and width_in == width_out:
        return nn.Sequential()
    return nn.Sequential(conv1x1(width_in, width_out, stride), nn.BatchNorm2d(width_out))
