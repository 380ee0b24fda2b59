"""Metrics of a classifier from its predictions on test images.

Labels are [N] and classes [N, K]: the classes that a network holds most likely, the first one first.
"""

from __future__ import annotations

import numpy as np

BINS = 15  # of the calibration error, as in its source


def top_k_accuracy(classes: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images whose label is among their K most likely classes, 0..1."""
    return float((classes == labels[:, None]).any(1).mean())


def class_accuracies(top: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Share of each class's images that are right (its recall) [C]; NaN for a class without images.

    Args:
        top: most likely class of each image [N].
        labels: theirs [N].
        num_classes: C.
    """
    counts = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[top == labels], minlength=num_classes)
    return np.divide(right, counts, out=np.full(num_classes, np.nan), where=counts > 0)


def balanced_accuracy(top: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Mean over the classes that have images of the share that is right, 0..1.

    K. Brodersen et al., "The Balanced Accuracy and Its Posterior Distribution", ICPR 2010.
    """
    return float(np.nanmean(class_accuracies(top, labels, num_classes)))


def confusion_matrix(top: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Numbers of images [C, C] by label (row) and most likely class (column)."""
    pairs = labels.astype(np.int64) * num_classes + top
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error, 0..1: mean over images of |accuracy - confidence| of the bin that each is in.

    C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3: bins of equal width, each with its
    upper end and without its lower one.

    Args:
        confidences: probability of the most likely class [N].
        right: whether that class is the label [N].
        bins: their number.
    """
    confidences = confidences.astype(np.float64)
    index = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, weights=right - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))
