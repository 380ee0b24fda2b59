"""Folded networks say the same; what cannot be folded is left alone."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from benchbench.execution.agreement import Sample, deviation
from benchbench.execution.folding import fold_batch_norm
from benchbench.execution.network import ExecutionConfig, frozen_network
from benchbench.models import cifar_source, timm_source, torchvision_source
from benchbench.models.backbone import Backbone, Trunk

CPU = torch.device("cpu")


def pictures(count: int, side: int) -> Tensor:
    """Noise in colours that differ: images that a network tells apart."""
    return torch.rand(count, 3, side, side) * torch.rand(count, 3, 1, 1)


def lived_in(model: Backbone, side: int) -> None:
    """Batch statistics of images, and weights and biases that are not the usual ones and zeros."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        if norm.affine:
            norm.weight.data.uniform_(0.7, 1.3)
            norm.bias.data.uniform_(-0.3, 0.3)
        norm.momentum = 0.9  # so that a pass or two are enough
    for _ in range(2):
        model(pictures(8, side))


def frozen(trunk: Trunk, side: int = 8) -> Backbone:
    torch.manual_seed(1)
    model = Backbone(trunk, 10)
    with torch.no_grad():
        lived_in(model, side)
    return model.freeze()


NETWORKS = [
    (cifar_source, "resnet20", 32),
    (cifar_source, "mobilenetv2_half", 32),
    (cifar_source, "vgg8", 32),
    (cifar_source, "shufflenet_v2", 32),
    (timm_source, "test_resnet", 48),
    (timm_source, "test_efficientnet", 48),
    (timm_source, "test_mambaout", 48),
    (torchvision_source, "resnet18", 32),
    (torchvision_source, "mobilenet_v2", 32),
    (torchvision_source, "densenet121", 32),
]


@pytest.mark.parametrize(("source", "name", "side"), NETWORKS, ids=lambda value: getattr(value, "__name__", value))
@torch.no_grad()
def test_a_folded_network_says_the_same(source, name, side):
    torch.manual_seed(0)
    model = frozen(source.build(name, None), side)
    images = pictures(4, side)
    folded = copy.deepcopy(model)
    count = fold_batch_norm(folded, images)
    norms = sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    assert count <= norms
    assert (count > 0) == (norms > 0)
    for features in (False, True):
        expected, actual = model(images, features), folded(images, features)
        assert len(expected.features) == len(actual.features)
        assert bool(actual.features) == features
        pairs = zip(
            [actual.logits, actual.embedding, *actual.features],
            [expected.logits, expected.embedding, *expected.features],
            strict=True,
        )
        for one, other in pairs:
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_the_normalisations_of_a_resnet_are_all_folded():
    model = frozen(cifar_source.build("resnet20", None), 32)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert fold_batch_norm(model, torch.rand(2, 3, 32, 32)) == len(norms) == 21
    images = torch.randn(2, 16, 4, 4)
    assert norms[0](images) is images


def test_an_activation_inside_a_normalisation_stays():
    torch.manual_seed(0)
    model = frozen(timm_source.build("test_efficientnet", None), 48)
    images = torch.rand(2, 3, 48, 48)
    inside = [
        part for part in model.modules() if isinstance(part, BatchNormAct2d) and not isinstance(part.act, nn.Identity)
    ]
    assert inside
    fold_batch_norm(model, images)
    given = torch.randn(2, inside[0].num_features, 3, 3)
    assert torch.equal(inside[0](given.clone()), inside[0].act(given.clone()))
    assert not torch.equal(inside[0](given.clone()), given)


class Small(nn.Module):
    """Two convolutions and two normalisations, wired up by a test."""

    def __init__(self, wiring):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.wiring = wiring

    def forward(self, images: Tensor) -> Tensor:
        return self.wiring(self, images).relu().mean(dim=(2, 3))


def small(wiring) -> Backbone:
    torch.manual_seed(0)
    return frozen(Trunk(Small(wiring), 4, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))


FOLDED = {
    "one after another": (lambda net, x: net.other(net.second(net.norm(net.first(x)).relu())), 2),
    "a convolution used twice": (lambda net, x: net.norm(net.second(net.second(net.first(x)))), 0),
    "a convolution with two normalisations": (lambda net, x: net.norm(y := net.first(x)) + net.other(y), 0),
    "a normalisation used twice": (lambda net, x: net.norm(net.second(net.norm(net.first(x)))), 0),
    "something in between": (lambda net, x: net.norm(net.first(x).relu()), 0),
    "its output goes elsewhere too": (lambda net, x: net.norm(y := net.first(x)) + y, 0),
    "its output goes elsewhere before": (lambda net, x: (y := net.first(x)).sigmoid() + net.norm(y), 0),
    "its output is changed in place": (lambda net, x: net.norm(net.first(x).add_(x.mean(1, keepdim=True))), 0),
    "no convolution before": (lambda net, x: net.second(net.norm(torch.cat([x, x[:, :1]], dim=1))), 0),
}


@pytest.mark.parametrize("case", FOLDED)
@torch.no_grad()
def test_what_is_folded(case):
    wiring, expected = FOLDED[case]
    model = small(wiring)
    folded, images = copy.deepcopy(model), torch.rand(3, 3, 8, 8)
    assert fold_batch_norm(folded, images) == expected
    assert deviation(folded(images), model(images)) < 1e-5


@torch.no_grad()
def test_a_lower_precision_hides_no_wrong_folding():
    model, images = small(lambda net, x: net.norm(y := net.first(x)) + y), torch.rand(5, 3, 8, 8)
    network, _ = frozen_network(model, ExecutionConfig("bf16", fold_bn=True), Sample(images), math.inf)
    assert deviation(network(images), model(images)) < 0.1


@pytest.mark.parametrize(("name", "expected"), [("wrn_16_1", 6), ("resnet8", 9)])
@torch.no_grad()
def test_a_convolution_whose_output_a_shortcut_reads_too_is_not_folded(name, expected):
    model = frozen(cifar_source.build(name, None), 32)
    folded, images = copy.deepcopy(model), pictures(3, 32)
    assert fold_batch_norm(folded, images) == expected
    assert deviation(folded(images, features=True), model(images, features=True)) < 1e-4


class Standardised(nn.Conv2d):
    """Its weight is computed anew in every pass, of mean 0 and deviation 1, so that a factor of it is lost."""

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(images, weight, self.bias, padding=1)


@torch.no_grad()
def test_what_a_forward_pass_does_not_show_is_undone():
    torch.manual_seed(0)
    module = Small(lambda net, x: net.other(net.second(net.norm(net.first(x)).relu())))
    module.second = Standardised(4, 4, 3)
    model = frozen(Trunk(module, 4, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    folded, images = copy.deepcopy(model), torch.rand(3, 3, 8, 8)
    assert fold_batch_norm(folded, images) == 0
    assert torch.equal(folded(images).logits, model(images).logits)
    assert folded.state_dict().keys() == model.state_dict().keys()


@torch.no_grad()
def test_statistics_of_the_batch_are_not_folded():
    model = small(lambda net, x: net.other(net.second(net.norm(net.first(x)))))
    trunk = model.trunk
    trunk.norm = nn.BatchNorm2d(4, track_running_stats=False)
    trunk.other.train()
    assert fold_batch_norm(model, torch.rand(3, 3, 8, 8)) == 0


@torch.no_grad()
def test_no_hook_is_left_behind():
    model = small(lambda net, x: net.norm(net.first(x)))
    fold_batch_norm(model, torch.rand(2, 3, 8, 8))
    assert not any(part._forward_hooks for part in model.modules())
