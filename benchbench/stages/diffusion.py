"""The stage that trains a class-conditional diffusion model in pixels, for a generator that stands on it.

Denoising diffusion (Ho et al. 2020, equation 14: the noise is predicted, mean squared error), with classes dropped at
random for classifier-free guidance (Ho and Salimans 2022), and an average of the weights (EMA), which is what is kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.nn import functional as F

from benchbench.data.images import ImageDataset
from benchbench.errors import StageError
from benchbench.seeds import derive, generator
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.stages.data import training_part
from benchbench.stages.synthesis import square
from benchbench.store import file_sha256
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account, Clock

POINTS = 40  # of its curve


def run(context: StageContext) -> dict[str, Any]:
    """Trains and leaves `pipeline/`, as diffusers saves one; gives the stage's record."""
    job, device = context.job, torch.device(context.device)
    torch.set_num_threads(context.threads)
    checkpoints = Checkpoints(context.folder, context.checkpoint_seconds, context.meter)
    state = checkpoints.load()
    clock, account = Clock(device), Account()
    if state:
        account.carry(state["seconds"], state["seconds"])
    with clock.section("loading", account):
        real, indices = training_part(context)
        how = job["generator"]["params"]
        pixels = _pixels(real, indices, how["image_size"])
        labels = torch.from_numpy(real.labels[indices]).to(device)
        pixels = pixels.to(device)
    with clock.section("setup", account):
        training = _Training(how, job["seed"], len(real.classes), device)
        if state:
            training.load(state)
    every = max(1, math.ceil(how["train_steps"] / POINTS))
    for step in range(training.step, how["train_steps"]):
        with clock.section("student", account):
            training.take(pixels, labels)
        if (step + 1) % every == 0 or step + 1 == how["train_steps"]:
            loss = training.point(every)
            context.report({"done": step + 1, "total": how["train_steps"], "loss": loss})
        if checkpoints.due():
            with clock.section("checkpoint", account):
                clock.settle()
                checkpoints.save({**training.state(), "seconds": account.here})
    with clock.section("checkpoint", account):
        place = context.folder.path / "pipeline"
        DDPMPipeline(training.averaged(), training.scheduler).save_pretrained(place, safe_serialization=True)
        sha256 = file_sha256(place / "unet" / "diffusion_pytorch_model.safetensors")
    clock.settle()
    held = context.held if device.type == "cuda" else torch.get_num_threads()
    parameters = sum(p.numel() for p in training.unet.parameters())
    return {
        "metrics": {"loss": training.curve[-1]["loss"], "steps": how["train_steps"], "images": len(indices)},
        "curve": training.curve,
        "cost": cost_of(account, device, held, context.unit),
        "data": {"names": list(real.classes), "train": len(indices)},
        "model": {"parameters": parameters},
        "weights_sha256": sha256,
    }


def _pixels(real: ImageDataset, indices: np.ndarray, size: int) -> Tensor:
    """The training images at the model's size: uint8 [N, 3, S, S]."""
    images = (real.array[i] if real.array is not None else np.array(real.image(int(i)).convert("RGB")) for i in indices)
    found = np.stack([image if image.shape[:2] == (size, size) else square(image, size) for image in images])
    return torch.from_numpy(found).permute(0, 3, 1, 2).contiguous()


def unet_of(how: dict[str, Any], classes: int) -> UNet2DModel:
    """The network: one class more than there are stands for none."""
    widths = how["channels"]
    groups = math.gcd(32, *widths)
    kinds = ["DownBlock2D"] * len(widths), ["UpBlock2D"] * len(widths)
    if how["attention"]:
        kinds[0][-1], kinds[1][0] = "AttnDownBlock2D", "AttnUpBlock2D"
    return UNet2DModel(
        sample_size=how["image_size"],
        layers_per_block=how["layers"],
        block_out_channels=tuple(widths),
        down_block_types=tuple(kinds[0]),
        up_block_types=tuple(kinds[1]),
        norm_num_groups=groups,
        num_class_embeds=classes + 1,
    )


class _Training:
    """The network, its average and its optimiser; every draw depends on (seed, step) alone."""

    def __init__(self, how: dict[str, Any], seed: int, classes: int, device: torch.device):
        smallest = 2 ** (len(how["channels"]) - 1)
        if how["image_size"] % smallest:
            raise StageError(f"image_size: {how['image_size']} cannot be halved {len(how['channels']) - 1} times")
        self.how, self.seed, self.classes, self.device = how, seed, classes, device
        torch.manual_seed(derive(seed, "initialisation"))
        self.unet = unet_of(how, classes).to(device)
        self.average = {name: tensor.detach().clone() for name, tensor in self.unet.state_dict().items()}
        self.scheduler = DDPMScheduler(num_train_timesteps=how["timesteps"])
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=how["lr"])
        self.step, self.curve = 0, list[dict[str, Any]]()
        self.sum = torch.zeros((), dtype=torch.float64, device=device)

    def take(self, pixels: Tensor, labels: Tensor) -> None:
        """One step."""
        how, random = self.how, generator(self.seed, "diffusion", self.step)
        chosen = torch.randint(len(pixels), (how["train_batch_size"],), generator=random).to(self.device)
        images = pixels[chosen].float() / 127.5 - 1
        if how["flip"]:
            mirrored = torch.rand(len(chosen), 1, 1, 1, generator=random).to(self.device) < 0.5
            images = torch.where(mirrored, images.flip(-1), images)
        noise = torch.randn(images.shape, generator=random).to(self.device)
        times = torch.randint(how["timesteps"], (len(chosen),), generator=random).to(self.device)
        dropped = torch.rand(len(chosen), generator=random).to(self.device) < how["class_dropout"]
        classes = labels[chosen].masked_fill(dropped, self.classes)
        noisy = self.scheduler.add_noise(images, noise, times)
        loss = F.mse_loss(self.unet(noisy, times, class_labels=classes).sample, noise)
        for group in self.optimizer.param_groups:
            group["lr"] = how["lr"] * min(1.0, (self.step + 1) / max(1, how["warmup_steps"]))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.sum += loss.detach()
        # A young average must not remember the random beginning.
        decay = min(how["ema"], self.step / (self.step + 10))
        with torch.no_grad():
            for name, tensor in self.unet.state_dict().items():
                self.average[name].lerp_(tensor, 1 - decay)

    def point(self, every: int) -> float:
        """The mean loss since the last point, which it adds to the curve.

        Raises:
            StageError: it is no number.
        """
        loss = float(self.sum) / ((self.step - 1) % every + 1)
        if not math.isfinite(loss):
            raise StageError(f"loss is {loss} by step {self.step}; lower `lr`")
        self.curve.append({"epoch": len(self.curve) + 1, "step": self.step, "loss": loss})
        self.sum.zero_()
        return loss

    def averaged(self) -> UNet2DModel:
        model = unet_of(self.how, self.classes).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    def state(self) -> dict[str, Any]:
        return {
            "model": self.unet.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "curve": self.curve,
            "sum": self.sum,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.unet.load_state_dict(state["model"])
        self.average = {name: tensor.to(self.device) for name, tensor in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.curve, self.sum = state["step"], state["curve"], state["sum"].to(self.device)
