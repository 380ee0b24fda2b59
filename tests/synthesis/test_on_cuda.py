"""Diffusion on a CUDA device: training and sampling never make the host wait."""

from __future__ import annotations

import pytest
import torch

from benchbench.synthesis import TrainedDiffusionParams
from tests.cuda import CUDA, no_waiting

pytestmark = [pytest.mark.cuda, pytest.mark.whole_run]
PARAMS = TrainedDiffusionParams(image_size=16, channels=[16, 16], train_steps=12, train_batch_size=8)


def test_steps_and_denoising_do_not_wait(monkeypatch):
    from benchbench.stages.diffusion import _Training  # diffusers takes long to import; a run may leave it out
    from benchbench.synthesis import pixels

    training = _Training(PARAMS, 3, 4, CUDA)
    images = torch.zeros(40, 3, 16, 16, dtype=torch.uint8, device=CUDA)
    labels = torch.arange(40, device=CUDA) % 4
    training.step(images, labels)
    with no_waiting():
        training.step(images, labels)
    assert {tensor.device.type for tensor in training.average.values()} == {"cuda"}
    monkeypatch.setattr(pixels, "_unit_range", lambda images: images)  # the copy of the finished ones
    scheduler = pixels.SCHEDULERS["ddim"](num_train_timesteps=1000)
    denoiser = pixels.Denoiser(training.averaged(), scheduler, 3, 1.5, half=True)
    denoiser.sample([0, 1], [5, 6])
    with no_waiting():
        finished = denoiser.sample([0, 1], [5, 6])
    assert {image.device.type for image in finished} == {"cuda"}
    assert {image.dtype for image in finished} == {torch.float32}
