from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.pkt import PKT, neighbour_kl


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))


def reference(h_student: np.ndarray, h_teacher: np.ndarray, eps: float = 1e-7) -> float:
    size, total = len(h_student), 0.0
    for i in range(size):
        kernels = [[0.5 * (cosine(h[i], h[j]) + 1) for j in range(size)] for h in (h_student, h_teacher)]
        for k_student, k_teacher in zip(*kernels, strict=True):
            q, p = k_student / sum(kernels[0]), k_teacher / sum(kernels[1])
            total += p * math.log((p + eps) / (q + eps))
    return total / size**2


@pytest.mark.parametrize("size", [2, 3, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    h_student, h_teacher = rng.normal(size=(size, 6)), rng.normal(size=(size, 11)) + 0.5
    value = neighbour_kl(torch.tensor(h_student), torch.tensor(h_teacher))
    assert value.item() == pytest.approx(reference(h_student, h_teacher), rel=1e-9)


def test_opposite_embeddings_stay_finite():
    """Their kernel is 0 on the student's side, where the teacher's is not."""
    student = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    value = neighbour_kl(student, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_term(context, make_step):
    student, teacher, batch = make_step()
    sides = [side.embedding.detach().double().numpy() for side in (student, teacher)]
    terms = PKT(context)(student, teacher, batch)
    assert list(terms) == ["pkt"]
    assert terms["pkt"].item() == pytest.approx(reference(*sides), rel=1e-4)
