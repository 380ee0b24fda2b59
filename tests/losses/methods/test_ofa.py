from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.ofa import OFA, enhanced_target
from tests.losses.plain import array, softmax


def reference(s: np.ndarray, t: np.ndarray, labels: np.ndarray, gamma: float, temperature: float) -> float:
    """The two kinds of class apart: the target has (1 + p)^gamma - 1, each other one p^gamma."""
    total = 0.0
    for s_row, t_row, y in zip(s, t, labels, strict=True):
        p_s, p_t = softmax(s_row, temperature), softmax(t_row, temperature)
        total -= ((1 + p_t[y]) ** gamma - 1) * math.log(p_s[y])
        total -= sum(p_t[c] ** gamma * math.log(p_s[c]) for c in range(len(p_s)) if c != y)
    return total / len(s)


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(scale=3, size=(7, 5)), rng.normal(scale=3, size=(7, 5)), rng.integers(0, 5, 7)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_value(case, gamma, temperature):
    value = enhanced_target(*map(torch.tensor, case), gamma, temperature)
    assert value.item() == pytest.approx(reference(*case, gamma, temperature), rel=1e-12)


def test_without_a_power_it_is_the_soft_cross_entropy(case):
    s, t, labels = map(torch.tensor, case)
    expected = torch.nn.functional.cross_entropy(s, t.softmax(dim=1))
    assert enhanced_target(s, t, labels).item() == pytest.approx(expected.item(), rel=1e-12)


def test_terms(context, make_step):
    student, teacher, batch = make_step()
    loss = OFA(context, gamma=2.0, temperature=1.5)
    t, labels = array(teacher.logits), batch.labels.numpy()
    maps = [student.features[index] for index in reversed(loss.maps)]
    predictions = [array(branch(value)) for branch, value in zip(loss.branches, maps, strict=True)]
    terms = loss(student, teacher, batch)
    assert list(terms) == ["logits", "branches"]
    assert terms["logits"].item() == pytest.approx(reference(array(student.logits), t, labels, 2.0, 1.5), rel=1e-4)
    expected = sum(reference(prediction, t, labels, 2.0, 1.5) for prediction in predictions)
    assert terms["branches"].item() == pytest.approx(expected, rel=1e-4)


def test_a_branch_halves_its_map_once_for_each_deeper_one(context):
    context.student_features = [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    loss = OFA(context)
    assert loss.maps == [1, 2, 3, 4]
    width = max(context.student_dim, context.teacher_dim)
    for halvings, branch in enumerate(loss.branches):
        channels, side, _ = context.student_features[4 - halvings]
        before_pooling = nn.Sequential(*list(branch)[: max(halvings, 1)])(torch.randn(2, channels, side, side))
        assert before_pooling.shape == (2, width, 2, 2)


def test_defaults(context):
    assert OFA(context).params.model_dump() == {"gamma": 1.5, "temperature": 1.0}
