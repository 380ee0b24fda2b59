"""Finished stages without the training: weights drawn at random, in the files that a worker leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import safetensors.torch
import torch

from benchbench.losses.multi_teacher import add_student_heads
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.planning.model import Plan
from benchbench.specs.records import (
    DataRecord,
    Environment,
    FrozenModelRecord,
    ModelRecord,
    TrainingMetrics,
)
from benchbench.specs.stages import TrainingSpec
from benchbench.store import StageFolder, Store, file_sha256
from tests.specs import cost_record, training_record

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


def finish(store: Store, plan: Plan, key: str) -> StageFolder:
    """Leaves spec, weights and record of one stage."""
    stage = plan.stages[key]
    spec, folder = stage.spec, store.stage(stage.kind, key)
    assert isinstance(spec, TrainingSpec)
    folder.path.mkdir(parents=True)
    torch.manual_seed(1)
    teachers = [FrozenModelRecord(parameters=11, dim=12, sha256="cd" * 32) for _ in spec.teachers]
    model = build_backbone(spec.model, spec.role, plan.registry, len(CLASSES))
    add_student_heads(model, spec.loss, plan.registry, [teacher.dim for teacher in teachers])
    settle(model, spec.recipe.image_size)
    safetensors.torch.save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder.weights)
    folder.write_spec(spec)
    record = training_record(
        metrics=TrainingMetrics(test_accuracy=0.625, test_count=800, chosen_epoch=1),
        cost=cost_record(unit="GPU-hours", device_hours=1.25),
        data=DataRecord(names=CLASSES, train=40, test=800),
        model=ModelRecord(parameters=sum(p.numel() for p in model.parameters())),
        teachers=tuple(teachers),
        weights_sha256=file_sha256(folder.weights),
        key=key,
        label=stage.label,
        environment=Environment(device="Big GPU", versions={"torch": "2.9", "timm": None}),
    )
    folder.write_record(record)
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
