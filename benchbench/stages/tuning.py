"""The stage that measures which way of running a network is fastest on this device."""

from __future__ import annotations

import torch

from benchbench.execution.tune import TuningConstraints, tune
from benchbench.models.build import build_backbone
from benchbench.specs.parts import Choice
from benchbench.specs.records import TuningMetrics, TuningRecord
from benchbench.specs.stages import CalibrationSpec, TuningSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.float32 import float32_of
from benchbench.stages.timer import StageTimer

# A network's speed does not depend on its weights, and hardly on the width of its head.
CLASSES = 10


def run(context: StageContext[TuningSpec]) -> StageResult:
    """Measures steps on random images; gives the fastest execution, and the seconds of one step by way."""
    spec, timer = context.spec, StageTimer(context)
    torch.set_num_threads(context.threads)
    with timer.section("tuning"), float32_of(context):
        model = build_backbone(spec.model, spec.role, context.registry, CLASSES).to(timer.device)
        if not spec.trained:
            model.freeze()
        images = torch.rand(spec.batch_size, spec.model.channels, spec.image_size, spec.image_size, device=timer.device)
        constraints = tuning_constraints(spec, spec.trained, spec.steps, context.threads)
        execution, seconds = tune(model, images, constraints)
    metrics = TuningMetrics(execution=execution.record(), step_seconds=seconds)
    return StageResult(TuningRecord(metrics=metrics, cost=timer.cost()))


def tuning_constraints(
    spec: TuningSpec | CalibrationSpec, trained: bool, steps: int, threads: int
) -> TuningConstraints:
    """The choices that a spec leaves to the measurement; arguments as the attributes of `TuningConstraints`."""

    def fixed(choice: Choice) -> bool | None:
        return None if choice == "auto" else choice

    return TuningConstraints(
        trained=trained,
        precision=None if spec.precision == "auto" else spec.precision,
        channels_last=fixed(spec.channels_last),
        fold_bn=fixed(spec.fold_bn),
        compile=fixed(spec.compile),
        steps=steps,
        threads=threads,
    )
