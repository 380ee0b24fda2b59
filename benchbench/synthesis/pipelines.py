"""Prompted pipelines of diffusers: text to image, and image to image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image
from PIL import Image

from benchbench.errors import DataError, StageError
from benchbench.synthesis import ImageToImageParams, TextToImageParams
from benchbench.synthesis.base import GenerationRequest, Setting
from benchbench.synthesis.loading import card_of, dtype_of, load_pipeline
from benchbench.synthesis.prompts import class_names, fill


class _Prompted:
    kind: Any

    def __init__(self, params: TextToImageParams | ImageToImageParams, setting: Setting):
        self.params, self.setting = params, setting
        self.names = class_names(setting.classes, params.class_names)  # before a model is downloaded
        dtype = dtype_of(params.precision, setting.device)
        self.pipeline = load_pipeline(
            self.kind.from_pretrained, params.model, params.path, revision=params.revision, torch_dtype=dtype
        )
        if not params.safety_checker and getattr(self.pipeline, "safety_checker", None) is not None:
            self.pipeline.register_modules(safety_checker=None)
            self.pipeline.register_to_config(requires_safety_checker=False)
        self._move_to_device()
        self.card = card_of(self.pipeline, params.model, params.path, params.revision)

    def _move_to_device(self) -> None:
        if self.params.memory == "slicing":
            for name in ("enable_attention_slicing", "enable_vae_slicing", "enable_vae_tiling"):
                if hasattr(self.pipeline, name):
                    getattr(self.pipeline, name)()
        if self.params.memory == "offload":
            if self.setting.device.type != "cuda":
                raise StageError("memory: offload needs a GPU; take plain or slicing")
            self.pipeline.enable_model_cpu_offload(device=self.setting.device)
        else:
            self.pipeline.to(self.setting.device)

    def prompt(self, request: GenerationRequest) -> str:
        return fill(self.params.prompts, self.names[request.label], request.index)

    def _call(self, requests: Sequence[GenerationRequest], **options: Any) -> list[np.ndarray]:
        if self.params.negative_prompt is not None:
            options["negative_prompt"] = [self.params.negative_prompt] * len(requests)
        try:
            result = self.pipeline(
                prompt=[self.prompt(request) for request in requests],
                num_inference_steps=self.params.steps,
                guidance_scale=self.params.guidance,
                # On the CPU: the same noise whatever the device.
                generator=[torch.Generator().manual_seed(request.seed) for request in requests],
                output_type="np",
                **options,
            )
        except TypeError as error:
            raise StageError(f"{type(self.pipeline).__name__} does not take what it is given: {error}") from error
        return list(result.images)


class TextToImage(_Prompted):
    """Images of a prompt (`AutoPipelineForText2Image`)."""

    kind = AutoPipelineForText2Image
    params: TextToImageParams

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        size = {"width": self.params.width, "height": self.params.height}
        return self._call(requests, **{name: value for name, value in size.items() if value is not None})


class ImageToImage(_Prompted):
    """Variations of training images of the class, which are taken in turn (`AutoPipelineForImage2Image`)."""

    kind = AutoPipelineForImage2Image
    params: ImageToImageParams

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        images = [self._source(request) for request in requests]
        return self._call(requests, image=images, strength=self.params.strength)

    def _source(self, request: GenerationRequest) -> Image.Image:
        indices = self.setting.of_class(request.label)
        if not len(indices):
            raise DataError(f"class '{self.setting.classes[request.label]}' has no training image to vary")
        image = self.setting.real.image(int(indices[request.index % len(indices)])).convert("RGB")
        return image.resize((self.params.image_size,) * 2, Image.Resampling.BICUBIC)
