"""Preparation of the next batch on a GPU while the current one is computed on."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchbench.data.batch import Batch


def prefetch(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; on a GPU each is augmented on a stream of its own, one batch ahead."""
    if device.type != "cuda":
        yield from batches
        return
    main, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(main)  # the images themselves may have been put there just now
    with torch.cuda.stream(side):
        ahead = next(batches, None)
    while ahead is not None:
        main.wait_stream(side)
        batch = ahead
        mixed = (batch.mix.labels, batch.mix.share) if batch.mix else ()
        for tensor in (batch.images, batch.labels, batch.index, *mixed):
            tensor.record_stream(main)  # its memory is not used again before the main stream is done with it
        with torch.cuda.stream(side):
            ahead = next(batches, None)
        yield batch
