"""Contact sheets of wrong test images: the most confidently wrong ones of the best and the worst run of each arm.

Of a segmentation, the images with the lowest IoU.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import JsonValue

from benchbench.data.images import ImageDataset
from benchbench.data.mask_pictures import class_colours
from benchbench.errors import DataError, StoreError, one_line
from benchbench.planning.model import Stage
from benchbench.planning.test_part import saw_other_test
from benchbench.reports.answer_metrics import image_confusions, predictions_of
from benchbench.reports.page.images_at_hand import ImagesAtHand
from benchbench.reports.page.worst_masks import SIDE as MASK_SIDE
from benchbench.reports.page.worst_masks import Answered, Trained, answer, worst
from benchbench.reports.report import Report
from benchbench.reports.sheet_request import SheetRequest
from benchbench.specs.parts import Json
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.store import Predictions
from benchbench.suite.reporting import PIXEL_METRICS

MOST_CELLS = 40
MOST_BYTES = 1_000_000  # of all pictures, as text
SIDE = 64  # pixels of the longer side of a picture, at most
QUALITY = 80  # of WebP
MOST_COLOURS = 24  # in the legend of a segmentation's sheet
SAME = 1e-3  # of an image's pixels: rounding on another device changes so many
PAIR_SHARE = 0.25  # of a sheet, for one pair of class and predicted class as long as there are others


@dataclass
class Sheets:
    """The sheets of a page.

    Attributes:
        by_stage: of each finished cell, by key: "images" as (place among the pictures or None, number in the test
            split, class, predicted class, probability), and a "note". Of a segmentation instead "masks" as (places of
            image, mask and prediction, number in the test split, IoU), and the "colours" of classes.
        pictures: data URIs; cells share those of one test image.
        drawn: cells with pictures.
        sentences: on which cells have a sheet.
    """

    by_stage: dict[str, Json] = field(default_factory=dict)
    pictures: list[JsonValue] = field(default_factory=list)
    drawn: int = 0
    sentences: list[JsonValue] = field(default_factory=list)
    _places: dict[Hashable, int] = field(default_factory=dict)  # by split and number of the image, or stage and number
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
        names = [(id(images), int(index)) for index in wrong]
        if not self._take(key, {name: _data_uri(images, name[1]) for name in names if name not in self._places}):
            return
        rows: list[JsonValue] = [
            [
                self._places.get((id(images), int(index))),
                int(index),
                images.classes[predictions.labels[index]],
                images.classes[predictions.classes[index, 0]],
                round(float(predictions.probabilities[index, 0]), 4),
            ]
            for index in wrong
        ]
        self.by_stage[key] = {"images": rows, "note": note}

    def add_masks(
        self, key: str, images: ImageDataset, shown: Mapping[tuple[int, float], Answered], counted: np.ndarray
    ) -> None:
        """Adds the sheet of a segmentation's cell, or a note where its pictures find no room.

        Args:
            key: of its stage.
            images: the test split.
            shown: pictures by index and IoU of the image, in order.
            counted: pixels of each test image by class and predicted class [N, C, C].
        """
        names = {index: ((id(images), index), ("mask", id(images), index), (key, index)) for index, _ in shown}
        new: dict[Hashable, str] = {
            name: _uri_of(picture, lossless=max(picture.size) < MASK_SIDE)  # colours of single pixels would blur
            for (index, _), each in shown.items()
            for name, picture in zip(names[index], (each.image, each.truth, each.answer), strict=True)
            if name not in self._places
        }
        if not self._take(key, new):
            return
        total, colours = counted[[index for index, _ in shown]].sum(0), class_colours(len(images.classes))
        seen = np.flatnonzero(total.sum(0) + total.sum(1))[:MOST_COLOURS]
        note = (
            f"{len(shown)} of {len(counted):,} test images, the lowest mean IoU first; the network ran again on them."
        )
        if (most := max(each.other for each in shown.values())) > SAME:
            note += f" Here up to {100 * most:.1f} % of an image's pixels are taken for another class than in the test."
        self.by_stage[key] = {
            "masks": [[*(self._places[name] for name in names[index]), index, round(iou, 4)] for index, iou in shown],
            "colours": [[images.classes[number], f"#{colours[number].tobytes().hex()}"] for number in seen],
            "note": note,
        }

    def _take(self, key: str, new: Mapping[Hashable, str]) -> bool:
        """Adds the pictures of a stage that are not there yet; False, with a note, where they find no room."""
        size = sum(len(uri) for uri in new.values())
        if self._bytes + size > MOST_BYTES:
            self.by_stage[key] = {"note": f"The pictures of this page have reached {MOST_BYTES:,} bytes."}
            return False
        self._bytes += size
        self.drawn += 1
        for name, uri in new.items():
            if uri:
                self._places[name] = len(self.pictures)
                self.pictures.append(uri)
        return True


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
    kind = "Wrong" if report.plan.suite.metric not in PIXEL_METRICS else "The worst"
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
        if isinstance(record, TrainingRecord) and record.metrics.score == "miou":
            _draw_masks(sheets, stage, report, splits, count)
            return
        predictions = predictions_of(folder, record) if isinstance(record, TrainingRecord) else None
        if predictions is None or not isinstance(record, TrainingRecord):
            sheets.by_stage[stage.key] = {"note": "Its predictions were not stored."}
            return
        wrong = most_confident(predictions, count)
        if not len(wrong):
            sheets.by_stage[stage.key] = {"note": "It has no test image wrong."}
            return
        images = splits.of(stage, record, predictions.labels)
    except (DataError, StoreError) as error:
        sheets.by_stage[stage.key] = {"note": f"Not shown: {one_line(error)}."}
        return
    total = int((predictions.classes[:, 0] != predictions.labels).sum())
    note = f"{len(wrong)} of {total:,} wrong test images"
    if len(wrong) < total:
        note += ": those with the highest probability, spread over pairs of classes"
    sheets.add(stage.key, images, wrong, predictions, f"{note}.")


def _draw_masks(sheets: Sheets, stage: Stage, report: Report, splits: ImagesAtHand, count: int) -> None:
    """The same of a segmentation.

    Raises:
        DataError: its images are not at hand, or are others than were tested.
        StoreError: its weights or predictions are damaged.
    """
    folder = report.store.stage(stage.kind, stage.key)
    record, spec = folder.done(), stage.spec
    assert isinstance(record, TrainingRecord)
    assert isinstance(spec, TrainingSpec)
    counted = image_confusions(folder, record)
    if counted is None:
        sheets.by_stage[stage.key] = {"note": "Its predictions were not stored."}
        return
    chosen = worst(counted, count)
    if not chosen:
        sheets.by_stage[stage.key] = {"note": "It has every pixel of every test image right."}
        return
    images = splits.of(stage, record, None)
    trained = Trained(folder, spec, record, report.plan.registry)
    answered = answer(trained, images, [index for index, _ in chosen], counted)
    sheets.add_masks(stage.key, images, dict(zip(chosen, answered, strict=True)), counted)


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
    return _uri_of(picture)


def _uri_of(picture: Image.Image, lossless: bool = False) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=6, lossless=lossless)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
