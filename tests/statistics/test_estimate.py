"""Means and differences: hand formulas, scipy's own tests, and how often the intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchbench.statistics.estimate import Estimate, mean, paired, welch

RNG = np.random.default_rng(7)
FIRST, SECOND = RNG.normal(1.0, 1.0, 6), RNG.normal(0.0, 3.0, 6)


class TestMean:
    def test_by_hand(self):
        # 1, 2, 6: mean 3, squares of deviations 4 + 1 + 9 over 2 are 7; the t-table has 4.303 for 2 degrees of freedom.
        estimate = mean([1.0, 2.0, 6.0])
        assert (estimate.value, estimate.error, estimate.df) == (3.0, pytest.approx((7 / 3) ** 0.5), 2.0)
        assert estimate.interval(0.95) == pytest.approx(
            (3 - 4.303 * (7 / 3) ** 0.5, 3 + 4.303 * (7 / 3) ** 0.5), abs=1e-3
        )

    def test_two_runs(self):
        # 12.706 times the error, which for two runs is half of their distance.
        assert mean([4.0, 6.0]).interval(0.95) == pytest.approx((5 - 12.706, 5 + 12.706), abs=1e-3)

    def test_p_values_are_those_of_the_t_test(self):
        estimate = mean(FIRST)
        for null in (-0.5, 0.0, 1.3):
            assert estimate.p_above(null) == pytest.approx(stats.ttest_1samp(FIRST, null, alternative="greater").pvalue)
            assert estimate.p_below(null) == pytest.approx(stats.ttest_1samp(FIRST, null, alternative="less").pvalue)

    def test_the_interval_is_what_the_test_does_not_reject(self):
        low, high = mean(FIRST).interval(0.9)
        assert mean(FIRST).p_above(low) == pytest.approx(0.05)
        assert mean(FIRST).p_below(high) == pytest.approx(0.05)


class TestDifferences:
    def test_paired(self):
        estimate, expected = paired(FIRST, SECOND), stats.ttest_rel(FIRST, SECOND)
        assert estimate.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))
        assert estimate.df == expected.df

    def test_welch(self):
        estimate, expected = welch(FIRST, SECOND[:4]), stats.ttest_ind(FIRST, SECOND[:4], equal_var=False)
        assert estimate.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))
        assert estimate.df == pytest.approx(expected.df)

    def test_welch_by_hand(self):
        # Variances 2 and 8 of two runs each: 1 + 4 = 5, and 5^2 / (1 / 1 + 16 / 1) degrees of freedom.
        estimate = welch([1.0, 3.0], [0.0, 4.0])
        assert (estimate.value, estimate.error, estimate.df) == (0.0, pytest.approx(5**0.5), pytest.approx(25 / 17))

    @pytest.mark.parametrize("difference", [paired, welch])
    def test_the_other_way_round(self, difference):
        one, other = difference(FIRST, SECOND), difference(SECOND, FIRST)
        assert one.interval(0.95) == pytest.approx([-bound for bound in reversed(other.interval(0.95))])
        assert one.p_above(0.2) == pytest.approx(other.p_below(-0.2))

    @pytest.mark.parametrize("difference", [paired, welch])
    def test_arrays_are_done_at_once(self, difference):
        first, second = RNG.normal(size=(2, 3, 4, 5))
        together = difference(first, second)
        assert np.shape(together.value) == np.shape(together.error) == np.shape(together.df) == (3, 4)
        alone = difference(first[2, 1], second[2, 1])
        assert together.interval(0.9)[0][2, 1] == pytest.approx(alone.interval(0.9)[0])


class TestNoSpread:
    def test_equal_runs_are_a_point_when_values_are_exact(self):
        estimate = welch([2.0, 2.0], [1.0, 1.0])
        assert estimate.interval(0.95) == (1.0, 1.0)
        assert (estimate.p_above(0.5), estimate.p_above(1.0), estimate.p_above(1.5)) == (0.0, 0.5, 1.0)

    def test_equal_runs_may_differ_by_less_than_the_step(self):
        # Two equal runs in steps of 0.1: the error is 0.1 / sqrt(12) / sqrt(2).
        assert mean([5.0, 5.0], resolution=0.1).interval(0.95) == pytest.approx(
            (5 - 12.706 * 0.1 / 24**0.5, 5 + 12.706 * 0.1 / 24**0.5), abs=1e-4
        )
        assert welch([5.0, 5.0], [5.0, 5.0], resolution=0.1).error == pytest.approx(0.1 / 12**0.5)
        assert paired([5.0, 5.0], [5.0, 5.0], resolution=0.1).error == pytest.approx(0.1 / 12**0.5)

    def test_a_step_below_the_spread_changes_nothing(self):
        assert mean(FIRST, resolution=0.01) == mean(FIRST)

    def test_without_it_rounding_would_prove_what_is_not_so(self):
        """Runs that spread by less than the step: the share of means that lie above the truth by the test, at 2.5 %."""
        rng = np.random.default_rng(0)
        truth = rng.uniform(0, 1, (20_000, 1))  # in steps, anywhere between two of them
        runs = np.round(truth + 0.3 * rng.standard_normal((20_000, 3)))
        distances = runs - truth
        assert (mean(distances).p_above(0.0) <= 0.025).mean() > 0.2
        assert (mean(distances, resolution=1.0).p_above(0.0) <= 0.025).mean() <= 0.025


@pytest.mark.parametrize("difference", [paired, welch])
def test_one_run_shows_no_spread(difference):
    with pytest.raises(ValueError, match="1 run shows no spread"):
        difference([1.0], [2.0])


def test_one_run_beside_several_is_none_the_better():
    with pytest.raises(ValueError, match="an interval needs two"):
        welch([1.0, 2.0, 3.0], [2.0])


class TestCoverage:
    """95 % of the intervals hold the truth; 20,000 draws are good to 0.5 points (three standard errors)."""

    DRAWS = 20_000

    def coverage(self, estimate: Estimate, truth: float = 0.0) -> float:
        low, high = estimate.interval(0.95)
        return float(((low <= truth) & (truth <= high)).mean())

    @pytest.mark.parametrize("n", [2, 3, 5])
    def test_of_a_mean(self, n):
        assert self.coverage(mean(np.random.default_rng(n).standard_normal((self.DRAWS, n)))) == pytest.approx(
            0.95, abs=0.006
        )

    @pytest.mark.parametrize("correlation", [0.0, 0.7])
    def test_of_pairs_whatever_they_have_in_common(self, correlation):
        first, second = self.pairs(correlation, 3)
        assert self.coverage(paired(first, second)) == pytest.approx(0.95, abs=0.006)

    @pytest.mark.parametrize(("n", "m", "ratio"), [(3, 3, 1), (3, 3, 4), (5, 3, 1), (5, 3, 4), (10, 10, 2)])
    def test_of_samples_that_spread_differently(self, n, m, ratio):
        """Welch's is approximate: a little cautious where the spreads are equal, at most 1.5 points bold elsewhere."""
        rng = np.random.default_rng(n + m + ratio)
        estimate = welch(ratio * rng.standard_normal((self.DRAWS, n)), rng.standard_normal((self.DRAWS, m)))
        assert 0.935 <= self.coverage(estimate) <= 0.97

    def test_what_samples_have_in_common_makes_welch_cautious(self):
        first, second = self.pairs(0.5, 3)
        assert self.coverage(welch(first, second)) > 0.975

    def pairs(self, correlation: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(n)
        common = correlation**0.5 * rng.standard_normal((self.DRAWS, n))
        return tuple(common + (1 - correlation) ** 0.5 * rng.standard_normal((2, self.DRAWS, n)))
