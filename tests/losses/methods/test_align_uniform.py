from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.align_uniform import AlignUniform, align, uniform
from tests.losses.plain import DENSE


def align_reference(x: np.ndarray, y: np.ndarray, alpha: float) -> float:
    distances = [math.sqrt(sum((a - b) ** 2 for a, b in zip(u, v, strict=True))) for u, v in zip(x, y, strict=True)]
    return sum(distance**alpha for distance in distances) / len(distances)


def uniform_reference(z: np.ndarray, t: float) -> float:
    potentials = []
    for i in range(len(z)):
        for j in range(i + 1, len(z)):
            potentials.append(math.exp(-t * sum((a - b) ** 2 for a, b in zip(z[i], z[j], strict=True))))
    return math.log(sum(potentials) / len(potentials))


def unit(rng: np.random.Generator, size: int) -> np.ndarray:
    z = rng.normal(size=(size, 4))
    return z / np.sqrt((z**2).sum(1, keepdims=True))


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_align(alpha):
    rng = np.random.default_rng(1)
    x, y = unit(rng, 7), unit(rng, 7)
    value = align(torch.tensor(x), torch.tensor(y), alpha)
    assert value.item() == pytest.approx(align_reference(x, y, alpha), rel=1e-12)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("t", [0.5, 2.0, 7.0])
def test_uniform(size, t):
    z = unit(np.random.default_rng(size), size)
    assert uniform(torch.tensor(z), t).item() == pytest.approx(uniform_reference(z, t), rel=1e-12)


def test_uniform_of_a_batch_of_one_is_zero():
    z = torch.tensor([[0.6, 0.8]], requires_grad=True)
    value = uniform(z)
    value.backward()
    assert value.item() == 0
    assert torch.equal(z.grad, torch.zeros(1, 2))


def test_uniform_stays_finite_where_every_potential_underflows():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    value = uniform(z, t=1000)
    value.backward()
    assert value.item() == pytest.approx(-4000)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_coincident_embeddings_have_a_finite_gradient(alpha):
    z = torch.tensor([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]], requires_grad=True)
    (align(z, z.detach(), alpha) + uniform(z)).backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("projector", ["linear", "mocov2", "simclr", "simclrv2"])
def test_terms(context, make_step, projector):
    student, teacher, batch = make_step()
    loss = AlignUniform(context, projector=projector, dim=4, alpha=3, t=1.5)
    terms = loss(student, teacher, batch)

    def unit_vectors(module: torch.nn.Module, embedding: torch.Tensor) -> np.ndarray:
        z = module(embedding).detach().double().numpy()
        return np.array([row / math.sqrt(sum(value**2 for value in row)) for row in z])

    z_student = unit_vectors(loss.student_projector, student.embedding)
    z_teacher = unit_vectors(loss.teacher_projector, teacher.embedding)
    assert z_student.shape == z_teacher.shape == (7, 4)
    spread = (uniform_reference(z_student, 1.5) + uniform_reference(z_teacher, 1.5)) / 2
    assert set(terms) == {"align", "uniform"}
    assert terms["align"].item() == pytest.approx(align_reference(z_student, z_teacher, 3), rel=1e-5)
    assert terms["uniform"].item() == pytest.approx(spread, rel=1e-5)


def test_defaults(context):
    loss = AlignUniform(context)
    assert loss.params.model_dump(exclude=DENSE) == {"projector": "mocov2", "dim": 128, "alpha": 2, "t": 2}
    assert [tuple(p.shape) for p in loss.student_projector.parameters()] == [(6, 6), (6,), (128, 6), (128,)]
    assert [tuple(p.shape) for p in loss.teacher_projector.parameters()] == [(11, 11), (11,), (128, 11), (128,)]
