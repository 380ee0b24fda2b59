"""Models of numbered classes: saved ones, and the one that a suite trains itself."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DModel
from torch import Tensor

from benchbench.augmenters.draws import to_device
from benchbench.errors import DataError, StageError
from benchbench.specs.parts import Json
from benchbench.store import file_sha256
from benchbench.synthesis import PixelDiffusionParams, TrainedDiffusionParams
from benchbench.synthesis.base import GenerationRequest, Setting
from benchbench.synthesis.loading import card_of, dtype_of, load_pipeline

SCHEDULERS = {"ddim": DDIMScheduler, "dpm-solver++": DPMSolverMultistepScheduler}
WEIGHTS = "diffusion_pytorch_model.safetensors"


class PixelDiffusion:
    """A saved `DDPMPipeline` or `DDIMPipeline`, whose U-Net may take classes, or a `DiTPipeline`."""

    def __init__(self, params: PixelDiffusionParams, setting: Setting):
        self.params, self.setting = params, setting
        self.ids = [(params.class_ids or {}).get(name, label) for label, name in enumerate(setting.classes)]
        if unknown := sorted(set(params.class_ids or {}) - set(setting.classes)):
            raise DataError(f"class_ids: the data set has no class '{unknown[0]}'")
        dtype = dtype_of(params.precision, setting.device)
        self.pipeline = load_pipeline(
            DiffusionPipeline.from_pretrained, params.model, params.path, revision=params.revision, torch_dtype=dtype
        ).to(setting.device)
        self.card = card_of(self.pipeline, params.model, params.path, params.revision)
        self.unet = getattr(self.pipeline, "unet", None)
        if self.unet is not None:
            num_classes = self.unet.config.num_class_embeds
            self.card["conditional"] = bool(num_classes)
            if num_classes and max(self.ids) >= num_classes:
                raise DataError(f"class number {max(self.ids)} is beyond the model's {num_classes}; give `class_ids`")
        elif not hasattr(self.pipeline, "transformer"):
            raise StageError(f"{type(self.pipeline).__name__} takes no classes by number; use text_to_image")

    def prompt(self, request: GenerationRequest) -> str | None:
        return None

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        labels = [self.ids[request.label] for request in requests]
        if self.unet is not None:
            scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
            denoiser = Denoiser(self.unet, scheduler, self.params.steps, self.params.guidance)
            return denoiser.sample(labels, [request.seed for request in requests])
        result = self.pipeline(
            class_labels=labels,
            guidance_scale=self.params.guidance,
            generator=[torch.Generator().manual_seed(request.seed) for request in requests],
            num_inference_steps=self.params.steps,
            output_type="np",
        )
        return list(result.images)


class TrainedDiffusion:
    """The model that the stage before has trained.

    Raises:
        StageError: its weights are missing or damaged.
    """

    def __init__(self, params: TrainedDiffusionParams, setting: Setting):
        assert setting.trained is not None
        self.params = params
        record, folder = setting.trained.done(), setting.trained.path / "pipeline"
        weights = folder / "unet" / WEIGHTS
        if record is None or not weights.exists() or file_sha256(weights) != record.weights_sha256:
            raise StageError(f"{weights} is missing or damaged; delete {setting.trained.path} to train it again")
        self.unet = UNet2DModel.from_pretrained(folder / "unet", use_safetensors=True).to(setting.device).eval()
        self.scheduler = SCHEDULERS[params.scheduler].from_pretrained(folder / "scheduler")
        self.card: Json = {"model": "trained by this suite", "weights_sha256": record.weights_sha256}

    def prompt(self, request: GenerationRequest) -> str | None:
        return None

    def generate(self, requests: Sequence[GenerationRequest]) -> list[np.ndarray]:
        labels = [request.label for request in requests]
        denoiser = Denoiser(self.unet, self.scheduler, self.params.steps, self.params.guidance, half=True)
        return denoiser.sample(labels, [request.seed for request in requests])


@dataclass(frozen=True)
class Denoiser:
    """Images of a U-Net by a scheduler that is deterministic given the noise.

    Attributes:
        unet: `UNet2DModel`; with `num_class_embeds`, the last class may stand for none (classifier-free guidance: Ho
            and Salimans 2022).
        scheduler: DDIM (eta 0) or DPM-Solver++.
        steps: denoising steps.
        guidance: 1 takes the conditional prediction alone.
        half: runs a network in float32 as bfloat16 on a GPU that has it.
    """

    unet: Any
    scheduler: Any
    steps: int
    guidance: float
    half: bool = False

    @torch.no_grad()
    def sample(self, labels: Sequence[int], seeds: Sequence[int]) -> list[np.ndarray]:
        """One image for each label, float in 0..1, [H, W, 3] each.

        Args:
            labels: the model's numbers of the classes.
            seeds: draw the noise of each image.
        """
        unet, scheduler = self.unet, self.scheduler
        device, dtype = next(unet.parameters()).device, next(unet.parameters()).dtype
        x = self._noise(seeds, device)
        num_classes = unet.config.num_class_embeds
        classes = to_device(torch.tensor(labels), device) if num_classes else None
        scheduler.set_timesteps(self.steps)  # on the CPU, where the scheduler looks its constants up by them
        x = x * scheduler.init_noise_sigma
        on_device = to_device(scheduler.timesteps, device)
        with _bfloat16(device) if self.half else contextlib.nullcontext():
            for t, time in zip(scheduler.timesteps, on_device, strict=True):
                noisy = scheduler.scale_model_input(x, t).to(dtype)
                predicted = unet(noisy, time, class_labels=classes).sample
                if classes is not None and self.guidance != 1.0:
                    none = torch.full_like(classes, num_classes - 1)
                    unconditional = unet(noisy, time, class_labels=none).sample
                    predicted = unconditional + self.guidance * (predicted - unconditional)
                x = scheduler.step(predicted.to(x.dtype), t, x).prev_sample
        return list(_unit_range(x))

    def _noise(self, seeds: Sequence[int], device: torch.device) -> Tensor:
        """Each image's own, drawn where it is used; in float32, in which steps of a lower precision add up."""
        size, channels = self.unet.config.sample_size, self.unet.config.in_channels
        shape = (channels, *((size, size) if isinstance(size, int) else size))
        generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        return torch.stack([torch.randn(shape, generator=random, device=device) for random in generators])


def _bfloat16(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Runs a network in bfloat16 on a GPU that has it; on a CPU as it is."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, torch.bfloat16) if fast else contextlib.nullcontext()


def _unit_range(x: Tensor) -> np.ndarray:
    return (x.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
