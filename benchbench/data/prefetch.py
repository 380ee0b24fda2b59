"""Preparation of the next batch on a GPU while the current one is computed on."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from benchbench.data.batch import Batch


def prefetch(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; on a GPU each is prepared one batch ahead, on a stream beside the current one."""
    if device.type != "cuda":
        yield from batches
        return
    main, side = torch.cuda.current_stream(device), _side_stream(device)
    side.wait_stream(main)  # the images themselves may have been put there just now
    with torch.cuda.stream(side):
        ahead = next(batches, None)
    while ahead is not None:
        main.wait_stream(side)
        batch = ahead
        for tensor in batch.tensors():
            tensor.record_stream(main)  # its memory is not used again before the main stream is done with it
        with torch.cuda.stream(side):
            ahead = next(batches, None)
        yield batch


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of a device: torch's allocator keeps memory for each stream apart, and gives none of it to another."""
    return torch.cuda.Stream(device)
