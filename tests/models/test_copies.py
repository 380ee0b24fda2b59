"""Functions that close over layers, in deep copies."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.copies import deep_copy


def closure(layer):
    return lambda images: layer(images)


def nested(layer):
    inner = closure(layer)

    def outer(images):
        return inner(images)

    return outer


def in_list(layer):
    layers = [layer]

    def run(images):
        for each in layers:
            images = each(images)
        return images

    return run


def default(layer):
    def run(images, part=layer):
        return part(images)

    return run


def named_default(layer):
    def run(images, *, part=layer):
        return part(images)

    return run


def recursive(layer):
    def run(images, again=True):
        return run(images, False) if again else layer(images)

    return run


@pytest.mark.parametrize("make", [closure, nested, in_list, default, named_default, recursive])
@torch.no_grad()
def test_the_copy_of_a_function_runs_the_copied_layers(make):
    layer = nn.Linear(2, 2)
    function = make(layer)
    memo = {}
    copied_layer, copied = copy.deepcopy(layer, memo), deep_copy(function, memo)
    images = torch.ones(1, 2)
    before = function(images)
    copied_layer.weight.add_(1)
    assert torch.equal(copied(images), copied_layer(images))
    assert torch.equal(function(images), before)


def test_functions_without_layers_stay():
    factor = [2]

    def twice(value):
        return value * factor[0]

    assert deep_copy(twice, {}) is twice


def test_a_list_that_hooks_fill_stays_one_list():
    module, kept = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), []
    module[0].register_forward_hook(lambda _module, _inputs, output: kept.append(output))

    def with_features(images):
        kept.clear()
        return module(images), list(kept)

    model = Backbone(Trunk(module, 4, (0.5,) * 3, (0.5,) * 3, with_features=with_features), 2)
    assert len(copy.deepcopy(model)(torch.rand(2, 3, 4, 4), features=True).features) == 1


def test_statistics_of_a_network_stay_where_a_copy_trains():
    module = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def with_features(images):
        normalised = module[0](images)
        return module[1:](normalised), [normalised]

    model = Backbone(Trunk(module, 3, (0.5,) * 3, (0.5,) * 3, with_features=with_features), 2)
    copied = copy.deepcopy(model).train()
    copied(torch.rand(4, 3, 4, 4), features=True)
    assert module[0].num_batches_tracked == 0
    assert copied.trunk[0].num_batches_tracked == 1
    assert copied.state_dict().keys() == model.state_dict().keys()
