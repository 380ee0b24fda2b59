"""The stage that finds out how a network runs fastest on this device."""

from __future__ import annotations

from typing import Any

import torch

from benchbench.execution.tune import TuningConstraints, tune
from benchbench.models.backbone import build_backbone
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.training.clock import Account, Clock

# How fast a network is does not depend on its weights, and hardly on the width of its head.
CLASSES = 10


def run(context: StageContext) -> dict[str, Any]:
    """Measures steps on random images; gives how the network is best run, and the seconds of a step by way."""
    job, device = context.job, torch.device(context.device)
    torch.set_num_threads(context.threads)
    clock, account = Clock(device), Account()
    with clock.section("tuning", account):
        model = build_backbone(job["model"], job["kind"], context.registry, CLASSES).to(device)
        if not job["trained"]:
            model.freeze()
        images = torch.rand(job["batch_size"], 3, job["image_size"], job["image_size"], device=device)
        execution, seconds = tune(model, images, tuning_constraints(job, context.threads))
    clock.settle()
    held = context.held if device.type == "cuda" else context.threads
    return {
        "metrics": {"execution": execution.as_json(), "step_seconds": seconds},
        "cost": cost_of(account, device, held, context.unit),
        "weights_sha256": None,
    }


def tuning_constraints(job: dict[str, Any], threads: int) -> TuningConstraints:
    """What a job's recipe leaves to the measurement."""

    def fixed(value: Any) -> bool | None:
        return None if value == "auto" else value

    return TuningConstraints(
        trained=job["trained"],
        precision=None if job["precision"] == "auto" else job["precision"],
        channels_last=fixed(job["channels_last"]),
        fold_bn=fixed(job["fold_bn"]),
        compile=fixed(job["compile"]),
        steps=job["steps"],
        threads=threads,
    )
