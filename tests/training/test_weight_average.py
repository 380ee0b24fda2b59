"""The moving average of weights against timm's, and what a training evaluates, keeps and goes on with."""

from __future__ import annotations

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn

from benchbench.training.weight_average import WeightAverage
from tests.training.small import snapshot


@pytest.mark.parametrize("warmup", [False, True])
def test_the_average_is_timm_s(warmup):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average, other = WeightAverage(model, 0.6, warmup), ModelEmaV3(model, 0.6, use_warmup=warmup)
    for step in range(6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            model(torch.randn(5, 3))
        average.update(step)
        other.update(model, step + 1)
        assert all(torch.equal(average.values[name], value) for name, value in other.module.state_dict().items())
    weights = snapshot(model)
    assert not torch.equal(weights["1.running_mean"], average.values["1.running_mean"])
    assert weights["1.num_batches_tracked"] == average.values["1.num_batches_tracked"] == 6
    with average.applied():
        assert all(torch.equal(tensor, average.values[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
