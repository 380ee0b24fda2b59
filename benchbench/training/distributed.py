"""Several processes, a device each, that train one network together, and all that they tell each other.

Each process runs networks on its share of every batch. The outputs of all are gathered before the losses, which see the
whole batch, as one process would: so their value, their memory banks and their random draws are the same everywhere,
and the gradient is that of one process for any loss, whether it compares images with each other or not.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.data.share import Share
from benchbench.errors import StageError, is_out_of_memory, one_line
from benchbench.execution.network import ConfiguredModel
from benchbench.models.outputs import Outputs
from benchbench.training.split_forward import SplitForward

Value = TypeVar("Value")
# Gradients travel in pieces of so many bytes.
BUCKET_BYTES = 64 * 2**20
# A process that has ended is noticed by the one that started it; one that reads images for long is none of that.
TIMEOUT = timedelta(days=2)


class LostProcessError(StageError):
    """Another process does not answer any more: it has ended."""


@dataclass(frozen=True)
class Meeting:
    """The place at which the processes of a training find each other.

    Attributes:
        file: for their first messages, in a folder of this machine.
        rank: number of this process, from 0.
        size: number of processes.
    """

    file: Path
    rank: int
    size: int


class World:
    """The processes that train one network together, as one of them sees it.

    All methods but the properties are called by every process at the same time.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        device: of this process.
        share: of every batch that is its own.
    """

    def __init__(self, meeting: Meeting, device: torch.device):
        """Waits for the others.

        Raises:
            StageError: the process is one of another group already.
        """
        if dist.is_initialized():
            raise StageError("a component has set up `torch.distributed`; let the stage do it, or take `devices: 1`")
        self.rank, self.size, self.device = meeting.rank, meeting.size, device
        self.share = Share(self.rank, self.size, self.gather)
        store = dist.FileStore(str(meeting.file), meeting.size)
        gpu = torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else None
        with _loopback():
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.size,
                timeout=TIMEOUT,
                device_id=gpu,
            )

    @property
    def leads(self) -> bool:
        """True where this process writes files, decides and reports."""
        return self.rank == 0

    def leave(self) -> None:
        """Ends the group of processes."""
        dist.destroy_process_group()

    def agreed(self, value: Value) -> Value:
        """The first process's value."""
        values = [value]
        with _together():
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def each(self, value: Value) -> list[Value]:
        """The values of all processes, in order."""
        values: list[Any] = [None] * self.size
        with _together():
            dist.all_gather_object(values, value)
        return values

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        result = values.contiguous().clone()
        with _together():
            dist.all_reduce(result)
        return result

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """The rows of all processes [count, ...], from those of this one, as `share` deals them; without a gradient."""
        sizes = [len(range(count)[self.share.rows(count, rank)]) for rank in range(self.size)]
        most, shape = max(sizes), rows.shape[1:]
        row_bytes = math.prod(shape) * rows.element_size()
        # As bytes, which every backend takes; and all of one length, which they ask for.
        own = rows.new_empty(most * row_bytes, dtype=torch.uint8)
        own[: len(rows) * row_bytes] = rows.contiguous().view(-1).view(torch.uint8)
        whole = own.new_empty(self.size * most * row_bytes)
        with _together():
            if self.device.type == "cuda":
                dist.all_gather_into_tensor(whole, own)
            else:
                dist.all_gather(list(whole.chunk(self.size)), own)
        parts = whole.view(rows.dtype).view(self.size * most, *shape)
        if min(sizes) == most:
            return parts
        return torch.cat([part[:size] for part, size in zip(parts.split(most), sizes, strict=True)])

    def forward(self, network: ConfiguredModel, batch: Batch, maps: bool) -> Outputs:
        """Outputs of a network that trains, for the whole batch, with a gradient for this process's share."""
        count = len(batch.labels)
        with SplitForward(self.share, count, self.total):
            outputs = network(batch.own_images, maps)
        return self.gathered(outputs, count)

    def gathered(self, outputs: Outputs, count: int) -> Outputs:
        """The outputs of all processes, for a batch of `count` images."""

        def gather(rows: Tensor) -> Tensor:
            whole: Tensor = _Gathered.apply(rows, self, count)
            return whole

        return outputs.each(gather)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Puts the mean of all processes' gradients in the place of this one's.

        `gathered` has multiplied those that came by way of outputs by the number of processes: each has the gradient of
        its own images alone. A part that a loss runs on the whole batch has its full gradient in each.
        """
        gradients = [each.grad for each in parameters if each.grad is not None]
        for bucket in _buckets(gradients):
            flat = torch.cat([each.reshape(-1) for each in bucket])
            with _together():
                dist.all_reduce(flat)
            flat /= self.size
            parts = flat.split([each.numel() for each in bucket])
            torch._foreach_copy_(bucket, [part.view(each.shape) for part, each in zip(parts, bucket, strict=True)])

    def make_equal(self, *modules: nn.Module, parameters: bool = True) -> None:
        """Gives every process the first one's buffers, and parameters: rounding may differ from one GPU to another."""
        for module in modules:
            for tensor in (*(module.parameters() if parameters else ()), *module.buffers()):
                value = tensor.detach().contiguous()
                value = value.byte() if value.dtype == torch.bool else value
                with _together():
                    dist.broadcast(value, src=0)
                with torch.no_grad():
                    tensor.copy_(value)


class _Gathered(torch.autograd.Function):
    """`World.gather` with a gradient: this process's rows of it, times the number of processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: World, count: int) -> Tensor:
        ctx.world, ctx.count = world, count
        return world.gather(rows, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        return gradient[ctx.world.share.rows(ctx.count)] * ctx.world.size, None, None


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one type each, in pieces of some size."""
    for dtype in dict.fromkeys(each.dtype for each in gradients):
        bucket: list[Tensor] = []
        for each in (each for each in gradients if each.dtype == dtype):
            bucket.append(each)
            if sum(part.nbytes for part in bucket) >= BUCKET_BYTES:
                yield bucket
                bucket = []
        if bucket:
            yield bucket


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Tells the end of another process from other errors.

    Raises:
        LostProcessError: it has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise LostProcessError(f"another process of this training does not answer ({one_line(error)})") from error


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Keeps messages between processes of this machine off the network."""
    name = "GLOO_SOCKET_IFNAME"
    before = os.environ.get(name)
    os.environ[name] = before or ("lo0" if sys.platform == "darwin" else "lo")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
