"""Augmenters: batched image transforms on the training device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from benchbench.components import Component, Params, hookimpl

Fill = Literal["noise", "mean", "black"]
Strength = Annotated[float, Field(ge=0)]


class FlipParams(Params):
    masks = boxes = "moved"

    probability: float = Field(0.5, ge=0, le=1, description="of an image to be mirrored")


class RandomCropParams(Params):
    masks = boxes = "moved"

    padding: int = Field(0, ge=0, description="pixels added on each side, at the size before the crop")
    resize: int | None = Field(None, ge=8, description="shorter side before the crop; default: the image size")


class _BoxParams(Params):
    """Common parameters of boxes of random area and ratio."""

    min_scale: float
    max_scale: float
    min_ratio: float
    max_ratio: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_scale > self.max_scale or self.min_ratio > self.max_ratio:
            raise PydanticCustomError("order", "a smallest value is above its largest one")
        return self


class RandomResizedCropParams(_BoxParams):
    masks = boxes = "moved"

    min_scale: float = Field(0.08, gt=0, le=1, description="smallest share of the area")
    max_scale: float = Field(1.0, gt=0, le=1, description="largest share of the area")
    min_ratio: float = Field(3 / 4, gt=0, description="narrowest width / height")
    max_ratio: float = Field(4 / 3, gt=0, description="widest width / height")


class ColorJitterParams(Params):
    """The strengths are those of MoCo v2's code; 0 leaves a property as it is."""

    needs_rgb = True
    masks = "kept"

    brightness: Strength = Field(0.4, description="factors are drawn from max(0, 1 - this) to 1 + this")
    contrast: Strength = Field(0.4, description="likewise")
    saturation: Strength = Field(0.4, description="likewise")
    hue: float = Field(0.1, ge=0, le=0.5, description="turns are drawn from minus this to this, in whole circles")


class RandAugmentParams(Params):
    needs_rgb = True

    num_ops: int = Field(2, ge=1, le=20, description="operations an image goes through")
    magnitude: int = Field(9, ge=0, le=30, description="their strength")


class RandomErasingParams(_BoxParams):
    masks = "kept"

    probability: float = Field(0.5, ge=0, le=1, description="of an image to lose a rectangle")
    min_scale: float = Field(0.02, gt=0, le=1, description="smallest share of the area")
    max_scale: float = Field(0.4, gt=0, le=1, description="largest share of the area")
    min_ratio: float = Field(0.3, gt=0, description="flattest height / width")
    max_ratio: float = Field(1 / 0.3, gt=0, description="tallest height / width")
    fill: Fill = Field("noise", description="a random value for each pixel, the image's mean colour, or black")


class CutoutParams(Params):
    masks = "kept"

    probability: float = Field(1.0, ge=0, le=1, description="of an image to lose a square")
    length: int = Field(16, ge=1, description="pixels a side, at the size that the image has by then")
    fill: Fill = Field("mean", description="a random value for each pixel, the image's mean colour, or black")


class DsaParams(Params):
    mode: Literal["single", "multiple"] = Field(
        "single", description="each image through one strategy (S), or through all (M)"
    )
    strategies: list[Literal["color", "crop", "cutout", "flip", "scale", "rotate"]] = Field(
        ["color", "crop", "cutout", "flip", "scale", "rotate"], min_length=1, description="in this order"
    )
    brightness: Strength = Field(0.25, description="half of it is the most that is added or taken")
    saturation: Strength = Field(2.0, description="factors are drawn from 0 to this")
    contrast: Strength = Field(0.5, description="factors are drawn from this to 1 more")
    crop: float = Field(0.125, ge=0, lt=1, description="share of a side that an image moves by at most")
    cutout: float = Field(0.5, ge=0, lt=1, description="sides of the black box, as a share")
    scale: float = Field(1.2, ge=1, le=4, description="factors of each side are drawn from 1 / this to this")
    rotate: float = Field(15.0, ge=0, le=180, description="degrees to either side")


class MixParams(Params):
    alpha: float = Field(1.0, gt=0, le=1000, description="shares are drawn from Beta(alpha, alpha)")
    probability: float = Field(1.0, ge=0, le=1, description="of a batch to be mixed")


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
    module = "benchbench.augmenters.color"
    summary = "brightness, contrast, saturation and hue (torchvision's ColorJitter)"
    yield Component("color_jitter", f"{module}:color_jitter", ColorJitterParams, summary)
    module = "benchbench.augmenters.rand_augment"
    summary = "operations out of a list of fourteen (Cubuk et al. 2020)"
    yield Component("rand_augment", f"{module}:rand_augment", RandAugmentParams, summary)
    module = "benchbench.augmenters.erasing"
    summary = "a rectangle is filled (Zhong et al. 2020)"
    yield Component("random_erasing", f"{module}:random_erasing", RandomErasingParams, summary)
    summary = "a square is filled (DeVries and Taylor 2017)"
    yield Component("cutout", f"{module}:cutout", CutoutParams, summary)
    summary = "colour, crop, cutout, flip, scale and rotation (Zhao and Bilen 2021)"
    yield Component("dsa", "benchbench.augmenters.dsa:dsa", DsaParams, summary)
    module, mixes = "benchbench.augmenters.mixing", frozenset({"labels"})
    summary = "weighted sums of two images and their labels (Zhang et al. 2018)"
    yield Component("mixup", f"{module}:mixup", MixParams, summary, mixes)
    summary = "a rectangle of another image, and that share of its label (Yun et al. 2019)"
    yield Component("cutmix", f"{module}:cutmix", MixParams, summary, mixes)
