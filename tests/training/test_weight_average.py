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


def test_a_mask_stays_one():
    """As of attention: what it hides is minus infinity, and the difference of two of those is no number."""
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    model.register_buffer("lowest", torch.tensor(torch.inf))  # of what was seen so far
    average = WeightAverage(model, 0.6, warmup=False)
    for step in range(3):
        model.lowest.fill_(2.0)
        average.update(step)
    assert average.values["mask"].tolist() == [0.0, -torch.inf]
    assert average.values["lowest"] == 2.0
    assert average.values["weight"].isfinite().all()
