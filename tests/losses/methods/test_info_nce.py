from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.info_nce import InfoNCE, info_nce
from tests.losses.plain import DENSE, unit


def reference(z_student: np.ndarray, z_teacher: np.ndarray, temperature: float) -> float:
    total = 0.0
    for i, anchor in enumerate(z_student):
        potentials = [math.exp(sum(anchor * other) / temperature) for other in z_teacher]
        total -= math.log(potentials[i] / sum(potentials))
    return total / len(z_student)


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_value(size, temperature):
    rng = np.random.default_rng(size)
    z_student, z_teacher = unit(rng.normal(size=(size, 4))), unit(rng.normal(size=(size, 4)))
    value = info_nce(torch.tensor(z_student), torch.tensor(z_teacher), temperature)
    assert value.item() == pytest.approx(reference(z_student, z_teacher, temperature), rel=1e-9, abs=1e-12)


def test_a_batch_of_one_has_no_negatives(context, make_step):
    student, teacher, batch = make_step(1)
    value = InfoNCE(context)(student, teacher, batch)["info_nce"]
    value.backward()
    assert value == 0
    assert torch.equal(student.embedding.grad, torch.zeros(1, 6))


def test_chance_and_certainty():
    z = torch.eye(4)
    assert info_nce(torch.full((4, 4), 0.5), z).item() == pytest.approx(math.log(4))
    assert info_nce(z, z).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("projector", ["linear", "mocov2", "simclr", "simclrv2"])
def test_term(context, make_step, projector):
    student, teacher, batch = make_step()
    loss = InfoNCE(context, projector=projector, dim=4, temperature=0.2)
    terms = loss(student, teacher, batch)
    z_student = unit(loss.student_projector(student.embedding).detach().double().numpy())
    z_teacher = unit(loss.teacher_projector(teacher.embedding).detach().double().numpy())
    assert z_student.shape == z_teacher.shape == (7, 4)
    assert list(terms) == ["info_nce"]
    assert terms["info_nce"].item() == pytest.approx(reference(z_student, z_teacher, 0.2), rel=1e-4)


def test_defaults(context):
    loss = InfoNCE(context)
    assert loss.params.model_dump(exclude=DENSE) == {"temperature": 0.07, "dim": 128, "projector": "linear"}
    assert [tuple(p.shape) for p in loss.parameters()] == [(128, 6), (128,), (128, 11), (128,)]
