"""Generated images beside real ones: which are taken, what they are called, and one set out of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from benchbench.data.images import ImageDataset
from benchbench.errors import DataError
from benchbench.specs.parts import Json, SyntheticUseSpec


@dataclass(frozen=True)
class SyntheticSelection:
    """What an arm takes of a generated set.

    Attributes:
        indices: of its images [K].
        labels: their classes, as asked for or as the judge sees them [K].
        report: for the record.
    """

    indices: np.ndarray
    labels: np.ndarray
    report: Json


def take(
    generated: ImageDataset, counts: np.ndarray, use: SyntheticUseSpec, logits: np.ndarray | None
) -> SyntheticSelection:
    """The images of a generated set that an arm trains on.

    Args:
        generated: the set.
        counts: real training images of each class [C].
        use: number, share and labels of the images.
        logits: the judge's, of every image of the set [N, C]; None without a judge.

    Raises:
        DataError: nothing is left.
    """
    assert generated.class_index is not None
    chosen = np.arange(len(generated))
    if use.times is not None:
        chosen = chosen[generated.class_index < np.round(use.times * counts)[generated.labels]]
    labels = generated.labels[chosen]
    report: Json = {"set": use.set, "images": len(chosen)}
    if logits is not None:
        scores = logits[chosen].astype(np.float64)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        if use.labels == "teacher":
            predictions = shares.argmax(1).astype(np.int64)
            report["relabelled"] = int((predictions != labels).sum())
            labels = predictions
        if use.min_confidence is not None:
            sure = shares[np.arange(len(labels)), labels] >= use.min_confidence
            report["left_out"] = int((~sure).sum())
            chosen, labels = chosen[sure], labels[sure]
    if not len(chosen):
        raise DataError(f"no image of set '{use.set}' is left to train on; lower min_confidence, or look at the set")
    return SyntheticSelection(chosen, labels, {**report, "kept": len(chosen)})


def joined(real: ImageDataset, indices: np.ndarray, made: ImageDataset, taken: SyntheticSelection) -> ImageDataset:
    """Real images, and generated ones after them; where the real ones have one size, the others are brought to it."""
    labels = np.concatenate([real.labels[indices], taken.labels])
    image = partial(_either, real.image, indices, made.image, taken.indices)
    if real.array is None:
        return ImageDataset(labels, real.classes, image)
    size = real.array.shape[2], real.array.shape[1]
    others = [_resized(made, int(number), size) for number in taken.indices]
    return ImageDataset(labels, real.classes, image, np.concatenate([real.array[indices], np.stack(others)]))


def _resized(made: ImageDataset, number: int, size: tuple[int, int]) -> np.ndarray:
    if made.array is not None and made.array.shape[1:3] == size[::-1]:
        return made.array[number]
    return np.array(made.image(number).convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _either(
    real: Callable[[int], Image.Image],
    indices: np.ndarray,
    made: Callable[[int], Image.Image],
    taken: np.ndarray,
    number: int,
) -> Image.Image:
    if number < len(indices):
        return real(int(indices[number]))
    return made(int(taken[number - len(indices)]))
