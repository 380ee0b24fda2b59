"""Crossings of two ladders' lines: score against the logarithm of a cost, with bootstrap intervals over seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from benchbench.statistics.estimate import welch

RESAMPLES = 2000
SEED = 0  # of the resamples: the same results have the same intervals
EQUAL = 1e-9  # scores that differ by less are rounding


@dataclass(frozen=True)
class Ladder:
    """One arm at several costs. Its line joins the rungs' means, straight in the logarithm of the cost.

    Attributes:
        costs, scores: means of each rung over its runs [rungs], at least two; costs are above 0.
        seed_costs, seed_scores: of each seed that has a run on every rung [seeds, rungs].
    """

    costs: np.ndarray
    scores: np.ndarray
    seed_costs: np.ndarray
    seed_scores: np.ndarray


@dataclass(frozen=True)
class Crossing:
    """A cost at which the lead changes.

    Attributes:
        cost, score: of both lines there.
        first_leads: whether the first ladder is ahead from there on.
        low, high: of the cost's interval; -inf or inf where the resamples leave it open, NaN without an interval.
        score_low, score_high: of the score's, over the resamples that cross in this direction.
        share: of the resamples that do; NaN without an interval.
    """

    cost: float
    score: float
    first_leads: bool
    low: float = math.nan
    high: float = math.nan
    score_low: float = math.nan
    score_high: float = math.nan
    share: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """Two ladders over the costs that both cover.

    Attributes:
        low, high: of these costs; NaN where there are none.
        first_leads: whether the first is ahead at the lowest; None where they are equal throughout, or never meet.
        crossings: by rising cost.
        share: of the resamples that have no crossing either and the same ladder ahead; NaN where there are crossings,
            or a ladder has fewer than two seeds.
    """

    low: float
    high: float
    first_leads: bool | None
    crossings: tuple[Crossing, ...]
    share: float


@dataclass(frozen=True)
class _Line:
    """Logarithms of the costs, rising, and scores [lines, rungs]."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def through(cls, x: np.ndarray, y: np.ndarray) -> _Line:
        order = np.argsort(x, axis=1, kind="stable")
        return cls(np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1))

    def at(self, x: np.ndarray) -> np.ndarray:
        """Scores at these logarithms [lines, places] within the line."""
        last = self.x.shape[1] - 2
        index = np.clip((self.x[:, None, :] <= x[:, :, None]).sum(-1) - 1, 0, last)
        x0, x1 = (np.take_along_axis(self.x, index + step, 1) for step in (0, 1))
        y0, y1 = (np.take_along_axis(self.y, index + step, 1) for step in (0, 1))
        width = np.where(x1 > x0, x1 - x0, 1.0)
        return y0 + (y1 - y0) * (x - x0) / width


@dataclass(frozen=True)
class _Leads:
    """The line that is ahead between the knots of some pairs of lines.

    Attributes:
        low, high: logarithms of the range that both cover [pairs].
        signs: of first - second at each knot [pairs, knots], 0 where the two are equal throughout or never meet.
        x, y: places of the changes of the lead [pairs, knots - 1]; NaN where the sign stays.
    """

    low: np.ndarray
    high: np.ndarray
    signs: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def turns(self, first_leads: bool) -> np.ndarray:
        """Logarithms of the costs from which that ladder is ahead [pairs, knots - 1], else NaN."""
        return np.where(self.signs[:, 1:] == (1 if first_leads else -1), self.x, np.nan)


def compare_ladders(first: Ladder, second: Ladder, level: float) -> Comparison:
    """Crossings of two lines in the range of costs that both cover, with percentile intervals.

    The bootstrap draws seeds with replacement, for each ladder anew and for all of its rungs alike: the rungs of a seed
    have the start in common, the ladders nothing. Percentiles of a few seeds are too close together, so a resample's
    distance from the means (of the costs: in logarithms) is stretched by sqrt(n / (n - 1)) t / z, with the quantiles of
    the t-distribution (n - 1 degrees of freedom) and the normal one: T. Hesterberg, "What Teachers Should Know about
    the Bootstrap", The American Statistician 69, 2015, section 4.4, has this for a mean. A resample that has no such
    crossing counts as one outside of the range, on the side that its leader says: an interval is open on a side that
    more than (1 - level) / 2 of the resamples lie beyond.

    Args:
        first, second: the two.
        level: of the intervals, 0..1.
    """
    ladders = first, second
    leads = _leads(*(_Line.through(np.log(each.costs)[None], each.scores[None]) for each in ladders))
    if leads.low[0] > leads.high[0]:
        return Comparison(math.nan, math.nan, None, (), math.nan)
    ahead = None if leads.signs[0, 0] == 0 else bool(leads.signs[0, 0] > 0)
    places = np.flatnonzero(~np.isnan(leads.x[0]))
    plain = [
        Crossing(math.exp(leads.x[0, i]), float(leads.y[0, i]), bool(leads.signs[0, i + 1] > 0))
        for i in places.tolist()
    ]
    share = math.nan
    if min(len(each.seed_scores) for each in ladders) >= 2:
        random = np.random.default_rng(SEED)
        stretch = _stretch(float(welch(*(each.seed_scores.mean(1) for each in ladders)).df), level)
        resamples = _leads(*(_resampled(each, stretch, random) for each in ladders))
        plain = [_with_interval(each, resamples, level) for each in plain]
        if not plain and ahead is not None:
            share = float((resamples.signs == (1 if ahead else -1)).all(1).mean())
    low, high = math.exp(leads.low[0]), math.exp(leads.high[0])
    return Comparison(low, high, ahead, tuple(plain), share)


def _stretch(df: float, level: float) -> float:
    """By how much an interval of few runs is wider than the normal distribution says."""
    quantile = (1 + level) / 2
    return float(stats.t.ppf(quantile, df) / stats.norm.ppf(quantile))


def _resampled(ladder: Ladder, stretch: float, random: np.random.Generator) -> _Line:
    """The lines of resamples of the seeds."""
    n = len(ladder.seed_scores)
    weights = random.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    costs, scores = weights @ ladder.seed_costs, weights @ ladder.seed_scores
    factor = stretch * math.sqrt(n / (n - 1))
    x = np.log(ladder.costs) + factor * (np.log(costs) - np.log(ladder.seed_costs.mean(0)))
    return _Line.through(x, ladder.scores + factor * (scores - ladder.seed_scores.mean(0)))


def _leads(first: _Line, second: _Line) -> _Leads:
    low = np.maximum(first.x[:, 0], second.x[:, 0])
    high = np.minimum(first.x[:, -1], second.x[:, -1])
    meet = low <= high
    knots = np.clip(np.sort(np.concatenate([first.x, second.x], 1), 1), low[:, None], np.maximum(low, high)[:, None])
    scores = first.at(knots)
    ahead = scores - second.at(knots)
    ahead = np.where((np.abs(ahead) < EQUAL) | ~meet[:, None], 0.0, ahead)
    signs = _leaders(ahead)
    turned = signs[:, 1:] * signs[:, :-1] < 0
    before, after = ahead[:, :-1], ahead[:, 1:]
    part = before / np.where(turned, before - after, 1.0)
    x, y = (each[:, :-1] + part * np.diff(each, axis=1) for each in (knots, scores))
    return _Leads(low, high, signs, np.where(turned, x, np.nan), np.where(turned, y, np.nan))


def _leaders(ahead: np.ndarray) -> np.ndarray:
    """Signs of differences [pairs, knots]; where two lines only touch, the one before stays ahead."""
    signs = np.sign(ahead)
    for knot in range(1, signs.shape[1]):
        signs[:, knot] = np.where(signs[:, knot] == 0, signs[:, knot - 1], signs[:, knot])
    for knot in range(signs.shape[1] - 2, -1, -1):
        signs[:, knot] = np.where(signs[:, knot] == 0, signs[:, knot + 1], signs[:, knot])
    return signs


def _with_interval(crossing: Crossing, resamples: _Leads, level: float) -> Crossing:
    """The crossing with its intervals, from the nearest one of the same direction in each resample."""
    x = resamples.turns(crossing.first_leads)
    crosses = ~np.isnan(x).all(1)
    distance = np.where(np.isnan(x), np.inf, np.abs(x - math.log(crossing.cost)))
    nearest = distance.argmin(1)[:, None]
    x, y = (np.take_along_axis(each, nearest, 1)[:, 0] for each in (x, resamples.y))
    leader = 1 if crossing.first_leads else -1
    # Without it: the later leader has been ahead from the start (the crossing lies below), or is not ahead at the end
    # (above). Of a resample that says both or nothing, each bound takes what is worse for it.
    lows = np.where(crosses, x, np.where(resamples.signs[:, 0] == -leader, np.inf, -np.inf))
    highs = np.where(crosses, x, np.where(resamples.signs[:, -1] == leader, -np.inf, np.inf))
    tail = (1 - level) / 2
    low, high = (np.quantile(each, q, method="inverted_cdf") for each, q in ((lows, tail), (highs, 1 - tail)))
    score_low, score_high = (
        np.quantile(y[crosses], (tail, 1 - tail)).tolist() if crosses.any() else (math.nan, math.nan)
    )
    low, high = (float(end) if math.isinf(end) else math.exp(end) for end in (low, high))
    return replace(
        crossing, low=low, high=high, score_low=score_low, score_high=score_high, share=float(crosses.mean())
    )
