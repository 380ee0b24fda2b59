"""Crossings of known lines, and intervals whose coverage is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.statistics.crossing import Comparison, Ladder, compare_ladders
from benchbench.statistics.simulation import crossing_coverage


def ladder(costs: list[float], scores: list[float], seeds: list[list[float]] | None = None) -> Ladder:
    """Seeds of given scores, all at the same costs; without them one seed alone."""
    runs = np.array(seeds or [scores], float)
    return Ladder(
        np.array(costs, float), np.array(scores, float), np.tile(np.array(costs, float), (len(runs), 1)), runs
    )


def shifted(costs: list[float], scores: list[float], shifts: list[float]) -> Ladder:
    """Seeds that lie above or below the line as a whole; the shifts sum to 0."""
    return ladder(costs, scores, [[score + shift for score in scores] for shift in shifts])


def compare(first: Ladder, second: Ladder) -> Comparison:
    return compare_ladders(first, second, 0.95)


def test_two_straight_lines_cross_where_algebra_says():
    """In u = log10 hours: 50 + 10 u = 54 + 6 u at u = 1, of score 60."""
    (crossing,) = compare(ladder([1, 100], [50, 70]), ladder([1, 100], [54, 66])).crossings
    assert (crossing.cost, crossing.score) == (pytest.approx(10), pytest.approx(60))
    assert crossing.first_leads
    assert math.isnan(crossing.low)  # one seed


def test_lines_of_other_rungs_are_compared_in_the_hours_of_both():
    """From 10 to 1,000 hours: 50, 60, 60 against 56 to 62, which is 58 at 100: -6 and +2 meet at 3/4 of that way."""
    result = compare(ladder([1, 10, 100, 1000], [0, 50, 60, 60]), ladder([10, 100_000], [56, 64]))
    assert (result.low, result.high) == (pytest.approx(10), pytest.approx(1000))
    first, second = result.crossings[0], result.crossings[1:]
    assert first.cost == pytest.approx(10 ** (1 + 6 / 8))
    assert not result.first_leads
    # From 100 to 1,000 the lead of 2 becomes 0 at the very end: no change.
    assert second == ()


def test_every_change_of_the_lead():
    result = compare(ladder([1, 10, 100], [50, 60, 50]), ladder([1, 100], [55, 55]))
    assert [crossing.cost for crossing in result.crossings] == [pytest.approx(10**0.5), pytest.approx(10**1.5)]
    assert [crossing.first_leads for crossing in result.crossings] == [True, False]


def test_lines_that_touch_do_not_cross():
    result = compare(ladder([1, 10, 100], [50, 55, 50]), ladder([1, 100], [55, 55]))
    assert result.crossings == ()
    assert result.first_leads is False


def test_a_rung_on_the_other_line_is_the_crossing():
    (crossing,) = compare(ladder([1, 10, 100], [50, 55, 60]), ladder([1, 100], [55, 55])).crossings
    assert crossing.cost == pytest.approx(10)


def test_equal_lines_have_no_leader():
    same = shifted([1, 100], [50, 70], [-1, 1])
    result = compare(same, same)
    assert (result.first_leads, result.crossings) == (None, ())


def test_rungs_out_of_the_order_of_their_hours():
    (crossing,) = compare(ladder([100, 1], [70, 50]), ladder([1, 100], [54, 66])).crossings
    assert crossing.cost == pytest.approx(10)


def test_no_hours_in_common():
    result = compare(shifted([1, 2], [50, 70], [-1, 1]), shifted([3, 4], [54, 66], [-1, 1]))
    assert math.isnan(result.low)
    assert result.crossings == ()


def test_the_interval_of_lines_that_are_shifted_as_a_whole():
    """Score - 4 u = shift: the crossing lies at u = 1 - shift / 4, and a shift of two seeds' mean is known exactly.

    Of two seeds at -0.1 and +0.1 a resample's mean is -0.1, 0 or 0.1; stretched by sqrt(2) t / z, with the quantiles of
    one degree of freedom, as the other line has no spread.
    """
    first = shifted([1, 100], [50, 70], [-0.1, 0.1])
    (crossing,) = compare(first, shifted([1, 100], [54, 66], [0, 0])).crossings
    reach = 0.1 * math.sqrt(2) * 12.7062 / 1.95996 / 4
    assert (crossing.low, crossing.high) == (
        pytest.approx(10 ** (1 - reach), rel=1e-4),
        pytest.approx(10 ** (1 + reach), rel=1e-4),
    )
    assert crossing.share == 1
    # On the second line, which stays: 54 + 6 u.
    assert (crossing.score_low, crossing.score_high) == (pytest.approx(60 - 6 * reach), pytest.approx(60 + 6 * reach))


def test_seeds_are_paired_across_rungs():
    """A seed that is better on all rungs moves the line; drawn by rung, its effect would partly cancel."""
    steady = shifted([1, 100], [54, 66], [0, 0, 0])
    together = ladder([1, 100], [50, 70], [[49, 69], [50, 70], [51, 71]])
    against = ladder([1, 100], [50, 70], [[49, 71], [50, 70], [51, 69]])  # what one rung loses the other gains
    wide, narrow = (compare(each, steady).crossings[0] for each in (together, against))
    assert math.log(narrow.high / narrow.low) == pytest.approx(0, abs=1e-9)  # all pass through 60 at 10 hours
    assert math.log(wide.high / wide.low) > 1


@pytest.mark.parametrize(("end", "bounds"), [(12, "high"), (200, None)])
def test_an_interval_is_open_where_resamples_do_not_cross(end, bounds):
    """They cross at 10 hours, near the end of the hours that both cover."""
    seeds = [-0.3, 0, 0.3]
    (crossing,) = compare(
        shifted([1, end], [50, 50 + 10 * math.log10(end)], seeds),
        shifted([1, end], [54, 54 + 6 * math.log10(end)], seeds),
    ).crossings
    assert crossing.cost == pytest.approx(10)
    assert crossing.low > 1
    assert math.isinf(crossing.high) == (bounds == "high")
    assert (crossing.share < 0.975) == (bounds == "high")


def test_open_below_too():
    seeds = [-0.3, 0, 0.3]
    lines = [
        shifted([8, 100], [start + slope * math.log10(x) for x in (8, 100)], seeds)
        for start, slope in ((50, 10), (54, 6))
    ]
    (crossing,) = compare(*lines).crossings
    assert crossing.low == -math.inf
    assert 10 < crossing.high < 100


def test_the_share_that_agree_on_who_is_ahead_throughout():
    sure = compare(shifted([1, 10], [60, 70], [-1, 0, 1]), shifted([1, 10], [40, 50], [-1, 0, 1]))
    unsure = compare(shifted([1, 10], [60, 70], [-1, 0, 1]), shifted([1, 10], [59.5, 69.5], [-1, 0, 1]))
    assert (sure.first_leads, sure.share) == (True, 1)
    assert 0.5 < unsure.share < 0.9
    assert unsure == compare(shifted([1, 10], [60, 70], [-1, 0, 1]), shifted([1, 10], [59.5, 69.5], [-1, 0, 1]))


def test_hours_have_a_spread_of_their_own():
    """Runs that take 1/2 and 2 times as long move the line to the side, and never below 0 hours."""
    costs = np.array([[0.5, 50], [2, 200]])
    noisy = Ladder(np.array([1.0, 100]), np.array([50.0, 70]), costs, np.array([[50.0, 70]] * 2))
    (crossing,) = compare(noisy, shifted([0.001, 100_000], [42, 84 - 6], [0, 0])).crossings
    assert crossing.low < 10 < crossing.high


def test_intervals_hold_the_truth():
    """Of three seeds. An interval that is not widened for them would hold it three times in four."""
    assert crossing_coverage(3, draws=40) >= 0.9
