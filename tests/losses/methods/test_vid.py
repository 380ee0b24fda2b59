from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.vid import VID, gaussian_nll
from tests.losses.plain import DENSE, array, pooled


def reference(mean: np.ndarray, variance: np.ndarray, target: np.ndarray) -> float:
    """From the density itself, the constant log(2 pi) / 2 taken off."""
    terms = []
    for mu, t in zip(mean, target, strict=True):
        for j, v in enumerate(variance):
            density = math.exp(-((t[j] - mu[j]) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            terms.append(-math.log(density) - math.log(2 * math.pi) / 2)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("size", [1, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    case = rng.normal(size=(size, 4)), rng.uniform(0.2, 3, size=4), rng.normal(size=(size, 4))
    assert gaussian_nll(*map(torch.tensor, case)).item() == pytest.approx(reference(*case), rel=1e-12)


def test_the_best_variance_is_the_mean_squared_error():
    rng = np.random.default_rng(2)
    mean, target = torch.tensor(rng.normal(size=(7, 4))), torch.tensor(rng.normal(size=(7, 4)))
    variance = (target - mean).square().mean(dim=0).requires_grad_()
    gaussian_nll(mean, variance, target).backward()
    assert variance.grad.abs().max() < 1e-12


def test_the_gradient_is_zero_where_the_prediction_is_exact():
    target = torch.randn(7, 4)
    mean = target.clone().requires_grad_()
    gaussian_nll(mean, torch.rand(4) + 0.1, target).backward()
    assert torch.equal(mean.grad, torch.zeros(7, 4))


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss = VID(context)
    nn.init.normal_(loss.rhos[0])  # a variance of its own in every dimension
    weight, bias = (parameter.detach().double().numpy() for parameter in loss.means[0].parameters())
    h_student, h_teacher = (side.embedding.detach().double().numpy() for side in (student, teacher))
    mean = np.array([[sum(w * h for w, h in zip(row, x, strict=True)) for row in weight] for x in h_student]) + bias
    variance = np.array([math.log(1 + math.exp(rho)) + 1e-5 for rho in loss.rhos[0].tolist()])
    terms = loss(student, teacher, batch)
    assert list(terms) == ["vid"]
    # The density of `reference` would underflow this far from the mean.
    gaps = (h_teacher - mean) ** 2 / variance / 2 + np.log(variance) / 2
    assert terms["vid"].item() == pytest.approx(gaps.mean(), rel=1e-4)


@pytest.mark.parametrize("variance", [0.001, 1.0, 5.0, 200.0])
def test_the_variance_starts_where_it_is_asked_to(context, variance):
    rho = VID(context, variance=variance).rhos[0]
    assert rho.shape == (11,)
    started = nn.functional.softplus(rho) + 1e-5
    torch.testing.assert_close(started, torch.full((11,), variance), rtol=1e-4, atol=0)


def test_the_variance_has_a_floor(context, make_step):
    student, teacher, batch = make_step()
    loss = VID(context)
    nn.init.constant_(loss.rhos[0], -200)
    value = loss(student, teacher, batch)["vid"]
    errors = (teacher.embedding - loss.means[0](student.embedding)).detach().double().square()
    assert value.item() == pytest.approx((errors.mean().item() / 1e-5 + math.log(1e-5)) / 2, rel=1e-4)


def test_defaults(context):
    loss = VID(context)
    assert loss.params.model_dump(exclude=DENSE) == {"variance": 5, "maps": False}
    assert {name: tuple(value.shape) for name, value in loss.state_dict().items()} == {
        "rhos.0": (11,),
        "means.0.0.weight": (11, 6),
        "means.0.0.bias": (11,),
    }


def test_of_maps(context, make_step):
    student, teacher, batch = make_step()
    loss = VID(context, maps=True, variance=2.0)
    for rho in loss.rhos:
        nn.init.normal_(rho)
    expected = 0.0
    for (s, t), mean, rho in zip(loss.pairs, loss.means, loss.rhos, strict=True):
        size = min(student.features[s].shape[2], teacher.features[t].shape[2])
        value, target = pooled(array(student.features[s]), size), pooled(array(teacher.features[t]), size)
        for index in (0, 2, 4):
            value = np.einsum("oc,bchw->bohw", array(mean[index].weight)[:, :, 0, 0], value)
            value = np.maximum(value, 0) if index < 4 else value
        variance = np.log1p(np.exp(array(rho)))[:, None, None] + 1e-5
        expected += (0.5 * ((target - value) ** 2 / variance + np.log(variance))).mean()
    assert len(loss.pairs) == 3
    assert loss(student, teacher, batch)["vid"].item() == pytest.approx(expected, rel=1e-4)
