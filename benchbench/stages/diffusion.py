"""The stage that trains a class-conditional diffusion model in pixels, which a generator needs.

Denoising diffusion (Ho et al. 2020, equation 14: the noise is predicted, mean squared error), with classes dropped at
random for classifier-free guidance (Ho and Salimans 2022), and an average of the weights (EMA), which is the result.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.nn import functional as F

from benchbench.data.images import ImageSubset
from benchbench.errors import StageError
from benchbench.hardware.accelerator import widest
from benchbench.seeds import derive, generator
from benchbench.specs.records import CurveRow, DataRecord, DiffusionMetrics, DiffusionRecord, ModelRecord, Progress
from benchbench.specs.stages import DiffusionSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import training_images
from benchbench.stages.synthesis import square
from benchbench.stages.timer import ResumableTimer, TimedState
from benchbench.store import file_sha256
from benchbench.synthesis import TrainedDiffusionParams

POINTS = 40  # of its curve
TensorDict = dict[str, Tensor]


class DiffusionState(TimedState):
    """The content of a checkpoint; `sum` is of the losses since the curve's last point."""

    model: TensorDict
    average: TensorDict
    optimizer: dict[str, object]
    step: int
    curve: list[CurveRow]
    sum: Tensor


def run(context: StageContext[DiffusionSpec]) -> StageResult:
    """Trains a model and saves it to `pipeline/` in diffusers' format."""
    timer, params = ResumableTimer[DiffusionState](context), _params(context.spec)
    state = timer.load(context.threads)
    with timer.section("loading"):
        subset = training_images(context)
        pixels = _pixels(subset, params.image_size).to(timer.device)
        labels = torch.from_numpy(subset.images.labels[subset.indices]).to(timer.device)
    with timer.section("setup"):
        training = _Training(params, context.spec.seed, len(subset.images.classes), timer.device)
        if state:
            training.load(state)
    every = max(1, math.ceil(params.train_steps / POINTS))
    for step in range(training.steps, params.train_steps):
        with timer.section("student"):
            training.step(pixels, labels)
        if (step + 1) % every == 0 or step + 1 == params.train_steps:
            loss = training.add_point(every)
            context.report(Progress(done=step + 1, total=params.train_steps, loss=loss))
        if timer.checkpoints.due():
            timer.save({**training.state(), "seconds": timer.account.here})
    with timer.section("checkpoint"):
        folder = context.folder.path / "pipeline"
        DDPMPipeline(training.averaged(), training.scheduler).save_pretrained(folder, safe_serialization=True)
        weights_sha256 = file_sha256(folder / "unet" / "diffusion_pytorch_model.safetensors")
    images = len(subset.indices)
    record = DiffusionRecord(
        metrics=DiffusionMetrics(loss=training.curve[-1]["loss"], steps=params.train_steps, images=images),
        data=DataRecord(names=subset.images.classes, train=images),
        model=ModelRecord(parameters=sum(p.numel() for p in training.unet.parameters())),
        weights_sha256=weights_sha256,
        cost=timer.cost(),
    )
    return StageResult(record, training.curve)


def _params(spec: DiffusionSpec) -> TrainedDiffusionParams:
    """The generator's parameters; those that its training does not depend on have their defaults."""
    arguments = spec.generator.arguments
    names = TrainedDiffusionParams.training & arguments.keys()
    return TrainedDiffusionParams.model_validate({name: arguments[name] for name in names})


def _pixels(subset: ImageSubset, size: int) -> Tensor:
    """The training images at the model's size: uint8 [N, 3, S, S]."""
    images, array = subset.images, subset.images.array
    whole = (
        array[index] if array is not None else np.array(images.image(int(index)).convert("RGB"))
        for index in subset.indices
    )
    pixels = np.stack([image if image.shape[:2] == (size, size) else square(image, size) for image in whole])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def build_unet(params: TrainedDiffusionParams, classes: int) -> UNet2DModel:
    """The network: one class more than there are stands for none."""
    widths = params.channels
    down, up = ["DownBlock2D"] * len(widths), ["UpBlock2D"] * len(widths)
    if params.attention:
        down[-1], up[0] = "AttnDownBlock2D", "AttnUpBlock2D"
    return UNet2DModel(
        sample_size=params.image_size,
        layers_per_block=params.layers,
        block_out_channels=tuple(widths),
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        norm_num_groups=math.gcd(32, *widths),
        num_class_embeds=classes + 1,
    )


class _Training:
    """The network, its average and its optimiser; every draw depends on (seed, step) and the kind of device alone.

    Attributes:
        steps: done so far.
        curve: one row per point.
    """

    def __init__(self, params: TrainedDiffusionParams, seed: int, classes: int, device: torch.device):
        halvings = len(params.channels) - 1
        if params.image_size % 2**halvings:
            raise StageError(f"image_size: {params.image_size} cannot be halved {halvings} times")
        self.params, self.seed, self.classes, self.device = params, seed, classes, device
        torch.manual_seed(derive(seed, "initialisation"))
        self.unet = build_unet(params, classes).to(device)
        self.average = {name: tensor.detach().clone() for name, tensor in self.unet.state_dict().items()}
        self.scheduler = DDPMScheduler(num_train_timesteps=params.timesteps)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=params.lr, fused=device.type == "cuda")
        self.steps, self.curve = 0, list[CurveRow]()
        self.sum = torch.zeros((), dtype=widest(device), device=device)

    def step(self, pixels: Tensor, labels: Tensor) -> None:
        """One step of the optimiser and of the average."""
        params = self.params
        loss = self._loss(pixels, labels)
        for group in self.optimizer.param_groups:
            group["lr"] = params.lr * min(1.0, (self.steps + 1) / max(1, params.warmup_steps))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        self.sum += loss.detach()
        # A young average must not remember the random beginning.
        decay = min(params.ema, self.steps / (self.steps + 10))
        with torch.no_grad():
            weights = self.unet.state_dict()
            torch._foreach_lerp_([self.average[name] for name in weights], list(weights.values()), 1 - decay)

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        params, device = self.params, self.device
        random = generator(self.seed, "diffusion", self.steps, device=device)  # on a GPU, which waits for no copy
        index = torch.randint(len(pixels), (params.train_batch_size,), generator=random, device=device)
        images = pixels[index].float() / 127.5 - 1
        if params.flip:
            mirror = torch.rand(len(index), 1, 1, 1, generator=random, device=device) < 0.5
            images = torch.where(mirror, images.flip(-1), images)
        noise = torch.randn(images.shape, generator=random, device=device)
        times = torch.randint(params.timesteps, (len(index),), generator=random, device=device)
        drop = torch.rand(len(index), generator=random, device=device) < params.class_dropout
        classes = labels[index].masked_fill(drop, self.classes)
        noisy = self.scheduler.add_noise(images, noise, times)
        return F.mse_loss(self.unet(noisy, times, class_labels=classes).sample, noise)

    def add_point(self, every: int) -> float:
        """Adds the mean loss since the last point to the curve, and gives it.

        Raises:
            StageError: it is not finite.
        """
        loss = float(self.sum) / ((self.steps - 1) % every + 1)
        if not math.isfinite(loss):
            raise StageError(f"loss is {loss} by step {self.steps}; lower `lr`")
        self.curve.append({"epoch": len(self.curve) + 1, "step": self.steps, "loss": loss})
        self.sum.zero_()
        return loss

    def averaged(self) -> UNet2DModel:
        """A network with the averaged weights."""
        model = build_unet(self.params, self.classes).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    def state(self) -> DiffusionState:
        """The content of a checkpoint, without the seconds."""
        return {
            "model": self.unet.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.steps,
            "curve": self.curve,
            "sum": self.sum,
            "seconds": {},
        }

    def load(self, state: DiffusionState) -> None:
        self.unet.load_state_dict(state["model"])
        self.average = {name: tensor.to(self.device) for name, tensor in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps, self.curve, self.sum = state["step"], state["curve"], state["sum"].to(self.device)
