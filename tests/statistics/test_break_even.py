"""Tasks from which one of two ways costs less, against costs that are added up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchbench.statistics.break_even import Ways, break_even


def total(fixed: float, runs: np.ndarray, tasks: float) -> float:
    return fixed + tasks * runs.mean()


@pytest.mark.parametrize(("fixed", "other_fixed"), [(100.0, 0.0), (100.0, 30.0), (0.0, 7.0)])
def test_costs_are_equal_at_the_break_even_and_the_larger_fixed_cost_wins_later(fixed, other_fixed):
    cheap, dear = np.array([1.0, 1.2, 1.1]), np.array([4.0, 4.5, 5.0])
    first, second = (cheap, dear) if fixed > other_fixed else (dear, cheap)
    found = break_even(Ways(fixed, first, other_fixed, second), 0.95)
    assert total(fixed, first, found.tasks) == pytest.approx(total(other_fixed, second, found.tasks))
    assert found.first_later == (fixed > other_fixed)
    later = total(fixed, first, 2 * found.tasks) < total(other_fixed, second, 2 * found.tasks)
    assert later == found.first_later


def test_its_interval_is_that_of_the_difference_turned_over():
    first, second = np.array([1.0, 1.4, 1.2, 1.1]), np.array([3.0, 3.6, 3.1])
    found = break_even(Ways(50.0, first, 0.0, second), 0.9)
    interval = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((50 / interval.high, 50 / interval.low))
    assert found.low < found.tasks < found.high


def test_a_way_that_saves_nothing_with_a_task_is_never_made_up_for():
    cheap, dear = np.array([1.0, 1.1]), np.array([2.0, 2.1])
    assert break_even(Ways(50.0, dear, 0.0, cheap), 0.95).tasks == math.inf
    noisy = break_even(Ways(50.0, np.array([1.0, 3.0]), 0.0, np.array([2.0, 4.0])), 0.95)
    assert noisy.tasks == pytest.approx(50)
    assert noisy.high == math.inf  # the difference may be 0


def test_unknown_costs_and_single_runs():
    one, two = np.array([1.0]), np.array([2.0, 3.0])
    assert math.isnan(break_even(Ways(math.nan, two, 0.0, two), 0.95).tasks)
    assert math.isnan(break_even(Ways(1.0, np.array([]), 0.0, two), 0.95).tasks)
    single = break_even(Ways(3.0, one, 0.0, two), 0.95)
    assert single.tasks == pytest.approx(2)
    assert math.isnan(single.low)
    assert break_even(Ways(0.0, one, 0.0, two), 0.95).tasks == 0


@pytest.mark.parametrize("second_fixed", [10.0, np.nextafter(10.0, 11.0), np.nextafter(10.0, 9.0)])
@pytest.mark.parametrize(
    ("first", "second", "tasks", "low", "high"),
    [
        ([1.0, 1.1], [3.0, 3.1], 0.0, 0.0, 0.0),
        ([3.0, 3.1], [1.0, 1.1], math.inf, math.inf, math.inf),
        ([1.0, 3.0], [2.0, 4.0], 0.0, 0.0, math.inf),  # the difference may be 0
        ([2.0, 4.0], [1.0, 3.0], math.inf, 0.0, math.inf),
    ],
)
def test_of_equal_fixed_costs_it_is_the_first_task_or_never(first, second, tasks, low, high, second_fixed):
    found = break_even(Ways(10.0, np.array(first), second_fixed, np.array(second)), 0.95)
    assert (found.tasks, found.low, found.high) == (tasks, low, high)
    assert found.first_later


def test_a_task_whose_cost_is_not_known_has_no_break_even():
    found = break_even(Ways(10.0, np.array([1.0, 1.1]), 0.0, np.array([math.nan, 3.1])), 0.95)
    assert math.isnan(found.tasks)
    assert math.isnan(found.low)
