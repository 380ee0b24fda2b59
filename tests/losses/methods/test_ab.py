from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.ab import AB, boundary_hinge
from tests.losses.plain import connected, resized


def reference(response: np.ndarray, target: np.ndarray, margin: float) -> float:
    total = 0.0
    for s, t in zip(response.flat, target.flat, strict=True):
        if t > 0 and s <= margin:
            total += (s - margin) ** 2
        if t <= 0 and s > -margin:
            total += (s + margin) ** 2
    return total / len(response)


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(3, 4, 2, 5)), rng.normal(size=(3, 4, 2, 5))


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_value(maps, margin):
    value = boundary_hinge(*map(torch.tensor, maps), margin)
    assert value.item() == pytest.approx(reference(*maps, margin), rel=1e-12)


def test_only_the_teacher_s_signs_count_and_a_relu_keeps_them(maps):
    response, target = map(torch.tensor, maps)
    value = boundary_hinge(response, target)
    assert torch.equal(boundary_hinge(response, target.relu()), value)
    assert torch.equal(boundary_hinge(response, 100 * target), value)
    assert not torch.equal(boundary_hinge(response, -target), value)


def test_the_right_side_beyond_the_margin_is_no_loss(maps):
    target = torch.tensor(maps[1])
    right = torch.where(target > 0, 1.0, -1.0)
    assert boundary_hinge(right, target) == 0
    assert boundary_hinge(7 * right, target) == 0
    assert boundary_hinge(0.9 * right, target).item() == pytest.approx(0.01 * 4 * 2 * 5)
    assert boundary_hinge(right, target, 1.1).item() == pytest.approx(0.01 * 4 * 2 * 5)


@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_term(context, make_step, margin):
    student, teacher, batch = make_step()
    loss = AB(context, margin=margin, preparation=0)
    expected = 0.0
    # Three maps of the student, the last three of the teacher's four, whose sizes they take.
    for i, (t, size, weight) in enumerate(((1, 6, 1 / 4), (2, 4, 1 / 2), (3, 3, 1))):
        kernel = loss.connectors[i][0].weight.detach().double().numpy()[:, :, 0, 0]
        response = connected(resized(student.features[i].detach().double().numpy(), size), kernel)
        expected += weight * reference(response, teacher.features[t].detach().double().numpy(), margin)
    terms = loss(student, teacher, batch)
    assert list(terms) == ["ab"]
    assert terms["ab"].item() == pytest.approx(3 / 1000 * expected, rel=1e-4)


def test_a_connector_reaches_both_sides_of_the_boundary_even_at_equal_widths(context):
    context.student_features = context.teacher_features
    connectors = AB(context).connectors
    assert [[type(layer).__name__ for layer in each] for each in connectors] == [["Conv2d", "BatchNorm2d"]] * 4
    assert all(isinstance(each[1], nn.BatchNorm2d) for each in connectors)


def test_the_margin_is_one_by_default(context):
    assert AB(context).params.margin == 1
