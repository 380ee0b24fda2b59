"""The weight gradient of depthwise convolutions, one tap of the kernel at a time.

On CPUs the library's own kernel for it can take a hundred times as long as the arithmetic needs where maps are small
(measured: 5 x 5 kernels on 3 x 3 maps), and then it is most of a training step of an efficient network. Which layers
gain is measured (`benchbench.execution.tune`), not known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


def weight_gradient(images: Tensor, gradient: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of a depthwise convolution's weight: [C, 1, kH, kW].

    dL/dw[c, i, j] = sum over b, y, x of gradient[b, c, y, x] * images[b, c, y * stride + i - padding, ...]; taps that
    meet nothing but padding are 0.

    Args:
        images: the input [B, C, H, W].
        gradient: of the output [B, C, H', W'].
    """
    out = gradient.new_zeros(gradient.shape[1], 1, *kernel)
    for i in range(kernel[0]):
        rows = _overlap(i - padding[0], stride[0], images.shape[2], gradient.shape[2])
        for j in range(kernel[1]):
            columns = _overlap(j - padding[1], stride[1], images.shape[3], gradient.shape[3])
            if rows is None or columns is None:
                continue
            products = images[:, :, rows[1], columns[1]] * gradient[:, :, rows[0], columns[0]]
            out[:, 0, i, j] = products.sum(dim=(0, 2, 3))
    return out


def _overlap(offset: int, stride: int, size: int, out: int) -> tuple[slice, slice] | None:
    """The outputs that meet the input at this tap, and the inputs that they meet; None where none do."""
    first = max(0, -(offset // stride))  # the smallest y with y * stride + offset >= 0
    last = min(out - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    start = first * stride + offset
    return slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)


class _Convolution(torch.autograd.Function):
    """A depthwise convolution with the library's forward pass and input gradient, and `weight_gradient`."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Pair, Pair, int]
    ) -> Tensor:
        """`settings` are stride, padding and groups."""
        ctx.save_for_backward(images, weight)
        ctx.bias, ctx.settings = bias is not None, settings
        stride, padding, groups = settings
        return torch.conv2d(images, weight, bias, stride, padding, (1, 1), groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        stride, padding, groups = ctx.settings  # type: ignore[attr-defined]
        needs_gradient = ctx.needs_input_grad  # type: ignore[attr-defined]
        (gradient,) = gradients
        input_gradients: list[Tensor | None] = [None] * 4
        if needs_gradient[0]:
            sizes = (stride, padding, (1, 1), False, (0, 0), groups, (True, False, False))
            input_gradients[0] = torch.ops.aten.convolution_backward(gradient, images, weight, None, *sizes)[0]
        if needs_gradient[1]:
            input_gradients[1] = weight_gradient(images, gradient, _pair(weight.shape[2:]), stride, padding)
        if ctx.bias and needs_gradient[2]:  # type: ignore[attr-defined]
            input_gradients[2] = gradient.sum(dim=(0, 2, 3))
        return tuple(input_gradients)


def _pair(value: Any) -> Pair:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


# Signature, images, weight, stride and padding of a depthwise convolution.
Observer = Callable[[str, Tensor, Tensor, Pair, Pair], None]


class DepthwiseMode(TorchFunctionMode):
    """While it is active, depthwise convolutions whose `signature` is among the chosen ones use `weight_gradient`.

    It intercepts every call of `conv2d`, whichever library's layer makes it.

    Args:
        chosen: signatures.
        observer: is called at every depthwise convolution.
    """

    def __init__(self, chosen: Collection[str], observer: Observer | None = None):
        super().__init__()
        self.chosen, self.observer = frozenset(chosen), observer

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        call = dict(zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, strict=False))
        call |= kwargs or {}
        images, weight, groups = call["input"], call["weight"], call.get("groups", 1)
        padding = call.get("padding", 0)
        plain = isinstance(padding, str) or _pair(call.get("dilation", 1)) != (1, 1)
        if plain or groups == 1 or not images.shape[1] == weight.shape[0] == groups:
            return func(*args, **(kwargs or {}))
        stride, padding = _pair(call.get("stride", 1)), _pair(padding)
        name = signature(images, weight, stride)
        if self.observer is not None:
            self.observer(name, images, weight, stride, padding)
        if name not in self.chosen:
            return func(*args, **(kwargs or {}))
        return _Convolution.apply(images, weight, call.get("bias"), (stride, padding, groups))


def signature(images: Tensor, weight: Tensor, stride: Pair) -> str:
    """A depthwise convolution's shape: "CxHxW k5x5 s1x1", without the batch."""
    size, kernel = "x".join(map(str, images.shape[1:])), "x".join(map(str, weight.shape[2:]))
    return f"{size} k{kernel} s{stride[0]}x{stride[1]}"
