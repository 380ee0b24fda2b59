"""Generators of images: their names and parameters. What they need is imported by the stage that runs one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from benchbench.components import Component, hookimpl
from benchbench.synthesis.base import GeneratorParams
from benchbench.synthesis.prompts import GENERAL, PLACE

Precision = Literal["auto", "fp32", "fp16", "bf16"]
Names = dict[str, str] | list[str]


class _Model(GeneratorParams):
    """A diffusion model by name or by path."""

    model: str | None = Field(None, min_length=1, description="its name on the hub")
    path: Path | None = Field(None, description="a folder that holds it instead, as `save_pretrained` writes it")
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    precision: Precision = Field("auto", description="auto: half precision on a GPU")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.path is None):
            raise PydanticCustomError("model", "give `model` (a name on the hub) or `path` (a folder)")
        return self


class _Prompted(_Model):
    prompts: list[str] = Field([GENERAL], min_length=1, description="templates with {class}; they take turns")
    negative_prompt: str | None = Field(None, description="content that images are to stay away from")
    class_names: Names | None = Field(None, description="names for prompts: a list in order, or {class: name}")
    guidance: float = Field(7.5, ge=0, description="classifier-free guidance; 0 for turbo models")
    steps: int = Field(50, ge=1, le=1000, description="denoising steps; 1 to 4 for turbo models")
    safety_checker: bool = Field(True, description="the model's own, where it has one; its black images are drawn anew")
    memory: Literal["plain", "slicing", "offload"] = Field(
        "plain", description="slicing: attention and VAE in parts; offload: parts wait in CPU memory (needs accelerate)"
    )

    @field_validator("prompts")
    @classmethod
    def _name_the_class(cls, prompts: list[str]) -> list[str]:
        for prompt in prompts:
            if PLACE not in prompt:
                raise PydanticCustomError(
                    "prompt", "prompt '{prompt}' has no {place}", {"prompt": prompt, "place": PLACE}
                )
        return prompts


class TextToImageParams(_Prompted):
    width: int | None = Field(None, ge=8, description="pixels; default: the model's own")
    height: int | None = Field(None, ge=8, description="pixels; default: the model's own")


class ImageToImageParams(_Prompted):
    strength: float = Field(0.6, gt=0, le=1, description="distance from the training image: 1 forgets it")
    image_size: int = Field(512, ge=8, description="pixels a side that training images are resized to first")


class PixelDiffusionParams(_Model):
    steps: int = Field(50, ge=1, le=1000, description="denoising steps")
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance, of models that know a class for none")
    class_ids: dict[str, int] | None = Field(None, description="the model's number of each class; default: ours")


class TrainedDiffusionParams(GeneratorParams):
    """A class-conditional diffusion model in pixels that the suite trains itself, on the students' training images."""

    training: ClassVar[frozenset[str]] = frozenset(
        {
            "image_size",
            "channels",
            "layers",
            "attention",
            "train_steps",
            "train_batch_size",
            "lr",
            "warmup_steps",
            "ema",
            "class_dropout",
            "flip",
            "timesteps",
        }
    )

    image_size: int = Field(32, ge=8, le=256, description="pixels a side of the images")
    channels: list[Annotated[int, Field(ge=8)]] = Field([32, 64, 64], min_length=1, description="width by resolution")
    layers: int = Field(1, ge=1, le=4, description="residual blocks at each resolution")
    attention: bool = Field(True, description="self-attention at the lowest resolution")
    train_steps: int = Field(2000, ge=1, description="steps of its training")
    train_batch_size: int = Field(32, ge=1, description="images a step")
    lr: float = Field(5e-4, gt=0, description="learning rate of AdamW")
    warmup_steps: int = Field(100, ge=0, description="over which the rate rises from 0")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the average of its weights; the average is saved")
    class_dropout: float = Field(0.1, ge=0, lt=1, description="share of images without their class, for guidance")
    flip: bool = Field(True, description="mirror images at random")
    timesteps: int = Field(1000, ge=10, description="noise levels")
    steps: int = Field(25, ge=1, le=1000, description="denoising steps")
    guidance: float = Field(1.5, ge=0, description="classifier-free guidance; 1: none, as with `class_dropout: 0`")
    scheduler: Literal["ddim", "dpm-solver++"] = Field("ddim", description="deterministic given the noise")

    @model_validator(mode="before")
    @classmethod
    def _without_a_class_for_none(cls, given: object) -> object:
        """The training stage, which is not given `guidance`, must take `class_dropout: 0` too."""
        if isinstance(given, dict) and given.get("class_dropout") == 0:
            return {"guidance": 1.0, **given}
        return given

    @model_validator(mode="after")
    def _guided_by_a_class_for_none(self) -> Self:
        if self.class_dropout == 0 and self.guidance != 1:
            raise PydanticCustomError(
                "guidance", "with `class_dropout: 0` the model learns no images without a class: take `guidance: 1`"
            )
        return self


class GeneratedFolderParams(GeneratorParams):
    path: Path = Field(description="a folder with a folder of images for each class")


class SameClassMixupParams(GeneratorParams):
    alpha: float = Field(1.0, gt=0, le=1000, description="shares are drawn from Beta(alpha, alpha)")


@hookimpl
def benchbench_augmenters() -> Iterable[Component]:
    makes = frozenset({"synthesis"})
    module = "benchbench.synthesis.pipelines"
    yield Component(
        "text_to_image",
        f"{module}:TextToImage",
        TextToImageParams,
        "any text-to-image pipeline of diffusers: stable-diffusion-v1-5/stable-diffusion-v1-5 (50 steps, guidance "
        "7.5), stabilityai/sd-turbo and sdxl-turbo (1 to 4 steps, guidance 0), black-forest-labs/FLUX.1-schnell (4 "
        "steps, guidance 0)",
        makes,
    )
    summary = "variations of training images of the class, by any image-to-image pipeline of diffusers"
    yield Component("image_to_image", f"{module}:ImageToImage", ImageToImageParams, summary, makes)
    module = "benchbench.synthesis.pixels"
    summary = "a saved model of pixels or of numbered classes (DDPM, DDIM or DiT pipelines of diffusers)"
    yield Component("pixel_diffusion", f"{module}:PixelDiffusion", PixelDiffusionParams, summary, makes)
    summary = (
        "a class-conditional diffusion model that the suite trains itself, where no public model covers the domain"
    )
    yield Component("trained_diffusion", f"{module}:TrainedDiffusion", TrainedDiffusionParams, summary, makes)
    module = "benchbench.synthesis.plain"
    summary = "images that were generated elsewhere"
    yield Component("generated_folder", f"{module}:GeneratedFolder", GeneratedFolderParams, summary, makes)
    summary = "mixtures of two training images of one class: a baseline without a model"
    yield Component("same_class_mixup", f"{module}:SameClassMixup", SameClassMixupParams, summary, makes)
