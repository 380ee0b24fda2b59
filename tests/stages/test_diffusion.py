"""Training a small diffusion model: it learns, resumes with the same weights, and what it leaves generates."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchbench.errors import StageError
from benchbench.plugins import load_plugins
from benchbench.stages import diffusion
from benchbench.stages.context import StageContext
from benchbench.store import StageFolder, write_json
from benchbench.synthesis import TrainedDiffusionParams
from benchbench.synthesis.base import GenerationRequest, Setting
from benchbench.synthesis.pixels import TrainedDiffusion

HOW = {"image_size": 16, "channels": [16, 16], "train_steps": 12, "train_batch_size": 8, "warmup_steps": 2}


@pytest.fixture
def stage(tmp_path):
    registry = load_plugins().registry

    def make(name: str = "stage", **changes) -> StageContext:
        params = TrainedDiffusionParams(**{**HOW, **changes}).model_dump(mode="json")
        trained = {key: value for key, value in params.items() if key in TrainedDiffusionParams.training}
        source = {"source": {"name": "cifar10_subset", "params": {}}, "fraction": None, "per_class": 4}
        folder = StageFolder(tmp_path / name)
        folder.path.mkdir(exist_ok=True)
        return StageContext(
            job={
                "data": source | {"subset_seed": 0, "validation": 0.0},
                "generator": {"name": "trained_diffusion", "params": trained},
                "seed": 0,
            },
            folder=folder,
            needs={},
            registry=registry,
            device="cpu",
            threads=1,
            held=1,
            unit="CPU-hours",
            data_root=tmp_path,
            checkpoint_seconds=1e9,
            report=lambda progress: None,
        )

    return make


def finish(context: StageContext) -> dict:
    record = diffusion.run(context)
    write_json(context.folder.record, record)
    return record


def test_a_record_and_a_pipeline_that_generates(stage):
    context = stage()
    record = finish(context)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["metrics"]["steps"], record["metrics"]["images"]) == (12, 40)
    assert record["curve"][-1]["step"] == 12
    setting = Setting(("a",) * 10, None, np.arange(0), torch.device("cpu"), context.folder)
    for scheduler in ("ddim", "dpm-solver++"):
        params = TrainedDiffusionParams(**HOW, steps=3, guidance=2.0, scheduler=scheduler)
        made = TrainedDiffusion(params, setting)
        requests = [GenerationRequest(label, 0, label) for label in (0, 9)]
        images = made.generate(requests)
        assert {image.shape for image in images} == {(16, 16, 3)}
        assert np.allclose(made.generate(requests[1:])[0], images[1], atol=1e-4)


def test_it_learns(stage):
    curve = finish(stage(train_steps=120, lr=2e-3, flip=False, class_dropout=0.0))["curve"]
    assert np.mean([row["loss"] for row in curve[-5:]]) < 0.4 * curve[0]["loss"]


def test_a_resumed_run_ends_with_the_same_weights(stage, monkeypatch):
    whole = finish(stage("whole"))
    cut = stage("cut")
    taken = diffusion._Training.take

    def killed(self, *images):
        if self.step == 7:
            raise KeyboardInterrupt
        taken(self, *images)

    monkeypatch.setattr(diffusion._Training, "take", killed)
    with pytest.raises(KeyboardInterrupt):
        diffusion.run(StageContext(**{**vars(cut), "checkpoint_seconds": 0.0}))
    monkeypatch.setattr(diffusion._Training, "take", taken)
    record = finish(cut)
    assert record["weights_sha256"] == whole["weights_sha256"]
    assert record["curve"] == whole["curve"]
    assert record["cost"]["carried_seconds"] > 0


def test_a_loss_that_is_no_number_is_named(stage):
    with pytest.raises(StageError, match="loss is nan by step"):
        diffusion.run(stage(lr=1e12, train_steps=40, warmup_steps=0))


def test_a_size_that_cannot_be_halved(stage):
    with pytest.raises(StageError, match="image_size: 15 cannot be halved 1 times"):
        diffusion.run(stage(image_size=15))


def test_damaged_weights_are_refused(stage):
    context = stage()
    finish(context)
    weights = context.folder.path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + bytes(8))
    setting = Setting(("a",) * 10, None, np.arange(0), torch.device("cpu"), context.folder)
    with pytest.raises(StageError, match="is missing or damaged; delete"):
        TrainedDiffusion(TrainedDiffusionParams(**HOW), setting)
