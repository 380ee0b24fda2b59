"""Contact sheets of wrong test images: the most confidently wrong ones of the best and the worst run of each arm."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import JsonValue

from benchbench.data.images import ImageDataset
from benchbench.errors import DataError, StoreError, one_line
from benchbench.planning.model import Stage
from benchbench.planning.test_part import saw_other_test
from benchbench.reports.answer_metrics import predictions_of
from benchbench.reports.page.images_at_hand import ImagesAtHand
from benchbench.reports.report import Report
from benchbench.reports.sheet_request import SheetRequest
from benchbench.specs.parts import Json
from benchbench.specs.records import TrainingRecord
from benchbench.store import Predictions

MOST_CELLS = 40
MOST_BYTES = 1_000_000  # of all pictures, as text
SIDE = 64  # pixels of the longer side of a picture, at most
QUALITY = 80  # of WebP
PAIR_SHARE = 0.25  # of a sheet, for one pair of class and predicted class as long as there are others


@dataclass
class Sheets:
    """The sheets of a page.

    Attributes:
        by_stage: of each finished cell, by key: "images" as (place among the pictures or None, number in the test
            split, class, predicted class, probability), and a "note".
        pictures: data URIs; cells share those of one test image.
        drawn: cells with pictures.
        sentences: on which cells have a sheet.
    """

    by_stage: dict[str, Json] = field(default_factory=dict)
    pictures: list[JsonValue] = field(default_factory=list)
    drawn: int = 0
    sentences: list[JsonValue] = field(default_factory=list)
    _places: dict[tuple[int, int], int] = field(default_factory=dict)  # by split and number of the image
    _bytes: int = 0

    def of(self, key: str) -> Json:
        """The part of a stage in the page's data; empty where it is no finished cell."""
        return {"wrong": self.by_stage[key]} if key in self.by_stage else {}

    def add(self, key: str, images: ImageDataset, wrong: np.ndarray, predictions: Predictions, note: str) -> None:
        """Adds the sheet of a cell, or a note where its pictures find no room.

        Args:
            key: of its stage.
            images: the test split.
            wrong: indices of the images to show, in order.
            predictions: of the cell.
            note: on the choice.
        """
        new = {int(index): _data_uri(images, int(index)) for index in wrong if self._place(images, index) is None}
        size = sum(len(uri) for uri in new.values())
        if self._bytes + size > MOST_BYTES:
            self.by_stage[key] = {"note": f"The pictures of this page have reached {MOST_BYTES:,} bytes."}
            return
        self._bytes += size
        self.drawn += 1
        for index, uri in new.items():
            if uri:
                self._places[id(images), index] = len(self.pictures)
                self.pictures.append(uri)
        rows: list[JsonValue] = [
            [
                self._place(images, index),
                int(index),
                images.classes[predictions.labels[index]],
                images.classes[predictions.classes[index, 0]],
                round(float(predictions.probabilities[index, 0]), 4),
            ]
            for index in wrong
        ]
        self.by_stage[key] = {"images": rows, "note": note}

    def _place(self, images: ImageDataset, index: int) -> int | None:
        return self._places.get((id(images), int(index)))


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
    bounds = f"{request.count} images a run, {MOST_CELLS} runs and {MOST_BYTES:,} bytes at most"
    sheets.sentences.append(
        f"Wrong test images are shown of {sheets.drawn} of {len(done)} finished runs: the best and the worst of each "
        f"arm, as far as there is room ({bounds}). Their pictures came from the data set when this page was written."
    )
    return sheets


def _draw(sheets: Sheets, stage: Stage, report: Report, splits: ImagesAtHand, count: int) -> None:
    """Adds the sheet of one finished cell, or the reason why it has none."""
    folder = report.store.stage(stage.kind, stage.key)
    try:
        record = folder.done()
        predictions = predictions_of(folder, record) if isinstance(record, TrainingRecord) else None
        if predictions is None or not isinstance(record, TrainingRecord):
            sheets.by_stage[stage.key] = {"note": "Its predictions were not stored."}
            return
        wrong = most_confident(predictions, count)
        if not len(wrong):
            sheets.by_stage[stage.key] = {"note": "It has no test image wrong."}
            return
        images = splits.of(stage, record, predictions)
    except (DataError, StoreError) as error:
        sheets.by_stage[stage.key] = {"note": f"Not shown: {one_line(error)}."}
        return
    total = int((predictions.classes[:, 0] != predictions.labels).sum())
    note = f"{len(wrong)} of {total:,} wrong test images"
    if len(wrong) < total:
        note += ": those with the highest probability, spread over pairs of classes"
    sheets.add(stage.key, images, wrong, predictions, f"{note}.")


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
        picture = images.image(index).convert("RGB")
    except DataError:
        return ""
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=6)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
