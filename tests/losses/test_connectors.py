from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.losses.connectors import BatchNorm2d, connector


def test_batch_norm_is_the_usual_one_for_more_than_one_value_a_channel():
    ours, usual = BatchNorm2d(3), nn.BatchNorm2d(3)
    for shape in ((4, 3, 1, 1), (1, 3, 2, 1), (2, 3, 5, 4)):
        x = torch.randn(shape)
        assert torch.equal(ours(x), usual(x))
    assert torch.equal(ours.running_var, usual.running_var)
    assert torch.equal(ours.eval()(x), usual.eval()(x))


def test_one_value_a_channel_is_normalised_by_the_running_statistics():
    norm = BatchNorm2d(3)
    norm(2 * torch.randn(8, 3, 2, 2) + 1)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(1, 3, 1, 1, requires_grad=True)
    y = norm(x)
    expected = (x.flatten() - before["running_mean"]) / (before["running_var"] + 1e-5).sqrt()
    torch.testing.assert_close(y.flatten(), expected)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    y.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_connector_keeps_the_size(kernel):
    assert connector(3, 7, kernel)(torch.randn(2, 3, 5, 4)).shape == (2, 7, 5, 4)


def test_layers():
    convolution, norm = connector(3, 7)
    assert convolution.bias is None
    assert isinstance(norm, BatchNorm2d)
    (convolution,) = connector(3, 7, norm=False)
    assert convolution.bias is not None
    assert isinstance(connector(3, 7, relu=True)[2], nn.ReLU)
