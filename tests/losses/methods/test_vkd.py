from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.vkd import Orthogonal, VkD, rotated, standardised_error
from benchbench.models.outputs import Outputs

WIDTHS = [(6, 11), (11, 11), (11, 6), (1, 4)]


def reference(projected: np.ndarray, h_teacher: np.ndarray) -> float:
    total = 0.0
    for x, h in zip(projected, h_teacher, strict=True):
        mean = sum(h) / len(h)
        variance = sum((value - mean) ** 2 for value in h) / len(h)
        for a, value in zip(x, h, strict=True):
            gap = abs(a - (value - mean) / math.sqrt(variance + 1e-5))
            total += gap**2 / 2 if gap < 1 else gap - 1 / 2
    return total / projected.size


@pytest.mark.parametrize("size", [1, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    case = rng.normal(size=(size, 5)), 4 * rng.normal(size=(size, 5)) + 3
    assert standardised_error(*map(torch.tensor, case)).item() == pytest.approx(reference(*case), rel=1e-9)


def rotation_of(generator: np.ndarray) -> np.ndarray:
    a, eye = (generator - generator.T) / 2, np.eye(len(generator))
    cayley = np.linalg.inv(eye - a / 2) @ (eye + a / 2)
    return cayley @ cayley


def test_half_turns_are_within_reach():
    turn = rotated(torch.tensor([[0.0, 2.0], [-2.0, 0.0]]), torch.eye(2))
    torch.testing.assert_close(turn, -torch.eye(2), rtol=0, atol=1e-6)


def test_rotation():
    """Twice the Cayley map from its definition; orthogonal, with determinant 1, near the exponential where small."""
    generator = np.random.default_rng(0).normal(size=(5, 5))
    expected = rotation_of(generator)
    rotation = rotated(torch.tensor(generator), torch.eye(5, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(rotation, expected, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    small = torch.tensor(0.05 * generator)
    exponential = torch.linalg.matrix_exp(small - small.T)
    torch.testing.assert_close(rotated(small, torch.eye(5, dtype=torch.float64)), exponential, rtol=0, atol=1e-4)
    base = np.random.default_rng(1).normal(size=(5, 2))
    turned = rotated(torch.tensor(generator), torch.tensor(base)).numpy()
    np.testing.assert_allclose(turned, expected @ base, atol=1e-12)


@pytest.mark.parametrize(("width_in", "width_out"), WIDTHS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_the_projection_is_orthogonal_whatever_is_learnt(width_in, width_out, scale):
    projection = Orthogonal(width_in, width_out)
    nn.init.normal_(projection.generator, std=scale)
    matrix = projection(torch.eye(width_in))
    assert matrix.shape == (width_in, width_out)
    product = matrix @ matrix.T if width_in <= width_out else matrix.T @ matrix
    torch.testing.assert_close(product, torch.eye(min(width_in, width_out)), rtol=0, atol=1e-4)


def test_the_projection_learns(context, make_step):
    """A student that is its teacher, rotated: training the projection alone finds the rotation."""
    context.student_dim = 11
    loss = VkD(context)
    h = nn.functional.layer_norm(torch.randn(40, 11), (11,))
    turn = rotated(torch.randn(11, 11), torch.eye(11))
    # Of two parts that a rotation cannot join, take the one that the start is in.
    turn[0] *= torch.linalg.det(loss.projector.base) * torch.linalg.det(turn)
    student, teacher = Outputs(None, h @ turn.T), Outputs(None, h)
    _, _, batch = make_step()
    generator, values = loss.projector.generator, []
    for _ in range(100):
        value = loss(student, teacher, batch)["vkd"]
        (gradient,) = torch.autograd.grad(value, generator)
        generator.data -= 3 * gradient
        values.append(value.item())
    assert values[-1] < 0.01 * values[0]


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss = VkD(context)
    nn.init.normal_(loss.projector.generator)
    p = rotation_of(loss.projector.generator.detach().double().numpy()) @ loss.projector.base.double().numpy()
    h_student, h_teacher = (side.embedding.detach().double().numpy() for side in (student, teacher))
    projected = np.array([[sum(row * h) for row in p] for h in h_student])
    terms = loss(student, teacher, batch)
    assert list(terms) == ["vkd"]
    assert terms["vkd"].item() == pytest.approx(reference(projected, h_teacher), rel=1e-4)


def test_a_standardised_copy_of_the_teacher_has_no_loss(context, make_step):
    _, teacher, batch = make_step()
    context.student_dim = 11
    loss = VkD(context)
    loss.projector.base.copy_(torch.eye(11))
    student = Outputs(None, nn.functional.layer_norm(teacher.embedding.detach(), (11,)).requires_grad_())
    value = loss(student, teacher, batch)["vkd"]
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-9)
    assert student.embedding.grad.abs().max() < 1e-6


def test_the_teacher_s_shift_and_scale_do_not_matter(context, make_step):
    student, teacher, batch = make_step()
    loss = VkD(context)
    value = loss(student, teacher, batch)["vkd"].item()
    scaled = Outputs(None, 5 * teacher.embedding + 2)
    assert loss(student, scaled, batch)["vkd"].item() == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(("student_dim", "tall", "low"), [(6, 11, 6), (11, 11, 11), (20, 20, 11)])
def test_state(context, student_dim, tall, low):
    context.student_dim = student_dim
    state = VkD(context).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {"projector.generator": (tall, tall), "projector.base": (tall, low)}
    assert not state["projector.generator"].any()
    assert not torch.equal(state["projector.base"], VkD(context).state_dict()["projector.base"])
