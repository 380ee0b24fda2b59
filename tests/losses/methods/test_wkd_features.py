from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.losses.methods.wkd_features import WKDFeatures, wasserstein
from tests.losses.plain import array, connected


def gaussian(values: np.ndarray) -> tuple[float, float]:
    mean = values.sum() / values.size
    return mean, math.sqrt(((values - mean) ** 2).sum() / (values.size - 1) + 1e-5)


def reference(s: np.ndarray, t: np.ndarray, grid: int) -> tuple[float, float]:
    means = deviations = 0.0
    for b in range(len(s)):
        for c in range(s.shape[1]):
            for i in range(grid):
                for j in range(grid):
                    both = []
                    for x in (s[b, c], t[b, c]):
                        rows, columns = (
                            slice(math.floor(k * side / grid), math.ceil((k + 1) * side / grid))
                            for k, side in zip((i, j), x.shape, strict=True)
                        )
                        both.append(gaussian(x[rows, columns]))
                    means += (both[0][0] - both[1][0]) ** 2
                    deviations += (both[0][1] - both[1][1]) ** 2
    return means / (len(s) * grid * grid), deviations / (len(s) * grid * grid)


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_value(grid):
    rng = np.random.default_rng(grid)
    s, t = rng.normal(size=(4, 3, 6, 7)), 2 * rng.normal(size=(4, 3, 5, 6)) + 1
    values = [value.item() for value in wasserstein(torch.tensor(s), torch.tensor(t), grid)]
    assert values == pytest.approx(reference(s, t, grid), rel=1e-12)


def test_terms(context, make_step):
    student, teacher, batch = make_step()
    loss = WKDFeatures(context, gamma=3.0)
    weight = array(loss.connector[0].weight)[:, :, 0, 0]
    mapped = np.maximum(connected(array(student.features[-1]), weight), 0)
    mean, deviation = reference(mapped, array(teacher.features[-1]), 1)
    terms = loss(student, teacher, batch)
    assert terms["mean"].item() == pytest.approx(3 * mean, rel=1e-4)
    assert terms["deviation"].item() == pytest.approx(deviation, rel=1e-4)


@pytest.mark.parametrize(("size", "grid", "hint"), [((1, 1), 1, "larger images$"), ((2, 2), 2, "or a smaller grid$")])
def test_cells_of_one_position_are_refused(context, size, grid, hint):
    context.student_features[-1] = (6, *size)
    with pytest.raises(StageError, match=f"takes deviations over positions, and the last maps have .*{hint}"):
        WKDFeatures(context, grid=grid)


@pytest.mark.parametrize(("size", "grid"), [((7, 7), 4), ((5, 5), 4), ((2, 1), 1)])
def test_overlapping_cells_of_two_positions_have_deviations(context, size, grid):
    """Those of ResNets at 224 pixels, whose last maps have 7x7 positions, in the preset's grid, among them."""
    context.student_features[-1] = (6, *size)
    context.teacher_features[-1] = (11, *size)
    WKDFeatures(context, grid=grid)
    mean, deviation = wasserstein(torch.rand(2, 3, *size), torch.rand(2, 3, *size), grid)
    assert mean.isfinite()
    assert deviation.isfinite()
