"""Augmenters: batched image transforms on the training device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from benchbench.components import Component, Params
from benchbench.hookspecs import hookimpl


class FlipParams(Params):
    probability: float = Field(0.5, ge=0, le=1, description="of an image to be mirrored")


class RandomCropParams(Params):
    padding: int = Field(0, ge=0, description="pixels added on each side, at the size before the crop")
    resize: int | None = Field(None, ge=8, description="shorter side before the crop; default: the image size")


class RandomResizedCropParams(Params):
    min_scale: float = Field(0.08, gt=0, le=1, description="smallest share of the area")
    max_scale: float = Field(1.0, gt=0, le=1, description="largest share of the area")
    min_ratio: float = Field(3 / 4, gt=0, description="narrowest width / height")
    max_ratio: float = Field(4 / 3, gt=0, description="widest width / height")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_scale > self.max_scale or self.min_ratio > self.max_ratio:
            raise PydanticCustomError("order", "a smallest value is above its largest one")
        return self


@hookimpl
def benchbench_augmenters() -> Iterable[Component]:
    module = "benchbench.augmenters.geometric"
    yield Component("flip", f"{module}:flip", FlipParams, "horizontal flip")
    yield Component(
        "random_crop", f"{module}:random_crop", RandomCropParams, "crop at a random place, after resize and padding"
    )
    yield Component(
        "random_resized_crop",
        f"{module}:random_resized_crop",
        RandomResizedCropParams,
        "crop of random area and ratio (Inception)",
    )
