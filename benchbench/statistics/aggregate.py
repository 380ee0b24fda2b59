"""Aggregates over data sets: ranks, interquartile mean, probability of improvement, performance profiles.

R. Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021, arXiv
2108.13264; J. Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006. Their tasks and
data sets are blocks here, a data set x student, and runs are seeds: `runs` and `reference` have an array [n] per block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

Samples = Sequence[np.ndarray]
Statistic = Callable[[Samples, Samples], np.ndarray]  # of an arm's runs and the reference's, over any leading axes

# A percentile bootstrap over n runs is as wide as with ddof = 0, sqrt((n - 1) / n) of what it should be. At a nominal
# 95 % the interquartile mean's holds 86 to 90 % at n = 3, 89 to 91 % at n = 5 and 92 % at n = 10
# (`python -m benchbench.statistics`), so none is given below that.
BOOTSTRAP_RUNS = 10
RESAMPLES = 1000


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """Mean over blocks of each arm's rank [arms], 1 for the best; scores [blocks, arms], equal ones share a rank."""
    return stats.rankdata(-np.asarray(scores, float), axis=1).mean(0)


def gains(runs: Samples, reference: Samples) -> list[np.ndarray]:
    """Each run's score above the mean of the reference's runs in its block, so that blocks can be put together."""
    return [ours - theirs.mean(-1, keepdims=True) for ours, theirs in zip(runs, reference, strict=True)]


def iqm_of_gains(runs: Samples, reference: Samples) -> np.ndarray:
    """Interquartile mean of the gains: the mean of the middle half of all runs of all blocks (section 4.3).

    Arrays may have leading axes, which stay.
    """
    return stats.trim_mean(np.concatenate(gains(runs, reference), axis=-1), 0.25, axis=-1)


def improvement(runs: Samples, reference: Samples) -> np.ndarray:
    """Probability that a run is better than one of the reference; equal ones count half; the mean over blocks.

    Section 4.3. In each block it is the Mann-Whitney U over n x m. Arrays may have leading axes, which stay.
    """
    blocks = []
    for ours, theirs in zip(runs, reference, strict=True):
        a, b = ours[..., :, None], theirs[..., None, :]
        blocks.append(((a > b) + 0.5 * (a == b)).mean((-2, -1)))
    return np.mean(blocks, axis=0)


def stratified_bootstrap(
    statistic: Statistic, runs: Samples, reference: Samples, level: float
) -> tuple[float, float] | None:
    """Percentile interval of a statistic of both arms' runs, resampled within each block (section 4.1).

    Always the same for the same runs. None where a block has fewer than `BOOTSTRAP_RUNS` runs of either arm.
    """
    samples = [*runs, *reference]
    if min(map(len, samples)) < BOOTSTRAP_RUNS:
        return None
    result = stats.bootstrap(
        samples,
        lambda *drawn, axis: statistic(drawn[: len(runs)], drawn[len(runs) :]),
        n_resamples=RESAMPLES,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def profile(runs: Samples, thresholds: Sequence[float]) -> np.ndarray:
    """Performance profile: for each threshold the share of runs above it, the mean over blocks (section 4.2)."""
    above = [[(block > threshold).mean() for threshold in thresholds] for block in runs]
    return np.mean(above, axis=0)


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on paired differences over blocks (Demsar, section 3.1.3).

    Exact with ties too, where scipy falls back on the normal distribution. Blocks without a difference are left out.
    """
    differences = np.asarray(differences, float)
    differences = differences[differences != 0]
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)  # doubled, since ties share half ranks
    # ways[s]: number of the 2^n assignments of signs with the sum s of positive ranks.
    ways = np.ones(1)
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    observed = ranks[differences > 0].sum()
    return float(min(1.0, 2 * min(ways[: observed + 1].sum(), ways[observed:].sum()) / ways.sum()))


def wilcoxon_possible(blocks: int, alpha: float) -> bool:
    """True if some outcome on so many blocks would be significant; the smallest p is 2 / 2^blocks."""
    return 2.0 * 0.5**blocks <= alpha
