"""Stratified parts of a training set."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.data.splits import hold_out, subset
from benchbench.errors import DataError

COUNTS = {0: 40, 1: 25, 3: 10, 4: 1, 7: 3}  # by label; uneven, with gaps between the labels, one class of one image
LABELS = np.random.RandomState(5).permutation(np.repeat(list(COUNTS), list(COUNTS.values())))


def by_class(indices: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(LABELS[indices], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def assert_indices(indices: np.ndarray) -> None:
    assert indices.tolist() == sorted(set(indices.tolist()))
    assert all(0 <= index < len(LABELS) for index in indices)


def test_without_a_size_it_is_all_of_it():
    assert np.array_equal(subset(LABELS, None, None, 0), np.arange(len(LABELS)))


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.5, {0: 20, 1: 12, 3: 5, 4: 1, 7: 2}),
        (0.1, {0: 4, 1: 2, 3: 1, 4: 1, 7: 1}),
        (0.01, {0: 1, 1: 1, 3: 1, 4: 1, 7: 1}),  # at least one image a class
        (1.0, COUNTS),
    ],
)
def test_a_fraction_is_taken_of_each_class(fraction, expected):
    indices = subset(LABELS, fraction, None, 0)
    assert_indices(indices)
    assert by_class(indices) == expected


@pytest.mark.parametrize(("images", "fraction"), [(14, 0.1), (15, 0.1), (6, 0.25), (100, 0.29), (20, 0.07)])
def test_a_fraction_of_small_classes_is_one_of_the_whole(images, fraction):
    labels = np.repeat(np.arange(100), images)
    indices = subset(labels, fraction, None, 0)
    assert len(indices) == round(len(labels) * fraction)
    assert np.ptp(np.unique(labels[indices], return_counts=True)[1]) <= 1
    assert len(hold_out(labels, fraction)[1]) == len(indices)


def test_per_class_takes_as_many_of_each():
    labels = LABELS[LABELS != 4]
    indices = subset(labels, None, 3, 0)
    assert len(indices) == len(set(indices.tolist())) == 12
    assert np.unique(labels[indices], return_counts=True)[1].tolist() == [3, 3, 3, 3]


def test_per_class_of_a_class_that_is_too_small_is_refused():
    with pytest.raises(DataError) as caught:
        subset(LABELS, None, 2, 0)
    assert str(caught.value) == "per_class: 2 asks for more than there are; class 4 has 1 training images"
    assert by_class(subset(LABELS, None, 1, 0)) == dict.fromkeys(COUNTS, 1)


@pytest.mark.parametrize("size", [{"fraction": 0.4, "per_class": None}, {"fraction": None, "per_class": 1}])
def test_the_seed_says_which_part(size):
    parts = [subset(LABELS, **size, seed=seed).tolist() for seed in (0, 0, 1, 2)]
    assert parts[0] == parts[1]
    assert len({tuple(part) for part in parts}) == 3


def test_every_image_can_be_taken():
    """No image is favoured: over many seeds each of a class of 40 comes about as often."""
    times = np.zeros(len(LABELS))
    for seed in range(400):
        times[subset(LABELS, 0.25, None, seed)] += 1
    of_first = times[LABELS == 0]
    assert of_first.mean() == 100
    assert of_first.min() > 65  # 4 standard deviations of a binomial are 35
    assert of_first.max() < 135


@pytest.mark.parametrize(
    ("share", "held"),
    [
        (0.1, {0: 4, 1: 2, 3: 1, 7: 1}),
        (0.5, {0: 20, 1: 12, 3: 5, 7: 2}),
        (0.01, {0: 1, 1: 1, 3: 1, 7: 1}),
        (0.99, {0: 39, 1: 24, 3: 9, 7: 2}),  # one of each class is left to train on
    ],
)
def test_a_validation_split_is_stratified_and_disjoint(share, held):
    training, held_out = hold_out(LABELS, share)
    assert_indices(training)
    assert_indices(held_out)
    assert sorted([*training, *held_out]) == list(range(len(LABELS)))
    assert by_class(held_out) == held  # the class of one image keeps it
    assert by_class(training) == {label: count - held.get(label, 0) for label, count in COUNTS.items()}


def test_a_validation_split_is_always_the_same():
    assert all(np.array_equal(*pair) for pair in zip(hold_out(LABELS, 0.3), hold_out(LABELS, 0.3), strict=True))


def test_without_a_share_nothing_is_held_out():
    training, held_out = hold_out(LABELS, 0.0)
    assert np.array_equal(training, np.arange(len(LABELS)))
    assert len(held_out) == 0
