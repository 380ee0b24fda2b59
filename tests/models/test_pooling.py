"""Embeddings that are the last map's mean, by the graph and by numbers, of networks of every source."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchbench.costs.without_memory import build_without_memory, without_memory
from benchbench.models.build import build_backbone
from benchbench.models.pooling import is_mean_of
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec

POOLED = [
    "cifar/resnet8",
    "cifar/vgg8",
    "cifar/wrn_16_1",
    "timm/test_byobnet",
    "timm/test_efficientnet",
    "timm/test_maxvit",
    "timm/test_resnet",
    "torchvision/mobilenet_v2",
    "torchvision/regnet_x_400mf",
    "torchvision/squeezenet1_1",
]
OTHERS = [
    "timm/test_convnext",
    "timm/test_mambaout",
    "timm/test_vit",
    "timm/test_vit2",
    "torchvision/mobilenet_v3_small",
]


@pytest.fixture(scope="module")
def build():
    registry = load_plugins().registry

    def make(name: str):
        source, _, own = name.partition("/")
        registry.get("teacher", source).load()
        return build_backbone(ModelSpec(source=source, name=own), "teacher", registry, 7)

    return make


@pytest.mark.parametrize(("name", "pooled"), [*((name, True) for name in POOLED), *((name, False) for name in OTHERS)])
def test_networks(name, pooled, build):
    """By numbers with normalisations that are no identities, by the graph of one pass, and without memory."""
    model = build(name).freeze()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    out = model(torch.rand(2, 3, 64, 64), features=True)
    means = out.features[-1].mean((2, 3))
    assert (means.shape == out.embedding.shape and torch.allclose(means, out.embedding, rtol=1e-4)) is pooled
    assert model.pools_last_map(64) is pooled
    assert not model.training
    empty = build_without_memory(lambda: build(name)).freeze()
    with without_memory():
        assert empty.pools_last_map(64) is pooled


def test_graphs():
    x = torch.rand(2, 6, 3, 3, requires_grad=True)
    features = x * 2
    assert is_mean_of(features.mean((2, 3)), features)
    assert is_mean_of(features.flatten(2).transpose(1, 2).mean(1), features)
    assert is_mean_of(nn.functional.adaptive_avg_pool2d(features, 1).flatten(1), features)
    assert not is_mean_of(nn.functional.adaptive_max_pool2d(features, 1).flatten(1), features)
    assert not is_mean_of(nn.functional.layer_norm(features.mean((2, 3)), (6,)), features)
    assert not is_mean_of((x * 3).mean((2, 3)), features)
    assert not is_mean_of(features[:, :, 0, 0], features)
    assert not is_mean_of(features.mean((2, 3))[:, :4], features)
    assert is_mean_of(features.detach().amax((2, 3)), features.detach())  # nothing is known


def test_a_map_that_is_changed_in_place_before_it_is_pooled():
    features = torch.rand(2, 6, 3, 3, requires_grad=True) * 2
    pooled = nn.functional.relu(features, inplace=True).mean((2, 3))
    assert is_mean_of(pooled, features)
    pooled.neg_()
    assert not is_mean_of(pooled, features)
