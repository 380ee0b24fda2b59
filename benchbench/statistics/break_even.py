"""The number of tasks from which one of two ways costs less: a fixed cost, and a cost for each task."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchbench.statistics.estimate import welch


@dataclass(frozen=True)
class Ways:
    """Two ways to the same end: each costs its fixed part once, and its runs' mean for every task.

    Attributes:
        first_fixed, second_fixed: paid once, in the unit of the runs; NaN where it is not known.
        first, second: cost of one task, by run [n] and [m].
    """

    first_fixed: float
    first: np.ndarray
    second_fixed: float
    second: np.ndarray


@dataclass(frozen=True)
class BreakEven:
    """The tasks N* from which the way with the larger fixed cost is the cheaper one.

    Attributes:
        tasks: fixed costs' difference over that of a task's; infinite where it is never cheaper, NaN where a cost is
            not known.
        low, high: of its interval; NaN where a way has one run alone.
        first_later: whether it is the first way that is cheaper from there on; else the second. Where the fixed costs
            are equal it is the first: from the first task (0), or never.
    """

    tasks: float
    low: float
    high: float
    first_later: bool


def break_even(ways: Ways, level: float) -> BreakEven:
    """N* = (fixed costs' difference) / (difference of the means for a task), and its interval.

    N* falls as the difference for a task grows, so its interval is that of the difference (Welch's t), turned over. It
    is open above where that difference may be 0. Fixed costs have no spread. Where they are equal, N* is 0 or infinite.

    Args:
        ways: the two.
        level: of the interval, 0..1.
    """
    # Means of one cost over different numbers of runs may differ in the last bit.
    equal = math.isclose(ways.first_fixed, ways.second_fixed)
    fixed = 0.0 if equal else ways.first_fixed - ways.second_fixed
    known = len(ways.first) and len(ways.second)
    difference = float(ways.second.mean() - ways.first.mean()) if known else math.nan
    if math.isnan(fixed) or math.isnan(difference):
        return BreakEven(math.nan, math.nan, math.nan, fixed > 0)
    first_later = fixed >= 0
    sign = 1 if first_later else -1
    saved = sign * difference  # with each task, by the way that costs more at first
    if min(len(ways.first), len(ways.second)) < 2:
        return BreakEven(_tasks(fixed, saved), math.nan, math.nan, first_later)
    low, high = sorted(sign * float(end) for end in welch(ways.second, ways.first).interval(level))
    return BreakEven(_tasks(fixed, saved), _tasks(fixed, high), _tasks(fixed, low), first_later)


def _tasks(fixed: float, saved: float) -> float:
    if fixed == 0:
        return 0.0 if saved >= 0 else math.inf
    return abs(fixed) / saved if saved > 0 else math.inf
