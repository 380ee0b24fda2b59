from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.rkd import RKD, relations
from tests.losses.plain import DENSE


def length(x: np.ndarray) -> float:
    return math.sqrt(sum(x * x))


def distances(h: np.ndarray) -> np.ndarray:
    raw = np.array([[length(a - b) for b in h] for a in h])
    pairs = [raw[i, j] for i in range(len(h)) for j in range(len(h)) if i != j]
    return raw / (sum(pairs) / len(pairs))


def cosines(h: np.ndarray) -> np.ndarray:
    size = len(h)
    cosines = np.zeros((size, size, size))
    for j in range(size):
        for i in range(size):
            for k in range(size):
                if i != j and k != j:
                    a, b = h[i] - h[j], h[k] - h[j]
                    cosines[j, i, k] = sum(a * b) / length(a) / length(b)
    return cosines


def huber(x: np.ndarray, y: np.ndarray) -> float:
    gaps = [abs(a - b) for a, b in zip(x.ravel(), y.ravel(), strict=True)]
    return sum(0.5 * gap**2 if gap <= 1 else gap - 0.5 for gap in gaps) / len(gaps)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_relations(size):
    h = np.random.default_rng(size).normal(size=(size, 6)) + 2
    distance, cosine = relations(torch.tensor(h))
    np.testing.assert_allclose(distance, distances(h), rtol=1e-12)
    np.testing.assert_allclose(cosine, cosines(h), rtol=1e-9, atol=1e-12)


def test_samples_that_coincide_are_not_apart():
    """As in the official code, such a pair is out of the mean distance, and its direction is zero."""
    distance, cosine = relations(torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]))
    assert distance.tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    assert cosine[0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(cosine[2], torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]]))


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("weights", [(25.0, 50.0), (1.0, 0.5)])
def test_terms(context, make_step, size, weights):
    student, teacher, batch = make_step(size)
    h_student, h_teacher = (side.embedding.detach().double().numpy() for side in (student, teacher))
    terms = RKD(context, distance=weights[0], angle=weights[1])(student, teacher, batch)
    assert list(terms) == ["distance", "angle"]
    distance = weights[0] * huber(distances(h_student), distances(h_teacher))
    angle = weights[1] * huber(cosines(h_student), cosines(h_teacher))
    assert terms["distance"].item() == pytest.approx(distance, rel=1e-4, abs=1e-9)
    assert terms["angle"].item() == pytest.approx(angle, rel=1e-4, abs=1e-9)


def test_huber_is_linear_beyond_one(context, make_step):
    """One outlier is 2.5 mean distances from the others; the teacher's samples are all 1 apart."""
    student, teacher, batch = make_step(5)
    student.embedding = torch.tensor([[0.0], [1e-3], [2e-3], [3e-3], [1000.0]])
    teacher.embedding = torch.eye(5)
    loss = RKD(context)
    by_hand = huber(distances(student.embedding.double().numpy()), distances(np.eye(5)))
    assert by_hand < 0.5 * np.mean((distances(student.embedding.numpy()) - distances(np.eye(5))) ** 2)
    assert loss(student, teacher, batch)["distance"].item() == pytest.approx(25 * by_hand, rel=1e-4)


def test_defaults(context):
    assert RKD(context).params.model_dump(exclude=DENSE) == {"distance": 25, "angle": 50}
