"""The stage that measures the throughput of a network's pre-training on this device."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from benchbench.errors import clear_frames, is_out_of_memory
from benchbench.execution.network import ConfiguredModel
from benchbench.execution.timing import GraphedSteps, Step
from benchbench.execution.tune import tune
from benchbench.hardware.accelerator import synchronize
from benchbench.hardware.memory import free_memory
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.specs.records import CalibrationMetrics, CalibrationRecord, Progress
from benchbench.specs.stages import CalibrationSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.float32 import fixed_execution, float32_of
from benchbench.stages.timer import StageTimer
from benchbench.stages.tuning import tuning_constraints

# A full training step costs the same whatever the images show; ImageNet's classes set the head's width.
CLASSES = 1000
MEASURED_SECONDS = 5.0
CPU_BATCH = 16
# Fewer would leave most of a large GPU idle; the first that fits into memory is taken.
GPU_BATCHES = (256, 128, 64, 32, 16)
# A GPU's steps are timed so many at once.
GPU_STEPS = 5


class StepTime(NamedTuple):
    """Seconds of one step: of the wall clock, and of this process's processors, over the threads that it ran on."""

    wall: float
    processor: float


def run(context: StageContext[CalibrationSpec]) -> StageResult:
    """Times full training steps on random images at the pre-training resolution; gives images per second.

    Neighbours on the machine make steps slower and never faster, so that the fastest quarter of the steps counts. On a
    CPU it is processor time over threads that counts: the seconds of a step whose threads never wait, for a core or for
    one another. The threads are those that a training of this network runs on, and the cost is of as many devices.
    """
    timer = StageTimer(context)
    torch.set_num_threads(context.threads)
    with timer.section("calibration"), float32_of(context):
        times, batch_size = _step_seconds(context, timer.device)
    on_cpu = timer.device.type == "cpu"
    seconds = [each.processor if on_cpu else each.wall for each in times]
    quartile, median, _ = statistics.quantiles(seconds, n=4)
    metrics = CalibrationMetrics(
        images_per_second=batch_size / quartile,
        images_per_second_range=(batch_size / median, batch_size / min(seconds)),
        clock="processor" if on_cpu else "wall",
        wall_images_per_second=batch_size / statistics.median(each.wall for each in times),
        steps=len(times),
        batch_size=batch_size,
    )
    return StageResult(CalibrationRecord(metrics=metrics, cost=timer.cost()))


def _step_seconds(context: StageContext[CalibrationSpec], device: torch.device) -> tuple[list[StepTime], int]:
    """Seconds of full training steps, and their batch size: the largest that fits into memory."""
    if device.type != "cuda":
        return _steps(context, device, CPU_BATCH), CPU_BATCH
    for batch_size in GPU_BATCHES:
        try:
            return _steps(context, device, batch_size), batch_size
        except RuntimeError as error:
            if not is_out_of_memory(error) or batch_size == GPU_BATCHES[-1]:
                raise
            clear_frames(error)
        print(f"{batch_size} images do not fit into memory")
        free_memory(context.device)
    raise AssertionError("the last one returns or raises")


def _steps(context: StageContext[CalibrationSpec], device: torch.device, batch_size: int) -> list[StepTime]:
    """Seconds of full training steps, run in the way that is fastest here."""
    spec, size = context.spec, context.spec.image_size
    model = build_backbone(spec.model, spec.role, context.registry, CLASSES).to(device)
    images = torch.rand(batch_size, 3, size, size, device=device)
    labels = torch.randint(CLASSES, (batch_size,), device=device)
    network = _network(context, model, images)
    torch.set_num_threads(network.config.threads or context.threads)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, capturable=device.type == "cuda")
    model.train()

    def step() -> None:
        logits = network(images).logits
        assert logits is not None
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return _timed(context, device, step)


def _timed(context: StageContext[CalibrationSpec], device: torch.device, step: Step) -> list[StepTime]:
    """Seconds of a step, of several in a row on a GPU, whose host runs ahead of it."""
    count = 1
    if device.type == "cuda":
        step, count = GraphedSteps(device)(step) if context.spec.compile is not False else step, GPU_STEPS
    _seconds(step, device, count)  # allocations and kernel choices happen once
    times: list[StepTime] = []
    done = 0.0
    while len(times) < 3 or done < MEASURED_SECONDS:
        times.append(_seconds(step, device, count))
        done += times[-1].wall * count
        context.report(Progress(done=min(done, MEASURED_SECONDS), total=MEASURED_SECONDS))
    return times


def _seconds(step: Step, device: torch.device, count: int) -> StepTime:
    """The time of one step, the mean of several in a row."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        step()
    synchronize(device)
    seconds = time.perf_counter() - wall, time.process_time() - processor
    return StepTime(seconds[0] / count, seconds[1] / count / torch.get_num_threads())


def _network(context: StageContext[CalibrationSpec], model: Backbone, images: Tensor) -> ConfiguredModel:
    spec = context.spec
    config = fixed_execution(spec.precision, spec.channels_last)
    if spec.precision != "exact":
        # On a CPU the best way does not depend on the number of images, and these are slow; on a GPU it does.
        constraints = tuning_constraints(spec, trained=True, steps=0, threads=context.threads)
        config, _ = tune(model, images if images.device.type == "cuda" else images[:4], constraints)
    return ConfiguredModel(model, config, images.device)
