"""Verdicts at every position of the interval, Holm's correction against closed testing, and the error rates."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from benchbench.statistics.estimate import Estimate, welch
from benchbench.statistics.noninferiority import holm, judge
from benchbench.statistics.simulation import simulated_verdicts


def with_interval(low: float, high: float) -> Estimate:
    """One arm whose 95 % interval is this."""
    half = (high - low) / 2
    return Estimate(np.array([low + half]), np.array([half / stats.t.ppf(0.975, 4)]), np.array([4.0]))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 1.0, "surpasses"),
        (-0.01, 1.0, "matches"),
        (-0.49, 0.1, "matches"),
        (-0.4, -0.1, "matches"),  # worse, but by less than the margin
        (-0.51, 0.1, "inconclusive"),
        (-3.0, 3.0, "inconclusive"),
        (-1.0, -0.1, "inconclusive"),  # worse, but not certainly by more than the margin
        (-2.0, -0.51, "falls short"),
        (-2.0, -0.49, "inconclusive"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(low, high, verdict):
    verdicts, p = judge(with_interval(low, high), margin=0.5, alpha=0.05)
    assert verdicts.tolist() == [verdict]
    assert (p[0] <= 0.025) == (verdict in ("surpasses", "matches"))


def test_p_is_that_of_the_shifted_t_test():
    arm, reference = np.array([71.2, 70.6, 71.9]), np.array([70.9, 71.3, 71.0])
    (p,) = judge(Estimate(*np.atleast_1d(*vars(welch(arm, reference)).values())), 0.5, 0.05)[1]
    assert p == pytest.approx(stats.ttest_ind(arm + 0.5, reference, equal_var=False, alternative="greater").pvalue)


def test_a_wider_margin_and_a_larger_alpha_find_more():
    difference = with_interval(-0.6, 0.2)
    assert judge(difference, 0.5, 0.05)[0] == ["inconclusive"]
    assert judge(difference, 0.7, 0.05)[0] == ["matches"]
    assert judge(difference, 0.5, 0.2)[0] == ["matches"]


def test_more_arms_need_stronger_evidence():
    alone = with_interval(-0.45, 0.2)
    five = Estimate(*(np.repeat(part, 5) for part in (alone.value, alone.error, alone.df)))
    assert judge(alone, 0.5, 0.05)[0].tolist() == ["matches"]
    verdicts, p = judge(five, 0.5, 0.05)
    assert set(verdicts) == {"inconclusive"}
    assert p == pytest.approx(5 * judge(alone, 0.5, 0.05)[1][0])


class TestHolm:
    def test_by_hand(self):
        # In order 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, the last no smaller than the one before.
        assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_is_closed_testing_with_bonferroni(self):
        """An adjusted p is the largest Bonferroni p of all sets of hypotheses that the hypothesis is in."""
        for p in np.random.default_rng(0).uniform(0, 0.4, (20, 4)):
            sets = [chosen for size in range(1, 5) for chosen in combinations(range(4), size)]
            expected = [
                max(min(1.0, len(chosen) * min(p[j] for j in chosen)) for chosen in sets if i in chosen)
                for i in range(4)
            ]
            assert holm(p) == pytest.approx(expected)

    def test_of_one_and_of_none(self):
        assert holm(np.array([0.2])).tolist() == [0.2]
        assert holm(np.array([])).tolist() == []

    def test_rows_are_families_of_their_own(self):
        p = np.random.default_rng(1).uniform(size=(3, 5))
        assert holm(p).tolist() == [holm(row).tolist() for row in p]

    def test_larger_p_values_never_become_smaller(self):
        rng = np.random.default_rng(2)
        p = rng.uniform(size=(200, 6))
        assert (holm(p) <= holm(np.minimum(p + rng.uniform(0, 0.3, p.shape), 1))).all()


class TestErrorRates:
    """No kind of verdict is given wrongly to any of the arms in more than alpha / 2 of the suites (2.5 % here)."""

    DRAWS = 4000
    # Three standard errors of a share of 2.5 % over 4,000 draws.
    MOST = 0.025 + 3 * (0.025 * 0.975 / 4000) ** 0.5

    def share(self, n: int, truths: list[float], wrong: list[set[str]]) -> float:
        verdicts = simulated_verdicts(n, 0.5, truths, self.DRAWS)
        return float(np.any([np.isin(verdicts[:, arm], sorted(each)) for arm, each in enumerate(wrong)], axis=0).mean())

    @pytest.mark.parametrize("n", [2, 3, 10])
    @pytest.mark.parametrize("arms", [1, 6])
    def test_of_matching_at_the_margin(self, n, arms):
        assert self.share(n, [-1.0] * arms, [{"matches", "surpasses"}] * arms) <= self.MOST

    @pytest.mark.parametrize("n", [2, 3, 10])
    def test_of_surpassing_what_is_equal(self, n):
        assert self.share(n, [0.0] * 6, [{"surpasses"}] * 6) <= self.MOST

    @pytest.mark.parametrize("n", [2, 3, 10])
    def test_of_falling_short_at_the_margin(self, n):
        assert self.share(n, [-1.0] * 6, [{"falls short"}] * 6) <= self.MOST

    def test_among_arms_that_differ(self):
        truths = [2.0, 0.0, -1.0, -1.0, -3.0]
        matched = {"matches", "surpasses"}
        assert self.share(5, truths, [set(), set(), matched, matched, matched]) <= self.MOST

    def test_without_the_correction_it_would_be_more(self):
        verdicts = [simulated_verdicts(10, 0.5, [-1.0] * arms, self.DRAWS) for arms in (1, 6)]
        alone = np.isin(verdicts[0], ["matches", "surpasses"]).mean()
        rng = np.random.default_rng(0)
        arms = -1.0 + 0.5 * rng.standard_normal((self.DRAWS, 6, 10))
        uncorrected = welch(arms, 0.5 * rng.standard_normal((self.DRAWS, 1, 10))).p_above(-1.0) <= 0.025
        assert alone <= self.MOST < 0.06 < uncorrected.any(axis=1).mean()

    def test_what_is_clear_is_found(self):
        verdicts = simulated_verdicts(5, 0.2, [3.0, 0.0, -3.0], self.DRAWS)
        for arm, verdict in enumerate(("surpasses", "matches", "falls short")):
            assert (verdicts[:, arm] == verdict).mean() > 0.93
