"""The average precision of each class of a detection."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.reports.answer_metrics import image_boxes
from benchbench.reports.results import read_record
from benchbench.reports.summary import finished
from benchbench.reports.table import Entry, Table
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.detection import average_precisions, match
from benchbench.store import Store

MOST_ARMS, MOST_CLASSES = 8, 20


def class_precisions(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Average precision of each arm on each class, the worst classes first; None without predictions.

    Of a grid of several data sets or students the first pair is shown.
    """
    groups = list(finished(results).groupby(["data", "student"], sort=False))
    if not groups:
        return None
    (data, student), group = groups[0]
    read = {str(row): _of_arm(cells, store) for row, cells in group.groupby("row", sort=False)}
    arms = dict([(row, found) for row, found in read.items() if found is not None][:MOST_ARMS])
    if not arms:
        return None
    names, objects, _ = next(iter(arms.values()))
    shown = {row: precisions for row, (own, _, precisions) in arms.items() if own == names}
    means = np.array([np.nan_to_num(values, nan=np.inf) for values in shown.values()]).mean(0)
    order = [int(number) for number in np.argsort(means, kind="stable") if objects[number]]
    rows = [
        [Entry(names[number]), Entry(f"{objects[number]:,}"), *(_percent(each[number]) for each in shown.values())]
        for number in order[:MOST_CLASSES]
    ]
    notes = [f"on {data} with {student}; mean over overlaps of 0.5 to 0.95, and over the seeds"]
    if len(order) > MOST_CLASSES:
        notes.append(f"the {MOST_CLASSES} worst of {len(order)} classes, by the mean over the arms")
    if len(groups) > 1:
        notes.append(f"the first of {len(groups)} pairs of data set and student")
    return Table("classes", f"AP by class (%) of {plan.suite.name}", ["class", "test boxes", *shown], rows, notes)


def _of_arm(cells: pd.DataFrame, store: Store) -> tuple[tuple[str, ...], np.ndarray, np.ndarray] | None:
    """Names of classes, numbers of their boxes [C], and the mean over runs of their average precisions [C]."""
    names: tuple[str, ...] = ()
    runs, objects = [], np.zeros(0, np.int64)
    for key in cells.key.astype(str):
        folder = store.stage("cell", key)
        with contextlib.suppress(StoreError):
            record = read_record(folder, TrainingRecord)
            rows = None if record is None else image_boxes(folder, record)
            if record is None or rows is None:
                continue
            matches, names = match(rows), record.data.names
            rest = max(0, len(names) - matches.objects.shape[1])
            objects = np.pad(matches.objects.sum(0), (0, rest))
            precisions = average_precisions(matches).mean(0)
            runs.append(np.pad(precisions, (0, rest), constant_values=np.nan))
    return (names, objects, np.stack(runs).mean(0)) if runs else None


def _percent(value: float) -> Entry:
    return Entry("–" if np.isnan(value) else f"{100 * value:.1f}")
