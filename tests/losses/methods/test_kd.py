from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.kd import KD, distillation_kl
from tests.losses.plain import softmax


def reference(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    total = 0.0
    for s_row, t_row in zip(student, teacher, strict=True):
        for p, q in zip(softmax(t_row, temperature), softmax(s_row, temperature), strict=True):
            total += p * (math.log(p) - math.log(q))
    return temperature**2 * total / len(student)


@pytest.fixture
def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(scale=4, size=(7, 5)), rng.normal(scale=4, size=(7, 5))


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_value(logits, temperature):
    value = distillation_kl(*map(torch.tensor, logits), temperature)
    assert value.item() == pytest.approx(reference(*logits, temperature), rel=2e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient(logits, temperature):
    """d KD / d s = T / B (softmax(s / T) - softmax(t / T))."""
    student = torch.tensor(logits[0], requires_grad=True)
    distillation_kl(student, torch.tensor(logits[1]), temperature).backward()
    for row, s_row, t_row in zip(student.grad, *logits, strict=True):
        gap = np.subtract(softmax(s_row, temperature), softmax(t_row, temperature))
        np.testing.assert_allclose(row, temperature / 7 * gap, atol=1e-6)


def test_equal_logits_up_to_a_shift_are_no_loss(logits):
    student = torch.tensor(logits[0])
    assert distillation_kl(student, student + 5).item() == pytest.approx(0, abs=1e-5)


def test_huge_logits_stay_finite():
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = distillation_kl(student, torch.tensor([[-1e4, 1e4, 0.0]]))
    value.backward()
    assert value.item() == pytest.approx(16 * 2e4 / 4)
    assert student.grad.isfinite().all()


def test_the_default_temperature_is_four(context, make_step):
    student, teacher, batch = make_step()
    sides = [outputs.logits.detach().double().numpy() for outputs in (student, teacher)]
    assert KD(context)(student, teacher, batch)["kd"].item() == pytest.approx(reference(*sides, 4.0), rel=2e-5)
    assert KD(context, temperature=2)(student, teacher, batch)["kd"].item() == pytest.approx(
        reference(*sides, 2.0), rel=2e-5
    )
