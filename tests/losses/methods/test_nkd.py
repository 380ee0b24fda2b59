from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.nkd import NKD, normalized_kd
from tests.losses.plain import softmax


def reference(s: np.ndarray, t: np.ndarray, labels: np.ndarray, temperature: float) -> tuple[float, float]:
    """The others by their definition in terms of probabilities: p_c^(1/T), normalised over c != y."""
    target = rest = 0.0
    for s_row, t_row, y in zip(s, t, labels, strict=True):
        p_s, p_t = softmax(s_row), softmax(t_row)
        target -= p_t[y] * math.log(p_s[y])
        s_mass = sum(p ** (1 / temperature) for c, p in enumerate(p_s) if c != y)
        t_mass = sum(p ** (1 / temperature) for c, p in enumerate(p_t) if c != y)
        for c in range(len(p_s)):
            if c != y:
                rest -= p_t[c] ** (1 / temperature) / t_mass * math.log(p_s[c] ** (1 / temperature) / s_mass)
    return target / len(s), temperature**2 * rest / len(s)


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_value(size, temperature):
    rng = np.random.default_rng(size)
    case = rng.normal(scale=3, size=(size, 5)), rng.normal(scale=3, size=(size, 5)), rng.integers(0, 5, size)
    values = normalized_kd(*map(torch.tensor, case), temperature)
    assert [value.item() for value in values] == pytest.approx(reference(*case, temperature), rel=1e-9)


@pytest.mark.parametrize(("gamma", "temperature"), [(1.5, 1.0), (0.7, 3.0)])
def test_terms(context, make_step, gamma, temperature):
    student, teacher, batch = make_step()
    terms = NKD(context, gamma=gamma, temperature=temperature)(student, teacher, batch)
    sides = [side.logits.detach().double().numpy() for side in (student, teacher)]
    target, rest = reference(*sides, batch.labels.numpy(), temperature)
    assert list(terms) == ["target", "non_target"]
    assert terms["target"].item() == pytest.approx(target, rel=1e-4)
    assert terms["non_target"].item() == pytest.approx(gamma * rest, rel=1e-4)


def test_defaults(context):
    assert NKD(context).params.model_dump() == {"temperature": 1, "gamma": 1.5, "standardize": False}
