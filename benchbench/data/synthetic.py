"""Generated images beside real ones: their selection, their labels, and one set out of both."""

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
    """The images of a generated set that an arm trains on.

    Attributes:
        indices: of its images [K].
        labels: their classes, of the prompt or of the judge [K].
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


def joined(
    real: ImageDataset, indices: np.ndarray, generated: ImageDataset, selection: SyntheticSelection
) -> ImageDataset:
    """Real images, and generated ones after them; where the real ones have one size, the others are brought to it."""
    labels = np.concatenate([real.labels[indices], selection.labels])
    image = partial(_real_or_generated, real.image, indices, generated.image, selection.indices)
    if real.array is None:
        return ImageDataset(labels, real.classes, image)
    size = real.array.shape[2], real.array.shape[1]
    others = [_resized(generated, int(index), size) for index in selection.indices]
    return ImageDataset(labels, real.classes, image, np.concatenate([real.array[indices], np.stack(others)]))


def _resized(generated: ImageDataset, index: int, size: tuple[int, int]) -> np.ndarray:
    if generated.array is not None and generated.array.shape[1:3] == size[::-1]:
        return generated.array[index]
    return np.array(generated.image(index).convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _real_or_generated(
    real: Callable[[int], Image.Image],
    indices: np.ndarray,
    generated: Callable[[int], Image.Image],
    chosen: np.ndarray,
    index: int,
) -> Image.Image:
    if index < len(indices):
        return real(int(indices[index]))
    return generated(int(chosen[index - len(indices)]))
