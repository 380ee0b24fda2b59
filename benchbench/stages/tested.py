"""The part of a training's metrics that comes from its test."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

import numpy as np

from benchbench.errors import StageError
from benchbench.models.backbone import Backbone
from benchbench.models.detection import DetectionNetwork
from benchbench.models.segmentation import MapsNetwork
from benchbench.store import Predictions, StageFolder, write_boxes, write_confusions, write_predictions
from benchbench.training.answers import are_boxes, score_of
from benchbench.training.finite import Spread
from benchbench.training.likely_classes import LikelyClasses

Measure = Literal["accuracy", "miou", "map"]


class TestedPart(TypedDict):
    """Fields of `benchbench.specs.records.TrainingMetrics`."""

    test_accuracy: float | None
    test_count: int
    test_correct: str | None
    top_class_share: float | None
    largest_class_share: float | None
    embedding_spread: float | None
    constant_dimensions: float | None
    score: Measure


def measure_of(model: Backbone) -> Measure:
    """The measure of a network's task."""
    if isinstance(model, DetectionNetwork):
        return "map"
    return "miou" if isinstance(model, MapsNetwork) else "accuracy"


def tested_part(answers: np.ndarray, labels: np.ndarray, spread: Spread | None) -> TestedPart:
    """The results of a test.

    Args:
        answers: top class of each test image [N], of a segmentation its confusion [N, C, C], of a detection its boxes
            [N, L, 7]; N is 0 where there was no test.
        labels: classes of the images [N].
        spread: of the embeddings.

    Raises:
        StageError: there is no score, since no pixel or no object of the test images counts.
    """
    if are_boxes(answers):
        return _of_boxes(answers, spread)
    if answers.ndim > 1:
        return _of_pixels(answers, spread)
    hits = answers == labels
    return TestedPart(
        test_accuracy=score_of(answers, labels) if len(hits) else None,
        test_count=len(hits),
        test_correct=np.packbits(hits).tobytes().hex() if len(hits) else None,
        top_class_share=_largest_share(answers) if len(hits) else None,
        largest_class_share=_largest_share(labels) if len(hits) else None,
        embedding_spread=spread.relative if spread else None,
        constant_dimensions=spread.constant if spread else None,
        score="accuracy",
    )


def _of_pixels(confusions: np.ndarray, spread: Spread | None) -> TestedPart:
    total = confusions.sum(0)
    pixels = max(1, int(total.sum()))
    return TestedPart(
        test_accuracy=_score(confusions, "pixel"),
        test_count=len(confusions),
        test_correct=None,
        top_class_share=float(total.sum(0).max() / pixels),
        largest_class_share=float(total.sum(1).max() / pixels),
        embedding_spread=spread.relative if spread else None,
        constant_dimensions=spread.constant if spread else None,
        score="miou",
    )


def _of_boxes(rows: np.ndarray, spread: Spread | None) -> TestedPart:
    return TestedPart(
        test_accuracy=_score(rows, "object"),
        test_count=len(rows),
        test_correct=None,
        top_class_share=None,
        largest_class_share=None,
        embedding_spread=spread.relative if spread else None,
        constant_dimensions=spread.constant if spread else None,
        score="map",
    )


def _score(answers: np.ndarray, kind: str) -> float:
    score = score_of(answers, np.zeros(0))
    if math.isnan(score):
        raise StageError(f"no {kind} of the {len(answers)} test images counts, so there is no score; test on others")
    return score


def write_answers(
    folder: StageFolder, answers: np.ndarray, labels: np.ndarray, likely: LikelyClasses | None = None
) -> None:
    """Writes the answers on the test images into a stage's folder; nothing where there was no test.

    Args:
        folder: of the stage.
        answers, labels: as of `tested_part`.
        likely: the likeliest classes of images.
    """
    if not len(labels):
        return
    if are_boxes(answers):
        write_boxes(folder.predictions, answers)
    elif answers.ndim > 1:
        write_confusions(folder.predictions, answers)
    elif likely is not None:
        write_predictions(folder.predictions, Predictions(labels, *likely.arrays()))


def _largest_share(classes: np.ndarray) -> float:
    """The share of the class that is there most often."""
    return float(np.bincount(classes).max()) / len(classes)
