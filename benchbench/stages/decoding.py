"""The place where a training's images are decoded and cropped, as its recipe asks and its device allows."""

from __future__ import annotations

from dataclasses import replace

import torch
import torchvision

from benchbench.data.images import ImageDataset
from benchbench.data.jpeg import decoder_problem
from benchbench.data.transforms import Transform
from benchbench.data.windows import WindowDraws
from benchbench.specs.parts import InputSpec, RecipeSpec


def with_decoder(
    transform: Transform, images: ImageDataset, recipe: InputSpec, device: torch.device
) -> tuple[Transform, str]:
    """A transform that crops on the device where a recipe asks for it; and the decoder, for the record.

    What stands in the way is said once. The second is empty where the recipe does not ask, and for images in memory.
    """
    if not isinstance(recipe, RecipeSpec) or recipe.decode == "cpu" or images.array is not None:
        return transform, ""
    if problem := _problem(transform, images, device):
        print(f"decode: gpu: images are decoded and cropped on the CPU: {problem}")
        return transform, f"CPU ({problem})"
    if reason := decoder_problem(device):
        print(f"decode: gpu: images are decoded on the CPU, and cropped on the GPU: {reason}")
        return replace(transform, on_device=True), f"CPU, cropped on the GPU ({reason})"
    return replace(transform, on_device=True), f"nvJPEG by torchvision {torchvision.__version__}"


def kept_pixels(transform: Transform, device: torch.device) -> tuple[int | None, bool]:
    """The shorter side with which larger images are kept, None for all of their pixels; whether the device decodes."""
    draws = WindowDraws.of(transform) if transform.on_device else None
    return (draws.largest_side, decoder_problem(device) is None) if draws else (None, False)


def _problem(transform: Transform, images: ImageDataset, device: torch.device) -> str:
    """A reason why images are not cropped on a device; empty where there is none."""
    if device.type != "cuda":
        return "the device is no CUDA GPU"
    if images.mask is not None or images.boxes is not None:
        return "masks and boxes move with their images there"
    if images.pixels is not None:
        return "they have other channels than RGB"
    if transform.views is not None:
        return "its views are kept"
    return "" if WindowDraws.of(transform) else "an augmenter stands before the crop"
