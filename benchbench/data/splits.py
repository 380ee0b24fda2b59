"""Stratified, seeded parts of a training set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchbench.data.images import ImageDataset
from benchbench.errors import DataError


class SubsetSize(NamedTuple):
    """The size of a subset and the seed of its draw, as `subset` takes them."""

    fraction: float | None
    per_class: int | None
    seed: int


def subset(labels: np.ndarray, fraction: float | None, per_class: int | None, seed: int) -> np.ndarray:
    """Sorted indices of a stratified part of a training set; all of it where neither size is given.

    Args:
        labels: class numbers [N].
        fraction: share of each class, at least one image.
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
    return _pick(
        labels, seed, lambda count: per_class if per_class is not None else max(1, round(count * (fraction or 0)))
    )


def hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (training, held out) of a stratified validation split; the same for every seed and arm.

    The only image of a class stays in training.
    """
    if not share:
        return np.arange(len(labels)), np.arange(0)
    held_out = _pick(labels, 0, lambda count: min(count - 1, max(1, round(count * share))))
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


def _pick(labels: np.ndarray, seed: int, size: Callable[[int], int]) -> np.ndarray:
    random = np.random.default_rng(seed)
    picked = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        picked.append(random.permutation(members)[: size(len(members))])
    return np.sort(np.concatenate(picked))
