"""The optimiser and its rate, as a function of the step alone: there is no scheduler state to restore."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.errors import StageError, did_you_mean, one_line
from benchbench.models.backbone import Backbone
from benchbench.specs.parts import RecipeSpec
from benchbench.training.dot import DistillationOriented

# Their steps are one kernel, and have always been these.
FUSED = ("adamw", "sgd")
# Those of torch whose steps repeat as a CUDA graph with a rate on the device, by `capturable`.
CAPTURABLE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax)
Group = dict[str, Any]


def make_optimizer(model: Backbone, losses: nn.Module, recipe: RecipeSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser over all that trains: trunk and losses' parts at `lr`, the task head at `head_lr`.

    Raises:
        StageError: there is none of that name, it does not take its parameters, or the layers of a network whose rates
            are to differ are not known.
    """
    heads = [part for part in (model.head, model.token_head) if part is not None]
    head = [p for part in heads for p in part.parameters() if p.requires_grad]
    groups = [
        *_trunk_groups(model.trunk, recipe),
        {"params": head, "base_lr": recipe.head_lr or recipe.lr},
        {"params": [p for p in losses.parameters() if p.requires_grad], "base_lr": recipe.lr},
    ]
    groups = [group for group in groups if group["params"]]
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    return build_optimizer(recipe, groups, on_gpu)


def _trunk_groups(trunk: nn.Module, recipe: RecipeSpec) -> list[Group]:
    """The trunk's parameters; with `layer_decay` d, layer i below the classifier has the rate lr d^i.

    Source: Clark et al. 2020, "ELECTRA" (arXiv 2003.10555), appendix A; the layers are those of timm.
    """
    trained = {name: parameter for name, parameter in trunk.named_parameters() if parameter.requires_grad}
    decay = recipe.layer_decay
    if decay is None or not trained:
        return [{"params": [*trained.values()], "base_lr": recipe.lr}]
    layers = layers_of(trunk)
    top = max(layers.values()) + 1
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        groups.setdefault(layers[name], []).append(parameter)
    return [{"params": each, "base_lr": recipe.lr * decay ** (top - layer)} for layer, each in sorted(groups.items())]


def layers_of(trunk: nn.Module) -> dict[str, int]:
    """The number of the layer, from 0 at the images, of every parameter of a network, by its name.

    Raises:
        StageError: the network does not know its layers.
    """
    matcher = getattr(trunk, "group_matcher", None)
    if matcher is None:
        raise StageError("`layer_decay` needs a network that knows its layers, as those of timm do; take it out")
    from timm.models import group_parameters

    layers: dict[str, int] = group_parameters(trunk, matcher(coarse=False), reverse=True)
    return layers


def build_optimizer(recipe: RecipeSpec, groups: list[Group], on_gpu: bool) -> torch.optim.Optimizer:
    """The recipe's optimiser.

    Args:
        recipe: with its name and parameters.
        groups: of parameters.
        on_gpu: whether these are on one.

    Raises:
        StageError: there is none of that name, or it does not take its parameters.
    """
    # Fused: one kernel for all tensors; a small model's step otherwise spends a good part of its time in the optimiser.
    lr, decay, name = recipe.lr, recipe.weight_decay, recipe.optimizer
    options: Group = {
        key: tuple(value) if isinstance(value, list) else value for key, value in recipe.optimizer_params.items()
    }
    if recipe.dot is not None:
        return DistillationOriented(groups, lr, recipe.momentum, recipe.dot, decay)
    source, _, short = name.rpartition("/")
    try:
        if name in FUSED:
            _check_names(name, torch.optim.SGD if name == "sgd" else torch.optim.AdamW, options)
        if name == "sgd":
            return _started(
                torch.optim.SGD(groups, lr, momentum=recipe.momentum, weight_decay=decay, fused=True, **options)
            )
        if name == "adamw":
            return torch.optim.AdamW(groups, lr, weight_decay=decay, fused=True, capturable=on_gpu, **options)
        kind = _optimizer_class(source, short)
        _check_names(name, kind, options)
        if on_gpu and kind in CAPTURABLE:
            options["capturable"] = True
        if source == "torch":
            own = {"momentum": recipe.momentum, "weight_decay": decay}
            accepted = inspect.signature(kind).parameters
            return kind(groups, lr=lr, **{key: value for key, value in own.items() if key in accepted} | options)
        from timm.optim import create_optimizer_v2

        return create_optimizer_v2(groups, short, lr=lr, weight_decay=decay, momentum=recipe.momentum, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError, ImportError) as error:
        raise StageError(f"optimizer {name}: {one_line(error)}") from error


def _started(optimizer: torch.optim.SGD) -> torch.optim.SGD:
    """With a momentum of 0, from which the first step makes the gradient, as without one.

    The fused step cannot make one for some parameters alone, such as parts of a loss that get no gradient at first.
    """
    for group in optimizer.param_groups:
        if group["momentum"] and not group["dampening"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _optimizer_class(source: str, name: str) -> Any:
    """A class of torch, or one of timm's list.

    Raises:
        StageError: there is none of that name.
    """
    if source == "torch":
        kinds = {each.lower(): kind for each, kind in vars(torch.optim).items() if _is_optimizer(kind)}
        if name.lower() not in kinds:
            raise StageError(f"torch.optim has no '{name}'; {did_you_mean(name.lower(), kinds)}")
        return kinds[name.lower()]
    from timm.optim import get_optimizer_class, list_optimizers

    if name not in list_optimizers():
        known = [*map(str, list_optimizers()), *FUSED]
        raise StageError(f"timm has no optimizer '{name}'; {did_you_mean(name, known)}")
    kind: Any = get_optimizer_class(name, bind_defaults=False)
    return kind


def _check_names(name: str, kind: Any, options: Group) -> None:
    accepted = {key for key in inspect.signature(kind).parameters if key != "params"}
    for key in options.keys() - accepted:
        raise StageError(f"optimizer {name} has no parameter '{key}'; {did_you_mean(key, accepted)}")


def _is_optimizer(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer


def is_capturable(optimizer: torch.optim.Optimizer, name: str) -> bool:
    """True where the steps of a recipe's optimiser, of some name, can run as a CUDA graph."""
    return name in FUSED or type(optimizer) in CAPTURABLE


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
