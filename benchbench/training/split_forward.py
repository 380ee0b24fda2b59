"""A forward pass of a process's share of a batch, with batch statistics and random draws as for the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode

from benchbench.data.share import Share

Total = Callable[[Tensor], Tensor]  # the sum over all processes

# They multiply their input by factors that they draw, and are given ones to know the factors.
DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
# Of tensors: they fill them with what they draw, as layers of stochastic depth do.
FILLS = (torch.Tensor.bernoulli_, torch.Tensor.uniform_, torch.Tensor.normal_)
DRAWS = frozenset({*DROPOUTS, *FILLS, torch.rand_like, torch.randn_like})


class SplitForward(TorchFunctionMode):
    """While it is active, batch normalisation and random draws are those of the whole batch.

    It intercepts the calls of these functions, whichever library's layer makes them: no module is replaced, and weights
    are saved under the names that they have in one process. Every process draws for the whole batch and takes its rows:
    draws inside of fused attention are out of reach.

    Args:
        share: of this process.
        count: samples of the whole batch.
        total: sums over processes.
    """

    def __init__(self, share: Share, count: int, total: Total):
        super().__init__()
        rows = share.rows(count)
        self.count, self.start, self.own = count, rows.start, rows.stop - rows.start
        self.total = total

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._batch_norm(args, kwargs)
        if func in DRAWS and self._is_split(args[0]):
            tensor, rest = args[0], args[1:]
            if func in DROPOUTS:
                return self._dropout(func, args, kwargs)
            drawn = self._rows(func(self._whole(tensor), *rest, **kwargs), tensor)
            return tensor.copy_(drawn) if func in FILLS else drawn
        return func(*args, **kwargs)

    def _is_split(self, tensor: Tensor) -> bool:
        """True where the rows of a tensor are images of the share, or parts of them, such as the windows of each."""
        rows = len(tensor) if tensor.dim() else 0
        return rows == self.own or (tensor.dim() > 1 and rows > 0 and rows % self.own == 0)

    def _whole(self, tensor: Tensor) -> Tensor:
        """An empty tensor for the whole batch."""
        return tensor.detach().new_empty(len(tensor) // self.own * self.count, *tensor.shape[1:])

    def _rows(self, whole: Tensor, tensor: Tensor) -> Tensor:
        first = len(tensor) // self.own * self.start
        return whole[first : first + len(tensor)]

    def _dropout(self, func: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        call = dict(zip(("input", "p", "training", "inplace"), args, strict=False)) | dict(kwargs)
        images: Tensor = call["input"]
        if not call.get("training", True):
            return images
        factors = func(self._whole(images).fill_(1), call.get("p", 0.5), True)
        return images * self._rows(factors, images)

    def _batch_norm(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        call = dict(zip(names, args, strict=False)) | dict(kwargs)
        if not call.get("training", False):
            return F.batch_norm(*args, **kwargs)
        images, running = call["input"], (call["running_mean"], call["running_var"])
        momentum, eps = call.get("momentum", 0.1), call.get("eps", 1e-5)
        weight, bias = call.get("weight"), call.get("bias")
        if images.is_cuda:
            group = dist.group.WORLD
            size = dist.get_world_size()
            return SyncBatchNorm.apply(images, weight, bias, *running, eps, momentum, group, size)
        output, mean, variance, number = _BatchNorm.apply(
            images, weight, bias, (self.count / self.own, eps, self.total)
        )
        if running[0] is not None:
            with torch.no_grad():
                running[0].lerp_(mean.to(running[0].dtype), momentum)
                running[1].lerp_((variance * (number / (number - 1))).to(running[1].dtype), momentum)
        normalised: Tensor = output
        return normalised


class _BatchNorm(torch.autograd.Function):
    """Batch normalisation by the statistics of all processes: for CPUs, which torch's own refuses.

    Gives the output, and the mean, the biased variance and the number of the values of a channel in all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor | None, bias: Tensor | None, settings: tuple[float, float, Total]
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """`settings`: images in all processes for each one here, epsilon, and the sum over processes."""
        share, eps, total = settings
        values = images if images.dtype == torch.float64 else images.float()
        ctx.dims, ctx.shape = [0, *range(2, images.dim())], [1, -1] + [1] * (images.dim() - 2)
        ctx.number = share * values.numel() / values.shape[1]
        mean = total(values.sum(ctx.dims)) / ctx.number
        centred = values - mean.view(ctx.shape)
        variance = total(centred.square().sum(ctx.dims)) / ctx.number
        ctx.scale, ctx.total, ctx.bias = (variance + eps).rsqrt(), total, bias is not None
        normal = centred * ctx.scale.view(ctx.shape)
        ctx.save_for_backward(normal, weight)
        output = normal if weight is None else normal * weight.view(ctx.shape)
        output = output if bias is None else output + bias.view(ctx.shape)
        ctx.mark_non_differentiable(mean, variance)
        return output.to(images.dtype), mean, variance, ctx.number

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        normal, weight = ctx.saved_tensors
        gradient = gradients[0].to(normal.dtype)
        own = torch.stack([gradient.sum(ctx.dims), (gradient * normal).sum(ctx.dims)])
        mean, product = (each.view(ctx.shape) for each in ctx.total(own) / ctx.number)
        scale = ctx.scale if weight is None else ctx.scale * weight
        images = (gradient - mean - normal * product) * scale.view(ctx.shape)
        return images.to(gradients[0].dtype), None if weight is None else own[1], own[0] if ctx.bias else None, None
