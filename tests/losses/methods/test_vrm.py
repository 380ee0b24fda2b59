from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.vrm import VRM, edge_error, edges, reliable
from benchbench.models.outputs import Outputs
from tests.losses.plain import array, softmax


def logits(seed: int, rows: int = 4, classes: int = 3) -> torch.Tensor:
    return 3 * torch.randn(rows, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def direction(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one - other) / math.sqrt(sum((one - other) ** 2))


def huber(gap: float) -> float:
    return gap**2 / 2 if abs(gap) <= 1 else abs(gap) - 0.5


def entropy(row: np.ndarray) -> float:
    return -sum(p * math.log(p) for p in softmax(row))


def plain_error(sides, kept=None) -> float:
    """Over all pairs of a vertex of the first view and one of the second, of ((student), (teacher))."""
    (s, virtual_s), (t, virtual_t) = sides
    errors = []
    for m in range(len(s)):
        for n in range(len(s)):
            if kept is None or (m, n) in kept:
                gap = direction(s[m], virtual_s[n]) - direction(t[m], virtual_t[n])
                errors.append(sum(map(huber, gap)) / len(gap))
    return sum(errors) / len(errors)


@pytest.mark.parametrize("pruned", [0, 0.25])
def test_value(context, pruned):
    s, virtual_s, t, virtual_t = (logits(seed) for seed in range(4))
    student, teacher = (
        Outputs(one, one, second_view=Outputs(other, other)) for one, other in ((s, virtual_s), (t, virtual_t))
    )
    sides = (array(s), array(virtual_s)), (array(t), array(virtual_t))
    joint = {(m, n): entropy(sides[0][0][m]) + entropy(sides[0][1][n]) for m in range(4) for n in range(4)}
    kept = sorted(joint, key=joint.get)[: 16 - int(16 * pruned)]
    terms = VRM(context, alpha=2, beta=3, pruned=pruned)(student, teacher, None)
    assert terms["samples"].item() == pytest.approx(2 * plain_error(sides, kept), rel=1e-12)
    classes = tuple(tuple(view.T for view in side) for side in sides)
    assert terms["classes"].item() == pytest.approx(3 * plain_error(classes), rel=1e-12)


def test_the_same_relations_cost_nothing(context):
    """Whatever the scale and the place of the logits: edges are directions."""
    s, virtual = logits(0), logits(1)
    student = Outputs(s, s, second_view=Outputs(virtual, virtual))
    teacher = Outputs(5 * s + 1, s, second_view=Outputs(5 * virtual + 1, virtual))
    terms = VRM(context, pruned=0)(student, teacher, None)
    assert terms["samples"].item() == pytest.approx(0, abs=1e-20)
    assert terms["classes"].item() == pytest.approx(0, abs=1e-20)


def test_two_views_that_are_equal_have_a_finite_gradient():
    s, t = logits(0).requires_grad_(), logits(1)
    value = edge_error(edges(s, s.detach()), edges(t, t))
    value.backward()
    assert torch.isfinite(value)
    assert s.grad.isfinite().all()
    assert edges(s, s)[0, 0].tolist() == [0, 0, 0]


def test_of_few_edges_one_is_left_at_least():
    one = logits(0, rows=1)
    assert reliable(one, one, 0.99).tolist() == [[True]]
    assert reliable(logits(0), logits(1), 0.5).sum() == 8
