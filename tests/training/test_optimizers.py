"""The optimiser's groups and steps, and its rates against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from benchbench.models.backbone import Backbone, Trunk
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
