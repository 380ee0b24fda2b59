"""Metrics of a cell from the predictions that its stage has stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchbench.errors import StoreError
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.classification import balanced_accuracy, calibration_error, confusion_matrix, top_k_accuracy
from benchbench.statistics.detection import average_precisions, match, mean_average_precision
from benchbench.statistics.examples import unpack
from benchbench.statistics.segmentation import mean_iou, pixel_accuracy
from benchbench.store import Predictions, StageFolder, read_boxes, read_confusions, read_predictions

# Metrics that a suite may be about, by their names in suites, with the words of tables.
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "top5_accuracy": "top-5 accuracy",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "map": "mAP",
    "ap50": "AP50",
}


def metric_words(name: str) -> str:
    """The name of a metric in tables; that of a plugin's is its own."""
    return METRICS.get(name, name)


FEW = 5  # classes among which every label is one of the five likeliest
TOLERANCE = 1e-9
MOST_KEPT = 100  # classes of a confusion matrix that is remembered


@dataclass(frozen=True)
class _Answers:
    """The numbers that were computed from one version of a file of predictions."""

    version: tuple[int, int, str | None]
    metrics: dict[str, float | None]
    confusions: np.ndarray | None


_KNOWN: dict[Path, _Answers] = {}


def predictions_of(folder: StageFolder, record: TrainingRecord) -> Predictions | None:
    """The predictions of a finished training; None where its version stored none, or it was not tested.

    Raises:
        StoreError: they are damaged, or are not those of the record.
    """
    if record.metrics.score != "accuracy":
        return None
    predictions = read_predictions(folder.predictions)
    bits = record.metrics.test_correct
    if predictions is None or bits is None:
        return None
    right = predictions.classes[:, 0] == predictions.labels
    if len(right) != record.metrics.test_count or (bits and (right != unpack(bits, len(right))).any()):
        raise _other(folder)
    largest = max(predictions.labels.max(initial=0), predictions.classes.max(initial=0))
    if largest >= len(record.data.names):
        raise StoreError(f"{folder.predictions} has unknown classes; delete {folder.path} to run it again")
    return predictions


def answer_metrics(folder: StageFolder, record: TrainingRecord) -> dict[str, float | None]:
    """The columns that come from stored predictions; none where there are none.

    Raises:
        StoreError: they are damaged, or are not those of the record.
    """
    answers = _answers(folder, record)
    return {} if answers is None else answers.metrics


def confusions_of(folder: StageFolder, record: TrainingRecord) -> np.ndarray | None:
    """Numbers of test images, or of their pixels, [C, C] by class (row) and likeliest class (column).

    None without predictions.

    Raises:
        StoreError: they are damaged, or are not those of the record.
    """
    answers = _answers(folder, record)
    if answers is None or answers.confusions is not None or record.metrics.score != "accuracy":
        return None if answers is None else answers.confusions
    return _confusions(predictions_of(folder, record), record)


def image_confusions(folder: StageFolder, record: TrainingRecord) -> np.ndarray | None:
    """Numbers of pixels by class and predicted class of each test image of a segmentation, without a sign [N, C, C].

    None for another task, and where a network was not tested.

    Raises:
        StoreError: they are damaged, or are not those of the record.
    """
    if record.metrics.score != "miou" or not record.metrics.test_count:
        return None
    confusions = read_confusions(folder.predictions)
    if confusions is None:
        return None
    score, shape = mean_iou(confusions.sum(0)), (record.metrics.test_count, *[len(record.data.names)] * 2)
    if confusions.shape != shape or abs(score - (record.metrics.test_accuracy or 0.0)) > TOLERANCE:
        raise _other(folder)
    return confusions


def image_boxes(folder: StageFolder, record: TrainingRecord) -> np.ndarray | None:
    """Boxes of each test image of a detection, as `benchbench.statistics.detection` has them [N, L, 7].

    None for another task, and where a network was not tested.

    Raises:
        StoreError: they are damaged, or are not those of the record.
    """
    if record.metrics.score != "map" or not record.metrics.test_count:
        return None
    rows = read_boxes(folder.predictions)
    if rows is None:
        return None
    numbers = rows[rows[..., 6] > 0][:, 4]
    known = np.isin(numbers, np.arange(len(record.data.names))).all()
    if len(rows) != record.metrics.test_count or not known or not np.isfinite(rows).all():
        raise _other(folder)
    return rows


def _answers(folder: StageFolder, record: TrainingRecord) -> _Answers | None:
    """The numbers from a stage's predictions, each once: tables and pages ask again and again."""
    try:
        state = folder.predictions.stat()
    except FileNotFoundError:
        return None
    version = state.st_mtime_ns, state.st_size, record.metrics.test_correct
    known = _KNOWN.get(folder.path)
    if known is not None and known.version == version:
        return known
    if record.metrics.score == "miou":
        known = _of_pixels(version, image_confusions(folder, record))
    elif record.metrics.score == "map":
        known = _of_boxes(version, folder, record)
    else:
        predictions = predictions_of(folder, record)
        kept = _confusions(predictions, record) if len(record.data.names) <= MOST_KEPT else None
        known = _Answers(version, _measure(predictions, record), kept)
    _KNOWN[folder.path] = known
    return known


def _of_pixels(version: tuple[int, int, str | None], confusions: np.ndarray | None) -> _Answers:
    if confusions is None:
        return _Answers(version, {}, None)
    total = confusions.sum(0, dtype=np.int64)
    total.flags.writeable = False
    return _Answers(version, {"miou": mean_iou(total), "pixel_accuracy": pixel_accuracy(total)}, total)


def _of_boxes(version: tuple[int, int, str | None], folder: StageFolder, record: TrainingRecord) -> _Answers:
    rows = image_boxes(folder, record)
    if rows is None:
        return _Answers(version, {}, None)
    precisions = average_precisions(match(rows))
    whole = {"map": mean_average_precision(precisions), "ap50": mean_average_precision(precisions[:1])}
    values: dict[str, float | None] = {name: 0.0 if np.isnan(value) else value for name, value in whole.items()}
    if abs((values["map"] or 0.0) - (record.metrics.test_accuracy or 0.0)) > TOLERANCE:
        raise _other(folder)
    return _Answers(version, values, None)


def _other(folder: StageFolder) -> StoreError:
    return StoreError(f"{folder.predictions} is not of the record beside it; delete {folder.path} to run it again")


def _confusions(predictions: Predictions | None, record: TrainingRecord) -> np.ndarray | None:
    if predictions is None:
        return None
    counts = confusion_matrix(predictions.classes[:, 0], predictions.labels, len(record.data.names))
    counts.flags.writeable = False
    return counts


def _measure(predictions: Predictions | None, record: TrainingRecord) -> dict[str, float | None]:
    if predictions is None:
        return {}
    labels, classes, count = predictions.labels, predictions.classes, len(record.data.names)
    confidences: np.ndarray = predictions.probabilities[:, 0]
    return {
        "top5_accuracy": top_k_accuracy(classes, labels) if count > FEW else None,
        "balanced_accuracy": balanced_accuracy(classes[:, 0], labels, count),
        "calibration_error": calibration_error(confidences, classes[:, 0] == labels),
    }
