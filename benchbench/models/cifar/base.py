"""Common parts of the networks for CIFAR images."""

from __future__ import annotations

from torch import Tensor, nn


class CifarNetwork(nn.Module):
    """A network without its classifier; the embedding is the mean of its last map over all positions.

    Attributes:
        dim: width of the embedding.
        classifier_name: of the linear classifier on top in the public weight files. All other parts have the names
            of these files too, so that weights load by name.
        stages: number of stages; the map at the end of the last has `dim` channels.
    """

    dim: int
    classifier_name = "linear"
    stages = 3

    def stage(self, index: int, x: Tensor) -> Tensor:
        """The map at the end of a stage [B, C, h, w], from the one at the end of the stage before; images at first."""
        raise NotImplementedError

    def rest(self, index: int, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """From the map at the end of a stage on: embedding [B, dim], and the maps after that one, shallow to deep."""
        maps = []
        for stage in range(index + 1, self.stages):
            x = self.stage(stage, x)
            maps.append(x)
        return x.mean((2, 3)), maps

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W] -> embedding [B, dim] and the maps at the ends of all stages."""
        return self.rest(-1, images)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> embedding [B, dim]."""
        return self.with_features(images)[0]


def conv1x1(width_in: int, width_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 1, stride, groups=groups, bias=False)


def conv3x3(width_in: int, width_out: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 3, stride, padding=1, groups=groups, bias=False)


def initialise(network: nn.Module) -> None:
    """Convolutions as He et al. (2015, arXiv 1502.01852) for ReLU, by fan-out; their biases zero."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle of ShuffleNet, [B, C, H, W]: the channels of `groups` equal groups, taken in turns."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
