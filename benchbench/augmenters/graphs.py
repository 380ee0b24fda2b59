"""Augmentations of small batches as CUDA graphs: a GPU would wait for the host to launch their hundreds of kernels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

# Larger batches keep a GPU busy with one kernel for longer than it takes to launch the next.
MOST_NUMBERS = 2**23
# Graphs that are kept, each with the memory of its batch.
MOST_GRAPHS = 4
# (images, numbers) -> images; the kernels are the same whatever the numbers are.
Fixed = Callable[[Tensor, Tensor], Tensor]


def is_launch_bound(images: Tensor) -> bool:
    """True for batches on a GPU that are so small that launching kernels takes longer than running them."""
    return images.device.type == "cuda" and images.numel() <= MOST_NUMBERS


def replayed(name: Hashable, function: Fixed, images: Tensor, numbers: Tensor) -> Tensor:
    """`function(images, numbers)`, which is run as it is once, and as a CUDA graph from then on.

    Args:
        name: equal for functions that do the same.
        function: its kernels depend on the shapes alone; it draws nothing, and waits for nothing.
        images, numbers: on one GPU.
    """
    stream = torch.cuda.current_stream(images.device)  # runs of one graph follow one another
    key = (name, stream, images.shape, images.dtype, images.stride(), numbers.shape)
    if key not in _graphs:
        _graphs[key] = None  # the first run makes what the next ones share
        if len(_graphs) > MOST_GRAPHS:
            _graphs.popitem(last=False)
        return function(images, numbers)
    _graphs.move_to_end(key)
    graph = _graphs[key]
    if graph is None:
        graph = _graphs[key] = _capture(function, images, numbers)
    return graph(images, numbers)


@dataclass(frozen=True)
class _Graph:
    """A captured function with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    numbers: Tensor
    result: Tensor

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        self.images.copy_(images)
        self.numbers.copy_(numbers)
        self.graph.replay()
        return self.result.clone()  # the next call writes there


_graphs: OrderedDict[Hashable, _Graph | Fixed | None] = OrderedDict()


def _capture(function: Fixed, images: Tensor, numbers: Tensor) -> _Graph | Fixed:
    """The graph of a function; the function itself where it cannot be captured."""
    images, numbers = images.clone(), numbers.clone()
    graph = torch.cuda.CUDAGraph()
    try:
        # Threads that load images may allocate pinned memory meanwhile: errors are those of this thread alone.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = function(images, numbers)
    except RuntimeError:
        return function
    return _Graph(graph, images, numbers, result)
