"""A teacher as the training loop calls it: on a batch, whether its outputs are computed or read from a cache."""

from __future__ import annotations

from collections.abc import Callable

from benchbench.data.batch import Batch
from benchbench.execution.network import ConfiguredModel
from benchbench.models.outputs import Outputs

# (batch, with the maps between stages) -> outputs; `benchbench.training.cached_outputs.CachedTeacher` is another.
TeacherForward = Callable[[Batch, bool], Outputs]


class LiveTeacher:
    """A frozen network that is run on every batch."""

    def __init__(self, network: ConfiguredModel):
        self.network = network

    def __call__(self, batch: Batch, maps: bool) -> Outputs:
        return self.network(batch.images, maps)
