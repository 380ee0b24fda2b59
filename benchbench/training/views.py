"""Outputs of a network for every view of a batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.models.outputs import Outputs


def outputs_of(network: Callable[[Tensor, bool], Outputs], batch: Batch, maps: bool) -> Outputs:
    """Outputs for the images of a batch, and for their second view where it has one: a forward pass each."""
    outputs = network(batch.images, maps)
    if batch.second_view is not None:
        outputs.second_view = network(batch.second_view, maps)
    return outputs
