from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.losses.methods.sp import SP, similarity_gap


def reference(h_student: np.ndarray, h_teacher: np.ndarray) -> float:
    total, size = 0.0, len(h_student)
    for i in range(size):
        rows = [[sum(h[i] * h[j]) for j in range(size)] for h in (h_student, h_teacher)]
        g_student, g_teacher = ([g / math.sqrt(sum(v * v for v in row)) for g in row] for row in rows)
        total += sum((a - b) ** 2 for a, b in zip(g_student, g_teacher, strict=True))
    return total / size**2


@pytest.mark.parametrize("size", [2, 3, 7])
def test_value(size):
    rng = np.random.default_rng(size)
    h_student, h_teacher = rng.normal(size=(size, 6)), rng.normal(size=(size, 11)) + 0.5
    value = similarity_gap(torch.tensor(h_student), torch.tensor(h_teacher))
    assert value.item() == pytest.approx(reference(h_student, h_teacher), rel=1e-9)


def test_term(context, make_step):
    student, teacher, batch = make_step()
    sides = [side.embedding.detach().double().numpy() for side in (student, teacher)]
    terms = SP(context)(student, teacher, batch)
    assert list(terms) == ["sp"]
    assert terms["sp"].item() == pytest.approx(reference(*sides), rel=1e-4)


def test_of_maps(context, make_step):
    student, teacher, batch = make_step()
    sides = [side.features[-1].detach().double().numpy().reshape(7, -1) for side in (student, teacher)]
    value = SP(context, maps=True)(student, teacher, batch)["sp"].item()
    assert value == pytest.approx(reference(*sides), rel=1e-4)
