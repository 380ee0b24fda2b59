"""Distilled arms against pre-training + fine-tuning on maps or boxes of images, over test images drawn anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.reports.answer_metrics import image_boxes, image_confusions
from benchbench.reports.groups import Group, groups_of
from benchbench.reports.results import read_record
from benchbench.reports.summary import labels_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.verdicts import p_text
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.bootstrap import (
    BOX_RESAMPLES,
    RESAMPLES,
    ImageBootstrap,
    Scores,
    ious_of,
    paired,
    precisions_of,
)
from benchbench.statistics.detection import match
from benchbench.statistics.noninferiority import holm
from benchbench.store import StageFolder, Store


@dataclass(frozen=True)
class _Answers:
    """A kind of answers on images.

    Attributes:
        score: its name in words.
        read: those of a stage, images first; None where it has none.
        scores: of several runs, by row of counts of images.
        resamples: draws of images.
    """

    score: str
    read: Callable[[StageFolder, TrainingRecord], np.ndarray | None]
    scores: Callable[[Sequence[np.ndarray]], Scores]
    resamples: int


@dataclass(frozen=True)
class _Images:
    """Scores of an arm's runs over its test images, of which there are `count`."""

    count: int
    scores: Scores


Reader = Callable[[Group, str], _Images | None]  # of an arm, by its group and row

PIXELS = _Answers("mIoU", image_confusions, ious_of, RESAMPLES)
BOXES = _Answers("mAP", image_boxes, lambda runs: precisions_of([match(run) for run in runs]), BOX_RESAMPLES)


def by_image(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Each distilled arm against the first that fine-tunes a pre-trained student, by bootstrap over the test images.

    By mIoU of a segmentation, or mAP of a detection. None for another task, and without an arm of either kind.
    """
    if plan.task == "classification":
        return None
    answers = PIXELS if plan.task == "segmentation" else BOXES
    alpha, rows, references = plan.suite.statistics.alpha, [], []
    labels = [*labels_of(results, "data", "student"), "arm"]
    read = partial(_images, store=store, answers=answers)
    for group in groups_of(results).values():
        reference, tested = _tested(group, read, 1 - alpha, answers.resamples)
        if reference is None:
            continue
        references.append(reference)
        for (row, result), p in zip(tested.items(), holm(np.array([each.p for each in tested.values()])), strict=True):
            place = [group.data, group.student, row][-len(labels) :]
            bounds = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
            texts = (*place, f"{100 * result.difference:+.2f}", bounds, p_text(float(p)))
            rows.append([Entry(text) for text in texts])
    if not rows:
        return None
    names = " / ".join(dict.fromkeys(references))
    level = f"{100 * (1 - alpha):g} %"
    notes = [
        f"difference: {answers.score} of the arm - that of {names}, in points, the mean over the runs of each",
        f"{level} of images: between these bounds the difference lies in {level} of {answers.resamples:,} draws of as "
        "many test images with replacement, the same for both arms: the variation over test images, for these trained "
        "networks",
        "p: of a difference of 0, two-sided, with Holm's correction over the distilled arms of a data set and student",
    ]
    title = f"Distillation against {names} over the test images of {plan.suite.name}"
    return Table("by_image", title, [*labels, "difference", f"{level} of images", "p"], rows, notes, len(labels))


def _tested(group: Group, read: Reader, level: float, resamples: int) -> tuple[str | None, dict[str, ImageBootstrap]]:
    """The reference of a group, None where there is no such arm with answers, and each distilled arm against it.

    Beside the reference one arm is in memory at a time: matrices of many classes take gigabytes.
    """
    for reference in group.rows_by_method("finetune"):
        other = read(group, reference)
        if other is not None:
            rows = group.rows_by_method("distill")
            results = {row: _compared(read(group, row), other, level, resamples) for row in rows}
            return reference, {row: result for row, result in results.items() if result is not None}
    return None, {}


def _compared(own: _Images | None, other: _Images, level: float, resamples: int) -> ImageBootstrap | None:
    """An arm against another; None where it has no answers on the same images."""
    if own is None or own.count != other.count:
        return None
    return paired(own.scores, other.scores, own.count, level, resamples)


def _images(group: Group, row: str, store: Store, answers: _Answers) -> _Images | None:
    """The scores of an arm's runs over test images; None where no run has any, or they are of different images."""
    parts = []
    for key in group.columns.texts("key", group[row].finished):
        folder = store.stage("cell", key)
        with contextlib.suppress(StoreError):
            record = read_record(folder, TrainingRecord)
            counts = None if record is None else answers.read(folder, record)
            if counts is not None:
                parts.append(counts)
    if not parts or len({each.shape for each in parts}) > 1:
        return None
    return _Images(len(parts[0]), answers.scores(parts))
