"""Paired bootstrap over test images: how far a difference of scores hangs on the images that were drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES, SEED = 2000, 0
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


def bootstrap_miou(first: np.ndarray, second: np.ndarray, level: float) -> ImageBootstrap:
    """The difference in mean intersection over union of two arms, over images drawn anew with replacement.

    Every resample takes the same images for both arms and all runs. An arm's score is the mean of those of its runs,
    each over the pixels of all images together. Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters
    13 (percentile intervals) and 16.

    Args:
        first: numbers of pixels by class and predicted class of each run and image [runs, N, C, C].
        second: the same images for the other arm; the numbers of runs may differ.
        level: share of the resamples between the bounds, 0..1.
    """
    images = first.shape[1]
    random = np.random.default_rng(SEED)
    differences = []
    for begin in range(0, RESAMPLES, CHUNK):
        counts = random.multinomial(images, np.full(images, 1 / images), size=min(CHUNK, RESAMPLES - begin))
        differences.append(_scores(first, counts) - _scores(second, counts))
    values = np.concatenate(differences)
    once = np.ones((1, images), int)
    tail = min((values <= 0).sum(), (values >= 0).sum())
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return ImageBootstrap(
        difference=float(_scores(first, once)[0] - _scores(second, once)[0]),
        low=float(low),
        high=float(high),
        p=float(min(1.0, 2 * (tail + 1) / (len(values) + 1))),
    )


def _scores(confusions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over runs of the mean intersection over union, by row of counts of images [S, N]: [S]."""
    runs, images, classes, _ = confusions.shape
    # As floats: a product of whole numbers has no fast kernel, and sums of pixels are exact in 53 bits.
    sums = counts.astype(float) @ confusions.reshape(runs, images, -1).astype(float)
    totals = sums.reshape(runs, len(counts), classes, classes)
    right = np.diagonal(totals, axis1=2, axis2=3)
    union = totals.sum(2) + totals.sum(3) - right
    ious = np.divide(right, union, out=np.full(right.shape, np.nan), where=union > 0)
    scores: np.ndarray = np.nanmean(ious, axis=2).mean(0)
    return scores
