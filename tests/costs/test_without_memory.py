from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torchvision.models import regnet_y_400mf

from benchbench.costs.without_memory import build_without_memory


class Initialised(nn.Module):
    """Every way in which constructors fill tensors, and one that is no fill."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 4))
        nn.init.xavier_uniform_(self.weight)
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.zeros_(self.weight.data.mul_(other=2).add_(other=1))
        self.register_buffer("steps", torch.arange(6).add_(torch.ones(6, dtype=torch.long)).view(2, 3))


@pytest.mark.parametrize(
    "build",
    [
        Initialised,
        lambda: timm.create_model("test_vit"),
        lambda: timm.create_model("test_efficientnet"),
        lambda: regnet_y_400mf(),
    ],
    ids=["initialised", "vit", "efficientnet", "computes widths with tensors"],
)
def test_it_has_the_shapes_and_types_of_the_real_one(build):
    built, real = build_without_memory(build).state_dict(), build().state_dict()
    assert {name: (each.shape, each.dtype) for name, each in built.items()} == {
        name: (each.shape, each.dtype) for name, each in real.items()
    }
    assert {each.device.type for each in built.values()} == {"meta"}
    assert {each.device.type for each in real.values()} == {"cpu"}


def test_tensors_with_memory_are_filled_meanwhile():
    def build() -> nn.Linear:
        weight = torch.empty(2, device="cpu")
        nn.init.constant_(weight.fill_(2).mul_(3), 5 + weight[0].item())
        assert weight.tolist() == [11, 11]
        return nn.Linear(2, 2)

    assert build_without_memory(build).weight.is_meta
