"""Tables from the stored predictions on test images: further metrics, classes, and what is taken for what."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchbench.data.info import Task
from benchbench.errors import StoreError
from benchbench.planning.model import Plan
from benchbench.planning.tasks import metrics_of_task
from benchbench.reports.answer_metrics import METRICS, confusions_of
from benchbench.reports.groups import Runs, groups_of
from benchbench.reports.results import read_record
from benchbench.reports.summary import finished, labels_of
from benchbench.reports.table import Entry, Table
from benchbench.reports.tables.boxes import class_precisions
from benchbench.specs.records import TrainingRecord
from benchbench.statistics.segmentation import class_ious
from benchbench.store import Store
from benchbench.suite.reporting import BOX_METRICS, DENSE_METRICS, PIXEL_METRICS

TITLES = {**METRICS, "calibration_error": "calibration error"}
MOST_CLASSES, MOST_CONFUSIONS, MOST_ARMS = 20, 5, 8
OF_SEGMENTATION = (
    "mIoU: over the pixels of all test images together, those that are of a class and taken for it, as a share of "
    "those that are either; the mean over the classes"
)
OF_DETECTION = (
    "mAP: the mean of precisions over recalls of 0 to 1, over overlaps of 0.5, 0.55, ... 0.95 from which on a box "
    "counts as found, and over the classes; AP50: at an overlap of 0.5 (Lin et al. 2014, COCO)"
)
OF_CLASSIFICATION = [
    "balanced accuracy: the mean over the classes of the share of their test images that are right",
    "top-5: the label is among the five likeliest classes; calibration error: the mean difference of confidence and "
    "accuracy over 15 bins of confidence (Guo et al. 2017), 0 is best",
]
# The metrics of each task, and what they are.
ABOUT: dict[Task, tuple[Sequence[str], list[str]]] = {
    "classification": (
        [*(name for name in METRICS if name not in DENSE_METRICS), "calibration_error"],
        OF_CLASSIFICATION,
    ),
    "segmentation": (PIXEL_METRICS, [OF_SEGMENTATION]),
    "detection": (BOX_METRICS, [OF_DETECTION]),
}
LEAST_RUNS = 2  # that show a spread
MANY = 1000  # images or pixels, which are written out
ACCURACY_OF_CLASS = "the share of a class's test images that are right"
IOU_OF_CLASS = "the pixels that are of a class and taken for it, as a share of those that are either"


def metrics(results: pd.DataFrame, plan: Plan) -> Table | None:
    """Accuracy, balanced accuracy, top-5 accuracy and calibration error of each arm; None without predictions.

    They come from the five likeliest classes of each test image, which a stage stores with their probabilities. Of a
    segmentation, mean intersection over union and pixel accuracy, from what the pixels of each image are taken for; of
    a detection average precisions, from the boxes of each image. Metrics of plugins follow.
    """
    names, about = ABOUT[plan.task]
    if results[names[-1]].isna().all():
        return None
    others = {each.name: each.summary for each in metrics_of_task(plan.registry, plan.task) if each.name in results}
    labels = labels_of(results, "data", "student")
    columns = [*labels, "arm", *(TITLES.get(name, name) for name in (*names, *others)), "n"]
    rows = []
    for group in groups_of(results).values():
        for row, runs in group.rows.items():
            place = [group.data, group.student, row][-len(labels) - 1 :]
            values = [_percent(runs, name) for name in (*names, *others)]
            rows.append([Entry(text) for text in (*place, *values, str(runs.n))])
    notes = ["all in %, mean ± standard deviation over n seeds (ddof = 1)"]
    notes += [*about, *(f"{name}: {summary}" for name, summary in others.items() if summary)]
    return Table(
        "metrics", f"Metrics on the test images of {plan.suite.name} (%)", columns, rows, notes, len(labels) + 1
    )


def _percent(runs: Runs, name: str) -> str:
    values = 100 * runs[name]
    known = values[~np.isnan(values)]
    if not len(known):
        return "–"
    spread = f" ± {known.std(ddof=1):.1f}" if len(known) >= LEAST_RUNS else ""
    return f"{known.mean():.1f}{spread}"


@dataclass
class _Confusions:
    """Images, or pixels, of all seeds of an arm by label and likeliest class [C, C], and the names of the classes."""

    matrix: np.ndarray
    names: tuple[str, ...]
    runs: int = 1

    def scores(self, of_pixels: bool) -> np.ndarray:
        """Share of each class that is right, or of pixels its intersection over union [C]; NaN for one without any."""
        if of_pixels:
            return class_ious(self.matrix)
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(1)


def _confusions(results: pd.DataFrame, store: Store) -> dict[tuple[str, str], dict[str, _Confusions]]:
    """By data set and student, and by row of the tables; of cells that have predictions."""
    groups: dict[tuple[str, str], dict[str, _Confusions]] = {}
    for cell in finished(results).itertuples():
        found = next(_matrix(str(cell.key), store), None)
        if found is None:
            continue
        rows = groups.setdefault((str(cell.data), str(cell.student)), {})
        row = str(cell.row)
        if row not in rows:
            rows[row] = found
        elif rows[row].names == found.names:
            rows[row].matrix += found.matrix
            rows[row].runs += 1
    return groups


def _matrix(key: str, store: Store) -> Iterator[_Confusions]:
    folder = store.stage("cell", key)
    with contextlib.suppress(StoreError):
        record = read_record(folder, TrainingRecord)
        counts = confusions_of(folder, record) if record is not None else None
        if record is not None and counts is not None:
            yield _Confusions(counts.copy(), record.data.names)


def classes(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """Accuracy of each arm on each class, the worst classes first; None without predictions.

    Of a segmentation, the intersection over union of each class over the pixels of all test images; of a detection, its
    average precision. Of a grid of
    several data sets or students the first pair is shown.
    """
    if plan.task == "detection":
        return class_precisions(results, plan, store)
    groups = _confusions(results, store)
    if not groups:
        return None
    (data, student), rows = next(iter(groups.items()))
    names = next(iter(rows.values())).names
    shown = {row: each for row, each in rows.items() if each.names == names}
    shown = dict(list(shown.items())[:MOST_ARMS])
    of_pixels = plan.task == "segmentation"
    accuracies = np.array([each.scores(of_pixels) for each in shown.values()])
    means = [float(np.mean(column)) if not np.isnan(column).any() else math.inf for column in accuracies.T]
    order = sorted(range(len(names)), key=lambda index: (means[index], index))
    matrix = next(iter(shown.values()))
    images = matrix.matrix.sum(1) // matrix.runs
    entries = [
        [Entry(names[index]), Entry(f"{images[index]:,}"), *(_share(each[index]) for each in accuracies)]
        for index in order[:MOST_CLASSES]
    ]
    notes = [f"on {data} with {student}; {IOU_OF_CLASS if of_pixels else ACCURACY_OF_CLASS}, over all seeds together"]
    if of_pixels:
        notes.append("test pixels: of the class, in the test images at the size of the network's images")
    if len(names) > MOST_CLASSES:
        notes.append(f"the {MOST_CLASSES} worst of {len(names)} classes, by the mean over the arms")
    if len(groups) > 1:
        notes.append(f"the first of {len(groups)} pairs of data set and student")
    title = f"{'IoU' if of_pixels else 'Accuracy'} by class (%) of {plan.suite.name}"
    return Table("classes", title, ["class", f"test {'pixels' if of_pixels else 'images'}", *shown], entries, notes)


def _share(value: float) -> Entry:
    return Entry("–" if math.isnan(value) else f"{100 * value:.1f}")


def confusions(results: pd.DataFrame, plan: Plan, store: Store) -> Table | None:
    """The classes whose images, or pixels, each arm most often takes for others; None without predictions.

    The whole confusion matrix of a cell is `benchbench.statistics.classification.confusion_matrix` of the predictions
    in its folder.
    """
    labels, counted = (
        labels_of(results, "data", "student"),
        "pixels" if plan.task == "segmentation" else "images",
    )
    entries = []
    for (data, student), rows in _confusions(results, store).items():
        for row, found in rows.items():
            names = [data, student, row][-len(labels) - 1 :]
            entries += [[Entry(text) for text in (*names, *texts)] for texts in _most_confused(found)]
    if not entries:
        return None
    notes = [
        f"the {MOST_CONFUSIONS} largest shares of a class's test {counted} that are taken for another, over all seeds"
    ]
    if counted == "pixels":
        notes.append("pixels: of one run")
    columns = [*labels, "arm", "class", "taken for", "share (%)", counted]
    title = f"Most frequent confusions of {plan.suite.name}"
    return Table("confusions", title, columns, entries, notes, len(labels) + 3)


def _most_confused(found: _Confusions) -> Iterator[tuple[str, str, str, str]]:
    """Class, other class, share and number of the images or pixels of one run, the largest shares first."""
    counts = found.matrix.copy()
    np.fill_diagonal(counts, 0)
    totals = np.maximum(found.matrix.sum(1, keepdims=True), 1)
    shares = counts / totals
    for index in np.argsort(-shares, axis=None, kind="stable")[:MOST_CONFUSIONS]:
        label, other = np.unravel_index(index, shares.shape)
        if counts[label, other]:
            share, number = shares[label, other], counts[label, other] / found.runs
            amount = f"{number:,.0f}" if number >= MANY else f"{number:.3g}"
            yield found.names[label], found.names[other], f"{100 * share:.1f}", amount
