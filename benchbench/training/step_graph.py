"""A whole training step as one CUDA graph.

A small network's step is hundreds of short kernels, and a GPU waits for the host to launch each of them. A CUDA graph
launches all of them at once. It repeats the kernels of one step, with the addresses of its tensors and the numbers of
the host as they were: so a step that reads a number of the host, waits for the device, or makes its state anew is left
as it is, and its reason is kept.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchbench.data.batch import Batch
from benchbench.execution.graph_pool import GraphPool
from benchbench.models.outputs import Outputs
from benchbench.training.isolation import shared_tensors

# Steps before the one that is captured: the optimiser makes its state, kernels are chosen, and the step is watched.
WARM_UP = 3
Step = Callable[[Batch, Sequence[Outputs]], Any]
Layout = tuple[tuple[object, ...], ...]


class StepGraph:
    """A step that runs as it is at first, and as a CUDA graph from its fourth call on, where it can.

    Attributes:
        refused: the reason for which it stays as it is; None while there is none.
        captured: whether it runs as a graph.
    """

    def __init__(self, step: Step, pool: GraphPool, modules: Sequence[nn.Module]):
        """`modules`: with the state that a step may change, such as networks, losses and their banks."""
        self.refused: str | None = None
        self._step, self._pool, self._modules = step, pool, modules
        self._calls = 0
        self._layout: Layout = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Batch, Sequence[Outputs]]
        self._result: Any = None

    @property
    def captured(self) -> bool:
        return self._graph is not None

    @property
    def captures_next(self) -> bool:
        return self._calls == WARM_UP and self.refused is None and not self.captured

    def __call__(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> Any:
        """The step's result; of a graph in memory that the next call writes to."""
        self._calls += 1
        if self.refused is None and not self.captured:
            if self._calls <= WARM_UP:
                return self._watch(batch, teacher_outputs)
            self._capture(batch, teacher_outputs)
        if self._graph is None or _layout(batch, teacher_outputs) != self._layout:
            return self._step(batch, teacher_outputs)
        torch._foreach_copy_(shared_tensors(*self._inputs), shared_tensors(batch, teacher_outputs))
        self._graph.replay()
        return self._result

    def _watch(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> Any:
        """Runs a step as it is, and refuses a graph of it where something in it does not repeat."""
        watched = WatchedBatch(**vars(batch))
        before = host_state(self._modules)
        main = torch.cuda.current_stream(self._pool.device)
        self._pool.stream.wait_stream(main)
        with torch.cuda.stream(self._pool.stream), _waits() as waits:
            result = self._step(watched, teacher_outputs)
        main.wait_stream(self._pool.stream)
        if watched.read:
            self.refused = f"a loss reads the batch's {watched.read}"
        elif waits:
            self.refused = f"it waits for the device ({waits[0]})"
        elif self._calls > 1 and (changed := _changed(before, host_state(self._modules))):
            self.refused = f"it changes {changed}, which a graph does not repeat"
        return result

    def _capture(self, batch: Batch, teacher_outputs: Sequence[Outputs]) -> None:
        self._inputs = copy.deepcopy((batch, list(teacher_outputs)))
        try:
            self._graph, self._result = self._pool.capture(lambda: self._step(*self._inputs))
            self._layout = _layout(batch, teacher_outputs)
        except RuntimeError as error:
            self.refused = f"capture failed: {str(error).splitlines()[0]}"
            del self._inputs


class WatchedBatch(Batch):
    """A batch that notes which numbers of the host are read from it, or from a part: a graph would keep them."""

    def __init__(self, **fields: Any):
        super().__init__(**fields)
        self.names_read: list[str] = []  # of its parts too

    @property
    def read(self) -> str | None:
        """The name of the first one; None while there is none."""
        return self.names_read[0] if self.names_read else None

    def __getattribute__(self, name: str) -> Any:
        if name in ("epoch", "host_index"):
            self.names_read.append(name)
        return super().__getattribute__(name)


def host_state(modules: Sequence[nn.Module]) -> dict[str, object]:
    """The numbers of the host and the addresses of the tensors that modules hold, by name."""
    state: dict[str, object] = {
        "random numbers of the host": hash(torch.default_generator.get_state().numpy().tobytes())
    }
    for root in modules:
        for path, module in root.named_modules():
            for name, value in (vars(module) | module._parameters | module._buffers).items():
                if isinstance(value, Tensor):
                    state[f"{path}.{name}"] = value.data_ptr()
                elif isinstance(value, int | float | str):
                    state[f"{path}.{name}"] = value
    return state


def _changed(before: dict[str, object], after: dict[str, object]) -> str | None:
    """The name of something that two states differ in."""
    return next((name for name in before.keys() | after.keys() if before.get(name) != after.get(name)), None)


@contextlib.contextmanager
def _waits() -> Iterator[list[str]]:
    """The places, file:line, at which the host waits for the device in here; filled at the end."""
    places: list[str] = []
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    places += [f"{each.filename}:{each.lineno}" for each in caught if "called a synchronizing" in str(each.message)]


def _layout(batch: Batch, teacher_outputs: Sequence[Outputs]) -> Layout:
    """Shape, strides and type of every tensor of a step, in order."""
    tensors = shared_tensors(batch, teacher_outputs)
    return tuple((tuple(tensor.shape), tensor.stride(), tensor.dtype) for tensor in tensors)
