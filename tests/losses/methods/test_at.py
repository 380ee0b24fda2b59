from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.at import AT, attention_gap


def pooled(x: np.ndarray, size: int) -> np.ndarray:
    """Means over the bins of adaptive pooling [H, W] -> [size, size], which overlap where the sizes do not divide."""
    bins = [slice(i * len(x) // size, math.ceil((i + 1) * len(x) / size)) for i in range(size)]
    return np.array([[x[i, j].mean() for j in bins] for i in bins])


def attention(x: np.ndarray, p: float, size: int) -> np.ndarray:
    q = np.zeros(x.shape[1:])
    for channel in x:
        q += np.abs(channel) ** p  # a sum over channels, as in the paper
    q = pooled(q, size)
    return q / math.sqrt((q**2).sum())


def reference(student: np.ndarray, teacher: np.ndarray, p: float = 2) -> float:
    size = min(student.shape[2], teacher.shape[2])
    gaps = [((attention(s, p, size) - attention(t, p, size)) ** 2).sum() for s, t in zip(student, teacher, strict=True)]
    return sum(gaps) / (len(gaps) * size**2)


@pytest.fixture
def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 5, 5)), rng.normal(size=(3, 7, 3, 3))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_value(maps, p):
    value = attention_gap(*map(torch.tensor, maps), p)
    assert value.item() == pytest.approx(reference(*maps, p), rel=1e-9)


def test_sign_scale_and_order_of_the_channels_do_not_count(maps):
    teacher = torch.tensor(maps[1])
    student = -3 * teacher.flip(1).repeat(1, 2, 1, 1)
    assert attention_gap(student, teacher).item() == pytest.approx(0, abs=1e-15)
    assert attention_gap(student.flip(2), teacher) > 1e-3


def test_the_term_is_the_sum_over_the_pairs(context, make_step):
    student, teacher, batch = make_step()
    features = [[x.detach().double().numpy() for x in side.features] for side in (student, teacher)]
    pairs = [(0, 1), (1, 2), (2, 3)]  # three maps of the student, the last three of the teacher's four
    expected = {p: sum(reference(features[0][s], features[1][t], p) for s, t in pairs) for p in (1, 2)}
    terms = AT(context)(student, teacher, batch)
    assert list(terms) == ["at"]
    assert terms["at"].item() == pytest.approx(expected[2], rel=1e-4)
    assert AT(context, p=1)(student, teacher, batch)["at"].item() == pytest.approx(expected[1], rel=1e-4)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_a_dead_map_has_a_finite_gradient(maps, p):
    student = torch.zeros(3, 4, 3, 3, requires_grad=True)
    attention_gap(student, torch.tensor(maps[1]).float(), p).backward()
    assert student.grad.isfinite().all()
