"""Sheets of test images in a page, the room that they have, and the tested cell that one is about."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from pydantic import JsonValue

from benchbench.components import Registry
from benchbench.data.images import ImageDataset
from benchbench.planning.model import Stage
from benchbench.reports.page.images_at_hand import ImagesAtHand
from benchbench.specs.parts import Json, RecipeSpec
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.store import StageFolder

MOST_BYTES = 1_000_000  # of all pictures and boxes, as text
QUALITY = 80  # of WebP
NOT_STORED = "Its predictions were not stored."


@dataclass
class Sheets:
    """The sheets of a page.

    Attributes:
        by_stage: of each finished cell, by key: a "note", and the images of `wrong_images`, `worst_masks` or
            `worst_boxes`.
        pictures: data URIs; cells share those of one test image.
        places: of pictures among these, by a name: split and number of the image, or stage and number.
        drawn: cells with pictures.
        sentences: on which cells have a sheet.
    """

    by_stage: dict[str, Json] = field(default_factory=dict)
    pictures: list[JsonValue] = field(default_factory=list)
    places: dict[Hashable, int] = field(default_factory=dict)
    drawn: int = 0
    sentences: list[JsonValue] = field(default_factory=list)
    _bytes: int = 0

    def of(self, key: str) -> Json:
        """The part of a stage in the page's data; empty where it is no finished cell."""
        return {"wrong": self.by_stage[key]} if key in self.by_stage else {}

    def add_pictures(self, key: str, pictures: Mapping[Hashable, str], more: int = 0) -> bool:
        """Adds the pictures of a stage; False, with a note, where they find no room.

        Args:
            key: of the stage.
            pictures: data URIs by name, of those that are not there yet; empty where an image cannot be read.
            more: bytes of what the sheet has beside them.
        """
        size = sum(len(uri) for uri in pictures.values()) + more
        if self._bytes + size > MOST_BYTES:
            self.by_stage[key] = {"note": f"The pictures of this page have reached {MOST_BYTES:,} bytes."}
            return False
        self._bytes += size
        self.drawn += 1
        for name, uri in pictures.items():
            if uri:
                self.places[name] = len(self.pictures)
                self.pictures.append(uri)
        return True


@dataclass(frozen=True)
class TestedCell:
    """A finished cell whose test images are shown.

    Attributes:
        stage, folder, record: of its training.
        registry: the components of its plan.
        splits: the images that are on this machine.
        count: images of a sheet, at most.
    """

    stage: Stage
    folder: StageFolder
    record: TrainingRecord
    registry: Registry
    splits: ImagesAtHand
    count: int

    @property
    def spec(self) -> TrainingSpec:
        assert isinstance(self.stage.spec, TrainingSpec)
        return self.stage.spec

    @property
    def recipe(self) -> RecipeSpec:
        """The recipe that it was trained by: its own, or the one that was chosen from trials."""
        return self.spec.recipe if self.record.chosen is None else self.record.chosen.recipe

    def images(self, labels: np.ndarray | None = None) -> ImageDataset:
        """Its test split; see `ImagesAtHand.of`, also on the errors raised."""
        return self.splits.of(self.stage, self.record, labels)


def lowest(scores: Iterable[float], count: int) -> list[tuple[int, float]]:
    """Indices of images and their scores, the lowest first, of those below 1, which is wholly right; never of NaN."""
    order = sorted((float(score), index) for index, score in enumerate(scores) if score < 1)
    return [(index, score) for score, index in order[:count]]


def legend(names: Sequence[str], numbers: Iterable[int], colours: np.ndarray) -> list[JsonValue]:
    """Name and colour, as #rrggbb, of classes by their numbers; the colours of all are [C, 3], uint8."""
    return [[names[number], f"#{colours[number].tobytes().hex()}"] for number in numbers]


def small(picture: Image.Image, side: int) -> Image.Image:
    """A copy whose longer side has so many pixels at most."""
    copy = picture.convert("RGB")
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def uri_of(picture: Image.Image, lossless: bool = False) -> str:
    """A picture as a data URI."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=6, lossless=lossless)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
