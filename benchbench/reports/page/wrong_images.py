"""Contact sheets of wrong test images: the most confidently wrong ones of the best and the worst run of each arm.

Of a segmentation, the images with the lowest IoU; of a detection, those with the lowest F1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from pydantic import JsonValue

from benchbench.data.images import ImageDataset
from benchbench.errors import DataError, StoreError, one_line
from benchbench.planning.model import Stage
from benchbench.planning.test_part import saw_other_test
from benchbench.reports.answer_metrics import predictions_of
from benchbench.reports.page import sheets as pages
from benchbench.reports.page.images_at_hand import ImagesAtHand
from benchbench.reports.page.sheets import NOT_STORED, Sheets, TestedCell, small, uri_of
from benchbench.reports.page.worst_boxes import draw_boxes
from benchbench.reports.page.worst_masks import draw_masks
from benchbench.reports.report import Report
from benchbench.reports.sheet_request import SheetRequest
from benchbench.specs.records import TrainingRecord
from benchbench.store import Predictions

MOST_CELLS = 40
SIDE = 64  # pixels of the longer side of a picture, at most
PAIR_SHARE = 0.25  # of a sheet, for one pair of class and predicted class as long as there are others


def draw_sheets(report: Report, request: SheetRequest) -> Sheets:
    """The sheets of a report's cells."""
    sheets, splits = Sheets(), ImagesAtHand(report.plan.registry, request.data_root)
    chosen = _extremes(report.headline)
    for stage in [report.plan.stages[key] for key in chosen[:MOST_CELLS]]:
        _draw(sheets, stage, report, splits, request.count)
    done = list(dict.fromkeys(report.headline.key[report.headline.status == "done"]))
    for key in done:
        sheets.by_stage.setdefault(key, {"note": "Only of the best and the worst run of each arm."})
    for stage in (report.plan.stages[cell.stage] for cell in report.plan.cells if cell.stage not in sheets.by_stage):
        if saw_other_test(stage, report.store.stage(stage.kind, stage.key)):
            sheets.by_stage[stage.key] = {"note": "Not shown: the test images have changed since the test."}
    bounds = f"{request.count} images a run, {MOST_CELLS} runs and {pages.MOST_BYTES:,} bytes at most"
    kind = "Wrong" if report.plan.task == "classification" else "The worst"
    sheets.sentences.append(
        f"{kind} test images are shown of {sheets.drawn} of {len(done)} finished runs: the best and the worst of each "
        f"arm, as far as there is room ({bounds}). Their pictures came from the data set when this page was written."
    )
    return sheets


def _draw(sheets: Sheets, stage: Stage, report: Report, splits: ImagesAtHand, count: int) -> None:
    """Adds the sheet of one finished cell, or the reason why it has none."""
    folder = report.store.stage(stage.kind, stage.key)
    try:
        record = folder.done()
        if not isinstance(record, TrainingRecord):
            sheets.by_stage[stage.key] = {"note": NOT_STORED}
            return
        draw = _BY_SCORE.get(record.metrics.score, draw_wrong)
        draw(sheets, TestedCell(stage, folder, record, report.plan.registry, splits, count))
    except (DataError, StoreError) as error:
        sheets.by_stage[stage.key] = {"note": f"Not shown: {one_line(error)}."}


# By the score of the record; others are of images with one class each.
_BY_SCORE: dict[str, Callable[[Sheets, TestedCell], None]] = {"miou": draw_masks, "map": draw_boxes}


def draw_wrong(sheets: Sheets, cell: TestedCell) -> None:
    """Adds the sheet of a cell whose images have one class each, or a note where there is nothing to show.

    "images" are (place among the pictures or None, number in the test split, class, predicted class, probability).

    Raises:
        DataError: its images are not at hand, or are others than were tested.
        StoreError: its predictions are damaged.
    """
    key, predictions = cell.stage.key, predictions_of(cell.folder, cell.record)
    if predictions is None:
        sheets.by_stage[key] = {"note": NOT_STORED}
        return
    wrong = most_confident(predictions, cell.count)
    if not len(wrong):
        sheets.by_stage[key] = {"note": "It has no test image wrong."}
        return
    images = cell.images(predictions.labels)
    total = int((predictions.classes[:, 0] != predictions.labels).sum())
    note = f"{len(wrong)} of {total:,} wrong test images"
    if len(wrong) < total:
        note += ": those with the highest probability, spread over pairs of classes"
    names = [(id(images), int(index)) for index in wrong]
    if not sheets.add_pictures(key, {name: _data_uri(images, name[1]) for name in names if name not in sheets.places}):
        return
    rows: list[JsonValue] = [
        [
            sheets.places.get((id(images), int(index))),
            int(index),
            images.classes[predictions.labels[index]],
            images.classes[predictions.classes[index, 0]],
            round(float(predictions.probabilities[index, 0]), 4),
        ]
        for index in wrong
    ]
    sheets.by_stage[key] = {"images": rows, "note": f"{note}."}


def most_confident(predictions: Predictions, count: int) -> np.ndarray:
    """Indices of wrong images, by falling probability of the wrong class; equals in the order of the test split.

    Of each pair of class and predicted class a quarter of the sheet at most is taken before others are: the most
    frequent confusion would often fill it.
    """
    answers = predictions.classes[:, 0]
    wrong = np.flatnonzero(answers != predictions.labels)
    wrong = wrong[np.argsort(-predictions.probabilities[wrong, 0].astype(np.float64), kind="stable")]
    pairs = pd.DataFrame({"label": predictions.labels[wrong], "answer": answers[wrong]})
    ranks = pairs.groupby(["label", "answer"]).cumcount().to_numpy()
    turns = ranks // math.ceil(count * PAIR_SHARE)
    return wrong[np.sort(np.argsort(turns, kind="stable")[:count])]


def _extremes(results: pd.DataFrame) -> list[str]:
    """Keys of the best run of every arm, data set and student, then those of the worst ones, each key once."""
    done = results[(results.status == "done") & results.accuracy.notna()]

    def keys() -> Iterator[str]:
        groups = [group for _, group in done.groupby(["row", "data", "student"], sort=False)]
        yield from (group.key[group.accuracy.astype(float).idxmax()] for group in groups)
        yield from (group.key[group.accuracy.astype(float).idxmin()] for group in groups)

    return list(dict.fromkeys(keys()))


def _data_uri(images: ImageDataset, index: int) -> str:
    """A small picture of an image; empty where it cannot be read."""
    try:
        return uri_of(small(images.image(index), SIDE))
    except DataError:
        return ""
