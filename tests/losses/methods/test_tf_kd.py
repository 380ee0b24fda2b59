from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.tf_kd import TfKD, virtual_teacher_kl
from tests.losses.plain import softmax


def virtual_teacher(label: int, classes: int, correct: float, temperature: float) -> list[float]:
    probabilities = [correct if c == label else (1 - correct) / (classes - 1) for c in range(classes)]
    assert sum(probabilities) == pytest.approx(1)
    return softmax([p / temperature for p in probabilities])


def reference(s: np.ndarray, labels: np.ndarray, correct: float, temperature: float) -> float:
    total = 0.0
    for row, label in zip(s, labels, strict=True):
        u = virtual_teacher(label, len(row), correct, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(u, softmax(row), strict=True))
    return total / len(s)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize(("correct", "temperature"), [(0.99, 20.0), (0.9, 1.0), (0.95, 0.2)])
def test_value(size, correct, temperature):
    rng = np.random.default_rng(size)
    s, labels = rng.normal(scale=3, size=(size, 5)), rng.integers(0, 5, size)
    value = virtual_teacher_kl(torch.tensor(s), torch.tensor(labels), correct, temperature)
    assert value.item() == pytest.approx(reference(s, labels, correct, temperature), rel=1e-9)


def test_a_student_that_says_what_the_virtual_teacher_says_has_no_loss():
    labels = torch.tensor([3, 0])
    u = [virtual_teacher(int(label), 5, 0.99, 20.0) for label in labels]
    s = torch.tensor(u, dtype=torch.float64).log().requires_grad_()
    value = virtual_teacher_kl(s, labels)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert s.grad.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("params", "a", "temperature"), [({}, 0.99, 20.0), ({"correct": 0.9, "temperature": 0.5}, 0.9, 0.5)]
)
def test_term(context, make_step, params, a, temperature):
    student, _, batch = make_step()
    terms = TfKD(context, **params)(student, None, batch)
    assert list(terms) == ["tf_kd"]
    expected = reference(student.logits.detach().double().numpy(), batch.labels.numpy(), a, temperature)
    assert terms["tf_kd"].item() == pytest.approx(expected, rel=1e-5)
