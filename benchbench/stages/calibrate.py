"""The stage that measures the throughput of a network's pre-training on this device."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.execution.network import ConfiguredModel
from benchbench.execution.tune import tune
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.specs.records import CalibrationMetrics, CalibrationRecord, Progress
from benchbench.specs.stages import CalibrationSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.networks import fixed_execution
from benchbench.stages.timer import StageTimer
from benchbench.stages.tuning import tuning_constraints

# A full training step costs the same whatever the images show; ImageNet's classes set the head's width.
CLASSES = 1000
MEASURED_SECONDS = 4.0


def run(context: StageContext[CalibrationSpec]) -> StageResult:
    """Times full training steps on random images at the pre-training resolution; gives images per second."""
    timer = StageTimer(context)
    torch.set_num_threads(context.threads)
    with timer.section("calibration"):
        seconds, batch_size = _step_seconds(context, timer.device)
    low, middle, high = statistics.quantiles(seconds, n=4)
    metrics = CalibrationMetrics(
        images_per_second=batch_size / middle,
        images_per_second_quartiles=(batch_size / high, batch_size / low),
        steps=len(seconds),
        batch_size=batch_size,
    )
    return StageResult(CalibrationRecord(metrics=metrics, cost=timer.cost()))


def _step_seconds(context: StageContext[CalibrationSpec], device: torch.device) -> tuple[list[float], int]:
    """Seconds of full training steps, run in the way that is fastest here; and the batch size."""
    spec = context.spec
    model = build_backbone(spec.model, spec.role, context.registry, CLASSES).to(device)
    batch_size, size = (64 if device.type == "cuda" else 16), spec.image_size
    images = torch.rand(batch_size, 3, size, size, device=device)
    labels = torch.randint(CLASSES, (batch_size,), device=device)
    network, optimizer = _network(context, model, images), torch.optim.AdamW(model.parameters(), fused=True)
    model.train()
    _timed_step(network, optimizer, images, labels)  # allocations and kernel choices happen once
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < MEASURED_SECONDS:
        seconds.append(_timed_step(network, optimizer, images, labels))
        context.report(Progress(done=min(sum(seconds), MEASURED_SECONDS), total=MEASURED_SECONDS))
    return seconds, batch_size


def _network(context: StageContext[CalibrationSpec], model: Backbone, images: Tensor) -> ConfiguredModel:
    spec = context.spec
    config = fixed_execution(spec.precision, spec.channels_last)
    if spec.precision != "exact":
        # Images of this size are slow, and the best way to run them does not depend on their number.
        constraints = tuning_constraints(spec, trained=True, steps=0, threads=context.threads)
        config, _ = tune(model, images[:4], constraints)
    return ConfiguredModel(model, config, images.device)


def _timed_step(network: ConfiguredModel, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    """Seconds of one full training step."""
    start = time.perf_counter()
    logits = network(images).logits
    assert logits is not None
    loss = F.cross_entropy(logits.float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start
