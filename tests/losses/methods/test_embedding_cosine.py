from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.embedding_cosine import EmbeddingCosine, cosine_gap


def reference(x: np.ndarray, y: np.ndarray) -> float:
    gaps = []
    for a, b in zip(x, y, strict=True):
        dot = sum(p * q for p, q in zip(a, b, strict=True))
        gaps.append(1 - dot / math.sqrt(sum(p * p for p in a)) / math.sqrt(sum(q * q for q in b)))
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("size", [1, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    x, y = rng.normal(size=(size, 4)), 5 * rng.normal(size=(size, 4))
    assert cosine_gap(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(reference(x, y), rel=1e-12)


def test_opposite_directions_are_the_most_and_a_zero_vector_is_between():
    x = torch.randn(3, 4)
    assert cosine_gap(x, -2 * x).item() == pytest.approx(2, abs=1e-6)
    assert cosine_gap(x, torch.zeros(3, 4)).item() == 1


def test_term(context, make_step):
    student, teacher, batch = make_step()
    loss = EmbeddingCosine(context)
    weight, bias = (parameter.detach().double().numpy() for parameter in loss.connector.parameters())
    h_student, h_teacher = (side.embedding.detach().double().numpy() for side in (student, teacher))
    connected = np.array([[sum(w * h for w, h in zip(row, x, strict=True)) for row in weight] for x in h_student])
    terms = loss(student, teacher, batch)
    assert list(terms) == ["embedding_cosine"]
    assert terms["embedding_cosine"].item() == pytest.approx(reference(connected + bias, h_teacher), rel=1e-5)
