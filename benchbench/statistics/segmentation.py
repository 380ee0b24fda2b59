"""Scores of a segmentation from numbers of pixels [C, C] by class (row) and predicted class (column)."""

from __future__ import annotations

import numpy as np


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Share of the pixels that are right, 0..1; NaN without pixels."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def class_ious(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class [C]; NaN for one that is neither there nor predicted.

    Everingham et al. 2015, "The Pascal Visual Object Classes Challenge: A Retrospective", section 3.3: true positives
    divided by true positives, false positives and false negatives, over the pixels of all images together.
    """
    right = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def mean_iou(confusion: np.ndarray) -> float:
    """Mean of `class_ious` over the classes that have one, 0..1; NaN where none has."""
    ious = class_ious(confusion)
    return float(np.nanmean(ious)) if (~np.isnan(ious)).any() else float("nan")
