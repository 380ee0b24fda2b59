"""Metrics of a classifier against their formulas in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.statistics.classification import (
    balanced_accuracy,
    calibration_error,
    class_accuracies,
    confusion_matrix,
    top_k_accuracy,
)

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2])
TOP = np.array([0, 0, 1, 1, 2, 2, 0, 0])


def test_classes_and_their_mean():
    """Two of three, one of two, one of three; a class without images counts for nothing."""
    accuracies = class_accuracies(TOP, LABELS, 4)
    assert accuracies[:3].tolist() == pytest.approx([2 / 3, 1 / 2, 1 / 3])
    assert math.isnan(accuracies[3])
    assert balanced_accuracy(TOP, LABELS, 4) == pytest.approx((2 / 3 + 1 / 2 + 1 / 3) / 3)


def test_balanced_is_plain_accuracy_where_classes_are_of_one_size():
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 20)
    top = draws.integers(0, 5, 100)
    assert balanced_accuracy(top, labels, 5) == pytest.approx((top == labels).mean())


def test_confusions():
    assert confusion_matrix(TOP, LABELS, 3).tolist() == [[2, 1, 0], [0, 1, 1], [2, 0, 1]]


def test_top_k():
    classes = np.array([[3, 1], [0, 2], [2, 0], [1, 3]])
    assert top_k_accuracy(classes, np.array([1, 0, 3, 2])) == 0.5


def test_calibration_by_bins():
    draws = np.random.default_rng(0)
    confidences = draws.uniform(0, 1, 200).astype(np.float16)
    confidences[:3] = (0, 1, 0.5)
    right = draws.uniform(0, 1, 200) < 0.7
    expected = 0.0
    for index in range(10):
        inside = [
            k
            for k in range(200)
            if index / 10 < confidences[k] <= (index + 1) / 10 or (not index and not confidences[k])
        ]
        if inside:
            gap = np.mean(right[inside]) - np.mean(confidences[inside].astype(float))
            expected += len(inside) / 200 * abs(gap)
    assert calibration_error(confidences, right, bins=10) == pytest.approx(expected)
    assert calibration_error(np.ones(4), np.array([True] * 4)) == 0
    assert calibration_error(np.ones(4), np.array([True, False] * 2)) == 0.5
