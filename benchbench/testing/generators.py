"""The contract of a generator of images: a class whose images depend on their requests alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchbench.components import Component
from benchbench.data.images import ImageDataset
from benchbench.errors import BenchBenchError
from benchbench.synthesis.base import GenerationRequest, GeneratorParams, Setting
from benchbench.testing.check import Call, Options, require

CLASSES = ("cat", "dog")
REQUESTS = [GenerationRequest(label, index, 100 * label + index) for label in (0, 1) for index in (0, 1)]


@dataclass(frozen=True)
class GeneratorCase:
    """A generator with parameters; None where its parameters must name a model."""

    component: Component
    params: Any

    def build(self) -> Any:
        return self.component.load()(self.params, setting())


def setting() -> Setting:
    """Two classes of eight small images."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 24, 3), dtype=np.uint8)
    real = ImageDataset(np.arange(16) % 2, CLASSES, partial(_image, pixels), pixels)
    return Setting(CLASSES, real, np.arange(16), torch.device("cpu"))


def _image(pixels: np.ndarray, index: int) -> Image.Image:
    return Image.fromarray(pixels[index])


def check_form(case: GeneratorCase) -> None:
    """A class with `generate` and `prompt`, and parameters with a batch size."""
    target = case.component.load()
    named = isinstance(target, type) and all(callable(getattr(target, name, None)) for name in ("generate", "prompt"))
    require(named, "its target must be a class with the methods generate(requests) and prompt(request)")
    derived = issubclass(case.component.params, GeneratorParams)
    require(derived, "its params must derive from benchbench.synthesis.base.GeneratorParams")
    training: frozenset[str] = getattr(case.component.params, "training", frozenset())
    unknown = sorted(set(training) - set(case.component.params.model_fields)) if derived else []
    require(not unknown, f"params.training names what is no parameter: {', '.join(unknown)}")


def check_images(case: GeneratorCase) -> str | None:
    """One image [H, W, 3] per request, uint8 or in 0..1, that does not depend on the requests beside it."""
    if case.params is None or case.params.training:
        return "not made here: it needs a model, or a trained one"
    generator = case.build()
    require(isinstance(getattr(generator, "card", None), dict), "it has no `card`, a dict for the record")
    images = generator.generate(REQUESTS)
    require(len(images) == len(REQUESTS), f"it gives {len(images)} images for {len(REQUESTS)} requests")
    for image in images:
        form = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3
        require(form, "an image is no array [H, W, 3]")
        inside = image.dtype == np.uint8 or (image.min() >= 0 and image.max() <= 1)
        require(inside, f"an image of {image.dtype} leaves 0..1: give uint8, or float in 0..1")
    for request, image in zip(reversed(REQUESTS), reversed(images), strict=True):
        (alone,) = case.build().generate([request])
        same = np.allclose(alone.astype(float), image.astype(float), atol=1e-3)
        require(same, "an image changes with those beside it: draw each from the seed of its own request")
    return None


CHECKS: Mapping[str, Callable[[GeneratorCase], str | None]] = {"form": check_form, "images": check_images}


def cases(component: Component, options: Options) -> dict[str, Call]:
    """Every check of a generator, ready to run."""
    try:
        params = options.params_of(component)
    except BenchBenchError:  # of a model that no parameter names
        params = None
    return {name: partial(check, GeneratorCase(component, params)) for name, check in CHECKS.items()}
