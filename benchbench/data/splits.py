"""Stratified, seeded parts of a training set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchbench.data.images import ImageDataset
from benchbench.errors import DataError

ROUNDING = 1e-9  # of a product that is a whole number: 100 * 0.29 is a little less than 29


class SubsetSize(NamedTuple):
    """The size of a subset and the seed of its draw, as `subset` takes them."""

    fraction: float | None
    per_class: int | None
    seed: int


def subset(labels: np.ndarray, fraction: float | None, per_class: int | None, seed: int) -> np.ndarray:
    """Sorted indices of a stratified part of a training set; all of it where neither size is given.

    Args:
        labels: class numbers [N].
        fraction: share of the whole, spread over the classes by their sizes, with at least one image of each.
        per_class: images of each class.
        seed: of the draw; it does not depend on the training seed, so that all arms see the same images.

    Raises:
        DataError: a class has fewer than `per_class` images.
    """
    if fraction is None and per_class is None:
        return np.arange(len(labels))
    if per_class is not None:
        present, counts = np.unique(labels, return_counts=True)
        if counts.min() < per_class:
            label, count = present[counts.argmin()], counts.min()
            raise DataError(
                f"per_class: {per_class} asks for more than there are; class {label} has {count} training images"
            )
    _, counts = np.unique(labels, return_counts=True)
    sizes = _shares(counts, fraction) if fraction else np.full(len(counts), per_class)
    return _pick(labels, seed, sizes)


def hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (training, held out) of a stratified validation split; the same for every seed and arm.

    The only image of a class stays in training.
    """
    if not share:
        return np.arange(len(labels)), np.arange(0)
    _, counts = np.unique(labels, return_counts=True)
    held_out = _pick(labels, 0, np.minimum(counts - 1, _shares(counts, share)))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def split_training(images: ImageDataset, size: SubsetSize, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the images that a suite takes of a training split, and of these those to train on and those held out.

    Args:
        images: the training split; where it has a validation part of its own, that one is held out as a whole.
        size: of the subset that is taken.
        share: held out of the subset, where the split has no validation part.

    Raises:
        DataError: as `subset`.
    """
    if images.validation is None:
        part = subset(images.labels, *size)
        return part, *hold_out(images.labels[part], share)
    others = np.setdiff1d(np.arange(len(images)), images.validation)
    part = others[subset(images.labels[others], *size)]
    held_out = len(part) + np.arange(len(images.validation))
    return np.concatenate([part, images.validation]), np.arange(len(part)), held_out


def _shares(counts: np.ndarray, share: float) -> np.ndarray:
    """A share of the images of each class, at least one; the sum is that share of all, by largest remainders.

    Rounded one by one, a tenth of a hundred classes with 14 images each would be a fourteenth of all.
    """
    exact = counts * share
    whole = np.maximum(1, np.floor(exact + ROUNDING))
    lacking = max(0, round(counts.sum() * share) - int(whole.sum()))
    remainders = (exact - whole).round(9)
    whole[np.lexsort((counts, -remainders))[:lacking]] += 1  # where they are equal, of the smaller class
    return whole.astype(np.int64)


def _pick(labels: np.ndarray, seed: int, sizes: np.ndarray) -> np.ndarray:
    """Sorted indices of so many random images of each class that occurs."""
    random = np.random.default_rng(seed)
    picked = []
    for label, size in zip(np.unique(labels), sizes, strict=True):
        picked.append(random.permutation(np.flatnonzero(labels == label))[:size])
    return np.sort(np.concatenate(picked))
