"""Folding of a frozen network's batch normalisation into the convolution before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchbench.execution.agreement import ROUNDING, deviation
from benchbench.execution.tf32 import tf32_convolutions
from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


@torch.no_grad()
def fold_batch_norm(model: Backbone, images: Tensor) -> int:
    """Folds every batch normalisation that normalises one convolution's output alone; gives their number.

    The convolution before each normalisation is found in a forward pass, so that any library's network will do. The
    modules stay where they are: a folded normalisation only passes its input on (to its activation, where the library
    has made the two one module), so that code that holds a reference to it, such as that which collects feature maps,
    gets the same values as before.

    A forward pass does not show all of a network: weights may be used by other code, or computed anew in every pass.
    So its outputs are compared before and after, and where they differ nothing is folded.

    Args:
        model: frozen, in eval mode; changed in place.
        images: a batch to run it on [B, 3, H, W], in 0..1.
    """
    pairs = _pairs(model, images)
    if not pairs:
        return 0
    with tf32_convolutions(images.device, allowed=False):
        expected = _outputs(model, images)
        kept = [_fold(convolution, norm) for convolution, norm in pairs]
        moved = max(deviation(*each) for each in zip(_outputs(model, images), expected, strict=True))
    if moved <= ROUNDING:
        return len(pairs)
    for each in kept:
        _unfold(each)
    return 0


class _Folded(NamedTuple):
    """A folded pair, with the weight and bias that its convolution had."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    weight: Tensor
    bias: Tensor | None


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> _Folded:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    before = _Folded(convolution, norm, convolution.weight.clone(), convolution.bias)
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    convolution.weight.copy_(weight)
    convolution.bias = nn.Parameter(bias, requires_grad=False)
    norm.forward = MethodType(_pass_on, norm)  # type: ignore[method-assign]
    return before


def _unfold(pair: _Folded) -> None:
    pair.convolution.weight.copy_(pair.weight)
    pair.convolution.bias = pair.bias
    del pair.norm.forward


def _outputs(model: Backbone, images: Tensor) -> tuple[Outputs, Outputs]:
    """Those without and with maps, which may be two pieces of code."""
    return model(images), model(images, features=True)


def _pass_on(norm: Any, images: Tensor) -> Tensor:
    """The forward pass of a folded normalisation: timm's are one module with dropout and activation."""
    for name in ("drop", "act"):
        if isinstance(part := getattr(norm, name, None), nn.Module):
            images = part(images)
    return images


def _pairs(model: Backbone, images: Tensor) -> list[Pair]:
    """Convolutions with the normalisation that directly follows; both are used once in a forward pass.

    Nothing but the normalisation reads the convolution's output, which is another one once it is folded.
    """
    convolutions: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds the outputs, so that no memory is used twice
    calls: Counter[nn.Module] = Counter()
    pairs: list[Pair] = []
    reads = _Reads()

    def convolved(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        calls[module] += 1
        convolutions[_memory(output)] = (module, output)
        reads.memories.discard(_memory(output))  # what stood there before

    def normalising(_module: nn.Module, _inputs: Any) -> None:
        reads.counts = False

    def normalised(module: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        reads.counts = True
        calls[module] += 1
        convolution, output = convolutions.get(_memory(inputs[0]), (None, None))
        if convolution is not None and output is inputs[0]:
            pairs.append((convolution, module))

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(convolved))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats and not module.training:
            hooks += [module.register_forward_pre_hook(normalising), module.register_forward_hook(normalised)]
    try:
        with reads:
            outputs = model(images, features=True)
    finally:
        for hook in hooks:
            hook.remove()
    read = reads.memories.union(*(_memories(each) for each in outputs.tensors()))
    elsewhere = {convolution for memory, (convolution, _) in convolutions.items() if memory in read}
    owners = Counter(convolution for convolution, _ in pairs)
    return [
        (convolution, norm)
        for convolution, norm in pairs
        if calls[convolution] == calls[norm] == owners[convolution] == 1 and convolution not in elsewhere
    ]


class _Reads(TorchDispatchMode):
    """The tensors that operations read, by their memory.

    Attributes:
        memories: of them.
        counts: False within a batch normalisation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memories: set[int] = set()
        self.counts = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.counts:
            self.memories.update(*(_memories(leaf) for leaf in tree_leaves((args, kwargs))))
        return func(*args, **(kwargs or {}))


def _memories(value: object) -> Iterator[int]:
    if isinstance(value, Tensor) and value.layout == torch.strided:
        yield _memory(value)


def _memory(tensor: Tensor) -> int:
    """The address of a tensor's memory, which its views have in common."""
    return tensor.untyped_storage().data_ptr()
