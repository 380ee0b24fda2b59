"""The networks of the published CIFAR-100 distillation tables (RepDistiller, mdistiller), by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchbench.models.cifar.base import CifarNetwork
from benchbench.models.cifar.mobilenetv2 import MobileNetV2
from benchbench.models.cifar.resnet import WIDTHS_X4, ResNet
from benchbench.models.cifar.resnet_imagenet import ImageNetResNet
from benchbench.models.cifar.shufflenet_v1 import ShuffleNetV1
from benchbench.models.cifar.shufflenet_v2 import ShuffleNetV2
from benchbench.models.cifar.vgg import VGG
from benchbench.models.cifar.wrn import WideResNet

# These have a choice of shortcuts.
RESNETS: dict[str, Callable[..., CifarNetwork]] = {
    **{f"resnet{depth}": partial(ResNet, depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": partial(ResNet, depth, WIDTHS_X4) for depth in (8, 32)},
}
OTHERS: dict[str, Callable[[], CifarNetwork]] = {
    "resnet18": partial(ImageNetResNet, (2, 2, 2, 2), bottleneck=False),
    "resnet50": partial(ImageNetResNet, (3, 4, 6, 3), bottleneck=True),
    **{f"wrn_{depth}_{k}": partial(WideResNet, depth, k) for depth in (16, 40) for k in (1, 2)},
    "vgg8": partial(VGG, (1, 1, 1, 1, 1)),
    "vgg11": partial(VGG, (1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, (2, 2, 2, 2, 2)),
    "vgg16": partial(VGG, (2, 2, 3, 3, 3)),
    "vgg19": partial(VGG, (2, 2, 4, 4, 4)),
    "mobilenetv2_half": partial(MobileNetV2, 0.5),
    "shufflenet_v1": ShuffleNetV1,
    "shufflenet_v2": ShuffleNetV2,
}
