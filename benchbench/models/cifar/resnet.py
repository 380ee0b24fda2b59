"""The ResNets that He et al. (2016, arXiv 1512.03385) made for CIFAR: three stages, 6n + 2 layers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.models.cifar.base import CifarNetwork, conv1x1, conv3x3, initialise

WIDTHS = (16, 16, 32, 64)
WIDTHS_X4 = (32, 64, 128, 256)


class ResNet(CifarNetwork):
    """Embedding [B, 64] and maps of 16, 32, 64 channels at 1, 1/2, 1/4 of the image; [B, 256] and four times as many
    with the widths x4.

    Parts are named as in the public weights: with shortcut B those of RepDistiller (Tian et al. 2020, arXiv
    1910.10699), where the classifier is `fc`; with shortcut A those of Y. Idelbayev (pytorch_resnet_cifar10), where it
    is `linear`.

    Args:
        depth: 6n + 2, for n blocks a stage.
        widths: of the stem and of the three stages.
        shortcut: where a stage changes size, "A" (no parameters; the paper's) or "B" (1x1 convolution and BatchNorm).
    """

    def __init__(self, depth: int, widths: tuple[int, int, int, int] = WIDTHS, shortcut: str = "B"):
        super().__init__()
        self.dim = widths[3]
        self.classifier_name = "linear" if shortcut == "A" else "fc"
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        blocks = (depth - 2) // 6
        self.layer1 = _stage(blocks, widths[0], widths[1], 1, shortcut)
        self.layer2 = _stage(blocks, widths[1], widths[2], 2, shortcut)
        self.layer3 = _stage(blocks, widths[2], widths[3], 2, shortcut)
        initialise(self)

    def stage(self, index: int, x: Tensor) -> Tensor:
        x = x if index else F.relu(self.bn1(self.conv1(x)), inplace=True)
        return (self.layer1, self.layer2, self.layer3)[index](x)


def _stage(blocks: int, width_in: int, width: int, stride: int, shortcut: str) -> nn.Sequential:
    first = BasicBlock(width_in, width, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width, 1, shortcut) for _ in range(blocks - 1)))


class BasicBlock(nn.Module):
    """relu(shortcut(x) + two 3x3 convolutions of x), [B, C_in, H, W] -> [B, C, H / stride, W / stride]."""

    def __init__(self, width_in: int, width: int, stride: int, shortcut: str):
        super().__init__()
        self.conv1 = conv3x3(width_in, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            projection = nn.Sequential(conv1x1(width_in, width, stride), nn.BatchNorm2d(width))
            self.downsample = ZeroPad(width - width_in, stride) if shortcut == "A" else projection

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.downsample(x), inplace=True)


class ZeroPad(nn.Module):
    """Shortcut A: every `stride`-th pixel, and `more` channels of zeros, half of them before the map's own."""

    def __init__(self, more: int, stride: int):
        super().__init__()
        self.before, self.after, self.stride = more // 2, more - more // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))
