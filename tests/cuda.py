"""Helpers of tests marked `cuda`: the device, and steps that never wait for it."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

import torch
from torch import Tensor

CUDA = torch.device("cuda", 0)
# The library of tests/cuda_stub where this process runs on it: kernels do nothing there, so no number is compared.
STUB = os.environ.get("BENCHBENCH_CUDA_STUB")
LAUNCHES, SYNCS, TO_DEVICE, TO_HOST, WITHIN_DEVICE, MALLOCS, STREAMS, EVENTS = range(8)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """Code in here that makes the host wait for the device fails: a copy from or to pageable memory, `.item()`."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def stub_count(counter: int) -> int:
    """A counter of the stub; 0 on a GPU."""
    if STUB is None:
        return 0
    counts = ctypes.CDLL(STUB).stub_counts
    counts.restype = ctypes.POINTER(ctypes.c_long)
    return int(counts()[counter])


def assert_on_device(*tensors: Tensor) -> None:
    devices = {tensor.device.type for tensor in tensors}
    assert devices <= {"cuda"}, f"some tensors are on {devices - {'cuda'}}"
