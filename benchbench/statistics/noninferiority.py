"""Non-inferiority tests with a margin, and Holm's correction.

With d the true difference to the reference, D > 0 the margin and an interval of d at level 1 - alpha:

| verdict | the interval | the one-sided test, at alpha / 2 |
|---|---|---|
| surpasses | lies above 0 | d <= 0 is rejected |
| matches | lies above -D | d <= -D is rejected |
| falls short | lies below -D | d >= -D is rejected |
| inconclusive | holds -D | none |

The first that applies is the verdict. So they are read in the CONSORT statement's extension for non-inferiority trials
(Piaggio et al., JAMA 308, 2594, 2012, figure 1) and in the EMA's "Points to consider on switching between superiority
and non-inferiority" (2000), which also says why testing for `surpasses` after `matches` needs no correction. Two cases
lie between: an interval between -D and 0 says worse, but by less than what was declared to matter, and is a match; one
that holds -D and ends below 0 says worse, but not whether by more than the margin, and is inconclusive.
"""

from __future__ import annotations

import numpy as np

from benchbench.statistics.estimate import Estimate

SURPASSES, MATCHES, FALLS_SHORT, INCONCLUSIVE = "surpasses", "matches", "falls short", "inconclusive"


def judge(differences: Estimate, margin: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts on several arms against one reference.

    Args:
        differences: arm - reference, arrays [..., arms]; Holm's correction is over the last axis.
        margin: the loss that does not matter, in the unit of the differences; above 0.
        alpha: 1 - the level of the intervals; each of the three one-sided tests has alpha / 2. So for each kind of
            verdict the probability that any of the arms gets it wrongly is at most alpha / 2.

    Returns:
        Verdicts [..., arms] (text), and the p-values of the non-inferiority tests after Holm's correction.
    """
    p = holm(differences.p_above(-margin))
    conditions = [
        holm(differences.p_above(0.0)) <= alpha / 2,  # implies the next: each of its p-values is the larger one
        p <= alpha / 2,
        holm(differences.p_below(-margin)) <= alpha / 2,
    ]
    return np.select(conditions, [SURPASSES, MATCHES, FALLS_SHORT], INCONCLUSIVE), p


def holm(p: np.ndarray) -> np.ndarray:
    """p-values [..., m] adjusted for m tests (S. Holm 1979): bounds the probability of any wrong rejection.

    The k-th smallest (k = 0, 1, ...) is multiplied by m - k; none becomes smaller than the one before it, or above 1.
    Right under any dependence, as between arms that share their reference.
    """
    p = np.asarray(p, float)
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    adjusted = np.maximum.accumulate(np.take_along_axis(p, order, -1) * np.arange(m, 0, -1), axis=-1)
    result = np.empty_like(p)
    np.put_along_axis(result, order, np.minimum(adjusted, 1.0), -1)
    return result
