"""CUDA graphs that share memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class GraphPool:
    """The memory of CUDA graphs that run one after another and so share it.

    Attributes:
        device: a GPU.
        stream: on which calls are warmed up and captured.
        graphs: those captured; the pool is gone with the last of them, and cannot be taken up again.
    """

    device: torch.device
    graphs: list[torch.cuda.CUDAGraph] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stream = torch.cuda.Stream(self.device)
        self._handle = torch.cuda.graph_pool_handle()

    def capture(self, step: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        """The graph of a call, which does not run here, and the result that each replay writes.

        Raises:
            RuntimeError: the call does something that no graph can hold.
        """
        graph = torch.cuda.CUDAGraph()
        # Threads that load images may allocate pinned memory meanwhile: errors are those of this thread alone.
        with torch.cuda.graph(graph, pool=self._handle, stream=self.stream, capture_error_mode="thread_local"):
            result = step()
        self.graphs.append(graph)
        return graph, result
