"""The optimiser and its rate, as a function of the step alone: there is no scheduler state to restore."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from benchbench.models.backbone import Backbone


def make_optimizer(model: Backbone, losses: nn.Module, recipe: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The recipe's optimiser over what trains: trunk and losses' parts at `lr`, the task head at `head_lr`."""
    heads = [part for part in (model.head, model.token_head) if part is not None]
    head = [p for part in heads for p in part.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in model.trunk.parameters() if p.requires_grad], "base_lr": recipe["lr"]},
        {"params": head, "base_lr": recipe["head_lr"] or recipe["lr"]},
        {"params": [p for p in losses.parameters() if p.requires_grad], "base_lr": recipe["lr"]},
    ]
    groups = [group for group in groups if group["params"]]
    # Fused: one kernel for all tensors; a small model's step otherwise spends a good part of its time in the optimiser.
    options = {"lr": recipe["lr"], "weight_decay": recipe["weight_decay"], "fused": True}
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(groups, momentum=recipe["momentum"], **options)
    return torch.optim.AdamW(groups, **options)


def rate_factor(recipe: Mapping[str, Any], epoch: float) -> float:
    """What the base rates are multiplied by.

    Args:
        recipe: schedule, epochs, warmup_epochs, milestones, gamma.
        epoch: epochs done so far, with the part of the current one.
    """
    warmup = recipe["warmup_epochs"]
    if epoch < warmup:
        return (epoch + 1e-8) / warmup
    if recipe["schedule"] == "cosine":
        progress = (epoch - warmup) / max(recipe["epochs"] - warmup, 1e-8)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    if recipe["schedule"] == "step":
        return recipe["gamma"] ** sum(epoch >= milestone for milestone in recipe["milestones"])
    return 1.0


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
