"""Means and differences of means, with intervals and p-values by the t-distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Floats = Any  # a float, or an array of them


@dataclass(frozen=True)
class Estimate:
    """An estimated quantity; (value - truth) / error has a t-distribution. Its parts may be arrays of one shape.

    Attributes:
        value: the estimate.
        error: its standard error.
        df: degrees of freedom of the standard error.
    """

    value: Floats
    error: Floats
    df: Floats

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """Lower and upper bound of the two-sided interval that holds the truth with probability `level`."""
        half = stats.t.ppf((1 + level) / 2, self.df) * self.error
        return self.value - half, self.value + half

    def p_above(self, null: float) -> Floats:
        """p-value of the one-sided test whose rejection means that the truth is above `null`."""
        return stats.t.sf(self._t(null), self.df)

    def p_below(self, null: float) -> Floats:
        """Likewise, below `null`."""
        return stats.t.cdf(self._t(null), self.df)

    def _t(self, null: float) -> Floats:
        distance = np.asarray(self.value, float) - null
        # Without any error, what is above is above and what is equal is equal.
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(distance == 0, 0.0, distance / self.error)


def mean(runs: Floats, resolution: float = 0.0) -> Estimate:
    """The mean of independent runs [..., n]; its error is s / sqrt(n), with ddof = 1 and n - 1 degrees of freedom.

    Args:
        runs: measured values; the last axis holds the runs.
        resolution: the step h that values come in (an accuracy's is one test image). Runs that agree to the step may
            still differ by less: rounding alone has the variance h^2 / 12 (W. F. Sheppard 1898), the lower bound here.
            Without it, two equal runs would prove anything.

    Raises:
        ValueError: fewer than two runs, which show no spread.
    """
    runs = np.asarray(runs, float)
    n = _at_least_two(runs)
    return Estimate(runs.mean(-1), np.sqrt(_variance(runs, resolution) / n), np.full(runs.shape[:-1], n - 1.0)[()])


def paired(first: Floats, second: Floats, resolution: float = 0.0) -> Estimate:
    """Mean of first - second over pairs [..., n], as of one sample of differences (the paired t-test).

    Right whatever the two have in common, at the price of half of the degrees of freedom that `welch` has.
    """
    return mean(np.asarray(first, float) - np.asarray(second, float), resolution * np.sqrt(2))


def welch(first: Floats, second: Floats, resolution: float = 0.0) -> Estimate:
    """Difference of the means of two independent samples [..., n] and [..., m], whose variances may differ.

    B. L. Welch 1947, with the degrees of freedom of F. E. Satterthwaite 1946. Samples that have something in common
    (a positive correlation) make it cautious, never bold.

    Raises:
        ValueError: fewer than two runs in one of them.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    n, m = _at_least_two(first), _at_least_two(second)
    a, b = _variance(first, resolution) / n, _variance(second, resolution) / m
    total = a + b
    with np.errstate(invalid="ignore"):
        df = np.where(total > 0, total**2 / (a**2 / (n - 1) + b**2 / (m - 1)), n + m - 2.0)
    return Estimate(first.mean(-1) - second.mean(-1), np.sqrt(total), df[()])


def _variance(runs: np.ndarray, resolution: float) -> np.ndarray:
    return np.maximum(runs.var(-1, ddof=1), resolution**2 / 12)


def _at_least_two(runs: np.ndarray) -> int:
    if runs.shape[-1] < 2:
        raise ValueError(f"{runs.shape[-1]} run shows no spread; an interval needs two")
    return runs.shape[-1]
