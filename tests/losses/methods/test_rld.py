from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.rld import RLD, masked_correlation, sample_confidence
from tests.losses.plain import array, softmax

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def confidence(s: np.ndarray, t: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    total = 0.0
    for s_row, t_row, y in zip(s, t, labels, strict=True):
        own, best = softmax(s_row, temperature)[y], max(softmax(t_row, temperature))
        total += divergence([best, 1 - best], [own, 1 - own])
    return temperature**2 * total / len(s)


def correlation(s: np.ndarray, t: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    total = 0.0
    for s_row, t_row, y in zip(s, t, labels, strict=True):
        below = [c for c in range(len(t_row)) if t_row[c] < t_row[y]]
        if below:
            total += divergence(softmax(t_row[below], temperature), softmax(s_row[below], temperature))
    return temperature**2 * total / len(s)


@pytest.fixture
def case() -> Case:
    """The teacher puts the true class first, last, and between."""
    rng = np.random.default_rng(0)
    s, t = rng.normal(scale=3, size=(2, 9, 5))
    order = np.argsort(t, axis=1)
    return s, t, order[np.arange(9), [0, 4, 2, 1, 3, 0, 4, 4, 2]]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize(
    ("part", "expected"), [(sample_confidence, confidence), (masked_correlation, correlation)], ids=["sure", "below"]
)
def test_value(case, part, expected, temperature):
    value = part(*map(torch.tensor, case), temperature)
    assert value.item() == pytest.approx(expected(*case, temperature), rel=1e-10)


def test_a_teacher_that_puts_the_true_class_last_says_nothing_of_the_others():
    t = torch.tensor([[1.0, 2.0, 3.0]])
    s = torch.randn(1, 3, requires_grad=True)
    value = masked_correlation(s, t, torch.tensor([0]))
    value.backward()
    assert value.item() == 0
    assert s.grad.abs().max() == 0


def test_a_student_as_sure_as_the_teacher_is_right(case):
    _, t, labels = map(torch.tensor, case)
    best = t.argmax(dim=1)
    s = t.clone()
    rows = torch.arange(len(s))
    s[rows, best], s[rows, labels] = t[rows, labels], t[rows, best]
    assert sample_confidence(s, t, labels).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("params", [{}, {"alpha": 0.5, "beta": 2.0, "temperature": 2.0}])
def test_terms(context, make_step, params):
    student, teacher, batch = make_step()
    options = {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, **params}
    arrays = array(student.logits), array(teacher.logits), batch.labels.numpy(), options["temperature"]
    terms = RLD(context, **params)(student, teacher, batch)
    assert list(terms) == ["confidence", "correlation"]
    assert terms["confidence"].item() == pytest.approx(options["alpha"] * confidence(*arrays), rel=1e-4)
    assert terms["correlation"].item() == pytest.approx(options["beta"] * correlation(*arrays), rel=1e-4)
