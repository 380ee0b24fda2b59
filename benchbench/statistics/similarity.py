"""Likeness of two representations of the same images: linear centred kernel alignment (CKA)."""

from __future__ import annotations

from typing import Any

import numpy as np


def linear_cka(first: Any, second: Any) -> float | None:
    """Linear CKA of two representations, 0..1; 1 where they are equal up to rotation and scale.

    ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) of centred columns: Kornblith et al. 2019 (arXiv 1905.00414), section 3.
    The biased estimator, in float64: with few images for many dimensions it is high for unrelated representations too.

    Args:
        first, second: [N, D] and [N, E].

    Returns:
        None where one of them is constant, or not finite.

    Raises:
        ValueError: they are not of the same images.
    """
    x, y = (np.asarray(each, np.float64) for each in (first, second))
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(f"representations of shapes {x.shape} and {y.shape} are not of the same images")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    # The same sums over pairs of images: N x N, whatever the dimensions.
    x_pairs, y_pairs = (each @ each.T for each in (x - x.mean(0), y - y.mean(0)))
    size = np.linalg.norm(x_pairs) * np.linalg.norm(y_pairs)
    return float(min(1.0, max(0.0, (x_pairs * y_pairs).sum() / size))) if size > 0 else None
