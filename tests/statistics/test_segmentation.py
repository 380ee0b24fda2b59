"""Scores of a segmentation against sets of pixels."""

import math

import numpy as np
import pytest

from benchbench.statistics.classification import confusion_matrix
from benchbench.statistics.segmentation import class_ious, mean_iou, pixel_accuracy

CLASSES = 4


@pytest.fixture
def pixels():
    random = np.random.default_rng(0)
    return random.integers(0, CLASSES - 1, 500), random.integers(0, CLASSES - 1, 500)  # none of the last class


def test_ious_are_those_of_sets_of_pixels(pixels):
    truth, predicted = pixels
    ious = class_ious(confusion_matrix(predicted, truth, CLASSES))
    for label in range(CLASSES - 1):
        one, other = {*np.flatnonzero(truth == label)}, {*np.flatnonzero(predicted == label)}
        assert ious[label] == pytest.approx(len(one & other) / len(one | other))
    assert math.isnan(ious[-1])  # neither there nor predicted: it does not count
    assert mean_iou(confusion_matrix(predicted, truth, CLASSES)) == pytest.approx(ious[:-1].mean())
    assert pixel_accuracy(confusion_matrix(predicted, truth, CLASSES)) == pytest.approx((truth == predicted).mean())


def test_a_class_that_is_absent_and_predicted_counts_as_wrong():
    assert class_ious(np.array([[3, 1], [0, 0]])).tolist() == [0.75, 0.0]


def test_a_perfect_prediction_has_all():
    assert mean_iou(np.diag([5, 0, 7])) == pixel_accuracy(np.diag([5, 0, 7])) == 1.0


def test_without_pixels_there_is_no_score():
    assert math.isnan(mean_iou(np.zeros((2, 2), int)))
    assert math.isnan(pixel_accuracy(np.zeros((2, 2), int)))
