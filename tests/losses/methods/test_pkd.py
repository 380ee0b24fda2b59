from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.pkd import PKD, correlation_gap
from tests.losses.plain import array, pooled


def reference(student: np.ndarray, teacher: np.ndarray) -> float:
    """The mean over channels of 1 - r, from covariance and variances."""
    values = []
    for c in range(student.shape[1]):
        x, y = student[:, c].ravel(), teacher[:, c].ravel()
        dx, dy = [a - sum(x) / len(x) for a in x], [b - sum(y) / len(y) for b in y]
        covariance = sum(a * b for a, b in zip(dx, dy, strict=True))
        values.append(1 - covariance / math.sqrt(sum(a * a for a in dx) * sum(b * b for b in dy)))
    return sum(values) / len(values)


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(2, 3, size=(3, 4, 2, 5)), rng.normal(-1, 0.5, size=(3, 4, 2, 5))


def test_value(maps):
    assert correlation_gap(*map(torch.tensor, maps)).item() == pytest.approx(reference(*maps), rel=1e-5)


def test_scale_and_shift_of_a_channel_do_not_matter(maps):
    f_teacher = torch.tensor(maps[1])
    scale, shift = torch.rand(1, 4, 1, 1) + 0.5, torch.randn(1, 4, 1, 1)
    assert correlation_gap(scale * f_teacher + shift, f_teacher).item() == pytest.approx(0, abs=1e-10)
    assert correlation_gap(-f_teacher, f_teacher).item() == pytest.approx(2, rel=1e-5)


def test_a_constant_channel_has_a_finite_gradient(maps):
    f_student = torch.zeros(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
    value = correlation_gap(f_student, torch.tensor(maps[1]))
    value.backward()
    assert value.item() == pytest.approx(0.5, rel=1e-5)
    assert f_student.grad.isfinite().all()


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss, expected = PKD(context), 0.0
    for (s, t), connect in zip(loss.pairs, loss.connectors, strict=True):
        size = min(student.features[s].shape[2], teacher.features[t].shape[2])
        f_student, f_teacher = pooled(array(student.features[s]), size), pooled(array(teacher.features[t]), size)
        if not isinstance(connect, nn.Identity):
            f_student = np.einsum("oc,bchw->bohw", array(connect.weight)[:, :, 0, 0], f_student)
        expected += reference(f_student, f_teacher)
    terms = loss(student, teacher, batch)
    assert (list(terms), len(loss.pairs)) == (["pkd"], 3)
    assert terms["pkd"].item() == pytest.approx(expected, rel=1e-4)


def test_maps_of_equal_width_are_compared_as_they_are(context):
    context.student_features[-1] = context.teacher_features[-1]
    assert [isinstance(each, nn.Identity) for each in PKD(context).connectors] == [False, False, True]
