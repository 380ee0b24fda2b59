"""Training a small diffusion model: it learns, resumes with the same weights, and generates."""

from __future__ import annotations

import importlib
import shutil
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
from benchbench.stages.context import StageContext, StageResult
from benchbench.store import StageFolder
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


SETTINGS = {"image_size": 8, "channels": [8, 8], "train_steps": 8, "train_batch_size": 8, "warmup_steps": 2}


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Callable[..., StageContext]:
    """A stage in a folder of its own."""
    registry = load_plugins().registry

    def make(**changes: Any) -> StageContext:
        params = TrainedDiffusionParams(**{**SETTINGS, **changes}).model_dump(mode="json")
        training = {key: value for key, value in params.items() if key in TrainedDiffusionParams.training}
        spec = diffusion_spec(generator=ComponentSpec(name="trained_diffusion", params=training))
        return stage_context(spec, tmp_path_factory.mktemp("stage"), registry)

    return make


@pytest.fixture(scope="module")
def trained(diffusion, stage) -> tuple[StageContext, StageResult]:
    """A stage that has run, and what it came to; tests only read its folder."""
    context = stage()
    return context, finish(diffusion, context)


def test_a_record_and_a_pipeline_that_generates(trained):
    context, result = trained
    assert context.folder.done() == result.record
    assert context.folder.read_curve() == result.curve
    assert (result.record.metrics.steps, result.record.metrics.images) == (8, 40)
    assert result.curve[-1]["step"] == 8
    setting = Setting(("a",) * 10, None, np.arange(0), torch.device("cpu"), context.folder)
    for scheduler in ("ddim", "dpm-solver++"):
        params = TrainedDiffusionParams(**SETTINGS, steps=3, guidance=2.0, scheduler=scheduler)
        generator = trained_diffusion(params, setting)
        requests = [GenerationRequest(label, 0, label) for label in (0, 9)]
        images = generator.generate(requests)
        assert {image.shape for image in images} == {(8, 8, 3)}
        assert np.allclose(generator.generate(requests[1:])[0], images[1], atol=1e-4)


def test_it_learns(diffusion, stage):
    curve = finish(diffusion, stage(channels=[16], train_steps=40, lr=6e-3, flip=False, class_dropout=0.0)).curve
    assert np.mean([row["loss"] for row in curve[-5:]]) < 0.4 * curve[0]["loss"]


def test_a_resumed_run_ends_with_the_same_weights(diffusion, stage, trained, monkeypatch):
    _, whole = trained
    cut = stage()
    real = diffusion._Training.step

    def killed(self, *images):
        if self.steps == 5:
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
        diffusion.run(stage(lr=1e12, train_steps=10, warmup_steps=0))


def test_a_size_that_cannot_be_halved(diffusion, stage):
    with pytest.raises(StageError, match="image_size: 15 cannot be halved 1 times"):
        diffusion.run(stage(image_size=15))


def test_damaged_weights_are_refused(trained, tmp_path):
    folder = StageFolder(shutil.copytree(trained[0].folder.path, tmp_path / "copy"))
    weights = folder.path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    setting = Setting(("a",) * 10, None, np.arange(0), torch.device("cpu"), folder)
    with pytest.raises(StageError, match="is missing or damaged; delete"):
        trained_diffusion(TrainedDiffusionParams(**SETTINGS), setting)
