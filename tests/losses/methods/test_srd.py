from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.srd import SRD, log_sum
from benchbench.models.outputs import Outputs
from tests.losses.plain import DENSE


def reference(z_student: np.ndarray, z_teacher: np.ndarray, alpha: float) -> float:
    pairs = zip(z_student.ravel(), z_teacher.ravel(), strict=True)
    return math.log(sum(abs(a - b) ** alpha for a, b in pairs))


def normalised(h: np.ndarray) -> np.ndarray:
    columns = []
    for column in h.T:
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        columns.append([(value - mean) / math.sqrt(variance + 1e-4) for value in column])
    return np.array(columns).T


@pytest.mark.parametrize("alpha", [1, 2.5, 4, 5])
@pytest.mark.parametrize("size", [1, 7])
def test_value(size, alpha):
    rng = np.random.default_rng(size)
    case = rng.normal(size=(size, 4)), rng.normal(size=(size, 4))
    assert log_sum(*map(torch.tensor, case), alpha).item() == pytest.approx(reference(*case, alpha), rel=1e-6)


@pytest.mark.parametrize("alpha", [1.0, 4.0])
def test_agreement_has_the_least_value_and_no_gradient(alpha):
    z_teacher = torch.randn(7, 4)
    z_student = z_teacher.clone().requires_grad_()
    value = log_sum(z_student, z_teacher, alpha)
    value.backward()
    assert value.item() == pytest.approx(math.log(1e-7), rel=1e-5)
    assert torch.equal(z_student.grad, torch.zeros(7, 4))


def test_the_gradient_stays_bounded_near_agreement():
    gap = torch.logspace(-8, 1, 91, dtype=torch.float64, requires_grad=True)
    values = torch.stack([log_sum(each.reshape(1, 1), torch.zeros(1, 1)) for each in gap])
    values.sum().backward()
    assert gap.grad.abs().max() < 200
    assert (values.diff() >= 0).all()


@pytest.mark.parametrize("alpha", [2.0, 4.0])
def test_term(context, make_step, alpha):
    student, teacher, batch = make_step()
    loss = SRD(context, alpha=alpha)
    h_student, h_teacher = (side.embedding.detach().double().numpy() for side in (student, teacher))
    weight, bias = (parameter.detach().double().numpy() for parameter in loss.projector.parameters())
    projected = np.array([[sum(w * h) for w in weight] for h in h_student]) + bias
    terms = loss(student, teacher, batch)
    assert list(terms) == ["srd"]
    assert terms["srd"].item() == pytest.approx(
        reference(normalised(projected), normalised(h_teacher), alpha), rel=1e-5
    )


def test_shift_and_scale_of_every_dimension_do_not_matter(context, make_step):
    student, teacher, batch = make_step()
    loss = SRD(context)
    value = loss(student, teacher, batch)["srd"].item()
    scaled = Outputs(None, 3 * teacher.embedding * torch.linspace(1, 2, 11) + torch.linspace(-5, 5, 11))
    assert loss(student, scaled, batch)["srd"].item() == pytest.approx(value, rel=1e-4)


def test_a_projected_student_that_equals_its_teacher_has_the_least_loss(context, make_step):
    _, teacher, batch = make_step()
    context.student_dim = 11
    loss = SRD(context)
    with torch.no_grad():
        loss.projector[0].weight.copy_(torch.eye(11))
        loss.projector[0].bias.fill_(2)
    student = Outputs(None, teacher.embedding.detach().clone())
    assert loss(student, teacher, batch)["srd"].item() == pytest.approx(math.log(1e-7), rel=1e-3)


def test_a_batch_of_one_is_normalised_as_in_evaluation(context, make_step):
    loss = SRD(context)
    for seed in range(3):
        loss(*make_step(7, seed))
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    assert before["teacher_norm.running_var"].max() > 1.1
    one = make_step(1)
    value = loss.train()(*one)["srd"]
    assert torch.equal(value, loss.eval()(*one)["srd"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in loss.state_dict().items())


def test_defaults(context):
    loss = SRD(context)
    assert loss.params.model_dump(exclude=DENSE) == {"alpha": 4}
    assert [tuple(parameter.shape) for parameter in loss.parameters()] == [(11, 6), (11,)]
    assert all(isinstance(norm, nn.BatchNorm1d) and norm.eps == 1e-4 for norm in (loss.student_norm, loss.teacher_norm))
