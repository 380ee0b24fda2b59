"""Finished stages without the training: weights drawn at random, in the files that a worker leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

from benchbench.losses.multi_teacher import add_student_heads
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.plan.keys import unwrap
from benchbench.store import StageFolder, Store, file_sha256, write_json

CLASSES = ("aeroplane", "bird <b>", "cat\n# Cat")
ARMS = {"scratch": {"method": "scratch"}}


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "runs")
    store.open()
    return store


@pytest.fixture
def trained(tmp_path, store, tiny_suite, plan_of) -> Callable[..., StageFolder]:
    """`trained("timm/resnet18", arms=...)`: the folder of the suite's last cell, whose student is that model."""

    def make(model: str | dict[str, Any], **changes: Any) -> StageFolder:
        student = {"model": model} if isinstance(model, str) else model
        changes = {"seeds": [7], "arms": ARMS, "teachers": None} | changes
        plan = plan_of(tiny_suite(tmp_path / "suite", students={"mine": student}, **changes))
        return finish(store, plan, plan.cells[-1].stage)

    return make


def finish(store: Store, plan: Any, key: str) -> StageFolder:
    """Leaves spec, weights and record of one stage."""
    stage, registry = plan.stages[key], plan.host.registry
    folder = store.stage(stage.kind, key)
    folder.path.mkdir(parents=True)
    torch.manual_seed(1)
    job = unwrap(stage.job)
    teachers = [{"parameters": 11, "dim": 12, "sha256": "cd" * 32} for _ in job["teachers"]]
    model = build_backbone(job["model"], job["model_kind"], registry, len(CLASSES))
    add_student_heads(model, job["loss"], registry, [teacher["dim"] for teacher in teachers])
    settle(model, job["recipe"]["image_size"])
    safetensors.torch.save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder.weights)
    write_json(folder.spec, {"kind": stage.kind, "key": key, "label": stage.label, "job": stage.job})
    record = {
        "metrics": {"test_accuracy": 0.625, "test_count": 800, "chosen_epoch": 1, "validation_accuracy": None},
        "cost": {"devices": 1, "unit": "GPU-hours", "device_hours": 1.25, "seconds": {}},
        "data": {"names": CLASSES, "train": 40, "validation": 0, "test": 800},
        "model": {"parameters": sum(p.numel() for p in model.parameters())},
        "teachers": teachers,
        "weights_sha256": file_sha256(folder.weights),
        "key": key,
        "label": stage.label,
        "environment": {"device": "Big GPU", "versions": {"torch": "2.9", "timm": None}},
    }
    write_json(folder.record, record)
    return folder


def settle(model: Backbone, size: int) -> None:
    """Running statistics and biases as training leaves them, so that logits depend on the image."""
    for part in model.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0
    for tensor in model.trunk.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.05 * torch.rand_like(tensor))
    with torch.no_grad():
        model.train()(torch.rand(8, 3, size, size))
