from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.kd import distillation_kl
from benchbench.losses.methods.ttm import TTM, transformed_kl
from tests.losses.plain import array, softmax


def reference(s: np.ndarray, t: np.ndarray, gamma: float, weighted: bool) -> float:
    """By the probabilities themselves, and their powers."""
    total = 0.0
    for s_row, t_row in zip(s, t, strict=True):
        p_s, powers = softmax(s_row), [p**gamma for p in softmax(t_row)]
        q = [power / sum(powers) for power in powers]
        gap = sum(a * (math.log(a) - math.log(b)) for a, b in zip(q, p_s, strict=True))
        total += gap * (sum(powers) if weighted else 1)
    return total / len(s)


@pytest.fixture
def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(scale=3, size=(7, 5)), rng.normal(scale=3, size=(7, 5))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
def test_value(logits, gamma, weighted):
    value = transformed_kl(*map(torch.tensor, logits), gamma, weighted)
    assert value.item() == pytest.approx(reference(*logits, gamma, weighted), rel=1e-12)


def test_at_power_one_it_is_kd_at_temperature_one(logits):
    s, t = map(torch.tensor, logits)
    for weighted in (False, True):
        assert transformed_kl(s, t, 1.0, weighted).item() == pytest.approx(distillation_kl(s, t, 1.0).item(), rel=1e-12)


@pytest.mark.parametrize("params", [{}, {"gamma": 0.3, "weighted": True}])
def test_term(context, make_step, params):
    student, teacher, batch = make_step()
    options = {"gamma": 0.1, "weighted": False, **params}
    terms = TTM(context, **params)(student, teacher, batch)
    assert list(terms) == ["ttm"]
    expected = reference(array(student.logits), array(teacher.logits), **options)
    assert terms["ttm"].item() == pytest.approx(expected, rel=1e-4)
