"""Networks that are built without memory: they have shapes and no numbers. Imports torch only when it is called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


def build_without_memory(build: Callable[[], Any]) -> Any:
    """Builds a network on the meta device, or on the CPU first where its constructor computes with tensors.

    Args:
        build: makes an `nn.Module`.
    """
    try:
        with without_memory():
            return build()
    except NotImplementedError:  # torchvision's RegNet computes its widths with tensors
        return build().to("meta")


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """New tensors are on the meta device, and are not filled: they have no numbers, and filling them takes long.

    Nor is batch normalisation computed, whose result has the shape of its input.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    tensor, init, batch_norm = torch.Tensor, torch.nn.init, torch.nn.functional.batch_norm
    fills = {tensor.normal_, tensor.uniform_, tensor.erfinv_, tensor.clamp_, tensor.fill_, tensor.zero_}
    fills |= {init.normal_, init.uniform_, init.constant_, init.kaiming_normal_, init.kaiming_uniform_}
    scalings = {tensor.mul_, tensor.add_}  # of a fill, by a number

    class Unfilled(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if func is batch_norm and args and args[0].is_meta:
                return torch.neg(args[0])  # one operation of the same shape, and a node in the graph of autograd
            if func in fills or (func in scalings and isinstance(args[-1], int | float)):
                filled = args[0] if args else kwargs["tensor"]  # functions of `init` pass their arguments by name
                if filled.is_meta:
                    return filled
            return func(*args, **kwargs)

    with torch.device("meta"), Unfilled():
        yield
