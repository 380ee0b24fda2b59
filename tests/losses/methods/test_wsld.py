from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.wsld import WSLD, weighted_soft_labels
from tests.losses.plain import softmax


def weights(s: np.ndarray, t: np.ndarray, labels: np.ndarray) -> list[float]:
    ratios = [math.log(softmax(a)[y]) / math.log(softmax(b)[y]) for a, b, y in zip(s, t, labels, strict=True)]
    return [1 - math.exp(-ratio) for ratio in ratios]


def reference(s: np.ndarray, t: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    total = 0.0
    for s_row, t_row, weight in zip(s, t, weights(s, t, labels), strict=True):
        q = softmax([value / temperature for value in s_row])
        p = softmax([value / temperature for value in t_row])
        total -= weight * sum(a * math.log(b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(s)


def draw(size: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    return rng.normal(scale=2, size=(size, 5)), rng.normal(scale=2, size=(size, 5)), rng.integers(0, 5, size)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_value(size, temperature):
    value = weighted_soft_labels(*map(torch.tensor, draw(size)), temperature)
    assert value.item() == pytest.approx(reference(*draw(size), temperature), rel=1e-4)


def test_no_gradient_passes_through_the_weights():
    """d / d s = T / B w (softmax(s / T) - softmax(t / T))."""
    s, t, labels = draw()
    student = torch.tensor(s, requires_grad=True)
    weighted_soft_labels(student, torch.tensor(t), torch.tensor(labels), 2.0).backward()
    for row, s_row, t_row, weight in zip(student.grad, s, t, weights(s, t, labels), strict=True):
        gap = np.subtract(softmax(s_row / 2), softmax(t_row / 2))
        np.testing.assert_allclose(row, 2 / 7 * weight * gap, rtol=1e-4)


def test_a_sample_that_the_student_has_right_beyond_doubt_does_not_count():
    s = torch.tensor([[200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    weighted_soft_labels(s, torch.tensor([[1.0, 0.0], [300.0, 0.0]]), torch.tensor([0, 0])).backward()
    assert torch.equal(s.grad[0], torch.zeros(2))
    assert s.grad[1].abs().sum() > 0.1  # the teacher is certain: weight 1


def test_term_and_defaults(context, make_step):
    student, teacher, batch = make_step()
    sides = [side.logits.detach().double().numpy() for side in (student, teacher)]
    loss = WSLD(context)
    assert loss.params.model_dump() == {"temperature": 2, "standardize": False}
    for value, temperature in ((loss, 2.0), (WSLD(context, temperature=3), 3.0)):
        terms = value(student, teacher, batch)
        assert list(terms) == ["wsld"]
        expected = reference(*sides, batch.labels.numpy(), temperature)
        assert terms["wsld"].item() == pytest.approx(expected, rel=1e-3)
