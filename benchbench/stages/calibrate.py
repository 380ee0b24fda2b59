"""The stage that measures how fast a network's pre-training would run on this device."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch.nn import functional as F

from benchbench.execution.network import ConfiguredModel
from benchbench.execution.tune import tune
from benchbench.models.backbone import build_backbone
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.stages.tuning import tuning_constraints
from benchbench.training.clock import Account, Clock
from benchbench.training.loop import fixed_execution

# A full training step costs the same whatever the images show; ImageNet's classes set the head's width.
CLASSES = 1000
MEASURED_SECONDS = 4.0


def run(context: StageContext) -> dict[str, Any]:
    """Times full training steps on random images at the pre-training resolution; gives images a second."""
    device = torch.device(context.device)
    torch.set_num_threads(context.threads)
    clock, account = Clock(device), Account()
    with clock.section("calibration", account):
        times, batch = _measure(context, device)
    clock.settle()
    low, middle, high = statistics.quantiles(times, n=4)
    return {
        "metrics": {
            "images_per_second": batch / middle,
            "images_per_second_quartiles": [batch / high, batch / low],
            "steps": len(times),
            "batch_size": batch,
        },
        "cost": cost_of(account, device, context.held, context.unit),
        "weights_sha256": None,
    }


def _measure(context: StageContext, device: torch.device) -> tuple[list[float], int]:
    """Seconds of full training steps, run in the way that is fastest here; and the batch size."""
    job = context.job
    model = build_backbone(job["model"], job["kind"], context.registry, CLASSES).to(device)
    batch, size = (64 if device.type == "cuda" else 16), job["image_size"]
    images, labels = torch.rand(batch, 3, size, size, device=device), torch.randint(CLASSES, (batch,), device=device)
    how = fixed_execution(job)
    if job["precision"] != "exact":
        # Images of this size are slow, and how they are best run does not depend on their number.
        how, _ = tune(model, images[:4], tuning_constraints({**job, "trained": True, "steps": 0}, context.threads))
    network, optimizer = ConfiguredModel(model, how, device), torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> float:
        begun = time.perf_counter()
        logits = network(images).logits
        assert logits is not None
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    model.train()
    step()  # allocations and kernel choices happen once
    times: list[float] = []
    while len(times) < 3 or sum(times) < MEASURED_SECONDS:
        times.append(step())
        context.report({"done": min(sum(times), MEASURED_SECONDS), "total": MEASURED_SECONDS})
    return times, batch
