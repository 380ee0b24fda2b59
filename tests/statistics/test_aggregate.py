"""Aggregates over blocks against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchbench.statistics.aggregate import (
    gains,
    improvement,
    iqm_of_gains,
    mean_ranks,
    profile,
    stratified_bootstrap,
    wilcoxon,
    wilcoxon_possible,
)
from benchbench.statistics.simulation import iqm_coverage

RNG = np.random.default_rng(3)


def blocks(*sizes: int) -> list[np.ndarray]:
    return [RNG.integers(0, 6, size).astype(float) for size in sizes]


class TestRanks:
    def test_by_hand(self):
        # Ranks 1 2 3, then 2.5 2.5 1.
        assert mean_ranks([[0.9, 0.8, 0.7], [0.5, 0.5, 0.6]]).tolist() == [1.75, 2.25, 2.0]

    def test_add_up_to_what_ranks_must(self):
        assert mean_ranks(RNG.integers(0, 4, (5, 7))).sum() == pytest.approx(7 * 8 / 2)


class TestIqm:
    def test_is_the_mean_of_the_middle_half(self):
        runs, reference = blocks(6, 6), blocks(3, 4)
        pooled = sorted(run - np.mean(theirs) for ours, theirs in zip(runs, reference, strict=True) for run in ours)
        assert iqm_of_gains(runs, reference) == pytest.approx(np.mean(pooled[3:9]))

    def test_does_not_see_an_outlier(self):
        reference = [np.zeros(3)] * 2
        calm = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0])]
        wild = [np.array([-900.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0])]
        assert iqm_of_gains(wild, reference) == iqm_of_gains(calm, reference) == 2.5

    def test_gains_are_over_the_reference_s_mean_in_the_same_block(self):
        result = gains([np.array([5.0, 7.0]), np.array([1.0])], [np.array([4.0, 6.0]), np.array([2.0])])
        assert [each.tolist() for each in result] == [[0.0, 2.0], [-1.0]]


class TestImprovement:
    def test_is_the_share_of_pairs_that_are_won(self):
        runs, reference = blocks(5, 3), blocks(4, 6)
        shares = [
            np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(ours, theirs)])
            for ours, theirs in zip(runs, reference, strict=True)
        ]
        assert improvement(runs, reference) == pytest.approx(np.mean(shares))

    def test_of_oneself_is_a_half(self):
        runs = blocks(4, 5)
        assert improvement(runs, runs) == 0.5


class TestBootstrap:
    @pytest.fixture
    def runs(self):
        rng = np.random.default_rng(0)
        return [rng.normal(1, 1, 12), rng.normal(3, 1, 10)], [rng.normal(0, 1, 11), rng.normal(3, 1, 10)]

    @pytest.mark.parametrize("statistic", [iqm_of_gains, improvement])
    def test_resamples_each_arm_in_each_block(self, statistic, runs):
        """Against a loop that draws them one by one; so many resamples are good to a few percent of the width."""
        rng = np.random.default_rng(1)
        values = []
        for _ in range(1500):
            drawn = [[rng.choice(block, len(block)) for block in each] for each in runs]
            values.append(statistic(*drawn))
        expected = np.quantile(values, [0.05, 0.95])
        result = stratified_bootstrap(statistic, *runs, level=0.9)
        assert result == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))

    def test_is_the_same_every_time(self, runs):
        assert stratified_bootstrap(improvement, *runs, 0.95) == stratified_bootstrap(improvement, *runs, 0.95)

    def test_none_below_ten_runs(self, runs):
        ours, theirs = runs
        assert stratified_bootstrap(iqm_of_gains, ours, [theirs[0], theirs[1][:9]], 0.95) is None
        assert stratified_bootstrap(iqm_of_gains, [ours[0][:9], ours[1]], theirs, 0.95) is None

    def test_that_is_where_it_holds_what_it_says(self):
        few, enough = iqm_coverage(2, 3, 200, resamples=200), iqm_coverage(2, 10, 200, resamples=200)
        assert few < 0.90 < 0.95 - 3 * (0.95 * 0.05 / 200) ** 0.5 <= enough


class TestProfile:
    def test_by_hand(self):
        runs = [np.array([-1.0, 0.0, 1.0, 2.0]), np.array([3.0])]
        assert profile(runs, [-2.0, 0.0, 1.5, 3.0]).tolist() == [1.0, 0.75, 0.625, 0.0]

    def test_never_rises(self):
        shares = profile(blocks(5, 7, 3), np.linspace(-1, 7, 50))
        assert (np.diff(shares) <= 0).all()
        assert (shares[0], shares[-1]) == (1.0, 0.0)


class TestWilcoxon:
    @pytest.mark.parametrize("differences", [[1.5, -0.3, 2.0, 0.7, 4.0, 1.1], [1.0, 1.0, -1.0, 2.0, 2.0, 3.0]])
    def test_is_the_share_of_signs_that_are_as_extreme(self, differences):
        magnitudes = np.abs(differences)
        ranks = np.array([((magnitudes < m).sum() + (magnitudes <= m).sum() + 1) / 2 for m in magnitudes])
        sums = np.array([ranks @ np.array(signs) for signs in product((0, 1), repeat=len(ranks))])
        seen = ranks @ (np.array(differences) > 0)
        expected = min(1.0, 2 * min((sums >= seen).mean(), (sums <= seen).mean()))
        assert wilcoxon(np.array(differences)) == pytest.approx(expected)

    def test_is_scipy_s_where_there_are_no_ties(self):
        for differences in RNG.normal(0.3, 1, (5, 25)):
            assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)

    def test_blocks_without_a_difference_are_left_out(self):
        assert wilcoxon(np.array([0.0, 1.0, 2.0, 0.0, -3.0])) == wilcoxon(np.array([1.0, 2.0, -3.0]))

    def test_no_difference_at_all(self):
        assert wilcoxon(np.zeros(7)) == 1.0

    def test_too_few_blocks_to_be_significant(self):
        for count in range(2, 9):
            assert wilcoxon_possible(count, 0.05) == (wilcoxon(np.arange(1.0, count + 1)) <= 0.05) == (count >= 6)
