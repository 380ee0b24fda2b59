from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.cc import CC, correlation, neighbour_products
from tests.losses.plain import DENSE, array


def reference(h: np.ndarray, gamma: float, order: int) -> np.ndarray:
    z = [row / math.sqrt(sum(row * row)) for row in h]
    matrix = np.zeros((len(h), len(h)))
    for i, a in enumerate(z):
        for j, b in enumerate(z):
            for p in range(order + 1):
                matrix[i, j] += math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * sum(a * b) ** p
    return matrix


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (0.4, 1), (1.3, 5)])
def test_correlation(gamma, order):
    h = np.random.default_rng(0).normal(size=(7, 6)) + 0.5
    np.testing.assert_allclose(correlation(torch.tensor(h), gamma, order), reference(h, gamma, order), rtol=1e-10)


@pytest.mark.parametrize("gamma", [0.4, 1.3])
def test_the_expansion_tends_to_the_gaussian_kernel(gamma):
    h = np.random.default_rng(1).normal(size=(5, 6))
    z = h / np.linalg.norm(h, axis=1, keepdims=True)
    kernel = [[math.exp(-gamma * sum((a - b) ** 2)) for b in z] for a in z]
    np.testing.assert_allclose(correlation(torch.tensor(h), gamma, 25), kernel, rtol=1e-9)


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (1.3, 3)])
def test_term(context, make_step, gamma, order):
    student, teacher, batch = make_step()
    c_student, c_teacher = (
        reference(side.embedding.detach().double().numpy(), gamma, order) for side in (student, teacher)
    )
    terms = CC(context, gamma=gamma, order=order)(student, teacher, batch)
    total = sum((a - b) ** 2 for a, b in zip(c_student.ravel(), c_teacher.ravel(), strict=True))
    assert list(terms) == ["cc"]
    assert terms["cc"].item() == pytest.approx(total / 7**2, rel=1e-4)


def neighbours(h_student: np.ndarray, h_teacher: np.ndarray) -> float:
    total = 0.0
    for b in range(len(h_student) - 1):
        total += sum(abs(h_student[b] - h_teacher[b]) * abs(h_student[b + 1] - h_teacher[b + 1]))
    return total / (len(h_student) - 1)


def test_products_of_neighbours():
    sides = np.random.default_rng(2).normal(size=(2, 7, 6))
    assert neighbour_products(*map(torch.tensor, sides)).item() == pytest.approx(neighbours(*sides), rel=1e-12)
    assert neighbour_products(*map(torch.tensor, sides[:, :1])).item() == 0


def test_the_term_of_neighbours(context, make_step):
    student, teacher, batch = make_step()
    loss = CC(context, form="neighbours", dim=4)
    projected = [
        array(h) @ array(layer.weight).T + array(layer.bias)
        for layer, h in zip(loss.projectors, (student.embedding, teacher.embedding), strict=True)
    ]
    assert loss(student, teacher, batch)["cc"].item() == pytest.approx(neighbours(*projected), rel=1e-4)


def test_defaults(context):
    assert CC(context).params.model_dump(exclude=DENSE) == {"gamma": 0.4, "order": 2, "form": "kernel", "dim": 128}
