"""The optimiser's groups and steps, and its rates against closed forms."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from benchbench.errors import StageError
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.build import build_backbone
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ModelSpec
from benchbench.training.optimizers import make_optimizer, rate_factor, set_rates
from tests.specs import recipe_spec


def model(classes=3) -> Backbone:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU())
    return Backbone(Trunk(module, 5, (0.0,) * 3, (1.0,) * 3), classes)


class Losses(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.projector = nn.Linear(5, width)
        self.frozen = nn.Linear(5, width).requires_grad_(False)
        self.register_buffer("bank", torch.zeros(3))


def rates(optimizer) -> dict[int, float]:
    return {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("head_lr", [None, 0.5])
def test_the_head_has_a_rate_of_its_own_and_projectors_the_body_s(kind, head_lr):
    student, losses = model(), Losses()
    optimizer = make_optimizer(student, losses, recipe_spec(optimizer=kind, lr=0.02, head_lr=head_lr))
    expected = {id(parameter): 0.02 for parameter in [*student.trunk.parameters(), *losses.projector.parameters()]}
    expected |= {id(parameter): head_lr or 0.02 for parameter in student.head.parameters()}
    set_rates(optimizer, 1.0)
    assert rates(optimizer) == expected
    set_rates(optimizer, 0.25)
    set_rates(optimizer, 0.5)  # of the base rate, not of the last one
    assert rates(optimizer) == {parameter: rate / 2 for parameter, rate in expected.items()}


def test_frozen_parts_are_left_out():
    student = model().freeze(head=False)
    optimizer = make_optimizer(student, nn.Module(), recipe_spec(lr=0.1, head_lr=0.7))
    set_rates(optimizer, 1.0)
    assert rates(optimizer) == {id(parameter): 0.7 for parameter in student.head.parameters()}


def test_a_model_without_a_head_trains_its_trunk():
    student = model(classes=None)
    optimizer = make_optimizer(student, nn.Module(), recipe_spec())
    assert set(rates(optimizer)) == {id(parameter) for parameter in student.trunk.parameters()}


def steps(kind, count=3, **changes):
    """A weight of the trunk, its gradient at each step, and the weight after them."""
    student = model()
    weight = student.trunk[1].weight
    optimizer = make_optimizer(student, nn.Module(), recipe_spec(optimizer=kind, lr=0.1, **changes))
    start, gradients = weight.detach().double().clone(), []
    for index in range(count):
        set_rates(optimizer, 1 / (index + 1))
        gradients.append(torch.randn(weight.shape, generator=torch.Generator().manual_seed(index)))
        weight.grad = gradients[-1].clone()
        optimizer.step()
    return start, [gradient.double() for gradient in gradients], weight.detach().double()


def test_sgd_has_momentum_and_weight_decay():
    weight, gradients, actual = steps("sgd", momentum=0.8, weight_decay=0.05)
    velocity = torch.zeros_like(weight)
    for index, gradient in enumerate(gradients):
        velocity = 0.8 * velocity + gradient + 0.05 * weight
        weight = weight - 0.1 / (index + 1) * velocity
    assert torch.allclose(actual, weight, atol=1e-6)


def test_sgd_begins_late_for_a_part_without_a_gradient_at_first():
    ends = []
    for late in (True, False):
        student, projector = model(), nn.Linear(2, 1)
        nn.init.ones_(projector.weight)
        optimizer = make_optimizer(student, projector, recipe_spec(optimizer="sgd", lr=0.1, momentum=0.8))
        for index in range(3):
            set_rates(optimizer, 1.0)
            student.trunk[1].weight.grad = torch.ones_like(student.trunk[1].weight)
            projector.weight.grad = torch.full((1, 2), 0.5) if index or not late else None
            if index or late:
                optimizer.step()
        ends.append(projector.weight.detach().clone())
    assert torch.equal(*ends)


def test_adamw_decays_apart_from_the_gradient():
    """Loshchilov and Hutter 2019, algorithm 2."""
    weight, gradients, actual = steps("adamw", weight_decay=0.3)
    first = second = torch.zeros_like(weight)
    for index, gradient in enumerate(gradients):
        rate = 0.1 / (index + 1)
        weight = weight - rate * 0.3 * weight
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9 ** (index + 1)), second / (1 - 0.999 ** (index + 1))
        weight = weight - rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
    assert torch.allclose(actual, weight, atol=1e-6)


EPOCHS = [0.0, 0.1, 1.0, 2.5, 4.0, 7.3, 9.0, 9.99]


@pytest.mark.parametrize("epoch", EPOCHS)
def test_constant_is_one(epoch):
    assert rate_factor(recipe_spec(epochs=10), epoch) == 1


@pytest.mark.parametrize("epoch", EPOCHS)
def test_cosine_falls_to_zero_along_half_a_wave(epoch):
    expected = math.cos(math.pi / 2 * epoch / 10) ** 2
    assert rate_factor(recipe_spec(epochs=10, schedule="cosine"), epoch) == pytest.approx(expected, abs=1e-12)


def test_cosine_ends():
    factors = [rate_factor(recipe_spec(epochs=10, schedule="cosine"), epoch) for epoch in (0, 5, 10, 11)]
    assert factors == pytest.approx([1, 0.5, 0, 0], abs=1e-12)


@pytest.mark.parametrize(
    ("epoch", "power"), [(0, 0), (2.99, 0), (3, 1), (3.5, 1), (4.999, 1), (5, 2), (7, 2), (8, 3), (9.9, 3)]
)
def test_step_multiplies_by_gamma_at_each_milestone(epoch, power):
    stepped = recipe_spec(epochs=10, schedule="step", milestones=[5, 3, 8], gamma=0.2)
    assert rate_factor(stepped, epoch) == pytest.approx(0.2**power)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_warm_up_rises_in_a_line(schedule):
    warmed = recipe_spec(epochs=10, schedule=schedule, warmup_epochs=2.5, milestones=[6])
    for epoch in (0.0, 0.5, 1.0, 2.4):
        factor = rate_factor(warmed, epoch)
        assert factor == pytest.approx(epoch / 2.5, abs=1e-7)
        assert factor > 0  # no step is thrown away altogether
    assert rate_factor(warmed, 2.5) == pytest.approx(1)


@pytest.mark.parametrize("epoch", [2.0, 4.0, 6.0, 9.5])
def test_after_the_warm_up_the_cosine_takes_the_epochs_left(epoch):
    warmed = recipe_spec(epochs=10, schedule="cosine", warmup_epochs=2)
    assert rate_factor(warmed, epoch) == pytest.approx((1 + math.cos(math.pi * (epoch - 2) / 8)) / 2)


def test_a_warm_up_as_long_as_the_run_has_no_cosine():
    warmed = recipe_spec(epochs=3, schedule="cosine", warmup_epochs=3)
    assert rate_factor(warmed, 2.9) == pytest.approx(2.9 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("timm/lion", {"betas": [0.8, 0.9]}, lambda p: create_optimizer_v2(p, "lion", 0.1, 0.01, betas=(0.8, 0.9))),
        ("timm/lamb", {}, lambda p: create_optimizer_v2(p, "lamb", 0.1, 0.01)),
        ("timm/rmsprop", {}, lambda p: create_optimizer_v2(p, "rmsprop", 0.1, 0.01, momentum=0.9)),
        ("torch/nadam", {}, lambda p: torch.optim.NAdam(p, 0.1, weight_decay=0.01)),
        ("torch/RMSprop", {"alpha": 0.5}, lambda p: torch.optim.RMSprop(p, 0.1, 0.5, weight_decay=0.01, momentum=0.9)),
        ("torch/asgd", {}, lambda p: torch.optim.ASGD(p, 0.1, weight_decay=0.01)),
        ("adamw", {"betas": [0.5, 0.6]}, lambda p: torch.optim.AdamW(p, 0.1, (0.5, 0.6), weight_decay=0.01)),
        ("sgd", {"nesterov": True}, lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01, nesterov=True)),
    ],
)
def test_optimizers_by_name_step_as_their_library_s(name, params, expected):
    ours, theirs = model(), model()
    recipe = recipe_spec(optimizer=name, optimizer_params=params, lr=0.1, weight_decay=0.01)
    optimizers = make_optimizer(ours, nn.Module(), recipe), expected(list(theirs.parameters()))
    for step in range(3):
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            for index, parameter in enumerate(network.parameters()):
                random = torch.Generator().manual_seed(10 * step + index)
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimizer.step()
    assert all(
        torch.allclose(one, other, atol=1e-6) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("timm/lionn", {}, "timm has no optimizer 'lionn'; did you mean 'lion'?"),
        ("torch/adamm", {}, "torch.optim has no 'adamm'; did you mean 'adam'?"),
        ("timm/lion", {"beta": 1}, "optimizer timm/lion has no parameter 'beta'; did you mean 'betas'?"),
        ("adamw", {"epss": 1}, "optimizer adamw has no parameter 'epss'; did you mean 'eps'?"),
        ("adamw", {"eps": -1}, "optimizer adamw: ValueError: Invalid epsilon value: -1"),
    ],
)
def test_what_an_optimizer_does_not_take(name, params, words):
    with pytest.raises(StageError, match=words.replace("?", ".")):
        make_optimizer(model(), nn.Module(), recipe_spec(optimizer=name, optimizer_params=params))


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_rates_fall_from_layer_to_layer_as_timm_s(name):
    spec = ModelSpec(source="timm", name=name)
    student = build_backbone(spec, "student", load_plugins().registry, 7)
    recipe = recipe_spec(lr=0.1, layer_decay=0.5, head_lr=3.0)
    optimizer = make_optimizer(student, Losses(), recipe)
    actual = {id(p): group["base_lr"] for group in optimizer.param_groups for p in group["params"]}
    whole = timm.create_model(name, num_classes=7)
    names = {id(parameter): each for each, parameter in whole.named_parameters()}
    expected = {
        names[id(parameter)]: 0.1 * group["lr_scale"]
        for group in timm.optim.param_groups_layer_decay(whole, layer_decay=0.5)
        for parameter in group["params"]
    }
    trunk = {each: actual[id(parameter)] for each, parameter in student.trunk.named_parameters()}
    assert trunk == pytest.approx({each: expected[each] for each in trunk})
    assert len(set(trunk.values())) > 2
    assert {actual[id(parameter)] for parameter in student.head.parameters()} == {3.0}


def test_a_network_without_known_layers_has_one_rate():
    with pytest.raises(StageError, match="knows its layers"):
        make_optimizer(model(), nn.Module(), recipe_spec(layer_decay=0.5))
    probe = model().freeze(head=False)
    assert len(make_optimizer(probe, nn.Module(), recipe_spec(layer_decay=0.5)).param_groups) == 1
