"""Error rates of intervals and verdicts, by simulation from known distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchbench.statistics.aggregate import iqm_of_gains
from benchbench.statistics.crossing import Ladder, compare_ladders
from benchbench.statistics.estimate import mean, welch
from benchbench.statistics.noninferiority import judge

# Both have mean 0 and standard deviation 1. The exponential one has skewness 2: most runs close, a few far off.
DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "skewed": lambda rng, shape: 1 - rng.standard_exponential(shape),
}
SIZES = (2, 3, 5, 10)
CHUNK = 1000
LEVEL = 0.95
RUN_SPREAD = 0.5  # standard deviation of the scores of a rung, in points


def t_coverage(distribution: str, n: int, draws: int, level: float = LEVEL) -> float:
    """Share of t-intervals of a mean of n runs that hold the true mean."""
    runs = DISTRIBUTIONS[distribution](_rng("t", n), (draws, n))
    low, high = mean(runs).interval(level)
    return float(((low <= 0) & (high >= 0)).mean())


def bootstrap_coverage(distribution: str, n: int, draws: int, resamples: int = 2000) -> float:
    """The same of percentile bootstrap intervals; all draws share one set of resamples."""
    rng = _rng("bootstrap", n)
    runs = DISTRIBUTIONS[distribution](rng, (draws, n))
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    hits = 0
    for start in range(0, draws, CHUNK):
        means = runs[start : start + CHUNK] @ weights.T
        low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1)
        hits += int(((low <= 0) & (high >= 0)).sum())
    return hits / draws


def iqm_coverage(blocks: int, n: int, draws: int, resamples: int = 500) -> float:
    """Share of stratified percentile bootstrap intervals that hold the interquartile mean of endless gains.

    Normal runs around a mean of each block's own (standard deviation between blocks: twice that of the runs); the
    reference is as noisy and equally resampled.
    """
    rng = _rng("iqm", blocks, n)
    centres = 2 * rng.standard_normal((blocks, 1))
    truth = float(iqm_of_gains(list(centres + rng.standard_normal((blocks, 100_000))), [np.zeros(1)] * blocks))
    hits = 0
    for _ in range(draws):
        samples = [centres + rng.standard_normal((blocks, n)), rng.standard_normal((blocks, n))]
        drawn = [
            np.take_along_axis(runs[:, None], rng.integers(n, size=(blocks, resamples, n)), -1) for runs in samples
        ]
        low, high = np.quantile(iqm_of_gains(list(drawn[0]), list(drawn[1])), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        hits += bool(low <= truth <= high)
    return hits / draws


def simulated_verdicts(
    n: int, spread: float, differences: Sequence[float], draws: int, alpha: float = 0.05
) -> np.ndarray:
    """Verdicts [draws, arms] on normal runs of arms whose true difference to their reference is known.

    Args:
        n: runs of each arm and of the reference, which all arms are compared with, as in a suite.
        spread: standard deviation of the runs, in margins.
        differences: each arm's true difference to the reference, in margins.
        draws: simulated suites.
        alpha: as for `judge`.
    """
    rng = _rng("verdict", n)
    arms = np.asarray(differences)[:, None] + spread * rng.standard_normal((draws, len(differences), n))
    reference = spread * rng.standard_normal((draws, 1, n))
    return judge(welch(arms, reference), margin=1.0, alpha=alpha)[0]


def crossing_coverage(n: int, draws: int) -> float:
    """Share of intervals of `compare_ladders` that hold the true crossing, of two ladders with three rungs.

    Normal scores of n seeds on each rung; costs spread by 2 %. The true lines cross once.
    """
    rng = _rng("crossing", n)
    costs = np.array([1.0, 4.0, 16.0])
    truth = [np.array([50.0, 60.0, 70.0]), np.array([56.0, 61.0, 66.0])]
    place = 4 * 4**0.2  # from 1 point behind to 4 points ahead, over a factor of 4
    hits = 0
    for _ in range(draws):
        ladders = []
        for scores in truth:
            runs = costs * np.exp(0.02 * rng.standard_normal((n, 3))), scores + RUN_SPREAD * rng.standard_normal((n, 3))
            ladders.append(Ladder(runs[0].mean(0), runs[1].mean(0), *runs))
        crossings = compare_ladders(ladders[0], ladders[1], LEVEL).crossings
        hits += any(each.low <= place <= each.high for each in crossings)
    return hits / draws


def _rng(*parts: str | int) -> np.random.Generator:
    """A stream of its own for every experiment, so that each can be repeated alone."""
    return np.random.default_rng([int.from_bytes(str(part).encode()) for part in parts])
