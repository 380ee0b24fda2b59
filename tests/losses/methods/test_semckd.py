from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from benchbench.losses.methods.semckd import SemCKD, attention, calibrated_error, similarities
from tests.losses.plain import array, conv, normed, pooled


def projected(x: np.ndarray, layers: nn.Module) -> np.ndarray:
    first, second, third = [array(part.weight) for part in layers.modules() if isinstance(part, nn.Conv2d)]
    x = np.maximum(normed(conv(x, first)), 0)
    return conv(np.maximum(normed(conv(x, second)), 0), third)


def embedded(x: np.ndarray, layers: nn.Module, anchors: int) -> np.ndarray:
    rows = np.zeros((len(x), anchors))
    for i, j in np.ndindex(len(x), min(len(x), anchors)):
        rows[i, j] = (x[i] * x[j]).sum()
    (w, a), (v, b) = [(array(m.weight), array(m.bias)) for m in layers.modules() if isinstance(m, nn.Linear)]
    values = np.maximum(rows @ w.T + a, 0) @ v.T + b
    return np.array([value / math.sqrt((value * value).sum()) for value in values])


def reference(loss: SemCKD, students: list[np.ndarray], teachers: list[np.ndarray]) -> float:
    anchors = loss.params.anchors
    queries = [embedded(x, layers, anchors) for x, layers in zip(students, loss.queries, strict=True)]
    keys = [embedded(x, layers, anchors) for x, layers in zip(teachers, loss.keys, strict=True)]
    projections = iter(loss.projections)
    count, total = len(students[0]), 0.0
    errors = np.zeros((count, len(students), len(teachers)))
    for s, f_student in enumerate(students):
        for t, f_teacher in enumerate(teachers):
            size = min(f_student.shape[2], f_teacher.shape[2])
            gaps = projected(pooled(f_student, size), next(projections)) - pooled(f_teacher, size)
            errors[:, s, t] = [(gap**2).mean() for gap in gaps]
    for b in range(count):
        for s in range(len(students)):
            powers = [math.exp((queries[s][b] * key[b]).sum()) for key in keys]
            total += sum(p / sum(powers) * errors[b, s, t] for t, p in enumerate(powers))
    return total / count / len(students)


@pytest.mark.parametrize("anchors", [4, 7, 64])  # fewer than the batch has samples, as many, more
def test_term(context, make_step, anchors):
    student, teacher, batch = make_step()
    torch.manual_seed(0)
    loss = SemCKD(context, anchors=anchors, dim=3)
    expected = reference(loss, [array(x) for x in student.features], [array(x) for x in teacher.features])
    terms = loss(student, teacher, batch)
    assert list(terms) == ["semckd"]
    assert terms["semckd"].item() == pytest.approx(expected, rel=1e-4)


def test_similarities():
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64)
    full = torch.einsum("ichw,jchw->ij", x, x)
    torch.testing.assert_close(similarities(x, 2), full[:, :2])
    torch.testing.assert_close(similarities(x, 5), torch.cat([full, torch.zeros(3, 2)], dim=1))


def test_attention_goes_to_the_key_that_is_like_the_query():
    axes = 50 * torch.eye(3)
    weights = attention(axes[[2, 0]].expand(4, 2, 3), axes.expand(4, 3, 3))
    torch.testing.assert_close(weights, torch.eye(3)[[2, 0]].expand(4, 2, 3))


def test_equal_errors_are_averaged_whatever_the_attention():
    weights = torch.rand(5, 3, 4).softmax(dim=2)
    assert calibrated_error(torch.full((5, 3, 4), 2.0), weights).item() == pytest.approx(2)
    errors = torch.zeros(5, 3, 4)
    errors[:, :, 1] = 1
    assert calibrated_error(errors, weights).item() == pytest.approx(weights[:, :, 1].mean().item())


def test_attention_learns_from_the_errors(context, make_step):
    torch.manual_seed(0)
    loss = SemCKD(context)
    loss(*make_step())["semckd"].backward()
    for part in (*loss.queries, *loss.keys):
        assert part[0].weight.grad.abs().sum() > 0


def test_a_deep_network_gives_four_maps(context):
    context.teacher_features = [(11, 3, 3)] * 12
    loss = SemCKD(context)
    assert (len(loss.queries), len(loss.keys), len(loss.projections)) == (3, 4, 12)
    assert loss.teachers == [2, 5, 8, 11]


def test_defaults(context):
    loss = SemCKD(context)
    assert loss.params.model_dump() == {"anchors": 64, "dim": 16}
    assert [tuple(part.weight.shape) for part in loss.queries[0] if isinstance(part, nn.Linear)] == [(32, 64), (16, 32)]
