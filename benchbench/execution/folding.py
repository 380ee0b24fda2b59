"""Batch normalisation of a frozen network becomes part of the convolution before it."""

from __future__ import annotations

from collections import Counter
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from benchbench.models.backbone import Backbone

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@torch.no_grad()
def fold_batch_norm(model: Backbone, images: Tensor) -> int:
    """Folds every batch normalisation that normalises one convolution's output alone; gives how many it folded.

    Which convolution loaders which normalisation is seen in a forward pass, so that any library's network will do. The
    modules stay where they are: a folded normalisation only passes its input on (to its activation, where the library
    has made the two one module), so that whoever holds a reference to it, as code that collects feature maps does,
    sees the same values as before.

    Args:
        model: frozen, in eval mode; changed in place.
        images: a batch to run it on [B, 3, H, W], in 0..1.
    """
    pairs = _pairs(model, images)
    for convolution, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.weight.copy_(weight)
        convolution.bias = nn.Parameter(bias, requires_grad=False)
        norm.forward = MethodType(_pass_on, norm)  # type: ignore[method-assign]
    return len(pairs)


def _pass_on(norm: Any, images: Tensor) -> Tensor:
    """What is left of a folded normalisation: timm's are one module with dropout and activation."""
    for name in ("drop", "act"):
        if isinstance(part := getattr(norm, name, None), nn.Module):
            images = part(images)
    return images


def _pairs(model: Backbone, images: Tensor) -> list[Pair]:
    """Convolutions with the normalisation that directly follows; both are used once in a forward pass."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds the outputs, so that no id is used twice
    calls: Counter[nn.Module] = Counter()
    found: list[Pair] = []

    def convolved(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        calls[module] += 1
        made[id(output)] = (module, output)

    def normalised(module: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        calls[module] += 1
        if id(inputs[0]) in made:
            found.append((made[id(inputs[0])][0], module))

    hooks = [
        module.register_forward_hook(convolved if isinstance(module, nn.Conv2d) else normalised)
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
        or (isinstance(module, nn.BatchNorm2d) and module.track_running_stats and not module.training)
    ]
    try:
        model(images, features=True)
    finally:
        for hook in hooks:
            hook.remove()
    owners = Counter(convolution for convolution, _ in found)
    return [
        (convolution, norm)
        for convolution, norm in found
        if calls[convolution] == calls[norm] == owners[convolution] == 1
    ]
