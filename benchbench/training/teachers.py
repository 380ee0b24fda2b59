"""A teacher as the training loop calls it: on a batch, whether its outputs are computed or read from a cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from benchbench.data.batch import Batch
from benchbench.execution.graph_pool import GraphPool
from benchbench.execution.network import ConfiguredModel
from benchbench.models.outputs import Outputs
from benchbench.training.distributed import World
from benchbench.training.step_graph import StepGraph
from benchbench.training.views import outputs_of

# (batch, with the maps between stages) -> outputs; `benchbench.training.cached_outputs.CachedTeacher` is another.
TeacherForward = Callable[[Batch, bool], Outputs]


class LiveTeacher:
    """A frozen network that is run on every batch.

    Attributes:
        network: the teacher.
        graph_pool: memory of forward passes that run as CUDA graphs; None runs every pass kernel by kernel.
        world: of several processes, which share every batch.
    """

    def __init__(self, network: ConfiguredModel, graphs: bool = False, world: World | None = None):
        """`graphs`: whether forward passes run as CUDA graphs."""
        self.network, self.world = network, world
        # No graph of a student may use this memory: students read the outputs one after another. Where a cell that
        # needs maps leaves in the first steps, the graph without maps is captured after those of the others, and its
        # outputs would be where these work. The two graphs below can share it: one of them runs in a step, and nobody
        # reads outputs of an earlier step.
        self.graph_pool = GraphPool(network.device) if graphs else None
        self._graphs: dict[bool, StepGraph] = {}  # with maps, and without

    @property
    def captured(self) -> bool:
        return any(graph.captured for graph in self._graphs.values())

    def __call__(self, batch: Batch, maps: bool) -> Outputs:
        if self.world is not None:
            return self.world.gathered(self.network(batch.own_images, maps), len(batch.labels))
        if self.graph_pool is None:
            return outputs_of(self.network, batch, maps)
        if maps not in self._graphs:
            forward = functools.partial(self._forward, maps)
            self._graphs[maps] = StepGraph(forward, self.graph_pool, [self.network.model])
        outputs: Outputs = self._graphs[maps](batch, [])
        return outputs

    def _forward(self, maps: bool, batch: Batch, _: Sequence[Outputs]) -> Outputs:
        return outputs_of(self.network, batch, maps)
