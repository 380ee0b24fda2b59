"""Connectors: 1x1 convolutions from a feature map of either side to the channels of the other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of [B, C, H, W] that also takes one value per channel in train mode.

    The analogue of `projectors.BatchNorm`: one image with a map of size 1x1 is normalised by the running statistics, as
    in evaluation, and does not update them.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def connector(c_in: int, c_out: int, kernel: int = 1, *, norm: bool = True, relu: bool = False) -> nn.Sequential:
    """A convolution [B, c_in, H, W] -> [B, c_out, H, W], then BN with `norm`, then ReLU with `relu`.

    It has a bias only where no BN follows, which would cancel it.

    Args:
        c_in, c_out: channels.
        kernel: odd side of the kernel; padding keeps the map's size.
        norm, relu: True for the layers that follow.
    """
    layers: list[nn.Module] = [nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=not norm)]
    if norm:
        layers.append(BatchNorm2d(c_out))
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)
