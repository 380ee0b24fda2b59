"""Factors of losses that change over the epochs."""

from __future__ import annotations

import math

from benchbench.data.batch import Batch


def warmed(batch: Batch, epochs: float) -> float:
    """min(epoch / epochs, 1), the factor of a loss that rises from 0; 1 where `epochs` is 0.

    The epoch is not read then: a step that reads it cannot run as a CUDA graph.
    """
    return min(batch.epoch / epochs, 1.0) if epochs else 1.0


def decayed(batch: Batch, start: float | None, epochs: int) -> float:
    """1 up to epoch `start`, then half a cosine down to 0 at the end of `epochs`; 1 where `start` is None.

    The epoch is not read then, as in `warmed`.
    """
    if start is None or start >= epochs:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(max((batch.epoch - start) / (epochs - start), 0.0), 1.0)))
