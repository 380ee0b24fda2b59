"""The stage that measures how fast a student's pre-training would run on this device."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch.nn import functional as F

from benchbench.models.backbone import build_backbone
from benchbench.stages.context import StageContext

# A full training step costs the same whatever the images show; ImageNet's classes set the head's width.
CLASSES = 1000
MEASURED_SECONDS = 4.0


def run(context: StageContext) -> dict[str, Any]:
    """Times full training steps on random images at the pre-training resolution; gives images a second."""
    started = time.perf_counter()
    job, device = context.job, torch.device(context.device)
    torch.set_num_threads(context.threads)
    layout = torch.channels_last if job["channels_last"] else torch.contiguous_format
    model = build_backbone(job["model"], "student", context.registry, CLASSES)
    model.to(device).to(memory_format=layout)
    batch, size = (64 if device.type == "cuda" else 16), job["image_size"]
    images = torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=layout)
    labels = torch.randint(CLASSES, (batch,), device=device)
    optimizer = torch.optim.AdamW(model.parameters())
    precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(job["precision"])

    def step() -> float:
        begun = time.perf_counter()
        with torch.autocast(device.type, precision or torch.bfloat16, enabled=precision is not None):
            logits = model(images).logits
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
    low, middle, high = statistics.quantiles(times, n=4)
    seconds = {"calibration": time.perf_counter() - started}
    return {
        "metrics": {
            "images_per_second": batch / middle,
            "images_per_second_quartiles": [batch / high, batch / low],
            "steps": len(times),
            "batch_size": batch,
        },
        "cost": {
            "seconds": seconds,
            "devices": context.held,
            "unit": context.unit,
            "device_hours": seconds["calibration"] * context.held / 3600,
        },
        "weights_sha256": None,
    }
