"""Paired bootstrap over test images: how far a difference of scores hangs on the images that were drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchbench.statistics.detection import Matches, average_precisions, mean_average_precision

RESAMPLES, SEED = 2000, 0
# Of a detection, whose scores go through all boxes again for each of them.
BOX_RESAMPLES = 500
# Resamples that are scored at a time: one of them takes classes^2 numbers for each run.
CHUNK = 200


@dataclass(frozen=True)
class ImageBootstrap:
    """A difference of scores over resampled images.

    Attributes:
        difference: on the images as they are.
        low, high: bounds of the share `level` in the middle of the resamples.
        p: two-sided: twice the share of resamples on the other side of 0, at least 2 / (resamples + 1).
    """

    difference: float
    low: float
    high: float
    p: float


Scores = Callable[[np.ndarray], np.ndarray]


def ious_of(runs: Sequence[np.ndarray]) -> Scores:
    """The mean over the runs of an arm of the mean intersection over union, by row of counts of images [S, N]: [S].

    That of a run is over the pixels of all images together.

    Args:
        runs: of each, numbers of pixels by image, class and predicted class [N, C, C].
    """
    return partial(_mean_scores, runs)


def precisions_of(runs: Sequence[Matches]) -> Scores:
    """The mean over the runs of an arm of the mean average precision, by row of counts of images [S, N]: [S].

    Counts that were asked for before are not counted again: an arm is compared with several.
    """
    known: dict[bytes, np.ndarray] = {}

    def scores(counts: np.ndarray) -> np.ndarray:
        key = counts.tobytes()
        if key not in known:
            means = [[mean_average_precision(average_precisions(run, row)) for run in runs] for row in counts]
            known[key] = np.nan_to_num(np.array(means)).mean(1)
        return known[key]

    return scores


def paired(first: Scores, second: Scores, images: int, level: float, resamples: int = RESAMPLES) -> ImageBootstrap:
    """The difference of two scores over images drawn anew with replacement.

    Every resample takes the same images for both arms. Efron and Tibshirani 1993, "An Introduction to the Bootstrap",
    chapters 13 (percentile intervals) and 16.

    Args:
        first, second: scores of two arms by row of counts of images [S, N]: [S].
        images: N.
        level: share of the resamples between the bounds, 0..1.
        resamples: number of draws.
    """
    random = np.random.default_rng(SEED)
    differences = []
    for begin in range(0, resamples, CHUNK):
        counts = random.multinomial(images, np.full(images, 1 / images), size=min(CHUNK, resamples - begin))
        differences.append(first(counts) - second(counts))
    values = np.concatenate(differences)
    once = np.ones((1, images), int)
    tail = min((values <= 0).sum(), (values >= 0).sum())
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return ImageBootstrap(
        difference=float(first(once)[0] - second(once)[0]),
        low=float(low),
        high=float(high),
        p=float(min(1.0, 2 * (tail + 1) / (len(values) + 1))),
    )


def _mean_scores(runs: Sequence[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """Mean over the runs of `_scores` [S]; one run at a time is converted, which may take gigabytes."""
    scores: np.ndarray = np.mean([_scores(run, counts.astype(float)) for run in runs], axis=0)
    return scores


def _scores(confusions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean intersection over union of a run, by row of counts of images, floats [S, N]: [S].

    It is 0 over images none of whose pixels counts, of which a resample may consist.
    """
    images, classes, _ = confusions.shape
    # As floats: a product of whole numbers has no fast kernel, and sums of pixels are exact in 53 bits.
    totals = (counts @ confusions.reshape(images, -1).astype(float)).reshape(-1, classes, classes)
    right = np.diagonal(totals, axis1=1, axis2=2)
    union = totals.sum(1) + totals.sum(2) - right
    ious = np.divide(right, union, out=np.zeros(right.shape), where=union > 0)
    scores: np.ndarray = ious.sum(1) / np.maximum(1, (union > 0).sum(1))
    return scores
