"""Knowledge diffusion: a small diffusion model of the teacher's map takes the noise out of the student's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.losses.base import Loss, LossContext
from benchbench.losses.catalog.features import DiffKDParams
from benchbench.losses.connectors import BatchNorm2d, connector
from benchbench.losses.maps import both_maps, paired, same_size
from benchbench.models.outputs import Outputs

STEPS, BETAS, STRIDE = 1000, (1e-4, 0.02), 100  # of the diffusion; STRIDE between the denoising steps, with 5 of them


class Bottleneck(nn.Module):
    """x + a block of 1x1, 3x3 and 1x1 convolutions with BN, and ReLU between, on maps [B, C, H, W]."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        middle = max(1, channels // reduction)
        layers = [connector(channels, middle, relu=True), connector(middle, middle, 3, relu=True)]
        self.block = nn.Sequential(*layers, connector(middle, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Denoiser(nn.Module):
    """The noise in a map [B, C, H, W] at steps [B] or [] of the diffusion."""

    def __init__(self, channels: int):
        super().__init__()
        self.time = nn.Embedding(STEPS, channels)
        blocks = Bottleneck(channels, 4), Bottleneck(channels, 4)
        # Without the official code's bias, which the normalisation takes out again: its gradient is rounding.
        self.blocks = nn.Sequential(*blocks, nn.Conv2d(channels, channels, 1, bias=False), BatchNorm2d(channels))

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        noise: Tensor = self.blocks(x + self.time(step)[..., None, None])
        return noise


def noise_like(x: Tensor) -> Tensor:
    """Normal numbers of a tensor's shape; `torch.randn_like` would draw them in the order of its memory."""
    return torch.randn(x.shape, dtype=x.dtype, device=x.device)


def signal_shares() -> Tensor:
    """alpha-bar [STEPS]: the share of the signal's variance that is left after each step."""
    return torch.cumprod(1 - torch.linspace(*BETAS, STEPS), dim=0)


def denoised(x: Tensor, denoiser: nn.Module, shares: Tensor, steps: int) -> Tensor:
    """DDIM without noise of its own: from step (steps - 1) STRIDE down to 0.

    x_{t - STRIDE} = sqrt(a') (x_t - sqrt(1 - a) e) / sqrt(a) + sqrt(1 - a') e, with e the noise that is seen in x_t, a
    and a' the `signal_shares` of both steps; a' is 1 at last.
    """
    for step in range((steps - 1) * STRIDE, -1, -STRIDE):
        now = shares[step]
        after = shares[step - STRIDE] if step else torch.ones_like(now)
        noise = denoiser(x, torch.full((1,), step, device=x.device))
        x = after.sqrt() * (x - (1 - now).sqrt() * noise) / now.sqrt() + (1 - after).sqrt() * noise
    return x


class DiffKD(Loss):
    """Terms `diffkd`: MSE of the student's denoised map and the teacher's code; `diffusion`, `reconstruction`.

    An autoencoder of 1x1 convolutions gives a code of half the teacher's channels; `reconstruction` is its MSE, and
    its code is a constant to the other terms. `diffusion` is the MSE of the noise that a `Denoiser` sees in the code
    with noise, at random steps. The student's last map goes through a 1x1 convolution, is mixed with noise by a share
    that a small network gives for each image, `denoised` and projected by another 1x1 convolution. All of these train
    with the student; the larger map is averaged down to the other's size.

    Source: Huang et al. 2023, "Knowledge Diffusion for Distillation" (NeurIPS 2023, arXiv 2305.15712), section 3; sizes
    and constants are the defaults of the official code. Its configurations for ImageNet give the code 1024 channels. It
    has BN behind the last 1x1 convolution, and adds a diffusion of the logits; neither is here.
    """

    shares: Tensor

    def __init__(self, context: LossContext, **params: Any):
        super().__init__(context)
        self.params = DiffKDParams(**params)
        self.pairs = paired(context, most=1)
        c_student, c_teacher = context.student_features[-1][0], context.teacher_features[-1][0]
        code = max(1, c_teacher // 2)
        self.encode, self.decode = connector(c_teacher, code), connector(code, c_teacher, norm=False)
        self.transform, self.project = (connector(c, code, norm=False) for c in (c_student, code))
        self.denoiser = Denoiser(code)
        self.adapter = nn.Sequential(Bottleneck(code, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(code, 2))
        self.register_buffer("shares", signal_shares(), persistent=False)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> dict[str, Tensor]:
        ((f_student, f_teacher),) = both_maps(student, teacher, self.pairs)
        f_student, f_teacher = same_size(f_student, f_teacher)
        code = self.encode(f_teacher)
        reconstruction = F.mse_loss(self.decode(code), f_teacher)
        code = code.detach()
        x = self.transform(f_student)
        share = self.adapter(x).softmax(dim=1)[:, :1, None, None]
        x = share * x + (1 - share) * noise_like(x)
        refined = self.project(denoised(x, self.denoiser, self.shares, self.params.steps))
        return {
            "diffkd": F.mse_loss(refined, code),
            "diffusion": self._diffusion(code),
            "reconstruction": reconstruction,
        }

    def _diffusion(self, code: Tensor) -> Tensor:
        noise, steps = noise_like(code), torch.randint(STEPS, (len(code),), device=code.device)
        share = self.shares[steps][:, None, None, None]
        return F.mse_loss(self.denoiser(share.sqrt() * code + (1 - share).sqrt() * noise, steps), noise)
