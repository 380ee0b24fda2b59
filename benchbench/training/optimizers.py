"""The optimiser and its rate, as a function of the step alone: there is no scheduler state to restore."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchbench.models.backbone import Backbone
from benchbench.specs.parts import RecipeSpec
from benchbench.training.dot import DistillationOriented


def make_optimizer(model: Backbone, losses: nn.Module, recipe: RecipeSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser over all that trains: trunk and losses' parts at `lr`, the task head at `head_lr`."""
    heads = [part for part in (model.head, model.token_head) if part is not None]
    head = [p for part in heads for p in part.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in model.trunk.parameters() if p.requires_grad], "base_lr": recipe.lr},
        {"params": head, "base_lr": recipe.head_lr or recipe.lr},
        {"params": [p for p in losses.parameters() if p.requires_grad], "base_lr": recipe.lr},
    ]
    groups = [group for group in groups if group["params"]]
    # Fused: one kernel for all tensors; a small model's step otherwise spends a good part of its time in the optimiser.
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.dot is not None:
        return DistillationOriented(groups, lr, recipe.momentum, recipe.dot, decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, momentum=recipe.momentum, weight_decay=decay, fused=True)
    capturable = any(parameter.is_cuda for parameter in model.parameters())
    return torch.optim.AdamW(groups, lr, weight_decay=decay, fused=True, capturable=capturable)


def rates_on(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Keeps the rates on a GPU, where a step that runs as a CUDA graph reads them."""
    if device.type == "cuda":
        for group in optimizer.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)


def rate_factor(recipe: RecipeSpec, epoch: float) -> float:
    """The factor of the base rates, by schedule and warm-up; `epoch` counts the part of the current one too."""
    if epoch < recipe.warmup_epochs:
        return (epoch + 1e-8) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        progress = (epoch - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-8)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    if recipe.schedule == "step":
        return recipe.gamma ** sum(epoch >= milestone for milestone in recipe.milestones)
    return 1.0


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        rate = group["base_lr"] * factor
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
