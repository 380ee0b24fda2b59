"""The time that a step takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

# A GPU is asked for the time of several steps at once, so long as they take no longer: the host runs ahead of it.
BURST, BURST_SECONDS = 10, 0.2
# Steps before one is captured: kernels are chosen, and memory is taken.
WARM_UP = 3

Step = Callable[[], Any]


def step_seconds(step: Step, device: torch.device) -> float:
    """Seconds of one call: of this process's processor time on one CPU thread, so that neighbours do not count."""
    if device.type == "cuda":
        first = _burst(step, device, 1)
        count = min(BURST, int(BURST_SECONDS / first))
        return _burst(step, device, count) if count > 1 else first
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    begun = clock()
    step()
    return clock() - begun


def _burst(step: Step, device: torch.device, count: int) -> float:
    torch.cuda.synchronize(device)
    begun = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - begun) / count


class GraphedSteps:
    """Steps as a training runs them on a GPU: each as one CUDA graph, where it can be one, else as it is.

    Made for steps that take turns: their graphs share one memory, in which a step's results last until another runs.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)
        self._graphs: list[torch.cuda.CUDAGraph] = []  # the pool is gone with the last of them

    def __call__(self, step: Step) -> Step:
        main = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                step()
        main.wait_stream(self._stream)
        torch.cuda.empty_cache()  # a graph has memory of its own
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                step()
        except RuntimeError as error:
            print(f"its steps run kernel by kernel, and not as one CUDA graph: {str(error).splitlines()[0]}")
            return step
        self._graphs.append(graph)
        return graph.replay
