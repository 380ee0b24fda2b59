"""A small network to load weights into, and what it is like afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.errors import WeightsError
from benchbench.models.weights import Weights


class Network(nn.Module):
    def __init__(self, classes=4, width=6):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)


def trained(network: nn.Module) -> nn.Module:
    """No two tensors alike, buffers included."""
    generator = torch.Generator().manual_seed(7)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
        else:
            tensor.fill_(41)
    return network


def assert_same(state, expected):
    assert list(state) == list(expected)
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name]), name


def refusal(weights: Weights, network=None) -> str:
    """The error's message; a network that was refused weights keeps its own."""
    network = network or Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        weights.load_into(network, "fc")
    assert "\n" not in str(caught.value)
    assert_same(network.state_dict(), before)
    return str(caught.value)
