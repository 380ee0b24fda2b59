from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.losses.methods.srrl import SRRL
from tests.losses.plain import array, connected


def affine(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    rows = [[sum(w * v for w, v in zip(row, sample, strict=True)) for row in weight] for sample in x]
    return np.array(rows) + bias


def mse(x: np.ndarray, y: np.ndarray) -> float:
    return sum((a - b) ** 2 for a, b in zip(x.ravel(), y.ravel(), strict=True)) / x.size


@pytest.mark.parametrize("size", [1, 7])
def test_terms(context, make_step, size):
    student, teacher, batch = make_step(size)
    loss = SRRL(context)
    terms = loss(student, teacher, batch)

    first, _, second, _ = loss.connector
    h_student, h_teacher, logits = (
        tensor.detach().double().numpy() for tensor in (student.embedding, teacher.embedding, teacher.logits)
    )
    hidden = np.maximum(affine(first, h_student), 0)
    connected = np.maximum(affine(second, hidden), 0)
    assert hidden.shape == (size, (6 + 11) // 2)
    assert set(terms) == {"feature", "softmax_regression"}
    assert terms["feature"].item() == pytest.approx(mse(connected, h_teacher), rel=1e-5)
    regressed = affine(context.teacher_head, connected)
    assert terms["softmax_regression"].item() == pytest.approx(mse(regressed, logits), rel=1e-5)


def test_the_teacher_head_passes_the_gradient_on_and_gets_none(context, make_step):
    student, teacher, batch = make_step()
    loss = SRRL(context)
    loss(student, teacher, batch)["softmax_regression"].backward()
    assert student.embedding.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.connector.parameters())
    assert all(parameter.grad is None for parameter in context.teacher_head.parameters())


def test_the_teacher_head_is_no_part_of_the_loss(context):
    loss = SRRL(context)
    own = {id(parameter) for parameter in loss.parameters()}
    assert not own & {id(parameter) for parameter in context.teacher_head.parameters()}
    assert all(name.startswith("connector.") for name in loss.state_dict())


def test_any_callable_is_a_head(context, make_step):
    student, teacher, batch = make_step()
    weight = torch.randn(5, 11)
    context.teacher_head = lambda embedding: embedding @ weight.T
    loss = SRRL(context)
    connected = loss.connector(student.embedding).detach().double().numpy()
    expected = mse(connected @ weight.double().numpy().T, teacher.logits.detach().double().numpy())
    assert loss(student, teacher, batch)["softmax_regression"].item() == pytest.approx(expected, rel=1e-5)


def test_the_student_s_head_is_its_own_affair(context, make_step):
    student, teacher, batch = make_step()
    torch.manual_seed(1)
    expected = SRRL(context)(student, teacher, batch)
    context.student_head = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5))
    torch.manual_seed(1)
    loss = SRRL(context)
    terms = loss(student, teacher, batch)
    assert all(torch.equal(terms[term], expected[term]) for term in expected)
    assert not {id(parameter) for parameter in loss.parameters()} & {id(p) for p in context.student_head.parameters()}


def test_a_teacher_without_a_head_is_refused(context):
    context.teacher_head = None
    with pytest.raises(StageError, match="'srrl' needs a teacher with a task head"):
        SRRL(context)


def test_of_maps(context, make_step):
    student, teacher, batch = make_step()
    loss = SRRL(context, maps=True)
    weight = array(loss.connector[0].weight)[:, :, 0, 0]
    mapped = np.maximum(connected(array(student.features[-1]), weight), 0).mean(axis=(2, 3))
    terms = loss(student, teacher, batch)
    assert terms["feature"].item() == pytest.approx(mse(mapped, array(teacher.embedding)), rel=1e-4)
    expected = mse(affine(context.teacher_head, mapped), array(teacher.logits))
    assert terms["softmax_regression"].item() == pytest.approx(expected, rel=1e-4)
