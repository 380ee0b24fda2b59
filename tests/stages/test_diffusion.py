"""Training a small diffusion model: it learns, resumes with the same weights, and generates."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec
from benchbench.stages.context import StageContext
from benchbench.synthesis import TrainedDiffusionParams
from benchbench.synthesis.base import GenerationRequest, Setting
from tests.specs import diffusion_spec
from tests.stages.contexts import finish, stage_context

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def diffusion() -> ModuleType:
    """The stage's module, which imports diffusers: that takes long, and a run may leave it out."""
    return importlib.import_module("benchbench.stages.diffusion")


def trained_diffusion(params, setting):
    from benchbench.synthesis.pixels import TrainedDiffusion

    return TrainedDiffusion(params, setting)


SETTINGS = {"image_size": 16, "channels": [16, 16], "train_steps": 12, "train_batch_size": 8, "warmup_steps": 2}


@pytest.fixture
def stage(tmp_path) -> Callable[..., StageContext]:
    registry = load_plugins().registry

    def make(name: str = "stage", **changes: Any) -> StageContext:
        params = TrainedDiffusionParams(**{**SETTINGS, **changes}).model_dump(mode="json")
        training = {key: value for key, value in params.items() if key in TrainedDiffusionParams.training}
        spec = diffusion_spec(generator=ComponentSpec(name="trained_diffusion", params=training))
        return stage_context(spec, tmp_path / name, registry)

    return make


def test_a_record_and_a_pipeline_that_generates(diffusion, stage):
    context = stage()
    result = finish(diffusion, context)
    assert context.folder.done() == result.record
    assert context.folder.read_curve() == result.curve
    assert (result.record.metrics.steps, result.record.metrics.images) == (12, 40)
    assert result.curve[-1]["step"] == 12
    setting = Setting(("a",) * 10, None, np.arange(0), torch.device("cpu"), context.folder)
    for scheduler in ("ddim", "dpm-solver++"):
        params = TrainedDiffusionParams(**SETTINGS, steps=3, guidance=2.0, scheduler=scheduler)
        generator = trained_diffusion(params, setting)
        requests = [GenerationRequest(label, 0, label) for label in (0, 9)]
        images = generator.generate(requests)
        assert {image.shape for image in images} == {(16, 16, 3)}
        assert np.allclose(generator.generate(requests[1:])[0], images[1], atol=1e-4)


def test_it_learns(diffusion, stage):
    curve = finish(diffusion, stage(train_steps=120, lr=2e-3, flip=False, class_dropout=0.0)).curve
    assert np.mean([row["loss"] for row in curve[-5:]]) < 0.4 * curve[0]["loss"]


def test_a_resumed_run_ends_with_the_same_weights(diffusion, stage, monkeypatch):
    whole = finish(diffusion, stage("whole"))
    cut = stage("cut")
    real = diffusion._Training.step

    def killed(self, *images):
        if self.steps == 7:
            raise KeyboardInterrupt
        real(self, *images)

    monkeypatch.setattr(diffusion._Training, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        diffusion.run(replace(cut, checkpoint_seconds=0.0))
    monkeypatch.setattr(diffusion._Training, "step", real)
    resumed = finish(diffusion, cut)
    assert resumed.record.weights_sha256 == whole.record.weights_sha256
    assert resumed.curve == whole.curve
    assert resumed.record.cost.carried_seconds > 0


def test_a_loss_that_is_no_number_is_named(diffusion, stage):
    with pytest.raises(StageError, match="loss is nan by step"):
        diffusion.run(stage(lr=1e12, train_steps=40, warmup_steps=0))


def test_a_size_that_cannot_be_halved(diffusion, stage):
    with pytest.raises(StageError, match="image_size: 15 cannot be halved 1 times"):
        diffusion.run(stage(image_size=15))


def test_damaged_weights_are_refused(diffusion, stage):
    context = stage()
    finish(diffusion, context)
    weights = context.folder.path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    setting = Setting(("a",) * 10, None, np.arange(0), torch.device("cpu"), context.folder)
    with pytest.raises(StageError, match="is missing or damaged; delete"):
        trained_diffusion(TrainedDiffusionParams(**SETTINGS), setting)
