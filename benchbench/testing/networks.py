"""Networks with maps of any shapes that run from each of their maps on, for losses that ask for that."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchbench.losses.base import Rest, Shape
from benchbench.models.backbone import Backbone, Trunk


class Chain(nn.Module):
    """A 1x1 convolution, BN and ReLU from each map to the next, and a linear layer from the last to the embedding."""

    def __init__(self, shapes: Sequence[Shape], dim: int):
        super().__init__()
        self.sizes = [shape[1:] for shape in shapes]
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before[0], after[0], 1), nn.BatchNorm2d(after[0]), nn.ReLU())
            for before, after in pairwise(shapes)
        )
        self.last = nn.Linear(shapes[-1][0], dim)

    def rest(self, index: int, value: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `Trunk.rest`."""
        maps = []
        for step, size in zip(self.steps[index:], self.sizes[index + 1 :], strict=True):
            value = step(F.adaptive_avg_pool2d(value, size))
            maps.append(value)
        return self.last(value.mean((2, 3))), maps


def rest_of(shapes: Sequence[Shape], dim: int, head: nn.Module, device: torch.device, frozen: bool = False) -> Rest:
    """`Backbone.rest` of such a network with a head; a frozen one is in eval mode, without gradients."""
    chain = Chain(shapes, dim)
    model = Backbone(Trunk(chain, dim, (0.5,) * 3, (0.25,) * 3, rest=chain.rest), None).to(device)
    if frozen:
        model.freeze()
    model.head = head
    return model.rest
