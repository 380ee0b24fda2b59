"""The part of a training's metrics that comes from its test."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from benchbench.store import Predictions, StageFolder, write_predictions
from benchbench.training.finite import Spread
from benchbench.training.likely_classes import LikelyClasses


class TestedPart(TypedDict):
    """Fields of `benchbench.specs.records.TrainingMetrics`."""

    test_accuracy: float | None
    test_count: int
    test_correct: str | None
    top_class_share: float | None
    largest_class_share: float | None
    embedding_spread: float | None
    constant_dimensions: float | None


def tested_part(classes: np.ndarray, labels: np.ndarray, spread: Spread | None) -> TestedPart:
    """The results of a test.

    Args:
        classes: top class of each test image [N]; N is 0 where there was none.
        labels: theirs [N].
        spread: of the embeddings.
    """
    hits = classes == labels
    return TestedPart(
        test_accuracy=float(hits.mean()) if len(hits) else None,
        test_count=len(hits),
        test_correct=np.packbits(hits).tobytes().hex() if len(hits) else None,
        top_class_share=_largest_share(classes) if len(hits) else None,
        largest_class_share=_largest_share(labels) if len(hits) else None,
        embedding_spread=spread.relative if spread else None,
        constant_dimensions=spread.constant if spread else None,
    )


def write_answers(folder: StageFolder, likely: LikelyClasses | None, labels: np.ndarray) -> None:
    """Writes the likeliest classes of the test images into a stage's folder; nothing where there was no test."""
    if likely is not None and len(labels):
        write_predictions(folder.predictions, Predictions(labels, *likely.arrays()))


def _largest_share(classes: np.ndarray) -> float:
    """The share of the class that is there most often."""
    return float(np.bincount(classes).max()) / len(classes)
