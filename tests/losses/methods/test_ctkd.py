from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.ctkd import CTKD, curriculum
from benchbench.models.outputs import Outputs
from tests.losses.plain import softmax


def reference(s: np.ndarray, t: np.ndarray, theta: float, lowest: float = 1.0, width: float = 20.0) -> float:
    temperature = lowest + width / (1 + math.exp(-theta))
    total = 0.0
    for s_row, t_row in zip(s, t, strict=True):
        for p, q in zip(softmax(t_row, temperature), softmax(s_row, temperature), strict=True):
            total += p * math.log(p / q)
    return temperature**2 * total / len(s)


def logits(*sides: Outputs) -> list[np.ndarray]:
    return [side.logits.detach().double().numpy() for side in sides]


@pytest.mark.parametrize(
    ("params", "lowest", "width"), [({}, 1.0, 20.0), ({"t_min": 0.5, "t_range": 3.0, "start": 2.0}, 0.5, 3.0)]
)
@pytest.mark.parametrize("theta", [None, -2.0])
def test_term(context, make_step, params, lowest, width, theta):
    student, teacher, batch = make_step()
    loss = CTKD(context, **params)
    if theta is not None:
        torch.nn.init.constant_(loss.theta, theta)
    terms = loss(student, teacher, batch)
    assert list(terms) == ["ctkd"]
    expected = reference(*logits(student, teacher), 1.0 if theta is None else theta, lowest, width)
    assert terms["ctkd"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("epoch", "strength"),
    [(-2.0, 0.0), (0.0, 0.0), (2.5, 0.5 - math.sqrt(0.125)), (5.0, 0.5), (10.0, 1.0), (99.0, 1.0)],
)
def test_the_temperature_ascends_by_lambda_of_the_epoch(context, make_step, epoch, strength):
    """d / d theta by a central difference of the formula; autograd gives -lambda times it."""
    student, teacher, batch = make_step()
    batch.epoch = epoch
    loss = CTKD(context)
    loss(student, teacher, batch)["ctkd"].backward()
    sides = logits(student, teacher)
    slope = (reference(*sides, 1 + 1e-4) - reference(*sides, 1 - 1e-4)) / 2e-4
    assert abs(slope) > 0.05
    assert loss.theta.grad.item() == pytest.approx(-strength * slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("epoch", [0.0, 3.0, 10.0])
def test_the_student_s_gradient_is_that_of_kd_whatever_the_epoch(context, make_step, epoch):
    """d KD / d s = T / B (softmax(s / T) - softmax(t / T))."""
    student, teacher, batch = make_step()
    batch.epoch = epoch
    CTKD(context)(student, teacher, batch)["ctkd"].backward()
    temperature = 1 + 20 / (1 + math.exp(-1))
    for row, s_row, t_row in zip(student.logits.grad, *logits(student, teacher), strict=True):
        gap = np.subtract(softmax(s_row, temperature), softmax(t_row, temperature))
        np.testing.assert_allclose(row, temperature / 7 * gap, rtol=1e-4, atol=1e-6)


def test_the_curriculum_is_a_half_cosine_between_its_ends():
    values = [curriculum(epoch, start=0.2, end=0.8, loops=4) for epoch in (-1, 0, 1, 2, 3, 4, 5)]
    rising = [0.5 - 0.3 * math.cos(math.pi * part / 4) for part in (0, 1, 2, 3, 4)]
    assert values == pytest.approx([0.2, *rising, 0.8])


def test_hyperparameters_of_the_curriculum_take_effect(context, make_step):
    gradients = []
    for params in ({"start": 1.0, "end": 1.0}, {"start": 0.5, "end": 0.5}, {"start": 0.0, "end": 1.0, "loops": 6}):
        student, teacher, batch = make_step()  # epoch 3
        loss = CTKD(context, **params)
        loss(student, teacher, batch)["ctkd"].backward()
        gradients.append(loss.theta.grad.item())
    assert gradients == pytest.approx([gradients[0], gradients[0] / 2, gradients[0] / 2], rel=1e-5)


def test_descent_makes_it_harder_for_the_student(context, make_step):
    student, teacher, batch = make_step()
    batch.epoch = 10.0
    loss = CTKD(context)
    before = loss(student, teacher, batch)["ctkd"]
    before.backward()
    with torch.no_grad():
        loss.theta -= 0.1 * loss.theta.grad
    assert loss(student, teacher, batch)["ctkd"] > before
    assert list(loss.state_dict()) == ["theta"]


def test_it_can_be_evaluated_without_gradients(context, make_step):
    student, teacher, batch = make_step()
    loss = CTKD(context)
    with torch.no_grad():
        value = loss(student, teacher, batch)["ctkd"]
    assert value == loss(student, teacher, batch)["ctkd"]
