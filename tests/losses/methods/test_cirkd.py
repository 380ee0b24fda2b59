from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.cirkd import CIRKD, cross_image_kl
from tests.losses.plain import array, pooled, softmax, unit


def reference(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """Of vectors [B, N, C], image by image and position by position."""
    s, t = ([unit(image) for image in side] for side in (student, teacher))
    values = []
    for first in range(len(s)):
        for second in range(len(s)):
            for i in range(len(s[0])):
                q, p = (softmax(side[second] @ side[first][i], temperature) for side in (s, t))
                values.append(sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True)))
    return sum(values) / len(values)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_value(temperature):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 5, 6))
    value = cross_image_kl(*map(torch.tensor, vectors), temperature)
    assert value.item() == pytest.approx(reference(*vectors, temperature), rel=1e-12)


@pytest.mark.parametrize(("params", "temperature"), [({}, 0.1), ({"temperature": 0.5, "positions": 4}, 0.5)])
def test_term_of_all_positions(context, make_step, params, temperature):
    student, teacher, batch = make_step()
    terms = CIRKD(context, **params)(student, teacher, batch)
    maps = array(student.features[-1]), pooled(array(teacher.features[-1]), 2)
    sides = (side.reshape(*side.shape[:2], -1).transpose(0, 2, 1) for side in maps)
    assert list(terms) == ["cirkd"]
    assert terms["cirkd"].item() == pytest.approx(reference(*sides, temperature), rel=1e-4)


def test_positions_are_drawn(context, make_step):
    student, teacher, batch = make_step()
    values = set()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.add(CIRKD(context, positions=2)(student, teacher, batch)["cirkd"].item())
    assert len(values) == 2


def test_a_single_position_is_refused(context):
    context.teacher_features[-1] = (11, 1, 1)
    with pytest.raises(StageError, match=r"loss 'cirkd' compares positions .* but one position"):
        CIRKD(context)
