"""Metrics of a cell from the predictions that its stage has stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchbench.errors import StoreError
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.classification import balanced_accuracy, calibration_error, top_k_accuracy
from benchbench.statistics.examples import unpack
from benchbench.store import Predictions, StageFolder, read_predictions

# Metrics that a suite may be about, by their names in suites, with the words of tables.
METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "top5_accuracy": "top-5 accuracy"}
_KNOWN: dict[Path, tuple[tuple[int, int, str | None], dict[str, float | None]]] = {}
FEW = 5  # classes among which every label is one of the five likeliest


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
    try:
        state = folder.predictions.stat()
    except FileNotFoundError:
        return {}
    # A page that is served asks again and again.
    version = state.st_mtime_ns, state.st_size, record.metrics.test_correct
    known = _KNOWN.get(folder.path)
    if known is None or known[0] != version:
        _KNOWN[folder.path] = known = version, _measure(folder, record)
    return known[1]


def _measure(folder: StageFolder, record: TrainingRecord) -> dict[str, float | None]:
    predictions, count = predictions_of(folder, record), len(record.data.names)
    if predictions is None:
        return {}
    labels, classes = predictions.labels, predictions.classes
    confidences: np.ndarray = predictions.probabilities[:, 0]
    return {
        "top5_accuracy": top_k_accuracy(classes, labels) if count > FEW else None,
        "balanced_accuracy": balanced_accuracy(classes[:, 0], labels, count),
        "calibration_error": calibration_error(confidences, classes[:, 0] == labels),
    }
