from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.projectors import BatchNorm, build_projector

KINDS = ["linear", "mocov2", "simclr", "simclrv2"]
LAYERS = {
    "linear": ["Linear"],
    "mocov2": ["Linear", "ReLU", "Linear"],
    "simclr": ["Linear", "BatchNorm", "ReLU", "Linear", "BatchNorm"],
    "simclrv2": ["Linear", "BatchNorm", "ReLU", "Linear", "BatchNorm", "ReLU", "Linear", "BatchNorm"],
}


def reference(projector: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """The layers one by one in NumPy, batch normalisation by the batch's own statistics."""
    for layer in projector:
        weights = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}
        if isinstance(layer, nn.Linear):
            x = np.array(
                [[sum(w * v for w, v in zip(row, sample, strict=True)) for row in weights["weight"]] for sample in x]
            )
            x = x + weights.get("bias", 0)
        elif isinstance(layer, nn.ReLU):
            x = np.where(x > 0, x, 0)
        else:
            for column in x.T:
                mean = sum(column) / len(column)
                variance = sum((value - mean) ** 2 for value in column) / len(column)
                column[:] = [(value - mean) / math.sqrt(variance + 1e-5) for value in column]
            x = x * weights.get("weight", 1) + weights.get("bias", 0)
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_value(kind):
    projector = build_projector(kind, 6, 4)
    for layer in projector:  # so that a scale or a shift left out shows
        if isinstance(layer, BatchNorm) and layer.affine:
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    x = np.random.default_rng(0).normal(size=(7, 6))
    value = projector(torch.tensor(x, dtype=torch.float32))
    assert value.shape == (7, 4)
    np.testing.assert_allclose(value.detach(), reference(projector, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_layers(kind):
    projector = build_projector(kind, 6, 4)
    assert [type(layer).__name__ for layer in projector] == LAYERS[kind]
    linear = [layer for layer in projector if isinstance(layer, nn.Linear)]
    assert all(layer.in_features == layer.out_features == 6 for layer in linear[:-1])
    assert all((layer.bias is None) == kind.startswith("simclr") for layer in linear)
    norms = [layer.affine for layer in projector if isinstance(layer, BatchNorm)]
    assert norms == [True] * (len(norms) - 1) + [False] * bool(norms)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_not_shared(kind):
    projector = build_projector(kind, 6, 4)
    assert len({id(layer) for layer in projector}) == len(projector)


@pytest.mark.parametrize("kind", ["simclr", "simclrv2"])
def test_a_batch_of_one_is_normalised_as_in_evaluation(kind):
    projector = build_projector(kind, 6, 4)
    for seed in range(3):
        projector(torch.randn(9, 6, generator=torch.Generator().manual_seed(seed)))
    before = {name: value.clone() for name, value in projector.state_dict().items()}
    one = torch.randn(1, 6, requires_grad=True)
    trained = projector.train()(one)
    trained.square().sum().backward()
    assert one.grad.abs().sum() > 0
    assert torch.equal(trained, projector.eval()(one))
    assert all(torch.equal(value, before[name]) for name, value in projector.state_dict().items())


def test_larger_batches_update_the_running_statistics():
    norm = BatchNorm(3)
    norm(torch.randn(2, 3) + 5)
    assert norm.num_batches_tracked == 1
    assert (norm.running_mean > 0).all()


def test_unknown_kind():
    with pytest.raises(ValueError, match="unknown projector 'mlp'"):
        build_projector("mlp", 6, 4)
