"""The table of signs of failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchbench.planning.model import Plan
from benchbench.reports.groups import goes_on
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.diagnosis_rules import (
    LIMITS,
    SIGNS,
    DetectedSign,
    at_chance,
    below,
    in_answers,
    in_curve,
    in_gradients,
    not_finite,
    under_floor,
    weaker_teacher,
    without_boxes,
)
from benchbench.specs.records import TrainingRecord
from benchbench.store import Store


def diagnosis(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Runs that show a sign of failure, with the evidence in numbers; None where there is no sign.

    The signs: a student far below the baseline, a teacher weaker than its student or that has learnt nothing, unstable
    training, one class for all images, a dead embedding, a loss whose gradient vanishes, slow convergence, projector
    collapse, overfitting, published weights at chance. The notes under the table have the rule of each sign and things
    to try; every threshold is an attribute of `benchbench.reports.tables.diagnosis_rules.Thresholds`.
    """
    rows = []
    for (data, student), cells in _groups(results).items():
        for row, own in cells.items():
            for sign, seeds in [*_of_runs(own, store), *_of_means(own, cells, store)]:
                labels = [row, data, student, SIGNS[sign.sign].name]
                rows.append((sign.sign, [Entry(text) for text in (*labels, seeds, sign.evidence)]))
    if not rows:
        return None
    order = list(SIGNS)
    rows.sort(key=lambda row: order.index(row[0]))
    kinds = dict.fromkeys(kind for kind, _ in rows)
    notes = [f"{SIGNS[kind].name}: {SIGNS[kind].rule}; try: {SIGNS[kind].advice}" for kind in kinds]
    notes.append("signs, not verdicts: the evidence is of the seed that shows it most, or of means over seeds")
    columns = ["arm", "data", "student", "sign", "seeds", "evidence"]
    title = f"Signs of failure in {plan.suite.name}"
    return Table("diagnosis", title, columns, [entries for _, entries in rows], notes, labels=len(columns))


class ResultCell(NamedTuple):
    """Columns of the results that the rules need, NaN or None where they are unknown, and `groups.goes_on`."""

    row: str
    method: str
    status: str
    reason: str | None
    key: str
    accuracy: float
    train_images: float
    validation_images: float
    test_images: float
    teacher_accuracy: float
    pixel_accuracy: float
    goes_on: bool


# The cells of one data set and student by their row of the tables.
CellsByRow = dict[str, list[ResultCell]]


def _groups(results: pd.DataFrame) -> dict[tuple[str, str], CellsByRow]:
    groups: dict[tuple[str, str], CellsByRow] = {}
    results = results.assign(goes_on=goes_on(results))
    columns = [results[name].tolist() for name in ("data", "student", *ResultCell._fields)]
    for data, student, *values in zip(*columns, strict=True):
        cell = ResultCell(*values)
        groups.setdefault((data, student), {}).setdefault(cell.row, []).append(cell)
    return groups


def _of_runs(cells: Sequence[ResultCell], store: Store) -> Iterator[tuple[DetectedSign, str]]:
    """The strongest of each sign among an arm's seeds, with the number of seeds that show it."""
    signs: dict[str, list[DetectedSign]] = {}
    ended = [cell for cell in cells if cell.status in ("done", "failed")]
    for cell in ended:
        for sign in _of_run(cell, store):
            signs.setdefault(sign.sign, []).append(sign)
    for each in signs.values():
        yield max(each, key=lambda sign: sign.strength), f"{len(each)} of {len(ended)}"


def _of_run(cell: ResultCell, store: Store) -> list[DetectedSign]:
    if cell.status == "failed":
        sign = not_finite(str(cell.reason))
        return [sign] if sign is not None else []
    folder = store.stage("cell", cell.key)
    record = folder.done()
    metrics = record.metrics if isinstance(record, TrainingRecord) else None
    answers = [] if metrics is None else [*in_answers(metrics), *in_gradients(metrics)]
    if cell.method == "published" and isinstance(record, TrainingRecord):
        sign = at_chance(float(cell.accuracy), len(record.data.names), float(cell.test_images))
        answers = [*answers, *([sign] if sign is not None else [])]
    images = int(cell.train_images), int(cell.validation_images)
    # Accuracies of a curve are of pixels, where the test's is the mean intersection over union.
    accuracy = cell.accuracy if pd.isna(cell.pixel_accuracy) else cell.pixel_accuracy
    return answers + in_curve(folder.read_curve(), *images, float(accuracy))


def _of_means(cells: Sequence[ResultCell], group: CellsByRow, store: Store) -> Iterator[tuple[DetectedSign, str]]:
    """Signs of an arm that distils: against the arms without a teacher, and against its teacher."""
    done = [cell for cell in cells if cell.status == "done"]
    if not done or done[0].method != "distill":
        return
    accuracy, images = _mean(done, "accuracy"), _mean(done, "test_images")
    baselines = {method: _baseline(group, method) for method in ("finetune", "scratch")}
    thresholds = {"finetune": LIMITS.far_below, "scratch": 0.0}
    signs = [
        below(name, mean, accuracy, images, thresholds[method])
        for method, (name, mean) in baselines.items()
        if mean is not None
    ]
    with_teacher = [cell for cell in done if not pd.isna(cell.teacher_accuracy)]
    if with_teacher:
        students = {"its student": accuracy}
        name, mean = baselines["scratch"]
        if mean is not None:
            students[f"the student alone ({name})"] = mean
        best = max(students, key=lambda each: students[each])
        teacher = _mean(with_teacher, "teacher_accuracy")
        signs += [weaker_teacher(teacher, students[best], images, best), _of_teacher(teacher, with_teacher[0], store)]
    for sign in signs:
        if sign is not None:
            yield sign, f"mean of {len(done)}"


def _of_teacher(teacher: float, cell: ResultCell, store: Store) -> DetectedSign | None:
    """A segmentation's teacher against one class for all pixels, and a detection's against no box at all."""
    record = store.stage("cell", cell.key).done()
    if not isinstance(record, TrainingRecord) or record.metrics.score == "accuracy":
        return None
    if record.metrics.score == "map":
        return without_boxes(teacher)
    return under_floor(teacher, record.metrics.largest_class_share or 0.0, len(record.data.names))


def _baseline(group: CellsByRow, method: str) -> tuple[str, float | None]:
    """The first arm of a method with a finished run that goes on from no distilled student: row and mean accuracy."""
    for row, cells in group.items():
        done = [cell for cell in cells if cell.status == "done" and cell.method == method and not cell.goes_on]
        if done:
            return row, _mean(done, "accuracy")
    return "", None


def _mean(cells: Sequence[ResultCell], name: str) -> float:
    return float(np.mean([float(getattr(cell, name)) for cell in cells]))
