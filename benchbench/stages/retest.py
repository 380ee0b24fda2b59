"""The test of a network whose training is finished, on a test split that has changed since; nothing is trained."""

from __future__ import annotations

import json

import numpy as np
import safetensors.torch
import torch

from benchbench.data.loader import Loader
from benchbench.errors import StoreError
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.losses.multi_teacher import add_student_heads
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.specs.records import STAGE_RECORD, CurveRow, ExecutionRecord, TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import SplitData
from benchbench.stages.float32 import float32_of
from benchbench.stages.tested import TestedPart, tested_part, write_answers
from benchbench.stages.timer import StageTimer
from benchbench.store import StageFolder, file_sha256
from benchbench.training.answers import answers_of
from benchbench.training.finite import EmbeddingSpread, require_finite_outputs
from benchbench.training.likely_classes import LikelyClasses

TrainingContext = StageContext[TrainingSpec]
# The others train a head alone, or nothing: all of it is made again, with the same numbers.
METHODS = ("scratch", "finetune", "distill")


def can_retest(context: TrainingContext) -> bool:
    """True where a stage's folder has a finished training, whose record was set aside, and its weights.

    The cell of a search is a test from the beginning, and is made again as a whole.
    """
    trains = context.spec.method in METHODS and not context.spec.searched
    return trains and context.folder.earlier_record.exists() and context.folder.weights.exists()


def run(context: TrainingContext) -> StageResult:
    """Tests, and gives the earlier record with the new test in it.

    Raises:
        StoreError: the earlier record or its weights are damaged.
    """
    torch.set_num_threads(context.threads)
    with float32_of(context):
        return _run(context)


def _run(context: TrainingContext) -> StageResult:
    record, timer, folder = _earlier(context), StageTimer(context), context.folder
    context.meter.carry(record.cost.energy_joules)
    print("only the test images have changed: the finished training is tested again")
    with timer.section("loading"):
        data = SplitData(context)
        network = trained_network(context, record, len(data.classes))
        test = data.test()
    with timer.section("evaluation"), torch.no_grad():
        tested = test_part(network, test, context.spec.recipe.batch_size, folder)
    cost, before = timer.cost(), record.cost
    # On the devices of the training: this worker may hold another number of them.
    share = before.devices / cost.devices
    sums = {
        "seconds": _sum(before.seconds, cost.seconds),
        "alone_seconds": _sum(before.alone_seconds, cost.alone_seconds),
        "carried_seconds": 0.0,
        "earlier_seconds": before.seconds,
        "earlier_joules": before.energy_joules,
        "device_hours": before.device_hours + share * cost.device_hours,
        "alone_device_hours": before.alone_device_hours + share * cost.alone_device_hours,
    }
    changes = {"metrics": record.metrics.model_copy(update=tested), "data": data.record}
    curve: list[CurveRow] = [json.loads(line) for line in folder.curve.read_text(encoding="utf-8").splitlines()]
    return StageResult(record.model_copy(update=changes | {"cost": before.model_copy(update=sums)}), curve)


def test_part(network: ConfiguredModel, test: Loader, batch_size: int, folder: StageFolder) -> TestedPart:
    """Tests a network, and leaves its answers in a stage's folder.

    Raises:
        StageError: its logits are not finite.
    """
    parts, labels, spread, likely = [], [], EmbeddingSpread(), LikelyClasses()
    for batch in test.test_batches(batch_size):
        outputs = network(batch.images, eager=True)
        assert outputs.logits is not None
        spread.add(outputs.embedding)
        if batch.masks is None and batch.boxes is None:
            likely.add(outputs.logits)
        parts.append(answers_of(network.model, outputs, batch).cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
    answers = np.concatenate(parts)
    require_finite_outputs(answers, "test")
    write_answers(folder, answers, np.concatenate(labels), likely)
    return tested_part(answers, np.concatenate(labels), spread.measure())


def _earlier(context: TrainingContext) -> TrainingRecord:
    path = context.folder.earlier_record
    try:
        record = STAGE_RECORD.validate_json(path.read_bytes())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, TrainingRecord) or record.weights_sha256 != file_sha256(context.folder.weights):
        raise StoreError(f"{path} or the weights beside it are damaged; delete {context.folder.path} to run it again")
    return record


def trained_network(context: TrainingContext, record: TrainingRecord, classes: int) -> ConfiguredModel:
    """The trained network, run as its training ran it."""
    spec, device = context.spec, torch.device(context.device)
    model: Backbone = build_backbone(spec.model.without_weights(), spec.role, context.registry, classes)
    add_student_heads(model, spec.loss, context.registry, [teacher.dim for teacher in record.teachers])
    model.load_state_dict(safetensors.torch.load_file(context.folder.weights))
    execution = record.execution.get("student")
    config = ExecutionConfig.of(execution if isinstance(execution, ExecutionRecord) else ExecutionRecord())
    return ConfiguredModel(model.eval().to(device), config, device)


def _sum(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in (one | other)}
