"""Linear CKA against the formula in exact fractions, and its invariances."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from benchbench.statistics.similarity import linear_cka


def by_formula(x: list[list[int]], y: list[list[int]]) -> float:
    """||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F), sums of fractions over features, without a matrix library."""

    def centred(rows):
        means = [Fraction(sum(column), len(rows)) for column in zip(*rows, strict=True)]
        return [[value - mean for value, mean in zip(row, means, strict=True)] for row in rows]

    def squares(a, b):
        pairs = product(zip(*a, strict=True), zip(*b, strict=True))
        return sum(sum(p * q for p, q in zip(one, other, strict=True)) ** 2 for one, other in pairs)

    x, y = centred(x), centred(y)
    return float(squares(x, y)) / (float(squares(x, x)) * float(squares(y, y))) ** 0.5


@pytest.mark.parametrize(("images", "first", "second"), [(7, 3, 2), (4, 6, 5), (12, 1, 4)])
def test_the_formula(images, first, second):
    random = np.random.default_rng(images)
    x, y = (random.integers(-9, 9, (images, width)) for width in (first, second))
    assert linear_cka(x, y) == pytest.approx(by_formula(x.tolist(), y.tolist()), rel=1e-12)
    assert linear_cka(y, x) == pytest.approx(linear_cka(x, y), rel=1e-12)


def test_rotation_scale_and_shift_change_nothing():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 5)), random.normal(size=(30, 8))
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    assert linear_cka(3 * x @ rotation + 7, y) == pytest.approx(linear_cka(x, y), rel=1e-9)
    assert linear_cka(3 * x @ rotation + 7, x) == pytest.approx(1, rel=1e-9)
    stretched = x * [100, 1, 1, 1, 1]
    assert linear_cka(stretched, x) < 0.9


def test_float32_is_summed_in_float64():
    random = np.random.default_rng(1)
    x = (random.normal(size=(50, 3)) + 1e4).astype(np.float32)
    y = random.normal(size=(50, 3)).astype(np.float32)
    assert linear_cka(x, y) == pytest.approx(linear_cka(x.astype(float) - 1e4, y), rel=1e-6)


@pytest.mark.parametrize("odd", [np.ones((4, 3)), np.full((4, 3), np.nan), np.full((4, 3), np.inf)])
def test_undefined(odd):
    assert linear_cka(odd, np.eye(4)) is None
    assert linear_cka(np.eye(4), odd) is None


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="not of the same images"):
        linear_cka(np.eye(4), np.eye(5))
