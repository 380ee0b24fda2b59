"""Metrics of a cell from the predictions that its stage has stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchbench.errors import StoreError
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.classification import balanced_accuracy, calibration_error, confusion_matrix, top_k_accuracy
from benchbench.statistics.examples import unpack
from benchbench.store import Predictions, StageFolder, read_predictions

# Metrics that a suite may be about, by their names in suites, with the words of tables.
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "top5_accuracy": "top-5 accuracy"}
FEW = 5  # classes among which every label is one of the five likeliest
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
    predictions = read_predictions(folder.predictions)
    bits = record.metrics.test_correct
    if predictions is None or bits is None:
        return None
    right = predictions.classes[:, 0] == predictions.labels
    if len(right) != record.metrics.test_count or (bits and (right != unpack(bits, len(right))).any()):
        raise StoreError(f"{folder.predictions} is not of the record beside it; delete {folder.path} to run it again")
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
    """Numbers of test images [C, C] by class (row) and likeliest class (column); None without predictions.

    Raises:
        StoreError: they are damaged, or are not those of the record.
    """
    answers = _answers(folder, record)
    if answers is None or answers.confusions is not None:
        return None if answers is None else answers.confusions
    return _confusions(predictions_of(folder, record), record)


def _answers(folder: StageFolder, record: TrainingRecord) -> _Answers | None:
    """The numbers from a stage's predictions, each once: tables and pages ask again and again."""
    try:
        state = folder.predictions.stat()
    except FileNotFoundError:
        return None
    version = state.st_mtime_ns, state.st_size, record.metrics.test_correct
    known = _KNOWN.get(folder.path)
    if known is None or known.version != version:
        predictions = predictions_of(folder, record)
        kept = _confusions(predictions, record) if len(record.data.names) <= MOST_KEPT else None
        _KNOWN[folder.path] = known = _Answers(version, _measure(predictions, record), kept)
    return known


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
