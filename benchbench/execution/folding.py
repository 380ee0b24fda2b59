"""Folding of a frozen network's batch normalisation into the convolution before it."""

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
    """Folds every batch normalisation that normalises one convolution's output alone; gives their number.

    The convolution before each normalisation is found in a forward pass, so that any library's network will do. The
    modules stay where they are: a folded normalisation only passes its input on (to its activation, where the library
    has made the two one module), so that code that holds a reference to it, such as that which collects feature maps,
    gets the same values as before.

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
    """The forward pass of a folded normalisation: timm's are one module with dropout and activation."""
    for name in ("drop", "act"):
        if isinstance(part := getattr(norm, name, None), nn.Module):
            images = part(images)
    return images


def _pairs(model: Backbone, images: Tensor) -> list[Pair]:
    """Convolutions with the normalisation that directly follows; both are used once in a forward pass."""
    convolutions: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds the outputs, so that no id is used twice
    calls: Counter[nn.Module] = Counter()
    pairs: list[Pair] = []

    def convolved(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        calls[module] += 1
        convolutions[id(output)] = (module, output)

    def normalised(module: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        calls[module] += 1
        if id(inputs[0]) in convolutions:
            pairs.append((convolutions[id(inputs[0])][0], module))

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
    owners = Counter(convolution for convolution, _ in pairs)
    return [
        (convolution, norm)
        for convolution, norm in pairs
        if calls[convolution] == calls[norm] == owners[convolution] == 1
    ]
