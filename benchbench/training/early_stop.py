"""The end of a training whose validation accuracy rises no more."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.specs.parts import EarlyStopSpec
from benchbench.specs.records import CurveRow


def stops_early(rule: EarlyStopSpec | None, curve: Sequence[CurveRow]) -> bool:
    """True where a training ends after the last epoch of its curve.

    It does where the last `patience` epochs have not raised the best accuracy before them by more than `min_delta`. The
    curve is all that it depends on, so that a run that goes on from a checkpoint ends at the same epoch.
    """
    if rule is None:
        return False
    best, since = float("-inf"), 0
    for row in curve:
        if "validation_accuracy" not in row:  # of a first stage
            continue
        if row["validation_accuracy"] > best + rule.min_delta:
            best, since = row["validation_accuracy"], 0
        else:
            since += 1
    return since >= rule.patience
