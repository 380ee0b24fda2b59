"""Distilled arms against pre-training + fine-tuning on a segmentation, over test images drawn anew."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.reports.answer_metrics import image_confusions
from benchbench.reports.results import read_record
from benchbench.reports.summary import finished, labels_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.verdicts import p_text
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.bootstrap import RESAMPLES, ImageBootstrap, bootstrap_miou
from benchbench.statistics.noninferiority import holm
from benchbench.store import Store
from benchbench.suite.reporting import PIXEL_METRICS


def by_image(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Each distilled arm of a segmentation against the first that fine-tunes, by bootstrap over the test images.

    None for another task, and without an arm of either kind.
    """
    if plan.suite.metric not in PIXEL_METRICS:
        return None
    alpha, rows, references = plan.suite.statistics.alpha, [], []
    labels = [*labels_of(results, "data", "student"), "arm"]
    for (data, student), group in finished(results).groupby(["data", "student"], sort=False):
        runs = {str(row): _confusions(cells, store) for row, cells in group.groupby("row", sort=False)}
        methods = dict(zip(group["row"].astype(str), group.method, strict=True))
        reference = next((row for row in runs if methods[row] == "finetune" and runs[row] is not None), None)
        if reference is None:
            continue
        references.append(reference)
        tested = _tested(runs, [row for row in runs if methods[row] == "distill"], reference, 1 - alpha)
        for (row, result), p in zip(tested.items(), holm(np.array([each.p for each in tested.values()])), strict=True):
            place = [str(data), str(student), row][-len(labels) :]
            bounds = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
            texts = (*place, f"{100 * result.difference:+.2f}", bounds, p_text(float(p)))
            rows.append([Entry(text) for text in texts])
    if not rows:
        return None
    names = " / ".join(dict.fromkeys(references))
    level = f"{100 * (1 - alpha):g} %"
    notes = [
        f"difference: mIoU of the arm - that of {names}, in points, the mean over the runs of each",
        f"{level} of images: between these bounds the difference lies in {level} of {RESAMPLES:,} draws of as many "
        "test images with replacement, the same for both arms: the variation over test images, for these trained "
        "networks",
        "p: of a difference of 0, two-sided, with Holm's correction over the distilled arms of a data set and student",
    ]
    title = f"Distillation against {names} over the test images of {plan.suite.name}"
    return Table("by_image", title, [*labels, "difference", f"{level} of images", "p"], rows, notes, len(labels))


def _tested(
    runs: dict[str, np.ndarray | None], rows: list[str], reference: str, level: float
) -> dict[str, ImageBootstrap]:
    other = runs[reference]
    tested = {}
    for row in rows:
        own = runs[row]
        if own is not None and other is not None and own.shape[1:] == other.shape[1:]:
            tested[row] = bootstrap_miou(own, other, level)
    return tested


def _confusions(cells: pd.DataFrame, store: Store) -> np.ndarray | None:
    """Pixels of each run and image by class and predicted class [runs, N, C, C]; None where no run has any."""
    parts = []
    for key in cells.key.astype(str):
        folder = store.stage("cell", key)
        with contextlib.suppress(StoreError):
            record = read_record(folder, TrainingRecord)
            counts = None if record is None else image_confusions(folder, record)
            if counts is not None:
                parts.append(counts)
    return np.stack(parts) if parts and len({each.shape for each in parts}) == 1 else None
